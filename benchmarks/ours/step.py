"""The training step alone: the one that `main` runs, again and again on batches that are ready."""

from __future__ import annotations

import statistics
import tempfile
import time

import numpy as np

from benchmarks import flops, processes


def step_of(assembly):
    """The `TrainStep` of an experiment, traced for batches of all lengths as `main` does it."""
    from sentiment_train.run import Run
    from sentiment_train.run_directory import RunDirectory

    with tempfile.TemporaryDirectory() as folder:
        step = Run(assembly, RunDirectory(folder)).step
    if (batch := assembly.feeding.batch_of_any_shape()) is not None:
        step.trace(batch)
    return step


def measure(
    gin_file: str, bindings: list[str], cache: str, steps: int, every_shape: bool = False
) -> dict:
    """Times so many steps on full batches of one shape, after one on each of the batches.

    Args:
      every_shape: also, what the steps of a whole epoch do, with all its shapes and its short
        batches: a step of each shape is timed twice and counts as often as the epoch has it.

    Returns:
      `gflops` useful ones a second (see `flops`), `seconds` of a step, `tokens` that are real and
      the share of `padding` of its batches; with every shape also `epoch_gflops`,
      `epoch_seconds` and `epoch_padding`.
    """
    import tensorflow as tf

    from sentiment_train.assembly import Assembly

    experiment = flops.experiment_of(gin_file, bindings)
    assembly = Assembly(experiment, cache)
    step, number = step_of(assembly), tf.constant(0)
    order = assembly.feeding.order(0)
    planned = of_the_middle_length(order)
    batches = list(assembly.feeding.read(planned))
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
    found = {
        "gflops": useful / seconds / 1e9,
        "seconds": seconds,
        "tokens": tokens,
        "padding": 1 - tokens / float(np.mean([batch.places for batch in used])),
    }
    return {**found, **_of_an_epoch(experiment, assembly, step, order)} if every_shape else found


def of_the_middle_length(planned: list, most: int = 4) -> list:
    """Up to `most` full batches of one shape: that in which the median token is."""
    full = [batch for batch in planned if batch.examples == len(batch.rows)] or planned
    full.sort(key=lambda batch: batch.length)
    reached = np.cumsum([batch.tokens for batch in full])
    middle = full[int(np.searchsorted(reached, reached[-1] / 2))].length
    return [batch for batch in full if batch.length == middle][:most]


def _of_an_epoch(experiment, assembly, step, order: list) -> dict:
    """From the seconds of each shape: a step costs the same whatever its tokens are."""
    import tensorflow as tf

    of_shape, number, seconds = {batch.length: batch for batch in order}, tf.constant(0), {}
    for length, planned in of_shape.items():
        (batch,) = assembly.feeding.read([planned])
        times = []
        for _ in range(3):  # the first one is not counted
            began = time.perf_counter()
            step.train(batch, number).loss.numpy()
            times.append(time.perf_counter() - began)
        seconds[length] = statistics.mean(times[1:])
    whole = sum(seconds[batch.length] for batch in order)
    useful = sum(flops.of_a_step(experiment, batch.tokens) for batch in order)
    tokens, places = (sum(getattr(b, name) for b in order) for name in ("tokens", "places"))
    return {
        "epoch_gflops": useful / whole / 1e9,
        "epoch_seconds": whole,
        "epoch_padding": 1 - tokens / places,
    }


if __name__ == "__main__":
    processes.answer(measure)
