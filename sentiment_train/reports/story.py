"""The report of a run, block by block, from what its directory holds."""

from __future__ import annotations

from collections.abc import Iterator

from sentiment_train.reports import pictures
from sentiment_train.reports.calibration_of_run import calibration_of_run
from sentiment_train.reports.curves_of_run import curves_of_run
from sentiment_train.reports.document import (
    Block,
    Facts,
    Heading,
    Paragraph,
    Picture,
    Quote,
    Table,
    to_html,
    to_markdown,
)
from sentiment_train.reports.history import Points, read_history

MARKDOWN, HTML, STORY = "report.md", "report.html", "report.json"

_SPLITS = ("validation", "test")
_OF_A_CLASS = ("precision", "recall", "f1")
_MOST_COLUMNS = 12  # classes up to which a confusion matrix is also a table
_MOST_ROWS = 50  # classes in a table, those with most support


def compose(results: dict, story: dict, metric_lines: str) -> dict[str, str]:
    """The texts of `report.md` and `report.html`, by file name.

    Args:
      results: of `results.json`.
      story: of `report.json`: the lines about the experiment, and the examples.
      metric_lines: `metrics.jsonl`.
    """
    blocks = tell(results, story, read_history(metric_lines))
    return {MARKDOWN: to_markdown(story["name"], blocks), HTML: to_html(story["name"], blocks)}


def tell(results: dict, story: dict, history: dict[str, Points]) -> list[Block]:
    """The whole report; see `compose`. `history` has the points of each tag."""
    return [
        *_summary(results),
        *_published(results.get("published")),
        Heading("What was trained"),
        Facts([(label, text) for label, text in _joined(story["lines"])]),
        Heading("Results"),
        *_metrics(results),
        _cost(results),
        *_baseline(results.get("baseline")),
        *_classes(results),
        *calibration_of_run(results),
        Heading("Learning curves"),
        *curves_of_run(history, results["best_step"]),
        *_examples(story),
        Heading("How to read it"),
        Paragraph(
            "docs/reports.md of the project says how each number is computed. The same numbers are"
            " in results.json and metrics.jsonl; python -m sentiment_train.reports.draw draws this"
            " report again."
        ),
    ]


def _joined(lines: list) -> Iterator[tuple[str, str]]:
    """Lines without a label continue the one before."""
    label, texts = "", []
    for next_label, text in lines:
        if next_label and texts:
            yield label, "; ".join(texts)
            texts = []
        label = next_label or label
        texts.append(text)
    if texts:
        yield label, "; ".join(texts)


def _summary(results: dict) -> Iterator[Block]:
    split = next((name for name in reversed(_SPLITS) if name in results), None)
    if split is None:
        yield Paragraph("There is no validation or test split: nothing was measured.")
        return
    found = results[split]
    if "perplexity" in found:
        yield Paragraph(
            f"Perplexity {found['perplexity']:,.2f} on {found['tokens']:,} tokens of the {split}"
            " split."
        )
        return
    low, high = results["details"][split]["accuracy_interval"]
    yield Paragraph(
        f"Accuracy {found['accuracy']:.2%} (95% interval {low:.2%} to {high:.2%}) on"
        f" {found['examples']:,} {split} examples; macro-F1 {found['macro_f1']:.4f}."
    )
    if sentence := (results.get("baseline") or {}).get("sentence"):
        yield Paragraph(sentence)


def _published(published: dict | None) -> Iterator[Block]:
    """What somebody else reported for the same system; see `sentiment_train.published`."""
    if published is None:
        return
    found = []
    if published["accuracy"] is not None:
        found.append(f"accuracy {published['accuracy']:.2%}")
    if published["seconds_per_epoch"] is not None:
        found.append(f"{published['seconds_per_epoch']:,.0f} seconds per epoch")
    found += [published["note"]] if published["note"] else []
    yield Paragraph(f"Reported elsewhere ({published['source']}): {'; '.join(found) or 'nothing'}.")


def _metrics(results: dict) -> Iterator[Block]:
    splits = [name for name in _SPLITS if name in results]
    if not splits:
        return
    if "perplexity" in results[splits[0]]:
        header = ("split", "texts", "tokens", "perplexity", "loss", "right tokens")
        rows = [
            (
                name,
                f"{found['examples']:,}",
                f"{found['tokens']:,}",
                f"{found['perplexity']:,.2f}",
                f"{found['loss']:.4f}",
                f"{found['accuracy']:.2%}",
            )
            for name in splits
            for found in [results[name]]
        ]
        yield Table("Splits", header, rows)
        return
    header = ("split", "examples", "accuracy", "95% interval", "macro-F1", "loss", "AUC")
    yield Table("Splits", header, [_split_row(name, results) for name in splits])


def _split_row(name: str, results: dict) -> tuple[str, ...]:
    found, details = results[name], results["details"][name]
    low, high = details["accuracy_interval"]
    return (
        name,
        f"{found['examples']:,}",
        f"{found['accuracy']:.4f}",
        f"{low:.4f} – {high:.4f}",
        f"{found['macro_f1']:.4f}",
        f"{found['loss']:.4f}",
        "—" if details["auc"] is None else f"{details['auc']:.4f}",
    )


def _cost(results: dict) -> Block:
    per_epoch = results["seconds_per_epoch"]
    rows = [
        ("steps", f"{results['steps']:,}"),
        ("step of the kept weights", f"{results['best_step']:,}"),
        ("seconds of training", f"{results['train_seconds']:,.1f}"),
        ("seconds per epoch", "unknown" if per_epoch is None else f"{per_epoch:,.1f}"),
        ("examples per second", f"{results['examples_per_second']:,.0f}"),
        ("parameters", f"{results['parameters']:,}"),
        ("replicas", f"{results['replicas']:,}"),
        *_costs(results),
    ]
    return Table("Cost", ("", "value"), rows)


def _costs(results: dict) -> Iterator[tuple[str, str]]:
    """Rows of what is known; a run of an earlier version has none of it."""
    shown = {
        "tokens_per_second": ("tokens per second", "{:,.0f}"),
        "padding": ("padding, share of the places", "{:.1%}"),
        "input_wait": ("waiting for input, share of the training", "{:.1%}"),
        "first_step_seconds": (
            "seconds from the start to the end of the first step",
            "{:,.1f}",
        ),
        "traces": ("graphs that TensorFlow made of the step", "{:,}"),
        "compilations": ("shapes, or batch sizes, that XLA compiled programs for", "{:,}"),
        "peak_memory_bytes": ("bytes of memory, at most", "{:,}"),
    }
    for key, (what, form) in shown.items():
        if results.get(key) is not None:
            yield what, form.format(results[key])


def _baseline(baseline: dict | None) -> Iterator[Block]:
    if baseline is None:
        return
    yield Heading("Baseline")
    if "none_because" in baseline:
        yield Paragraph(f"There is no baseline: {baseline['none_because']}.")
        return
    yield Paragraph(baseline["sentence"])
    rows = [
        (name, f"{baseline[name]['accuracy']:.4f}", f"{baseline[name]['macro_f1']:.4f}")
        for name in _SPLITS
        if name in baseline
    ]
    yield Table(baseline["description"], ("split", "accuracy", "macro-F1"), rows)
    yield Paragraph(
        f"Fitted on {baseline['training_examples']:,} training texts with {baseline['terms']:,}"
        f" terms in {baseline['seconds']:.1f} s. Of the {baseline['split']} examples only the"
        f" network has {baseline['only_network_right']:,} right, and only the baseline"
        f" {baseline['only_baseline_right']:,}."
    )


def _classes(results: dict) -> Iterator[Block]:
    details = results.get("details") or {}
    splits = [name for name in _SPLITS if name in details]
    if not splits:
        return
    yield Heading("By class")
    for split in splits:
        shown = _commonest(details[split]["per_class"])
        rows = [
            (name, *(f"{of[key]:.4f}" for key in _OF_A_CLASS), _count(of["support"]))
            for name, of in shown.items()
        ]
        header = ("class", "precision", "recall", "F1", "support")
        yield Table(f"Classes of the {split} split", header, rows)
        if left_out := len(details[split]["per_class"]) - len(shown):
            yield Paragraph(
                f"{left_out:,} classes with less support are left out; results.json has them all."
            )
    yield from _confusion(splits[-1], details[splits[-1]], results["classes"])


def _commonest(per_class: dict) -> dict:
    """The classes with most support, in their order."""
    names = sorted(per_class, key=lambda name: -per_class[name]["support"])[:_MOST_ROWS]
    chosen = set(names)
    return {name: of for name, of in per_class.items() if name in chosen}


def _confusion(split: str, details: dict, names: list[str]) -> Iterator[Block]:
    matrix = details["confusion"]
    if len(names) <= _MOST_COLUMNS:
        rows = [(name, *map(_count, row)) for name, row in zip(names, matrix, strict=True)]
        header = ("true class ↓ answer →", *names)
        yield Table(f"Answers on the {split} split", header, rows)
    shown = _commonest(details["per_class"])
    recalls = [f"{name} {of['recall']:.0%}" for name, of in shown.items()]
    recalls += [f"{len(names) - len(shown):,} more"] if len(names) > len(shown) else []
    alt = f"Confusion matrix of the {split} split. Right answers: {', '.join(recalls)}."
    yield Picture(pictures.confusion(matrix, names), alt)


def _count(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def _examples(story: dict) -> Iterator[Block]:
    if not story.get("examples"):
        return
    yield Heading(f"Examples of the {story['examples_of']} split")
    for group in story["examples"]:
        yield Heading(group["title"], level=3)
        for example in group["examples"]:
            shown = ", ".join(f"{n} {p:.4f}" for n, p in example["probabilities"].items())
            verdict = "right" if example["label"] == example["answer"] else "wrong"
            note = f"true: {example['label']}; answer: {example['answer']} ({verdict}); {shown}"
            yield Quote(example["text"], note)
