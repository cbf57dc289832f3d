"""How much of the machine a recurrent training step uses."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks import processes
from benchmarks.bench import Bench
from benchmarks.groups.limits import limit, share_of_limit
from benchmarks.rounds import Case, Contender
from benchmarks.tables import Column, table
from benchmarks.training_runs import TrainingRun

TITLE = "The recurrent step against the machine's limit"
STORY = """\
The training step of `gin/bilstm.gin` with other sizes, forward, backward and update, on full
batches of real reviews that are ready in memory, all of one shape: that in which the median token
of an epoch is. Beside it, for the smaller sizes, all shapes of an epoch, each as often as an epoch
has it, and with the batches that are not full. For the sizes of `gin/bilstm.gin` itself the whole
training stands under *What a training does with its time*.

Useful are the multiplications and additions that the
equations need for the real tokens, 3 × forward products (`benchmarks/flops.py` has the formula);
padding, embedding, element-wise work, pooling and the optimizer take time but count as nothing. The
limit is the faster of NumPy's and TensorFlow's product of two large float32 matrices on all cores,
measured in turns with the step."""

ROUNDS = 2
MEASUREMENTS = 10
MINUTES = 4.5

GIN = "bilstm"
# The corners of what is usual: cell, units, places in a batch (padding included).
SETTINGS = (
    ("lstm", 128, 8192),
    ("lstm", 256, 32_768),
    ("gru", 128, 8192),
    ("gru", 256, 32_768),
)


def cases(bench: Bench) -> Iterator[Case]:
    settings = SETTINGS[:1] if bench.quick else SETTINGS
    contenders = [_contender(bench, *setting) for setting in settings]
    yield Case("recurrent_step", [limit(bench), *contenders])


def _contender(bench: Bench, cell: str, units: int, tokens: int) -> Contender:
    measured = run(bench, cell, units, tokens)
    job = {"gin_file": measured.gin_file, "bindings": list(measured.bindings)}
    job |= {"cache": bench.cache, "steps": 2 if bench.quick else 12}
    job |= {"every_shape": tokens == SETTINGS[0][2]}
    what = f"{cell.upper()} of {units} units, both directions, batches of {tokens:,} places"
    ask = partial(processes.ask, "benchmarks.ours.step", job, measured.folder)
    return Contender(name(cell, units, tokens), what, ask)


def name(cell: str, units: int, tokens: int) -> str:
    """Of a setting in `results.json`."""
    return f"{cell}_{units}_{tokens}"


def run(bench: Bench, cell: str, units: int, tokens: int) -> TrainingRun:
    """The experiment of a setting; only its step is measured."""
    return bench.run(
        GIN,
        name(cell, units, tokens),
        "RecurrentClassifier.embedding_size = 128",
        "RecurrentClassifier.embedding_dropout = 0.0",
        "RecurrentClassifier.dropout = 0.0",
        f"RecurrentClassifier.cell = {cell!r}",
        f"RecurrentClassifier.units = ({units},)",
        "Buckets.max_batch_size = 1024",
        f"Buckets.tokens_per_batch = {tokens}",
        *bench.examples(10_000),
    )


COLUMNS = (
    Column("real tokens", "tokens"),
    Column("padding", "padding", 0, 100, " %"),
    Column("a step, ms", "seconds", 0, 1000),
    Column("useful GFLOP/s", "gflops"),
    share_of_limit(),
    Column("all shapes, useful GFLOP/s", "epoch_gflops"),
    share_of_limit("epoch_gflops"),
    Column("their padding", "epoch_padding", 0, 100, " %"),
)


def tables(cases: dict[str, dict]) -> str:
    return table(cases, COLUMNS)
