import dataclasses
import shutil
import threading

import gin
import numpy as np
import pytest

from sentiment_train.data.encoders import WordEncoder
from sentiment_train.data.prepare import fingerprint_of, prepare
from sentiment_train.data.splits import Splits
from sentiment_train.data.text import TextRules
from sentiment_train.data.vocabulary import Vocabulary
from sentiment_train.errors import DataError
from sentiment_train.schema import BadRow, Example

ROWS = [(f"a {word} film no {i}", word) for i in range(20) for word in ("bad", "good")]
NOTHING_FOUND = dict.fromkeys(
    ("duplicates", "conflicting", "beyond_max", "low_confidence", "bad_rows"), 0
)
BUILT = ["reading, splitting and encoding (kept for the next run)"]


class Preparing:
    """One source and cache; remembers what was said."""

    def __init__(self, source, cache):
        self.source, self.cache, self.said = source, cache, []

    def __call__(self, rules=Splits(), encoder=WordEncoder()):  # noqa: B008
        return prepare(self.source, rules, encoder, str(self.cache), self.said.append)

    def store(self):
        (directory,) = (d for d in self.cache.glob("store-*") if d.is_dir())
        return directory


@pytest.fixture
def preparing(tf, list_source, tmp_path):
    return Preparing(list_source(ROWS), tmp_path / "cache")


@pytest.fixture(scope="module")
def built(tf, list_source, tmp_path_factory):
    """A finished cache and what is in it."""
    once = Preparing(list_source(ROWS), tmp_path_factory.mktemp("built"))
    return once.cache, content(once())


@pytest.fixture
def intact(built, preparing):
    """What is in the finished cache, a copy of which is that of `preparing`."""
    shutil.copytree(built[0], preparing.cache)
    return built[1]


def content(data):
    """Everything of the prepared splits as plain values."""
    arrays = ("tokens", "offsets", "labels", "weights")
    return {
        n: [*(getattr(s, a).tolist() for a in arrays), list(s.texts)]
        for n, s in data.splits.items()
    }


def test_the_store_holds_the_encoded_splits(tf, preparing):
    rows = [Example(text, label, 0.5, "") for text, label in ROWS]
    preparing.source.rows = {"all": [*rows, rows[0], BadRow("r.csv:9: bad")]}
    data = preparing()
    assert data.class_names == ("bad", "good")
    assert {name: len(split) for name, split in data.splits.items()} == {
        "train": 32,
        "validation": 4,
        "test": 4,
    }
    assert data.found == {**NOTHING_FOUND, "duplicates": 1, "bad_rows": 1}
    assert (preparing.store() / "bad_rows.txt").read_text() == "r.csv:9: bad\n"
    assert data.longest == 5
    assert data.description == "ListSource"
    for split in data.splits.values():
        for i, label in enumerate(split.labels):
            words = [data.encoder.words[t] for t in split.tokens[slice(*split.offsets[i : i + 2])]]
            assert words[:4] == ["a", data.class_names[label], "film", "no"]
            assert split.weights[i] == 0.5
            assert split.texts[i].split()[:4] == words[:4]


def test_a_text_with_half_a_character_is_stored_as_it_is_and_encoded_as_when_served(preparing):
    odd = "good \ud83d film \udc8a\n"
    preparing.source.rows = {"train": ROWS, "test": [(odd, "good"), ("bad film", "bad")]}
    data = preparing()
    test = data.splits["test"]
    assert list(test.texts) == [odd, "bad film"]
    words = [data.encoder.words[t] for t in test.tokens[slice(*test.offsets[:2])]]
    assert words == ["good", "[UNK]", "film", "[UNK]"]


def test_confidence_changes_what_is_trained_on_and_is_counted(preparing):
    preparing.source.rows = {
        "all": [Example(t, label, confidence=i % 4 / 4) for i, (t, label) in enumerate(ROWS, 1)]
    }
    plain, weighted = preparing(), preparing(Splits(confidence_as_weight=True))
    filtered = preparing(Splits(confidence_above=0.4))
    assert set(weighted.splits["train"].weights.tolist()) == {0, 0.25, 0.5, 0.75}
    assert set(filtered.splits["train"].weights.tolist()) == {1}
    left_out = len(plain.splits["train"]) - len(filtered.splits["train"])
    assert filtered.found["low_confidence"] == left_out > 10
    assert len({data.content for data in (plain, weighted, filtered)}) == 3
    for name in ("validation", "test"):
        texts = [list(data.splits[name].texts) for data in (plain, weighted, filtered)]
        assert texts[0] == texts[1] == texts[2]
        assert set(weighted.splits[name].weights.tolist()) == {1}


def test_only_words_of_the_training_split_are_known(preparing):
    data = preparing()
    train = np.unique(data.splits["train"].tokens)
    assert set(range(2, data.encoder.vocabulary_size)) <= set(train)
    assert 1 in data.splits["test"].tokens


def test_the_second_time_nothing_is_read(preparing, intact):
    data = preparing()
    assert (preparing.source.reads, preparing.said) == (0, [])
    assert content(data) == intact
    assert data.encoder.words[:5] == ("[PAD]", "[UNK]", "a", "film", "no")
    assert data.found == NOTHING_FOUND


@pytest.mark.parametrize(
    "name, damage",
    [
        ("train/tokens.npy", lambda content: content[:-1] + bytes([content[-1] ^ 1])),
        ("store.json", lambda content: content.replace(b"bad", b"bed")),
        ("vocabulary.txt", lambda content: content[:-5]),
        ("test/labels.npy", None),
    ],
)
def test_a_damaged_store_is_built_again_with_a_message(preparing, intact, name, damage):
    path = preparing.store() / name
    before = path.read_bytes()
    if damage:
        path.write_bytes(damage(before))
    else:
        path.unlink()
    assert content(preparing()) == intact
    assert path.read_bytes() == before
    assert preparing.said[0].startswith(f"damaged, built again — {preparing.store()}")
    assert preparing.said[1:] == BUILT


def test_a_half_written_store_is_built_again(preparing, intact):
    store = preparing.store()
    store.rename(f"{store}.partial")
    assert content(preparing()) == intact
    assert preparing.said == BUILT
    assert [d for d in preparing.cache.iterdir() if d.is_dir()] == [store]


def test_a_source_that_fails_leaves_nothing_behind(preparing):
    preparing.source.rows = {"all": ROWS[::2]}
    with pytest.raises(DataError, match="two classes"):
        preparing()
    assert not list(preparing.cache.glob("store-*/"))


def test_threads_that_build_at_once_share_one_store(preparing):
    results = []
    threads = [threading.Thread(target=lambda: results.append(preparing())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert preparing.source.reads == 1
    assert [content(r) for r in results] == [content(results[0])] * 3
    assert len({r.directory for r in results}) == 1


def test_an_unusable_cache_is_told(preparing, tmp_path):
    (tmp_path / "file").write_text("")
    for preparing.cache in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DataError, match=r"Cannot use the cache directory .* --cache_dir"):
            preparing()


def test_a_cache_in_the_cloud_is_refused(preparing):
    preparing.cache = "gs://bucket/cache"
    with pytest.raises(DataError, match=r"--cache_dir=gs://bucket/cache: .* name a local path"):
        preparing()


CHANGES = [
    ("splits", "validation", 0.2),
    ("splits", "test", 0.2),
    ("splits", "seed", 1),
    ("splits", "deduplicate", False),
    ("splits", "max_examples", 30),
    ("splits", "confidence_above", 0.5),
    ("splits", "confidence_as_weight", True),
    ("encoder", "max_length", 255),
    ("encoder", "max_length", None),
    ("encoder", "truncation", "keep_head"),
    ("text", "html_breaks", False),
    ("text", "lowercase", "off"),
    ("text", "punctuation", "keep"),
    ("text", "punctuation", "separate"),
    ("vocabulary", "max_size", 19_999),
    ("vocabulary", "min_count", 2),
]


def fingerprint(source, part=None, **change):
    parts = {"text": TextRules(), "vocabulary": Vocabulary(), "splits": Splits()}
    if part in parts:
        parts[part] = dataclasses.replace(parts[part], **change)
    encoder = WordEncoder(text=parts["text"], vocabulary=parts["vocabulary"])
    if part == "encoder":
        encoder = dataclasses.replace(encoder, **change)
    return fingerprint_of(source, parts["splits"], encoder)


@pytest.mark.parametrize("part, option, value", CHANGES)
def test_every_option_is_in_the_fingerprint(list_source, part, option, value):
    source = list_source(ROWS)
    assert fingerprint(source, part, **{option: value}) != fingerprint(source)


def test_no_option_was_forgotten_above():
    parts = {"splits": Splits, "encoder": WordEncoder, "text": TextRules, "vocabulary": Vocabulary}
    options = {(name, f.name) for name, part in parts.items() for f in dataclasses.fields(part)}
    assert options - {c[:2] for c in CHANGES} == {("encoder", "text"), ("encoder", "vocabulary")}


def test_content_and_classes_are_in_the_fingerprint(list_source):
    sources = [
        list_source(ROWS),
        list_source(ROWS[1:]),
        list_source(train=ROWS),
        list_source(ROWS, class_names=("good", "bad")),
    ]
    assert len({fingerprint(source) for source in sources}) == len(sources)


def test_equal_parts_have_one_fingerprint_however_they_were_made(list_source):
    source = list_source(list(ROWS))
    assert fingerprint(source) == fingerprint(list_source(ROWS))
    gin.parse_config("here/WordEncoder.max_length = 9")
    with gin.config_scope("here"):
        scoped = WordEncoder()
    assert fingerprint_of(source, Splits(), scoped) == fingerprint(source, "encoder", max_length=9)


def test_an_option_of_an_own_encoder_is_in_the_fingerprint(list_source):
    class Own:
        def __init__(self, size):
            self.size = size

    source = list_source(ROWS)
    prints = [fingerprint_of(source, Splits(), Own(size)) for size in (1, 1, 2)]
    assert prints[0] == prints[1] != prints[2]


def test_another_setting_makes_another_store(preparing, intact):
    assert preparing(encoder=WordEncoder(max_length=2)).longest == 2
    assert preparing().longest == 5
    assert preparing.source.reads == 1
