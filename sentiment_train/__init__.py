"""Trains text classifiers with TensorFlow from one gin file; see README.md."""

__version__ = "0.1.0"
