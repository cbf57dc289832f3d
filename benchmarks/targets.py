"""What is promised of two cores, all in one place; judged by the medians in `results.json`."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from benchmarks.rounds import ratios, values
from benchmarks.spread import spread

AT_LEAST, AT_MOST = "≥", "≤"


@dataclass(frozen=True)
class Target:
    """One promise.

    Args:
      key: name of the profile that explains why it is missed: `profiles/<key>.md`.
      group: of `groups`, whose cases `found` looks at.
      found: the cases of the group → a number for each round; none where it was not measured.
      scale: from these numbers to those of `bound`.
    """

    key: str
    what: str
    group: str
    sense: str
    bound: float
    found: Callable[[dict], list[float]]
    unit: str = ""
    digits: int = 1
    scale: float = 1.0

    def measured(self, results: dict) -> list[float]:
        """In the unit of the bound, one for each round."""
        part = results["groups"].get(self.group)
        return [value * self.scale for value in self.found(part["cases"])] if part else []

    def reached(self, results: dict) -> bool | None:
        """None if it was not measured."""
        found = self.measured(results)
        if not found:
            return None
        middle = statistics.median(found)
        return middle >= self.bound if self.sense == AT_LEAST else middle <= self.bound


def _of(case: str, contender: str, measure: str, cases: dict) -> list[float]:
    return values(cases[case], contender, measure) if case in cases else []


def _ratio(case: str, over: tuple[str, str], under: tuple[str, str], cases: dict) -> list[float]:
    return ratios(cases[case], over, under) if case in cases else []


def _faster(key: str, what: str, group: str, case: str, other: str, bound: float) -> Target:
    """How often the rate of another goes into that of ours, both of the second epoch."""
    over, under = ("ours", "examples_per_second"), (other, "examples_per_second")
    return Target(key, what, group, AT_LEAST, bound, partial(_ratio, case, over, under), " ×")


def _percent(
    key: str, what: str, group: str, sense: str, bound: float, found: Callable, digits: int = 1
) -> Target:
    return Target(key, what, group, sense, bound, found, " %", digits, 100)


def _share(setting: str) -> Callable:
    return partial(_ratio, "recurrent_step", (setting, "gflops"), ("limit", "gflops"))


def _of_training(gin: str, measure: str) -> Callable:
    return partial(_of, "configurations", gin, measure)


def _times_faster_answers(over: tuple[str, str], under: tuple[str, str]) -> Callable:
    return partial(_ratio, "serving", over, under)


def _points_above_tfidf(cases: dict) -> list[float]:
    ours, linear = (_of("imdb", name, "test", cases) for name in ("flagship", "tfidf"))
    return [a - linear[0] for a in ours] if linear else []


_MAIN = ("gru", "bilstm_tutorial", "airline", "bilstm")
_SETTINGS = {
    "lstm_128_8192": "LSTM of 128, 8,192 places",
    "lstm_256_32768": "LSTM of 256, 32,768 places",
    "gru_128_8192": "GRU of 128, 8,192 places",
    "gru_256_32768": "GRU of 256, 32,768 places",
}
_SAME = {"gru": "GRU", "bilstm_tutorial": "bidirectional LSTM"}

TARGETS = (
    _faster(
        "gru", "`gru.gin` against document 000's script, examples/s", "documents", "gru", "gru", 12
    ),
    _faster(
        "bilstm_tutorial",
        "`bilstm_tutorial.gin` against document 001's script, examples/s",
        *("documents", "bilstm_tutorial", "bilstm_tutorial", 10),
    ),
    _faster(
        "airline",
        "`airline.gin` against document 003's loop on TensorFlow, examples/s",
        *("documents", "airline", "airline", 50),
    ),
    *(
        _percent(
            "recurrent_step",
            f"recurrent training step, useful FLOP/s of the matrix limit: {what}",
            *("recurrent_step", AT_LEAST, 50, _share(setting), 0),
        )
        for setting, what in _SETTINGS.items()
    ),
    *(
        _faster(
            "torch",
            f"same {what}, same batches, against PyTorch (packed sequences)",
            *("same_model", case, "torch_packed", 3),
        )
        for case, what in _SAME.items()
    ),
    *(
        _faster(
            "keras",
            f"same {what}, same batches, against Keras `fit`",
            *("same_model", case, "keras", 1.5),
        )
        for case, what in _SAME.items()
    ),
    *(
        _percent(
            "padding",
            f"padding of an epoch, `{gin}.gin`",
            *("data", AT_MOST, 8, partial(_of, "padding", gin, "padding")),
        )
        for gin in _MAIN
    ),
    *(
        _percent(
            "input_wait",
            f"waiting for input, store warm, `{gin}.gin`",
            *("configurations", AT_MOST, 3, _of_training(gin, "input_wait")),
        )
        for gin in _MAIN
    ),
    *(
        Target(
            "first_step",
            f"start to first step, store warm, after TensorFlow's import, `{gin}.gin`",
            *("configurations", AT_MOST, 10, _of_training(gin, "first_step_seconds"), " s"),
        )
        for gin in _MAIN
    ),
    Target(
        "encoding",
        "encoding 25,000 reviews from nothing",
        *("data", AT_MOST, 6, partial(_of, "encoding", "ours", "encode_seconds"), " s"),
    ),
    Target(
        "latency",
        "SavedModel against Keras `predict`, latency of one text",
        *("serving", AT_LEAST, 3),
        _times_faster_answers(("predict", "latency_seconds"), ("ours", "latency_seconds")),
        " ×",
    ),
    Target(
        "throughput",
        "SavedModel against Keras `predict`, throughput of 64 texts",
        *("serving", AT_LEAST, 3),
        _times_faster_answers(("ours", "texts_per_second"), ("predict", "texts_per_second")),
        " ×",
    ),
    _percent(
        "flagship",
        "`flagship.gin` on IMDb, test accuracy (one seed)",
        *("instead", AT_LEAST, 92.5, partial(_of, "imdb", "flagship", "test"), 2),
    ),
    Target(
        "flagship",
        "`flagship.gin` above TF-IDF of words and pairs, logistic regression, points",
        *("instead", AT_LEAST, 1.0, _points_above_tfidf),
        digits=2,
        scale=100,
    ),
    Target(
        "flagship",
        "`flagship.gin`, from texts to answers",
        *("instead", AT_MOST, 6, partial(_of, "imdb", "flagship", "process_seconds"), " min"),
        scale=1 / 60,
    ),
)


def table(results: dict, targets: tuple[Target, ...] = TARGETS) -> str:
    """Markdown: every target, what was found, and whether it is reached."""
    lines = ["| what | target | found | |", "|---|---:|---:|---|"]
    words = {True: "reached", False: "**missed**", None: "not measured"}
    for target in targets:
        found = target.measured(results)
        shown = spread(found, target.digits) + target.unit if found else ""
        wanted = f"{target.sense} {target.bound:g}{target.unit}"
        lines.append(f"| {target.what} | {wanted} | {shown} | {words[target.reached(results)]} |")
    return "\n".join(lines)
