import json

import numpy as np

from sentiment_train.evaluation.metrics import Predictions
from sentiment_train.evaluation.notable import notable_examples

# Probability of "yes", and the truth; the last row has no weight.
YES = np.array([0.99, 0.9, 0.2, 0.6, 0.45, 0.05, 1.0])
TRUE = np.array([0, 1, 1, 1, 0, 0, 0], np.int32)
TEXTS = [f"text {i}" for i in range(7)]


def groups(count, texts=TEXTS):
    with np.errstate(divide="ignore"):
        logits = np.clip(np.log(YES / (1 - YES)), -30, 30).astype(np.float32)[:, None]
    weights = np.array([1, 1, 1, 1, 1, 1, 0], np.float32)
    return notable_examples(Predictions(logits, TRUE, weights), texts, ("no", "yes"), count)


def test_the_surest_errors_the_least_sure_and_the_surest_of_each_class():
    found = {g["title"]: [e["row"] for e in g["examples"]] for g in groups(2)}
    assert found == {
        "Wrong, and most sure of it": [0, 2],
        "Least sure": [4, 3],
        "Right, and most sure of it: no": [5, 4],
        "Right, and most sure of it: yes": [1, 3],
    }


def test_an_example_tells_everything_that_is_shown():
    (first, *_), *_ = [group["examples"] for group in groups(1)]
    assert json.loads(json.dumps(first)) == {
        "row": 0,
        "text": "text 0",
        "label": "no",
        "answer": "yes",
        "probabilities": {"yes": 0.99, "no": 0.01},
    }


def test_of_many_classes_the_likeliest_and_the_true_one_are_shown():
    logits = np.array([[5.0, 4, 3, 2, 1]], np.float32)
    p = Predictions(logits, np.array([4], np.int32), np.ones(1, np.float32))
    example = notable_examples(p, ["x"], tuple("abcde"), 1)[0]["examples"][0]
    assert list(example["probabilities"]) == ["a", "b", "c", "e"]


def test_of_a_thousand_classes_the_commonest_have_a_group_and_the_others_one_together():
    labels = np.concatenate([np.arange(1000), np.arange(900, 1000)]).astype(np.int32)
    logits = np.eye(1000, dtype=np.float32)[labels]  # all are right
    p = Predictions(logits, labels, np.ones(1100, np.float32))
    names = tuple(f"c{i}" for i in range(1000))
    found = notable_examples(p, ["x"] * 1100, names, 2)
    titles = [group["title"].removeprefix("Right, and most sure of it: ") for group in found]
    assert titles == ["Least sure", *names[900:920], "the other 980"]
    assert [example["label"] for example in found[-1]["examples"]] == ["c0", "c1"]


def test_long_texts_are_cut_and_each_is_one_line_that_utf8_can_hold():
    texts = ["a\n b\t" + "x" * 1000, "half a pair \ud83d", *TEXTS[2:]]
    found = {e["row"]: e["text"] for g in groups(3, texts) for e in g["examples"]}
    assert found[0].startswith("a b xxx")
    assert found[0].endswith("xxx …")
    assert len(found[0]) < 610
    assert found[1] == "half a pair ?"


def test_none_are_shown_if_none_are_asked_for():
    assert groups(0) == []
