"""The questions of document 002, answered by training the variants of gin/scratch_rnn.gin.

    python -m benchmarks.recurrence --write      # all of it, and the tables of docs/recurrence.md
    python -m benchmarks.recurrence --only=last --only=gru_last
    python -m benchmarks.recurrence --fresh      # trains nothing: gradients of fresh weights

A variant whose run is done is not trained again, so the command can be stopped and repeated.
"""

from __future__ import annotations

import math
import os
import pathlib
import sys
from collections.abc import Sequence

from absl import app, flags

from benchmarks import gradient_norm
from benchmarks.marked_blocks import with_tables
from benchmarks.processes import ROOT, define_cache_flag

PAGE = ROOT / "docs" / "recurrence.md"
PICTURE = ROOT / "docs" / "gradient_norm.png"
COMMAND = "python -m benchmarks.recurrence"


def _model(**values) -> tuple[str, ...]:
    return tuple(f"RecurrentClassifier.{name} = {value!r}" for name, value in values.items())


# What differs from gin/scratch_rnn.gin.
VARIANTS = {
    "base": (),
    "one_hot": _model(input="one_hot"),
    "words_1000": ("Vocabulary.max_size = 1000",),
    "last": _model(pooling="last"),
    "mean_logits": _model(pooling="mean_logits"),
    "mean_probabilities": _model(pooling="mean_probabilities"),
    "softmax": _model(output="softmax"),
    "head": ("WordEncoder.truncation = 'keep_head'",),
    "tail": ("WordEncoder.truncation = 'keep_tail'",),
    "leave_out": ("WordEncoder.max_length = None", "Buckets.leave_out_above = 200"),
    "padded_after": _model(pooling="last", masked=False, padding="right", pad_to=200),
    "padded_before": _model(pooling="last", masked=False, padding="left", pad_to=200),
    "gru": _model(cell="gru"),
    "lstm": _model(cell="lstm"),
    "gru_last": _model(cell="gru", pooling="last"),
    "lstm_last": _model(cell="lstm", pooling="last"),
    "learned_start": _model(initial_state="learned"),
}
# The variants that answer each, and what they are called there. All are compared with the first.
QUESTIONS = {
    "input": {
        "base": "learned vectors of 64, 20,000 words",
        "one_hot": "one-hot vectors, 20,000 words",
        "words_1000": "learned vectors of 64, 1,000 words",
    },
    "steps": {
        "base": "mean of the states",
        "last": "last state",
        "mean_logits": "mean of the logits",
        "mean_probabilities": "mean of the probabilities",
    },
    "output": {"base": "one logit, sigmoid", "softmax": "two logits, softmax"},
    "cutting": {
        "base": "100 words from each end",
        "head": "the first 200",
        "tail": "the last 200",
        "leave_out": "longer ones left out of training, whole in the test",
    },
    "side": {
        "last": "masked",
        "padded_after": "to 200, behind, not masked",
        "padded_before": "to 200, in front, not masked",
    },
    "cell": {
        "base": "simple, mean of the states",
        "gru": "GRU, mean of the states",
        "lstm": "LSTM, mean of the states",
        "last": "simple, last state",
        "gru_last": "GRU, last state",
        "lstm_last": "LSTM, last state",
    },
    "start": {"base": "zero", "learned_start": "learned"},
}
READ_BY_THE_LAST_STATE = ("last", "gru_last", "lstm_last")  # what gradients are followed in
WRITES_NOTHING = ("Experiment.export = False", "Experiment.report = None")
QUICK = ("Splits.max_examples = 300", "Training.length = '3 steps'")


def checked_runs(names: Sequence[str], quick: bool) -> list:
    """The `CheckedRun`s of variants."""
    from sentiment_train.campaigns.campaign import PlannedRun, check

    files = (str(ROOT / "gin" / "scratch_rnn.gin"),)
    extra = WRITES_NOTHING + (QUICK if quick else ())
    return [check(PlannedRun(name, files, VARIANTS[name] + extra)) for name in names]


def accuracy_tables(results: dict[str, dict]) -> dict[str, str]:
    """A markdown table for every question that some variant has answered.

    Args:
      results: `results.json` by variant.
    """
    tables = {}
    for question, variants in QUESTIONS.items():
        first, rows = next(iter(variants)), []
        for name, what in variants.items():
            if name in results:
                rows.append(_row(what, results[name], results.get(first)))
        if rows:
            tables[question] = "\n".join([*_HEAD, *rows])
    return tables


_HEAD = (
    "| variant | test accuracy (95 %) | against the first, points | validation | seconds |",
    "|---|---:|---:|---:|---:|",
)


def _row(what: str, found: dict, first: dict | None) -> str:
    low, high = found["details"]["test"]["accuracy_interval"]
    against = ""
    if first is not None and first is not found:
        against = difference(found["test"], first["test"])
    return (
        f"| {what} | {found['test']['accuracy']:.4f} ({low:.3f}–{high:.3f}) | {against}"
        f" | {found['validation']['accuracy']:.4f} | {found['train_seconds']:.0f} |"
    )


def difference(metrics: dict, first: dict) -> str:
    """Of two accuracies, in points, with the half width of its 95 % interval.

    As if the two were of different reviews, which is too wide: they are of the same ones.
    """
    variances = [m["accuracy"] * (1 - m["accuracy"]) / m["examples"] for m in (metrics, first)]
    half = 1.96 * math.sqrt(sum(variances))
    return f"{100 * (metrics['accuracy'] - first['accuracy']):+.1f} ± {100 * half:.1f}"


def padding_table(whole, cut) -> str:
    """How much of the batches is padding, in five ways; nothing is trained for it.

    Args:
      whole, cut: `[n]` tokens of each training review, before and after the cutting to 200.
    """
    from sentiment_train.data.bucketing import Buckets, BucketTable, LongestInBatch

    def buckets(lengths):
        return Buckets().table(lengths, int(lengths.max()))

    def all_alike(lengths):
        return BucketTable((int(lengths.max()),), (1,))

    ways = [
        ("whole", f"to the longest of all, {whole.max():,} words", whole, all_alike(whole)),
        ("whole", "to the longest of 32 random ones", whole, LongestInBatch(32)),
        ("whole", "to the longest of ten buckets", whole, buckets(whole)),
        ("cut to 200", "to 200 words", cut, all_alike(cut)),
        ("cut to 200", "to the longest of ten buckets", cut, buckets(cut)),
    ]
    lines = ["| reviews | padded | padding | places for each word |", "|---|---|---:|---:|"]
    for reviews, padded, lengths, shapes in ways:
        share = shapes.padding_share(lengths)
        lines.append(f"| {reviews} | {padded} | {share:.1%} | {1 / (1 - share):.2f} |")
    return "\n".join(lines)


class Benchmark:
    """The variants as a campaign, and what is made of their runs."""

    def __init__(self, names: Sequence[str], runs: str, cache: str, quick: bool):
        from sentiment_train.campaigns.campaign import Campaign

        self.cache = cache
        self.campaign = Campaign(runs, "--runs", checked_runs(names, quick), cache)

    def train(self) -> None:
        """Trains what is not done yet."""
        with self.campaign.held():
            self.campaign.run(1, lambda name: None)

    def done(self) -> dict:
        """The finished runs by name, each a `Standing`."""
        standings = self.campaign.standings()
        return {s.run.plan.name: s for s in standings if s.status == "done"}

    def fadings(self, fresh_only: bool) -> list[gradient_norm.Fading]:
        """Of the networks that read the last state: fresh weights, and trained ones if any."""
        from sentiment_train.assembly import Assembly
        from sentiment_train.run import Run

        done, found = self.done(), []
        for checked in self.campaign.runs:
            name = checked.plan.name
            if name not in READ_BY_THE_LAST_STATE:
                continue
            assembly = Assembly(checked.experiment, self.cache)
            found.append(gradient_norm.fading_of(assembly, trained=False))
            if name in done and not fresh_only:
                with Run(assembly, self.campaign.of(checked)).best_weights():
                    found.append(gradient_norm.fading_of(assembly, trained=True))
        return found

    def padding(self) -> str:
        """The table of padding, from the lengths of the training reviews."""
        from sentiment_train.assembly import Assembly

        lengths = {}
        for checked in self.campaign.runs:
            if (name := checked.plan.name) in ("base", "leave_out"):
                assembly = Assembly(checked.experiment, self.cache)
                lengths[name] = assembly.data.splits["train"].lengths
        return padding_table(lengths["leave_out"], lengths["base"])


def measure(values) -> dict[str, str]:
    """What the flags ask for; the tables by name."""
    from sentiment_train import quiet

    quiet.import_tensorflow()
    names = values.only or (READ_BY_THE_LAST_STATE if values.fresh else list(VARIANTS))
    benchmark = Benchmark(names, values.runs, os.path.expanduser(values.cache_dir), values.quick)
    if not values.fresh:
        benchmark.train()
    tables = {}
    if not values.fresh:
        results = {name: standing.results for name, standing in benchmark.done().items()}
        tables = accuracy_tables(results)
    if {"base", "leave_out"} <= set(names):
        tables["padding"] = benchmark.padding()
    if fadings := benchmark.fadings(values.fresh):
        tables["gradient"] = gradient_norm.table(fadings)
        picture = PICTURE if values.write else pathlib.Path(values.runs) / PICTURE.name
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(gradient_norm.picture(fadings))
    return tables


def main(argv) -> int:
    del argv
    from sentiment_train.errors import UserError

    values = flags.FLAGS
    try:
        if values.write and (values.only or values.fresh or values.quick):
            raise UserError(
                "--write is for the whole benchmark; leave out --only, --fresh, --quick"
            )
        tables = measure(values)
    except UserError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return error.exit_code
    for name, table in tables.items():
        print(f"\n{name}\n\n{table}")
    if values.write:
        PAGE.write_text(
            with_tables(PAGE.read_text(encoding="utf-8"), tables, COMMAND), encoding="utf-8"
        )
    return 0


def define_flags(flag_values=flags.FLAGS) -> None:
    """Defined by the command, so that a process may import several benchmarks."""
    options = {"flag_values": flag_values}
    flags.DEFINE_string("runs", "runs/recurrence", "Folder of the run directories.", **options)
    flags.DEFINE_multi_enum("only", [], list(VARIANTS), "Train only this variant.", **options)
    flags.DEFINE_bool("fresh", False, "Only the gradients of fresh weights.", **options)
    flags.DEFINE_bool("quick", False, "300 reviews and 3 steps: shows that it works.", **options)
    flags.DEFINE_bool("write", False, "Write tables and picture into docs/.", **options)
    define_cache_flag(flag_values)


if __name__ == "__main__":
    define_flags()
    app.run(main)
