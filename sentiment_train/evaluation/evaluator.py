"""A pass over a split in which every example counts once, whatever the number of replicas."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from sentiment_train.errors import Interrupted
from sentiment_train.evaluation.metrics import Predictions
from sentiment_train.schema import Batch


class Evaluator:
    """Gathers the logits of a model for all rows, in order, on every worker.

    Args:
      strategy: the one that the model was built in.
      jit_compile: whether the forward pass of a replica is compiled.
      should_stop: asked between two batches.
    """

    def __init__(self, model, strategy, jit_compile: bool, should_stop: Callable[[], bool]):
        self.should_stop = should_stop

        def forward(features):
            return model(features, training=False)

        if jit_compile:
            forward = tf.function(forward, jit_compile=True)

        def in_replica(features):
            replica = tf.distribute.get_replica_context()
            return replica.all_gather(tf.cast(forward(features), tf.float32), axis=0)

        @tf.function
        def logits_of(features):
            """`[batch_size, 1 or classes]`, the rows of all replicas in the order of the batch."""
            return strategy.experimental_local_results(strategy.run(in_replica, (features,)))[0]

        self.logits_of = logits_of

    def predict(
        self, batches: Iterable[Batch], rows: Iterable[np.ndarray], labels, weights
    ) -> Predictions:
        """Predictions for a split, in the order of its labels.

        Args:
          batches: values distributed over the replicas.
          rows: of each global batch `[batch_size]` the indices into the split, below 0 for filler.
          labels: `[n] int32`.
          weights: `[n] float32`.

        Raises:
          Interrupted: if asked to stop; nothing has changed then.
        """
        logits = None
        for batch, indices in zip(batches, rows, strict=True):
            if self.should_stop():
                raise Interrupted("Stopped during evaluation.")
            found = self.logits_of(batch.features).numpy()[: len(indices)]
            if logits is None:
                logits = np.full((len(labels), found.shape[1]), np.nan, np.float32)
            logits[indices[indices >= 0]] = found[indices >= 0]
        return Predictions(logits, np.asarray(labels), np.asarray(weights))
