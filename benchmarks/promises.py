"""What is promised of two cores, all in one place."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial

from benchmarks.rounds import ratios, values
from benchmarks.targets import AT_LEAST, AT_MOST, Found, Target


def _of(case: str, contender: str, measure: str, cases: dict) -> list[float]:
    return values(cases[case], contender, measure) if case in cases else []


def _ratio(case: str, over: tuple[str, str], under: tuple[str, str], cases: dict) -> list[float]:
    return ratios(cases[case], over, under) if case in cases else []


def _times(case: str, other: str) -> Found:
    """How often the rate of another goes into that of ours, of epochs after the first."""
    rate = "examples_per_second"
    return partial(_ratio, case, ("ours", rate), (other, rate))


def _latency(other: str) -> Found:
    measure = "latency_seconds"
    return partial(_ratio, "serving", (other, measure), ("ours", measure))


def _throughput(other: str) -> Found:
    measure = "texts_per_second"
    return partial(_ratio, "serving", ("ours", measure), (other, measure))


def _above(other: str, cases: dict) -> list[float]:
    """Test accuracy of each seed less that of another, which has none."""
    ours, linear = (_of("imdb", name, "test", cases) for name in ("flagship", other))
    return [a - linear[0] for a in ours] if linear else []


def _faster(key: str, what: str, group: str, case: str, other: str, bound: float) -> Target:
    return Target(key, what, group, AT_LEAST, bound, _times(case, other), " ×")


def _percent(
    key: str, what: str, group: str, sense: str, bound: float, found: Found, digits: int = 1
) -> Target:
    return Target(key, what, group, sense, bound, found, " %", digits, 100)


def _of_seeds(
    what: str, sense: str, bound: float, found: Found, unit: str = " %", scale: float = 100
) -> Target:
    """Of a flagship, judged by the mean of its seeds."""
    options = {"unit": unit, "digits": 2, "scale": scale, "middle": statistics.mean}
    return Target("flagship", what, "instead", sense, bound, found, **options)


def _seeds(case: str, gin: str) -> Callable[[str], Found]:
    """measure → what was found of a flagship."""
    return lambda measure: partial(_of, case, gin, measure)


_STEPS = {
    "lstm_128_8192": "LSTM of 128, 8,192 places",
    "lstm_256_32768": "LSTM of 256, 32,768 places",
    "gru_128_8192": "GRU of 128, 8,192 places",
    "gru_256_32768": "GRU of 256, 32,768 places",
}
_SAME = {"gru": "GRU", "bilstm_tutorial": "bidirectional LSTM"}
_MAIN = ("gru", "bilstm_tutorial", "airline", "bilstm", "flagship")
_BARE = "against `model(x)` in a `tf.function`"
_REVIEWS, _TWEETS = _seeds("imdb", "flagship"), _seeds("tweets", "use_multilingual_frozen")


def _share_of_limit(setting: str, measure: str = "gflops") -> Found:
    return partial(_ratio, "recurrent_step", (setting, measure), ("limit", "gflops"))


def _documents() -> list[Target]:
    group = "documents"
    script = "against document {}'s script, examples/s"
    loop = "`airline.gin` against document 003's loop on TensorFlow, examples/s"
    as_it_stands = ("against it as it stands, on PyTorch:", _times("airline", "airline_torch"))
    against = _times("airline", "airline")
    return [
        _faster("gru", f"`gru.gin` {script.format('000')}", group, "gru", "gru", 12),
        _faster(
            "bilstm_tutorial",
            f"`bilstm_tutorial.gin` {script.format('001')}",
            *(group, "bilstm_tutorial", "bilstm_tutorial", 10),
        ),
        Target("airline", loop, group, AT_LEAST, 50, against, " ×", beside=(as_it_stands,)),
    ]


def _recurrent_steps() -> list[Target]:
    start = "recurrent training step, useful FLOP/s of the matrix limit"
    return [
        Target(
            *("recurrent_step", f"{start}: {what}", "recurrent_step", AT_LEAST, 50),
            *(_share_of_limit(setting), " %", 0, 100),
            beside=(("all shapes of an epoch:", _share_of_limit(setting, "epoch_gflops")),),
        )
        for setting, what in _STEPS.items()
    ]


def _same_model() -> list[Target]:
    group = "same_model"
    keras = "same {}, same batches, against Keras `fit`"
    torch = "same {}, same batches, against PyTorch, {}"
    ways = {"torch_packed": "packed sequences", "torch_padded": "padded rows"}
    return [
        *(
            _faster("torch", torch.format(what, how), group, case, way, 3)
            for case, what in _SAME.items()
            for way, how in ways.items()
        ),
        *(
            _faster("keras", keras.format(what), group, case, "keras", 1.5)
            for case, what in _SAME.items()
        ),
    ]


def _costs() -> list[Target]:
    of_training = lambda gin, measure: partial(_of, "configurations", gin, measure)  # noqa: E731
    first = "start to first step, {}, store warm, after TensorFlow's import, `{}.gin`"
    size = lambda gin: "all tweets" if gin == "airline" else "5,000 reviews"  # noqa: E731
    encoded = partial(_of, "encoding", "ours", "encode_seconds")
    return [
        *(
            _percent(
                *("padding", f"padding of an epoch, `{gin}.gin`", "data", AT_MOST, 8),
                partial(_of, "padding", gin, "padding"),
            )
            for gin in _MAIN
        ),
        *(
            _percent(
                *("input_wait", f"waiting for input, store warm, `{gin}.gin`"),
                *("configurations", AT_MOST, 3, of_training(gin, "input_wait")),
            )
            for gin in _MAIN
        ),
        *(
            Target(
                *("first_step", first.format(size(gin), gin), "configurations", AT_MOST, 10),
                *(of_training(gin, "first_step_seconds"), " s"),
            )
            for gin in _MAIN
        ),
        Target(
            *("encoding", "encoding 25,000 reviews from nothing", "data", AT_MOST, 6),
            *(encoded, " s"),
        ),
    ]


def _answers() -> list[Target]:
    than = "SavedModel against Keras `predict`"
    return [
        Target(
            *("latency", f"{than}, latency of one text", "serving", AT_LEAST, 3),
            *(_latency("predict"), " ×"),
            beside=((f"{_BARE}:", _latency("graph")),),
        ),
        Target(
            *("throughput", f"{than}, throughput in batches of 64", "serving", AT_LEAST, 3),
            *(_throughput("predict"), " ×"),
            beside=((f"{_BARE}:", _throughput("graph")),),
        ),
    ]


def _flagships() -> list[Target]:
    reviews, tweets = "`flagship.gin`, reviews", "`use_multilingual_frozen.gin`, tweets"
    error, above = "calibration error on test", lambda other: partial(_above, other)
    return [
        _of_seeds(f"{reviews}: test accuracy, mean of 3 seeds", AT_LEAST, 92.5, _REVIEWS("test")),
        *(
            _of_seeds(f"{reviews}: points above {what}", AT_LEAST, least, above(other), "")
            for other, what, least in (
                ("tfidf", "TF-IDF of words and pairs, logistic regression", 1),
                ("nb", "NB-weighted words, pairs and triples, logistic regression", 0),
            )
        ),
        _of_seeds(f"{reviews}: {error}", AT_MOST, 2, _REVIEWS("calibration_error")),
        Target(
            *("flagship", f"{reviews}: from texts to answers", "instead", AT_MOST, 6),
            *(_REVIEWS("process_seconds"), " min", 1, 1 / 60),
        ),
        _of_seeds(f"{tweets}: test accuracy, mean of 3 seeds", AT_LEAST, 81, _TWEETS("test")),
        _of_seeds(f"{tweets}: macro-F1", AT_LEAST, 0.74, _TWEETS("macro_f1"), "", 1),
        _of_seeds(f"{tweets}: {error}", AT_MOST, 2, _TWEETS("calibration_error")),
    ]


TARGETS = (
    *_documents(),
    *_recurrent_steps(),
    *_same_model(),
    *_costs(),
    *_answers(),
    *_flagships(),
)
