"""Updates of ours from given batches, read from the store as `main` reads them, epoch by epoch."""

from __future__ import annotations

import time

from benchmarks import flops, processes
from benchmarks.ours.step import step_of


def measure(gin_file: str, bindings: list[str], cache: str, epochs: int, one_of: int) -> dict:
    """Trains on `sample` of the batches of each epoch, in their order.

    Returns:
      The seconds and the mean loss of each epoch.
    """
    import numpy as np
    import tensorflow as tf

    from sentiment_train.assembly import Assembly

    assembly = Assembly(flops.experiment_of(gin_file, bindings), cache)
    step, seconds, losses, number = step_of(assembly), [], [], 0
    for epoch in range(epochs):
        planned = sample(assembly.feeding.order(epoch), one_of)
        began, measures = time.monotonic(), []
        for batch in assembly.feeding.read(planned):
            measures.append(step.train(batch, tf.constant(number)))
            number += 1
        loss, weight = (np.sum([m[i].numpy() for m in measures], dtype=float) for i in (0, 1))
        seconds.append(time.monotonic() - began)
        losses.append(loss / weight)
    return {"epoch_seconds": seconds, "losses": losses}


def sample(planned: list, one_of: int) -> list:
    """Every so many-th of the batches when they are sorted by length, in the order they had."""
    by_length = sorted(range(len(planned)), key=lambda i: (planned[i].length, i))
    kept = by_length[one_of // 2 :: one_of] or by_length[:1]
    return [planned[i] for i in sorted(kept)]


if __name__ == "__main__":
    processes.answer(measure)
