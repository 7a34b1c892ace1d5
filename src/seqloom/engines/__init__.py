"""Engines: what runs a trained model behind the one protocol of `types.Engine`."""
