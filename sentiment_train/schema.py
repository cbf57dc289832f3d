"""What passes between the rooms: examples, features and batches, and their shapes.

Everything that produces or consumes them imports the names from here, so a change of the contract
is a change of this file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

SPLITS = ("train", "validation", "test")


class Example(NamedTuple):
    """One labelled text, as a source gives it.

    `label` is the class *name*; `where` (`reviews.csv:1841`) is only for messages. `confidence`,
    from 0 to 1, is how sure those who labelled it were; `Splits` says what becomes of it.
    """

    text: str
    label: str
    weight: float = 1.0
    where: str = ""
    confidence: float = 1.0


class BadRow(NamedTuple):
    """Yielded by a source in place of an example it was told to skip; counted and reported."""

    message: str


@runtime_checkable
class Source(Protocol):
    """Where labelled texts come from. Any object with these methods is one."""

    def splits(self) -> Mapping[str, Iterable[Example | BadRow]]:
        """The examples, either by split (`train`, `validation`, `test`) or all under `all`.

        Raises:
          DataError: if something cannot be read; the message names the file and line.
        """

    def fingerprint(self) -> str:
        """A digest of the content and of every option that changes what `splits` gives."""


@runtime_checkable
class FittedEncoder(Protocol):
    """Text → ids, ready to be used in the input pipeline and inside a SavedModel.

    Lookup tables and the like must be in an attribute `resources: list`; the SavedModel keeps them.
    An attribute `max_length: int | None` tells models the most ids that a text can have.
    """

    vocabulary_size: int

    def encode(self, texts):
        """`[n] string` → `[n, (length)] int32` ragged; TF ops only, every row at least one id.

        Ids are in `[0, vocabulary_size)`; 0 is reserved for padding.
        """

    def save(self, directory: str) -> None:
        """Writes what `Encoder.load` needs (for words: `vocabulary.txt`)."""


@runtime_checkable
class Encoder(Protocol):
    """Learns a `FittedEncoder` from the training texts, or loads a saved one."""

    def fit(self, texts: Iterable[str]) -> FittedEncoder:
        """Learns from the training split only."""

    def load(self, directory: str) -> FittedEncoder:
        """Reads what `FittedEncoder.save` wrote."""


@dataclass(frozen=True)
class ModelInputs:
    """What a model needs to know of the data and the runtime when it is built."""

    vocabulary_size: int
    num_classes: int
    use_cudnn: bool = False  # for recurrent layers: there is a GPU, and no XLA
    max_length: int | None = None  # the encoder's longest output in tokens; None: unbounded


@runtime_checkable
class ModelConfig(Protocol):
    """A model family with its settings."""

    def build(self, inputs: ModelInputs) -> Any:
        """A Keras model: features `{"tokens": [batch, length] int32, "lengths": [batch] int32}` →

        logits `[batch, num_classes] float32`, or `[batch, 1]` (the log-odds of class 1) for two
        classes. Called inside the strategy's scope.

        A model with an attribute `predicts = "tokens"` is a language model: its output is that of
        `layers.next_token.NextToken`, three sums of each text `[batch, 3] float32`.
        """


class Batch(NamedTuple):
    """What enters a replica: numbers with static shapes, never strings.

    Padding is on the right and every row has `lengths >= 1`. A row of weight 0 that fills up a
    batch has one padding token.
    """

    features: dict[str, Any]  # tokens [rows, length] int32, lengths [rows] int32
    labels: Any  # [rows] int32
    weights: Any  # [rows] float32


def check_batch(batch: Batch) -> None:
    """Raises ValueError unless `batch` keeps the contract above (static facts only, no values)."""
    tokens, lengths = batch.features["tokens"], batch.features["lengths"]
    rows = tokens.shape[0]
    expected = {
        "tokens": (tokens, "int32", (rows, tokens.shape[1])),
        "lengths": (lengths, "int32", (rows,)),
        "labels": (batch.labels, "int32", (rows,)),
        "weights": (batch.weights, "float32", (rows,)),
    }
    for name, (array, dtype, shape) in expected.items():
        found = (str(getattr(array.dtype, "name", array.dtype)), tuple(array.shape))
        if found != (dtype, shape):
            raise ValueError(f"batch.{name}: expected {dtype} {shape}, found {found[0]} {found[1]}")
