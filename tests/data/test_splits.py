import random
from collections import Counter
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment_train.data.splits import Splits, split
from sentiment_train.errors import ConfigError, DataError
from sentiment_train.schema import BadRow, Example


def rows(count, label, prefix="text"):
    return [(f"{prefix} {label} {i}", label) for i in range(count)]


POOL = rows(200, "neg") + rows(100, "pos")


def texts_of(result):
    return {name: [e.text for e in examples] for name, examples in result.splits.items()}


def test_each_class_gives_its_share_to_each_split(list_source):
    result = split(list_source(POOL), Splits(validation=0.2, test=0.1))
    counts = {name: Counter(e.label for e in result.splits[name]) for name in result.splits}
    assert counts == {
        "train": {"neg": 140, "pos": 70},
        "validation": {"neg": 40, "pos": 20},
        "test": {"neg": 20, "pos": 10},
    }
    assert list(result.splits) == ["train", "validation", "test"]


def test_no_example_is_lost_and_the_order_is_that_of_the_source(list_source):
    result = split(list_source(POOL), Splits())
    place = {text: i for i, (text, _) in enumerate(POOL)}
    assert sorted(chain.from_iterable(texts_of(result).values())) == sorted(place)
    for texts in texts_of(result).values():
        assert texts == sorted(texts, key=place.get)


def test_shares_of_zero_give_no_split(list_source):
    result = split(list_source(POOL), Splits(validation=0, test=0))
    assert list(result.splits) == ["train"]


@pytest.mark.parametrize("deduplicate", [True, False])
def test_rows_in_another_order_are_split_the_same_way(list_source, deduplicate):
    rules = Splits(deduplicate=deduplicate)
    varied = [(text.replace(" ", "  ", i % 3), label) for i, (text, label) in enumerate(POOL)]
    twice = POOL + varied if deduplicate else POOL
    shuffled = random.Random(1).sample(twice, len(twice))
    results = [texts_of(split(list_source(order), rules)) for order in (twice, shuffled)]
    first, second = (
        {name: {" ".join(text.split()) for text in texts} for name, texts in result.items()}
        for result in results
    )
    assert first == second


def test_another_seed_gives_another_split(list_source):
    tests = [set(texts_of(split(list_source(POOL), Splits(seed=s)))["test"]) for s in (0, 0, 1)]
    assert tests[0] == tests[1] != tests[2]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_text_is_on_two_sides(list_source, data):
    variants = st.tuples(
        st.integers(0, 30).map(str), st.sampled_from(["{}", " {}", "{}\n", "a {}", "a \t{}"])
    ).map(lambda pair: pair[1].format(pair[0]))
    label = st.sampled_from(["neg", "pos"])
    found = data.draw(st.lists(st.tuples(variants, label), min_size=5, max_size=80))
    source = list_source(
        train=[("good", "pos"), ("bad", "neg"), *found[::2]], test=found[1::2] or [("x", "pos")]
    )
    result = split(source, Splits(validation=0.3))
    kept = {n: [" ".join(t.split()) for t in texts] for n, texts in texts_of(result).items()}
    sides = [kept["train"], kept.get("validation", []), sorted(set(kept["test"]))]
    keys = [key for side in sides for key in side]
    assert len(keys) == len(set(keys))
    assert len(kept["test"]) == len(source.rows["test"])  # a given test split stays as it is
    count = sum(map(len, kept.values()))
    assert count + result.duplicates == sum(map(len, source.rows.values()))


def test_duplicates_stay_if_they_are_wanted(list_source):
    result = split(list_source(POOL + POOL), Splits(deduplicate=False))
    assert sum(map(len, result.splits.values())) == 2 * len(POOL)
    assert result.duplicates == 0


def test_duplicates_with_another_label_are_counted(list_source):
    extra = [("text neg 0", "neg"), ("text  neg 1", "pos"), ("text neg 2\n", "pos")]
    result = split(list_source(POOL + extra), Splits())
    assert (result.duplicates, result.conflicting) == (3, 2)
    kept = {e.text: e.label for examples in result.splits.values() for e in examples}
    assert kept["text neg 1"] == "neg"  # the first one is kept


def test_a_given_test_split_is_kept_and_validation_is_cut_from_train(list_source):
    test = rows(50, "neg", "test") + rows(50, "pos", "test")
    result = split(list_source(train=POOL, test=test), Splits(validation=0.1, test=0.5))
    assert texts_of(result)["test"] == [text for text, _ in test]
    assert {name: len(e) for name, e in result.splits.items()} == {
        "train": 270,
        "validation": 30,
        "test": 100,
    }


def test_texts_of_the_test_split_are_taken_out_of_the_others(list_source):
    source = list_source(
        train=[*POOL, ("in test", "pos"), ("in validation", "neg")],
        validation=[("in  test", "pos"), ("in validation", "neg"), ("other", "pos")],
        test=[("in test", "pos"), ("mine", "neg")],
    )
    result = split(source, Splits())
    assert result.duplicates == 3
    assert texts_of(result)["test"] == ["in test", "mine"]
    assert texts_of(result)["validation"] == ["in validation", "other"]
    assert texts_of(result)["train"] == [text for text, _ in POOL]


def test_skipped_rows_are_counted_and_a_few_are_reported(list_source):
    bad = [BadRow(f"r.csv:{i}: too many fields") for i in range(8)]
    result = split(list_source([*bad[:4], *POOL, *bad[4:]]), Splits())
    assert result.bad_rows == 8
    assert result.bad_row_messages == [row.message for row in bad[:5]]


@pytest.mark.parametrize(
    "splits, message",
    [
        ({"all": []}, "ListSource: no training examples"),
        ({"train": [], "test": POOL}, "ListSource: no training examples"),
        ({"train": POOL, "test": POOL, "dev": POOL}, r"gives unknown splits \['dev'\]"),
        ({"all": rows(20, "pos")}, "all 16 training examples have the label 'pos'"),
        ({"train": rows(5, "pos", "my"), "test": POOL}, "have the label 'pos'"),
        ({"train": POOL, "test": POOL}, "no examples are left for training"),
        (
            {"train": POOL, "test": [Example("x", "poss", where="t.csv:7")]},
            r"t.csv:7: label 'poss' in the test split is not in the training split"
            r" \('neg', 'pos'\). Did you mean 'pos'\?",
        ),
        ({"train": POOL, "validation": [("x", "other")]}, "^validation: label 'other' in the val"),
        (
            {"all": [("same ", "pos"), ("same", "neg")] * 9},
            r"of 18 training examples only 1 have a text of their own \(the first: 'same '\)"
            ".* right text column",
        ),
        ({"all": [("", "pos"), (" ", "neg")]}, r"\(the first: ''\)"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(list_source, splits, message):
    with pytest.raises(DataError, match=message):
        split(list_source(**splits), Splits())


def test_a_label_that_the_source_does_not_name_is_refused(list_source):
    with pytest.raises(DataError, match=r"label 'pos' in the train split .* \('neg', 'good'\)"):
        split(list_source(POOL, class_names=("neg", "good")), Splits())


@pytest.mark.parametrize(
    "labels, expected",
    [
        (("pos", "neg", "Neutral"), ("Neutral", "neg", "pos")),
        (("10", "9", "-1"), ("-1", "9", "10")),
        (("10", "9", "x"), ("10", "9", "x")),
        (("--1", "2"), ("--1", "2")),
    ],
)
def test_classes_are_sorted_and_numbers_by_value(list_source, labels, expected):
    source = list_source([row for label in labels for row in rows(9, label)])
    assert split(source, Splits()).class_names == expected


def test_the_class_order_of_the_source_is_kept(list_source):
    result = split(list_source(POOL, class_names=("pos", "neg")), Splits())
    assert result.class_names == ("pos", "neg")


@pytest.mark.parametrize("count", range(1, 8))
def test_a_tiny_class_stays_in_the_training_split(list_source, count):
    result = split(list_source(POOL + rows(count, "rare")), Splits(validation=0.2, test=0.2))
    counts = [sum(e.label == "rare" for e in result.splits[name]) for name in result.splits]
    assert counts == [count - 2 * round(0.2 * count), *[round(0.2 * count)] * 2]
    assert counts[0] > 0


def doubtful(rows, step=4):
    """Examples with confidences 0, 1/step, … 1, all of weight 2."""
    return [Example(t, label, 2.0, "", i % (step + 1) / step) for i, (t, label) in enumerate(rows)]


def test_only_training_examples_need_confidence(list_source):
    source = list_source(doubtful(POOL))
    everything = split(source, Splits()).splits
    result = split(source, Splits(confidence_above=0.25))
    assert result.splits["train"] == [e for e in everything["train"] if e.confidence > 0.25]
    assert result.low_confidence == len(everything["train"]) - len(result.splits["train"]) > 50
    for name in ("validation", "test"):
        assert result.splits[name] == everything[name]
        assert min(e.confidence for e in result.splits[name]) == 0


def test_given_splits_keep_their_doubtful_examples(list_source):
    given = {name: doubtful(rows(20, "neg", name) + rows(20, "pos", name)) for name in ("a", "b")}
    source = list_source(train=doubtful(POOL), validation=given["a"], test=given["b"])
    rules = Splits(confidence_above=0.5, confidence_as_weight=True)
    result = split(source, rules)
    assert (result.splits["validation"], result.splits["test"]) == (given["a"], given["b"])
    assert len(result.splits["train"]) == len(POOL) * 2 // 5


def test_confidence_weighs_training_examples_and_no_others(list_source):
    source = list_source(doubtful(POOL))
    everything = split(source, Splits()).splits
    result = split(source, Splits(confidence_as_weight=True))
    for name, examples in everything.items():
        factors = [e.confidence if name == "train" else 1.0 for e in examples]
        assert [e.weight for e in result.splits[name]] == [2.0 * factor for factor in factors]
        assert texts_of(result)[name] == [e.text for e in examples]
    assert result.low_confidence == 0


def test_a_class_without_confident_examples_is_told(list_source):
    source = list_source(
        [Example(text, label, confidence=0.9 * (label == "pos")) for text, label in POOL]
    )
    message = "Splits.confidence_above = 0.5 leaves no training example of the class 'neg'"
    with pytest.raises(DataError, match=message):
        split(source, Splits(confidence_above=0.5))


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(1, 60), min_size=2, max_size=4),
    most=st.integers(8, 120),
    order=st.randoms(use_true_random=False),
)
def test_a_subset_has_of_each_class_its_share(list_source, counts, most, order):
    pool = [row for i, count in enumerate(counts) for row in rows(count, f"class {i}")]
    rules = Splits(max_examples=most, validation=0, test=0)
    result = split(list_source(pool), rules)
    taken = Counter(e.label for e in result.splits["train"])
    assert taken.total() == min(most, len(pool))
    assert result.beyond_max == len(pool) - taken.total()
    for i, count in enumerate(counts):
        share = min(most / len(pool), 1) * count
        assert 1 <= taken[f"class {i}"] <= count
        assert abs(taken[f"class {i}"] - share) < len(counts)
    shuffled = split(list_source(order.sample(pool, len(pool))), rules)
    assert set(texts_of(shuffled)["train"]) == set(texts_of(result)["train"])


def test_a_subset_is_split_like_everything_and_given_splits_shrink_alike(list_source):
    def sizes(source, **rules):
        return {name: len(e) for name, e in split(source, Splits(**rules)).splits.items()}

    assert sizes(list_source(POOL), max_examples=90) == {"train": 72, "validation": 9, "test": 9}
    given = list_source(train=POOL, test=rows(50, "neg", "t") + rows(50, "pos", "t"))
    assert sizes(given, max_examples=40, validation=0.2) == {
        "train": 24,
        "validation": 6,
        "test": 10,
    }
    assert sizes(list_source(POOL), max_examples=10**6) == sizes(list_source(POOL))


def test_another_seed_takes_other_examples(list_source):
    sources = [split(list_source(POOL), Splits(seed=s, max_examples=60)) for s in (0, 0, 1)]
    kept = [set(chain.from_iterable(texts_of(result).values())) for result in sources]
    assert kept[0] == kept[1]
    assert len(kept[0] & kept[2]) < 40


@pytest.mark.parametrize(
    "options", [{"max_examples": 1}, {"confidence_above": 1.0}, {"confidence_above": -0.5}]
)
def test_options_that_leave_nothing_are_refused(options):
    with pytest.raises(ConfigError, match="out of range"):
        Splits(**options)


@pytest.mark.parametrize(
    "shares", [{"validation": 1.0}, {"test": -0.1}, {"validation": 0.5, "test": 0.5}]
)
def test_shares_that_leave_nothing_are_refused(shares):
    with pytest.raises(ConfigError, match="out of range"):
        Splits(**shares)
