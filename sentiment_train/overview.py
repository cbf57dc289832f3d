"""What is about to happen, in a dozen lines: printed before training, and by a dry run."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from sentiment_train.assembly import Assembly
from sentiment_train.data.bucketing import LongestInBatch
from sentiment_train.data.prepare import PreparedData
from sentiment_train.data.store import BAD_ROWS
from sentiment_train.data.vocabulary import UNKNOWN_ID
from sentiment_train.duration import to_steps
from sentiment_train.training.groups import describe_groups
from sentiment_train.training.inner_layers import all_layers

_LEFT_OUT = {
    "duplicates": "duplicates removed",
    "beyond_max": "more than Splits.max_examples not taken",
    "bad_rows": "bad rows skipped",
}


def print_data(assembly: Assembly) -> None:
    """Examples of each split, what was left out, and how much of the text the encoder knows."""
    data, say = assembly.data, assembly.console.say
    counts = ", ".join(f"{len(split):,} {name}" for name, split in data.splits.items())
    found = data.found
    left_out = [f"{found[key]:,} {what}" for key, what in _LEFT_OUT.items() if found[key]]
    if found["conflicting"]:
        left_out.append(f"{found['conflicting']:,} of the duplicates had another label")
    if assembly.experiment.splits.confidence_above is not None:
        left_out.append(f"{found['low_confidence']:,} of low confidence left out of training")
    say("data", "; ".join([f"{data.description}: {counts}", *left_out]))
    if found["bad_rows"]:
        say("", f"the first of them: {data.directory}/{BAD_ROWS}")
    _say_too_long(assembly)
    labels = Counter(data.splits["train"].labels[assembly.trained_rows].tolist())
    shares = [f"{name} {labels[i] / labels.total():.1%}" for i, name in enumerate(data.class_names)]
    say("classes", ", ".join(shares))
    say("text", _text_line(data))
    for label, text in getattr(data.encoder, "lines", ()):
        say(label, text)


def _text_line(data: PreparedData) -> str:
    """What is kept of the texts."""
    train = data.splits["train"]
    if data.vectors:
        size = sum(split.tokens.nbytes for split in data.splits.values())
        numbers = train.tokens.shape[-1]
        return f"a vector of {numbers} numbers each, made once; {size / 1e6:,.0f} MB kept"
    if train.ids is None:
        return "as they are; the host half of the encoder reads them for every batch"
    unknown_id = getattr(data.encoder, "unknown_id", UNKNOWN_ID)
    unknown = np.count_nonzero(train.ids == unknown_id) / len(train.ids)
    size = data.encoder.vocabulary_size
    return f"{size:,} ids, {unknown:.1%} of the training tokens are unknown"


def _say_too_long(assembly: Assembly) -> None:
    most = assembly.experiment.buckets.leave_out_above
    if most is not None:
        count = len(assembly.data.splits["train"]) - len(assembly.trained_rows)
        text = f"{count:,} texts longer than {most} tokens left out of training"
        assembly.console.say("", text)


def _trained_lengths(assembly: Assembly) -> np.ndarray:
    return assembly.data.splits["train"].lengths[assembly.trained_rows]


def print_buckets(assembly: Assembly) -> None:
    """The shapes and the padding."""
    table, lengths = assembly.buckets, _trained_lengths(assembly)
    padding = table.padding_share(lengths)
    if isinstance(table, LongestInBatch):
        rows = f"batches of {table.batch_size} random rows, padded to the longest of each"
        assembly.console.say("buckets", f"{rows}; {padding:.1%} padding")
        return
    shapes = " ".join(
        f"[{rows}×{length}]" for rows, length in zip(table.batch_sizes, table.lengths, strict=True)
    )
    count = f"{len(table.lengths)} shape{'s' * (len(table.lengths) != 1)}"
    assembly.console.say("buckets", f"{count}, {padding:.1%} padding  {shapes}")


def print_bucket_table(assembly: Assembly) -> None:
    """One line for each bucket: its shape, its share of the rows, its padding."""
    table, lengths = assembly.buckets, _trained_lengths(assembly)
    if isinstance(table, LongestInBatch):
        return
    say = assembly.console.say
    say("", "  length   rows  examples  batches  padding")
    bucket_of, batches = table.bucket_of(lengths), table.batches_per_bucket(lengths)
    for i, (length, rows) in enumerate(zip(table.lengths, table.batch_sizes, strict=True)):
        members = lengths[bucket_of == i]
        places = int(batches[i]) * rows * length
        padding = f"{1 - members.sum() / places:8.1%}" if places else f"{'—':>8}"
        say("", f"{length:8d} {rows:6d} {len(members):9,d} {batches[i]:8d} {padding}")


def print_model(assembly: Assembly) -> None:
    """Parameters, in total and by layer, and what stays float32 in a shorter precision."""
    model = assembly.model
    weighty = [layer for layer in model.layers if layer.weights]
    parts = [f"{layer.name} {layer.count_params():,}" for layer in weighty]
    total = model.count_params()
    trained = sum(math.prod(variable.shape) for variable in model.trainable_variables)
    counted = f"{total:,} parameters" + (f", {trained:,} trainable" if trained < total else "")
    assembly.console.say("model", f"{counted}; {', '.join(parts)}")
    if assembly.decisions.precision != "float32":
        islands = [layer.name for layer in weighty if layer.compute_dtype == "float32"]
        assembly.console.say("", f"in float32 all the same: {', '.join(islands)}")
    if groups := describe_groups(assembly.groups, model.trainable_variables):
        assembly.console.say("groups", groups)


def print_runtime(assembly: Assembly) -> None:
    """The decisions of the runtime, each with its reason."""
    from sentiment_train.layers.recurrence import KerasRecurrence, Recurrence

    wanted, loops = assembly.decisions.recurrent_loops, assembly.recurrent_loops
    kinds = {type(layer) for layer in all_layers(assembly.model)}
    cudnn = Recurrence in kinds or (KerasRecurrence in kinds and assembly.decisions.use_cudnn)
    for label, text in assembly.decisions.lines:
        if label == "xla" and wanted == "compiled" and Recurrence not in kinds:
            text = "off — no loop of ours over time; on a CPU the rest gains nothing by it"
        elif label == "xla" and wanted != loops == "plain":
            text = "off — nearly every batch has a length of its own, and would be compiled anew"
        if label != "cudnn" or cudnn:
            assembly.console.say(label, text)


def print_steps(assembly: Assembly) -> None:
    """How long it will train and what is kept."""
    training, validation = assembly.experiment.training, assembly.experiment.validation
    per_epoch = assembly.steps_per_epoch
    total = to_steps(training.length, per_epoch)
    an_epoch = "" if per_epoch is None else f"; an epoch has {per_epoch:,}"
    kept = "the last weights are kept"
    if validation.best_by:
        kept = f"the best by validation {validation.best_by} is kept"
    if training.average_decay:
        kept += ", as moving average"
    looked = "no validation"
    if "validation" in assembly.data.splits:
        looked = f"validation every {validation.every}"
    if validation.patience:
        looked += f", stops after {validation.patience} without a new best"
    assembly.console.say(
        "steps",
        f"{total:,} ({training.length}{an_epoch}); {looked}; {kept}",
    )


def print_all(assembly: Assembly, with_table: bool) -> None:
    """Everything but the run directory, in the order of the data line."""
    print_data(assembly)
    print_buckets(assembly)
    if with_table:
        print_bucket_table(assembly)
    print_model(assembly)
    print_runtime(assembly)
    print_steps(assembly)
