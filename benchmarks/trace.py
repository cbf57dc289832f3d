"""Where the time of a training step goes: the kernels that ran, by what they do.

    python -m benchmarks.trace --gin_file=gin/bilstm.gin
    python -m benchmarks.trace --step=lstm_128_8192     # one of the benchmark's recurrent steps

TensorFlow's profiler notes every kernel of some steps on full batches of the middle shape (see
`ours/step.py`), and of the loops that XLA has compiled every kernel inside. Told is the share of
the time that all threads spent in kernels, so that it hardly matters what else the machine does.
"""

from __future__ import annotations

import collections
import os
import pathlib
import re
import tempfile
from collections.abc import Iterable, Iterator

from absl import app, flags

from benchmarks import flops, processes
from benchmarks.bench import Bench
from benchmarks.groups import recurrent_step

# Kernels of TensorFlow are called name:kind, those of XLA have neither. The first one that fits.
KINDS = {
    "products inside the loops over time": re.compile(r"^(MatMul|dot)[.\d]*$"),
    "element-wise work and copies inside the loops": re.compile(r"^[^:]+$"),
    "optimizer": re.compile(r"^adam/|:\w*(ApplyAdam|Assign|L2Loss)"),
    "products outside the loops": re.compile(r":_?\w*MatMul"),
    "words to vectors and back: gather, sums over tokens": re.compile(r":\w*(Gather|Segment|TopK)"),
    "turning rows around": re.compile(r":ReverseSequence"),
    "the rest outside: sums, masks, slices": re.compile(r":"),
}
# Besides kernels there are calls that wait for kernels: with `::`, or these.
_WAITS = re.compile(r"::|: |^while|^call|^body|^(ExecutorState|BlockUntilReady|FunctionRun)")


def traced(experiment, cache: str, steps: int) -> dict[str, float]:
    """Seconds in the kernels of so many steps, by kind."""
    import tensorflow as tf

    from benchmarks.ours.step import of_the_middle_length, step_of
    from sentiment_train.assembly import Assembly

    assembly = Assembly(experiment, cache)
    step, number = step_of(assembly), tf.constant(0)
    batches = list(assembly.feeding.read(of_the_middle_length(assembly.feeding.order(0))))
    for batch in batches:
        step.train(batch, number).loss.numpy()
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        for i in range(steps):
            step.train(batches[i % len(batches)], number).loss.numpy()
        tf.profiler.experimental.stop()
        (path,) = pathlib.Path(folder).glob("**/*.xplane.pb")
        return of_kinds(kernels(path.read_bytes()))


def kernels(content: bytes) -> Iterator[tuple[str, float]]:
    """(name, seconds) of what worker threads did, from a file of the profiler."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    for plane in xplane_pb2.XSpace.FromString(content).planes:
        for line in plane.lines:
            if plane.name == "/host:CPU" and line.name.startswith("tf_"):  # not Python's own thread
                for event in line.events:
                    yield plane.event_metadata[event.metadata_id].name, event.duration_ps / 1e12


def of_kinds(found: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Seconds by kind, in the order of `KINDS`; calls that wait for kernels are left out.

    Args:
      found: as `kernels` gives them.
    """
    sums = collections.Counter()
    for name, seconds in found:
        if not _WAITS.search(name):
            sums[next(kind for kind, pattern in KINDS.items() if pattern.search(name))] += seconds
    return {kind: sums[kind] for kind in KINDS}


def table(sums: dict[str, float], steps: int) -> str:
    """Markdown."""
    whole = sum(sums.values())
    rows = [
        f"| {kind} | {1000 * seconds / steps:.1f} | {seconds / whole:.0%} |"
        for kind, seconds in sums.items()
    ]
    return "\n".join(["| | thread-ms a step | share |", "|---|---:|---:|", *rows])


def main(argv) -> None:
    del argv
    values = flags.FLAGS
    gin_file, bindings = values.gin_file, values.gin_bindings
    if values.step:
        setting = next(s for s in recurrent_step.SETTINGS if recurrent_step.name(*s) == values.step)
        with tempfile.TemporaryDirectory() as scratch:
            run = recurrent_step.run(Bench(pathlib.Path(scratch), ""), *setting)
        gin_file, bindings = run.gin_file, [*run.bindings, *bindings]
    experiment = flops.experiment_of(gin_file, bindings)
    sums = traced(experiment, os.path.expanduser(values.cache_dir), values.steps)
    print(table(sums, values.steps))


if __name__ == "__main__":
    flags.DEFINE_string("gin_file", "gin/bilstm.gin", "The experiment.")
    flags.DEFINE_multi_string("gin_bindings", [], "Bindings on top of it; repeatable.")
    names = [recurrent_step.name(*setting) for setting in recurrent_step.SETTINGS]
    flags.DEFINE_enum("step", None, names, "Of this setting of the benchmark instead.")
    flags.DEFINE_integer("steps", 8, "Steps that are looked at.", 1)
    processes.define_cache_flag(flags.FLAGS)
    app.run(main)
