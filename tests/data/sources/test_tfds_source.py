import itertools
import socket
import sys
import time

import numpy as np
import pytest

from sentiment_train.data.sources.network import unreachable
from sentiment_train.data.sources.packaged import PackagedReviews
from sentiment_train.data.sources.tfds import TfdsSource
from sentiment_train.errors import ConfigError, DataError
from sentiment_train.schema import BadRow, Source

tfds = pytest.importorskip("tensorflow_datasets")

NAMES = ["negative", "positive"]
SIZES = {"train": 60, "test": 20, "unsupervised": 5}

with tfds.core.registered.skip_registration():  # so that reading finds only the prepared files

    class TinyReviews(tfds.core.GeneratorBasedBuilder):
        """A hundred of the packaged reviews in three splits, the last without labels."""

        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path = None

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(
                    {
                        "text": tfds.features.Text(),
                        "label": tfds.features.ClassLabel(names=NAMES),
                        "stars": tfds.features.Scalar(np.int32),
                        "verdict": tfds.features.Text(),
                        "score": tfds.features.Scalar(np.float32),
                    }
                ),
            )

        def _split_generators(self, dl_manager):
            reviews = iter(PackagedReviews("rotten_tomatoes").splits()["all"])
            return {
                split: self._generate_examples(split, list(itertools.islice(reviews, size)))
                for split, size in SIZES.items()
            }

        def _generate_examples(self, split, reviews):
            for i, review in enumerate(reviews):
                label = NAMES[i % 2]
                yield (
                    i,
                    {
                        "text": review.text,
                        "label": -1 if split == "unsupervised" or i == 7 else label,
                        "stars": i % 2 - 1,
                        "verdict": label,
                        "score": 0.5,
                    },
                )


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A directory of prepared datasets that holds `tiny_reviews`."""
    directory = tmp_path_factory.mktemp("tensorflow_datasets")
    builder = TinyReviews(data_dir=str(directory))
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig())
    return str(directory)


@pytest.fixture
def no_network(monkeypatch):
    def fail(*arguments, **options):
        raise socket.gaierror(-2, "Name or service not known")

    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", fail)
    monkeypatch.setattr(socket.socket, "connect", fail)


@pytest.fixture
def tiny(data_dir, no_network):
    return lambda **options: TfdsSource(**{"name": "tiny_reviews", "data_dir": data_dir, **options})


def test_prepared_data_is_read_without_a_network(tiny, read):
    source = tiny()
    assert isinstance(source, Source)
    assert source.class_names == ("negative", "positive")
    assert list(source.splits()) == ["train", "test"]
    rows = read(source, "train")
    examples = [row for row in rows if not isinstance(row, BadRow)]
    assert len(examples) == SIZES["train"] - 1
    assert {example.label for example in examples} == set(NAMES)
    packaged = itertools.islice(PackagedReviews("rotten_tomatoes").splits()["all"], SIZES["train"])
    assert {example.text for example in examples} < {example.text for example in packaged}
    assert read(source, "train") == rows


def test_an_example_without_label_is_a_bad_row(tiny, read):
    bad = [row for row in read(tiny(), "test") if isinstance(row, BadRow)]
    assert len(bad) == 1
    assert "no label (-1)" in bad[0].message


def test_a_split_without_any_label_is_told(tiny, problem):
    message = problem(tiny(test_split="unsupervised"), "test")
    assert "no example of the split 'unsupervised' has a label" in message


def test_a_split_may_be_a_slice(tiny, read):
    source = tiny(train_split="train[:75%]", validation_split="train[75%:]", test_split=None)
    assert [len(read(source, split)) for split in source.splits()] == [45, 15]


def test_the_directory_of_one_version_may_be_named(tiny, data_dir, read):
    version = f"{data_dir}/tiny_reviews/1.0.0"
    assert len(read(tiny(data_dir=version), "test")) == SIZES["test"]
    with pytest.raises(DataError, match="holds 'tiny_reviews', not 'imdb_reviews'"):
        tiny(data_dir=version, name="imdb_reviews").splits()


def test_a_label_may_be_an_integer_or_a_string(tiny, read):
    integers = tiny(label_feature="stars")
    assert integers.class_names is None
    assert {example.label for example in read(integers, "test")} == {"-1", "0"}
    assert {e.label for e in read(tiny(label_feature="verdict"), "test")} == set(NAMES)


@pytest.mark.parametrize(
    "options, expected",
    [
        ({"name": "imdb_reviws"}, "Did you mean 'imdb_reviews'?"),
        ({"name": "glue/sst3"}, "'glue' has no configuration 'sst3'. Did you mean"),
        ({"text_feature": "txt"}, "it has 'label', 'score', 'stars', 'text', 'verdict'. Did"),
        ({"text_feature": "label"}, "text_feature = 'label' is not one string"),
        ({"label_feature": "score"}, "label_feature = 'score' is not one class"),
        ({"train_split": "tran"}, "has no split 'tran'; it has"),
        ({"test_split": "tests"}, "Did you mean 'test'? Or set TfdsSource.test_split = None."),
        ({"train_split": "train[:x]"}, "TfdsSource.train_split = 'train[:x]': "),
        ({"train_split": "train+tst"}, "has no split 'tst'"),
    ],
)
def test_a_wrong_name_gets_one_answer(tiny, options, expected):
    with pytest.raises(DataError) as error:
        tiny(**options).splits()
    assert expected in error.value.message
    assert "\n" not in error.value.message


def test_nonsense_is_refused():
    for options in ({"name": "../x"}, {"name": "x", "test_split": "train"}, {"name": "a:b:c"}):
        with pytest.raises(ConfigError, match=r"^TfdsSource\."):
            TfdsSource(**options)


def test_what_is_not_prepared_fails_soon_without_a_network(no_network, tmp_path):
    pytest.importorskip("importlib_resources")  # TFDS needs it to prepare, but does not require it
    start = time.monotonic()
    with pytest.raises(DataError) as error:
        TfdsSource(name="imdb_reviews", data_dir=str(tmp_path)).splits()
    assert time.monotonic() - start < 15
    for words in (
        "not prepared in",
        "cannot be downloaded",
        "tfds.load('imdb_reviews')",
        "imdb.gin",
    ):
        assert words in error.value.message


def test_downloading_may_be_forbidden(no_network, tmp_path):
    with pytest.raises(DataError, match=r"TfdsSource\.download is False"):
        TfdsSource(name="imdb_reviews", data_dir=str(tmp_path), download=False).splits()


def test_a_network_that_says_nothing_is_given_up_in_time(no_network, monkeypatch):
    def answer_late(*arguments, **options):
        time.sleep(20)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", answer_late)
    start = time.monotonic()
    assert unreachable(["http://a.example/x", "http://b.example/y"], seconds=1) == (
        "a.example (no answer in 1 seconds)"
    )
    assert time.monotonic() - start < 15  # did not wait for the answer


def test_a_host_is_known_to_be_unreachable_by_its_name(no_network):
    assert unreachable(["https://a.example/x", "https://a.example/y"]).startswith("a.example (no ")
    assert unreachable(["gs://bucket/x"]).startswith("storage.googleapis.com (no ")
    assert unreachable(["file:///tmp/x"]) is None
    assert unreachable([]) is None


def test_a_missing_package_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)  # as if it were not installed
    with pytest.raises(DataError, match=r"pip install tensorflow-datasets"):
        TfdsSource(name="imdb_reviews").splits()


def test_the_fingerprint_depends_on_dataset_and_options(tiny, data_dir):
    sources = [
        tiny(),
        tiny(train_split="train[:50%]"),
        tiny(test_split=None),
        tiny(label_feature="stars"),
    ]
    assert len({source.fingerprint() for source in sources}) == len(sources)
    version = f"{data_dir}/tiny_reviews/1.0.0"
    assert tiny(data_dir=version).fingerprint() == tiny().fingerprint()
