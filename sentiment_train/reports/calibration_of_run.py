"""How far the probabilities of a run can be believed, without and with its temperature."""

from __future__ import annotations

from collections.abc import Iterator

from sentiment_train.reports import pictures
from sentiment_train.reports.document import Block, Heading, Paragraph, Picture, Table

_SPLITS = ("validation", "test")
_LABELS = ("as it comes", "calibrated")


def calibration_of_run(results: dict) -> Iterator[Block]:
    """The temperature, the errors before and after, and a reliability diagram.

    Of a language model nothing; of a run of an earlier version what it has.

    Args:
      results: of `results.json`.
    """
    details = results.get("details") or {}
    splits = [name for name in _SPLITS if name in details]
    if not splits:
        return
    yield Heading("Calibration")
    yield Paragraph(_about(results.get("calibration")))
    yield Table("Calibration error and loss", *_table(splits, results))
    if "reliability" in details[splits[-1]]:
        yield _diagram(splits[-1], details[splits[-1]], _is_calibrated(results))


def _about(calibration: dict | None) -> str:
    """What was fitted, and which numbers have it."""
    if calibration is None:
        return "No temperature was fitted. All numbers are of the probabilities as they come."
    if why := calibration.get("none_because"):
        return (
            f"There is no temperature: {why}. All numbers are of the probabilities as they come,"
            " and so are those of the exported model."
        )
    return (
        f"A network is often surer than it is right, or less sure. So its logits are divided by one"
        f" number, the temperature: {calibration['temperature']:.4f}. It has the smallest loss on"
        f" {calibration['examples']:,} validation examples. No answer changes. Calibrated are the"
        " probabilities of the exported model, those of the examples in this report, and what is"
        " called so here; every other number, the losses among them, is not."
    )


def _table(splits: list[str], results: dict) -> tuple[tuple, list[tuple]]:
    """Header and rows."""
    details = results["details"]
    if not _is_calibrated(results):
        rows = [(name, _shown(details[name], "calibration_error")) for name in splits]
        return ("split", "calibration error"), rows
    header = ("split", *(f"{of} {how}" for of in ("error", "loss") for how in _LABELS))
    rows = [
        (
            name,
            _shown(details[name], "calibration_error_uncalibrated"),
            _shown(details[name], "calibration_error"),
            _shown(results[name], "loss"),
            _shown(details[name], "calibrated_loss"),
        )
        for name in splits
    ]
    return header, rows


def _is_calibrated(results: dict) -> bool:
    calibration = results.get("calibration")
    return calibration is not None and "none_because" not in calibration


def _shown(values: dict, key: str) -> str:
    return f"{values[key]:.4f}"


def _diagram(split: str, details: dict, calibrated: bool) -> Picture:
    found = (details["reliability_uncalibrated"], details["reliability"])
    of = dict(zip(_LABELS, found if calibrated else found[:1], strict=False))
    words = [f"{label}: {_course(intervals)}" for label, intervals in of.items()]
    return Picture(
        pictures.reliability(of),
        f"Share of right answers of the {split} split against the probability that they were given;"
        f" on the diagonal both are the same. {'; '.join(words)}.",
    )


def _course(intervals: list[dict]) -> str:
    """Of the interval with most examples."""
    most = max(intervals, key=lambda of: of["weight"])
    return f"where it says {most['probability']:.1%}, {most['right']:.1%} are right"
