"""Training: from prepared data to a run folder. `loop.py` is the one loop, read top to bottom."""
