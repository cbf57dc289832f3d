"""From a trained model to a SavedModel of raw strings, read back before it counts."""
