"""Model families: a config dataclass whose `build` gives a Keras model, features → logits."""
