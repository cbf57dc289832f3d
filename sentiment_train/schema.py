"""What passes between the rooms: examples, features and batches, and their shapes.

Everything that produces or consumes them imports the names from here, so a change of the contract
is a change of this file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
    """The host part of a model: text → numbers, in the input pipeline and inside a SavedModel.

    What is kept of each text is a row of "tokens". Three kinds of encoders differ in them:

    * ids of words or pieces, `int32`; if a token has several, with inner shape `[ids]`, the first
      of which is the word's;
    * vectors of a frozen sentence encoder, `float32` with inner shape `[dimension]`, one each text;
    * nothing but their number: `uint8` with inner shape `[0]`. That is the encoder of a model which
      was cut in two; its features are made of the texts themselves, batch by batch.

    These attributes are optional:

    * `resources: list`: lookup tables and the like; the SavedModel keeps them.
    * `max_length: int | None`: the most tokens that a text can have.
    * `without_files() -> FittedEncoder`: the same without what is on a disk, for a data service.
    * `unknown_id: int`: the id of what is not in the vocabulary (1 if there is no such attribute).
    * `texts_per_call: int`: how many texts `encode` should get at a time.
    * `features(texts [n] string) -> dict`: the features of a model while serving, TF ops only, any
      `n >= 0`, any bytes. Without it they are what `encode` gives, padded, as `tokens`, `lengths`.
    * `feature_specs: dict[str, tuple[shape, dtype]]`: these features, their shapes with None for
      what varies; without it tokens `[None, None] int32` and lengths `[None] int32`.
    * `batch_features(texts: list[bytes | None], length: int, shortest: int, lengths) -> dict`: of a
      cut model, the features of the rows of one replica. None is a filler row; `lengths` is how
      many tokens `encode` gave for each, all from `shortest` to `length` and the same bounds in all
      batches of a bucket. Called by several threads at a time. Every feature has rank 1 or more,
      and a shape that depends only on the number of rows and the bounds.
    * `static_shapes: bool`: False if that last promise cannot be kept; `why_not_static: str | None`
      says why, and `why_not_compiled: str | None` why XLA must be off all the same.
    * `lines: Iterable[tuple[str, str]]`: what was decided, as label and text, to be printed.
    * `file_name: str`: what `save` writes last, `vocabulary.txt` without it; `other_files`: names
      of what it writes before that.
    """

    vocabulary_size: int

    def encode(self, texts):
        """`[n] string` → `[n, (tokens), *inner]` ragged; TF ops only, every row at least one token.

        Ids are in `[0, vocabulary_size)`; 0 is reserved for padding.
        """

    def save(self, directory: str) -> None:
        """Writes what `Encoder.load` needs (for words: `vocabulary.txt`)."""


@runtime_checkable
class Encoder(Protocol):
    """Learns a `FittedEncoder` from the training texts, or loads a saved one.

    Its settings and its code say what it is. If more does (a file), a method `fingerprint() -> str`
    gives the digest of that.
    """

    def fit(self, texts: Iterable[str]) -> FittedEncoder:
        """Learns from the training split only."""

    def load(self, directory: str) -> FittedEncoder:
        """Reads what `FittedEncoder.save` wrote."""


@runtime_checkable
class SentenceEncoder(Protocol):
    """The settings of a pretrained encoder: texts → vectors `[n, dimension]`."""

    def text_encoder(self, frozen: bool) -> Encoder:
        """Its host part; if `frozen`, all of it, and the vectors are what is kept of the texts.

        It reads nothing before `fit` or `load` is called.
        """

    def layer(self, fitted: FittedEncoder, name: str) -> Any:
        """Its device part, which is to be trained: a Keras layer, called with the features.

        Its pretrained weights are weights of the layer. Its attribute `top_first: list[str]` has
        their names, nearest to the output first.
        """

    def refuse_unless(self, mode: str) -> None:
        """Raises ConfigError if the encoder cannot be used so: frozen | fine_tune | gradual."""


@dataclass(frozen=True)
class ModelInputs:
    """What a model needs to know of the data and the runtime when it is built."""

    vocabulary_size: int
    num_classes: int
    use_cudnn: bool = False  # for recurrent layers: there is a GPU, and no XLA
    max_length: int | None = None  # the encoder's longest output in tokens; None: unbounded
    encoder: FittedEncoder | None = None  # that makes the features
    recurrent_loops: str = "plain"  # how they are executed, see `layers.recurrence.Recurrence` …
    cores: int = 1  # … and on how many
    served: bool = False  # whether it will only be asked: what training alone needs may be left out
    # Of a part of another model: a Keras tensor `[batch, length, k]`, what each word adds to the
    # logits of a part beside it. Models add a linear map of it to their word vectors.
    added_by_words: Any = None


@runtime_checkable
class ModelConfig(Protocol):
    """A model family with its settings.

    These methods are optional:

    * `text_encoder() -> Encoder`: of a model that brings its own.
    * `parameter_groups(keras_model) -> tuple[VariableGroup, ...]`: of what `build` gave, which
      variables are trained in another way than the rest.

    A model of words, without features of another kind, may be a part of others (`WideAndDeep.deep`)
    if it has a method `logits(tokens, lengths, inputs: ModelInputs)`: what `build` does, on Keras
    tensors `[batch, length] int32` and `[batch] int32`.
    """

    def build(self, inputs: ModelInputs) -> Any:
        """A Keras model: features, as the encoder makes them →

        logits `[batch, num_classes] float32`, or `[batch, 1]` (the log-odds of class 1) for two
        classes. Called inside the strategy's scope.

        A model with an attribute `predicts = "tokens"` is a language model: its output is that of
        `layers.next_token.NextToken`, three sums of each text `[batch, 3] float32`.

        An attribute `embeddings` of the Keras model names the layer that gives the vector of a
        text, `[batch, dimension]`, whose spread is to be watched.

        A layer with a method `start_from(examples: TrainingExamples) -> bool` is given the training
        split before the first step of a run, assigns to its variables what it has counted there,
        and tells whether it did. Weights of another run (`Experiment.init_from`) come after it. The
        list `only_in_training` of a layer has the weights that it leaves out if `inputs.served`.
        """


@dataclass(frozen=True)
class TrainingExamples:
    """What a run is trained on, for layers whose first weights come from counting.

    Of a stream it is the sample in the store. All workers have the same.
    """

    tokens: Any  # [tokens, *inner], as the encoder gives them; of row i from offsets[i] on
    offsets: Any  # [n + 1] int64
    labels: Any  # [n] int32
    weights: Any  # [n] float32, of the examples, times those of their classes, as the loss has them
    rows: Any  # [m] int64: those that are trained on, in rising order
    num_classes: int

    def by_token(self, rows: Any = None, at_a_time: int = 4096) -> Iterator[tuple[Any, Any]]:
        """Yields the tokens `[t, *inner]` of some rows, and for each token the row `[t]` it is of.

        Args:
          rows: `[m] int64` in rising order; None: all that are trained on.
        """
        import numpy as np

        rows = self.rows if rows is None else rows
        for start in range(0, len(rows), at_a_time):
            some = rows[start : start + at_a_time]
            first, counts = self.offsets[some], self.offsets[some + 1] - self.offsets[some]
            places = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
            yield self.tokens[places], np.repeat(some, counts)


class VariableGroup(NamedTuple):
    """Variables that a model wants to be trained in another way; see `training.groups`."""

    variables: tuple[str, ...]  # patterns of `layer/variable`
    learning_rate: float | None = None  # the highest; None: as the others
    starts: str = "0 steps"  # frozen before
    warmup: str | None = None  # from there on; None: as the others


class Batch(NamedTuple):
    """What enters a replica: numbers with static shapes, never strings.

    Features of ids and of vectors are tokens `[rows, length, *inner]` and lengths `[rows] int32`:
    padding is on the right and every row has `lengths >= 1`. A row of weight 0 that fills up a
    batch has one padding token.

    Those of a model that was cut in two are as its encoder says; `rows [rows] int32` among them
    tells where the rows of the batch are in what the device part gives. With several replicas the
    features of each are one after the other on the first axis.
    """

    features: dict[str, Any]
    labels: Any  # [rows] int32
    weights: Any  # [rows] float32


def check_batch(batch: Batch) -> None:
    """Raises ValueError unless `batch` keeps the contract above (static facts only, no values)."""
    rows = batch.labels.shape[0]
    expected = {"labels": (batch.labels, "int32"), "weights": (batch.weights, "float32")}
    of_rows = {"lengths", "rows"} & batch.features.keys()
    expected |= {name: (batch.features[name], "int32") for name in of_rows}
    for name, (array, dtype) in expected.items():
        if array.dtype != dtype or array.shape != (rows,):
            found = f"{_dtype(array)} {tuple(array.shape)}"
            raise ValueError(f"batch.{name}: expected {dtype} ({rows},), found {found}")
    if (tokens := batch.features.get("tokens")) is not None:
        rank = len(tokens.shape)
        if tokens.shape[0] != rows or rank < 2:
            found = tuple(tokens.shape)
            raise ValueError(f"batch.tokens: expected ({rows}, length, …), found {found}")
        if rank == 2 and tokens.dtype != "int32":
            raise ValueError(f"batch.tokens: expected ids of int32, found {_dtype(tokens)}")
    for name, array in batch.features.items():
        if len(array.shape) < 1 or _is_text(array.dtype):
            raise ValueError(f"batch.{name}: {_dtype(array)} {tuple(array.shape)} is for no device")


def _is_text(dtype) -> bool:
    """Whether a type of numpy or TensorFlow is one of strings."""
    kind = getattr(dtype, "kind", None)
    return dtype == "string" if kind is None else kind in "SUO"


def _dtype(array) -> str:
    return str(getattr(array.dtype, "name", array.dtype))
