"""A run's model as ONNX graphs: an encoder and one step of the decoder. Needs the stored weights only, not torch."""
