"""Learning without files: cells, layers, attention, encoders, decoders, losses."""
