"""The training step alone: the one that `main` runs, again and again on batches that are ready."""

from __future__ import annotations

import tempfile
import time

import numpy as np

from benchmarks import flops, processes


def measure(gin_file: str, bindings: list[str], cache: str, steps: int) -> dict:
    """Times so many steps, after one on each of the batches.

    Returns:
      `gflops` useful ones a second (see `flops`), `seconds` of a step, `tokens` that are real and
      the share of `padding` of its batches.
    """
    import tensorflow as tf

    from sentiment_train.assembly import Assembly
    from sentiment_train.run import Run
    from sentiment_train.run_directory import RunDirectory

    experiment = flops.experiment_of(gin_file, bindings)
    assembly = Assembly(experiment, cache)
    with tempfile.TemporaryDirectory() as folder:
        step = Run(assembly, RunDirectory(folder)).step
    planned = _of_the_middle_length(assembly.feeding.order(0))
    batches = list(assembly.feeding.read(planned))
    number = tf.constant(0)
    for batch in batches:
        step.train(batch, number).loss.numpy()
    began = time.perf_counter()
    for i in range(steps):
        measures = step.train(batches[i % len(batches)], number)
    measures.loss.numpy()
    seconds = (time.perf_counter() - began) / steps
    used = [planned[i % len(planned)] for i in range(steps)]
    tokens = float(np.mean([batch.tokens for batch in used]))
    useful = flops.of_a_step(experiment, tokens)
    return {
        "gflops": useful / seconds / 1e9,
        "seconds": seconds,
        "tokens": tokens,
        "padding": 1 - tokens / float(np.mean([batch.places for batch in used])),
    }


def _of_the_middle_length(planned: list, most: int = 4) -> list:
    """Up to `most` full batches of one shape: that in which the median token is."""
    full = [batch for batch in planned if batch.examples == len(batch.rows)] or planned
    full.sort(key=lambda batch: batch.length)
    reached = np.cumsum([batch.tokens for batch in full])
    middle = full[int(np.searchsorted(reached, reached[-1] / 2))].length
    return [batch for batch in full if batch.length == middle][:most]


if __name__ == "__main__":
    processes.answer(measure)
