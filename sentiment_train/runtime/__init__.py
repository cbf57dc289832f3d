"""How an experiment is executed: devices, precision, XLA, randomness and signals."""
