"""Keras layers with two rules: length is the mask, randomness is a function of the step."""
