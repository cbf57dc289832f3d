"""Starting from the weights of another run: layers by name, rows of words by the words.

Only embedding and recurrent layers are taken, unless layers are named: a head belongs to what was
predicted there. The words of two runs have different ids, so what has a row for each word is
matched through the `vocabulary.txt` of both. What has a row for each n-gram is taken only if both
have the same n-grams. A plain embedding layer takes the vectors of a normalised one as they were
used there, normalised.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sentiment_train.data.ngrams import FILE_NAME as NGRAMS
from sentiment_train.data.vocabulary import FILE_NAME, load_vocabulary
from sentiment_train.errors import CheckpointError, DataError, did_you_mean
from sentiment_train.training.checkpoints import Checkpoint, Checkpoints, weights_digest
from sentiment_train.training.step import TrainStep


@dataclass(frozen=True)
class Origin:
    """Where the first weights of a run are from."""

    path: str  # the other run
    step: int
    sha256: str  # of the arrays that were taken, before words were matched
    taken: str  # the layers, and how many words were known


class OtherRun:
    """The weights that another run keeps, by layer; its moving averages where it has them.

    Raises:
      CheckpointError: if there are none, or if its vocabulary is not that of their training.
    """

    def __init__(self, path: str, warn: Callable[[str], None]):
        self.path = path
        checkpoint = Checkpoints(f"{path}/checkpoints", 1, warn).best()
        if checkpoint is None:
            raise CheckpointError(
                f"Experiment.init_from = '{path}': there is no intact checkpoint. It is the"
                " directory of a run, such as runs/language_model."
            )
        self.step = checkpoint.state.step
        self._made_of = checkpoint.made_of
        self.layers = _kept(checkpoint)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Its vocabulary, in the order of the ids."""
        words = _vocabulary_of(self.path)
        self.content(FILE_NAME, "vocabulary")
        return words

    def content(self, name: str, what: str) -> bytes:
        """Of a file that its encoder saved.

        Raises:
          CheckpointError: if it is not that of its checkpoints.
        """
        path = f"{self.path}/{name}"
        content = _content(path)
        if hashlib.sha256(content or b"").hexdigest() != self._made_of.get(what):
            raise CheckpointError(
                f"{path} is not what the checkpoints of this run were trained with, or missing."
            )
        return content

    def array(self, layer: str, name: str) -> np.ndarray:
        """The value of a variable."""
        if name not in self.layers[layer]:
            raise _refusal(self, f"{layer} has no {name}")
        return self.layers[layer][name]

    def described(self) -> str:
        """`embedding (embeddings 1000×128), gru_1 (…)`, for messages."""
        return ", ".join(
            f"{layer} ({', '.join(f'{n} {_shape(a)}' for n, a in arrays.items())})"
            for layer, arrays in self.layers.items()
        )


def take(step: TrainStep, vocabulary: str, other: OtherRun, layers: Sequence[str] | None) -> Origin:
    """Assigns weights of another run to the model of a step, and to its moving averages.

    Args:
      vocabulary: the directory of this run's `vocabulary.txt`.
      layers: names; None for all embedding and recurrent layers.

    Raises:
      CheckpointError: if a layer is not there or has other shapes; nothing was changed then.
    """
    values, taken, said = [], {}, []
    for layer in _wanted(step.model, layers, other):
        known = ""
        _check_ngrams(layer, vocabulary, other)
        for name, variable in _variables_of(layer).items():
            taken[f"{layer.name}/{name}"] = other.array(layer.name, name)
            found = _as_it_was_used(layer, name, other)
            if _rows_are_words(layer, name):
                found, known = _matched_by_word(found, variable.numpy(), vocabulary, other)
            if found.shape != tuple(variable.shape):
                needed = f"{layer.name} needs {name} {_shape(variable)}"
                raise _refusal(other, f"{needed}, there it is {_shape(found)}")
            values.append((variable, found))
        said.append(layer.name + known)
    for variable, value in values:
        variable.assign(value)
    if step.average:
        step.average.restart()
    return Origin(other.path, other.step, weights_digest(taken), " + ".join(said))


def _as_it_was_used(layer, name: str, other: OtherRun) -> np.ndarray:
    """A variable of the other run; word vectors that it normalises are so, if `layer` does not."""
    from sentiment_train.layers.embedding import Embedding

    found, frequencies = other.array(layer.name, name), other.layers[layer.name].get("frequencies")
    if name != "embeddings" or frequencies is None or getattr(layer, "normalized", False):
        return found
    there = Embedding(*found.shape, normalized=True, dtype="float32")
    there.build()
    there.set_weights([found, frequencies])
    return there.call(None).numpy()


def _check_ngrams(layer, vocabulary: str, other: OtherRun) -> None:
    """Raises CheckpointError if the rows of a layer are n-grams, and other ones there."""
    from sentiment_train.layers.ngram_features import NGramFeatures

    if not isinstance(layer, NGramFeatures):
        return
    if _content(f"{vocabulary}/{NGRAMS}") != other.content(NGRAMS, NGRAMS):
        why = f"{layer.name} has a row for each n-gram, and {NGRAMS} there is not the one of here"
        raise _refusal(other, why)


def _content(path: str) -> bytes | None:
    import tensorflow as tf

    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path, "rb") as file:
        return file.read()


def _matched_by_word(found, fresh, vocabulary: str, other: OtherRun) -> tuple[np.ndarray, str]:
    """`[words there, …]` and `[words here, …]` → `[words here, …]`, and how many words were known.

    A word that the other run does not know keeps its fresh row. Rows of another size are given back
    as they are, to be refused.
    """
    there = {word: row for row, word in enumerate(other.words)}
    if len(there) != len(found):
        raise _refusal(other, f"{_shape(found)} is not a row for each of its {len(there):,} words")
    if found.shape[1:] != fresh.shape[1:]:
        return found, ""
    here = _vocabulary_of(vocabulary)
    known = [(row, there[word]) for row, word in enumerate(here) if word in there]
    rows_here, rows_there = map(list, zip(*known, strict=True))
    moved = fresh.copy()
    moved[rows_here] = found[rows_there]
    return moved, f" ({len(known):,} of {len(here):,} words)"


def _by_layer(named: Iterable[tuple[str, object]]) -> dict[str, dict[str, object]]:
    """`("gru_1/kernel", …)` → `{"gru_1": {"kernel": …}}`; of what lies between only the ends count.

    If a layer has the same end twice, the second one is `kernel#2`.
    """
    layers: dict[str, dict[str, object]] = {}
    for path, value in named:
        layer, name = path.partition("/")[0], path.rpartition("/")[2]
        variables = layers.setdefault(layer, {})
        same = sum(key.partition("#")[0] == name for key in variables)
        variables[f"{name}#{same + 1}" if same else name] = value
    return layers


def _variables_of(layer) -> dict[str, object]:
    return _by_layer((f"{layer.name}/{v.path}", v) for v in layer.weights)[layer.name]


def _kept(checkpoint: Checkpoint) -> dict[str, dict[str, np.ndarray]]:
    """The weights by layer, moving averages in place of those that have one."""
    arrays = sorted(checkpoint.arrays.items())  # model/000/gru_1/kernel, average/000/…
    kinds = {
        kind: _by_layer((n.split("/", 2)[2], a) for n, a in arrays if n.startswith(f"{kind}/"))
        for kind in ("model", "average")
    }
    averages = kinds["average"]
    return {layer: own | averages.get(layer, {}) for layer, own in kinds["model"].items()}


def _wanted(model, names: Sequence[str] | None, other: OtherRun) -> list:
    """The layers of a model to be taken, all of which the other run has."""
    having = {layer.name: layer for layer in model.layers if layer.weights}
    for name in names or ():
        if name not in having:
            raise CheckpointError(
                f"Experiment.init_layers: the model has no layer '{name}', only"
                f" {', '.join(having)}.{did_you_mean(name, having)}"
            )
    wanted = [layer for layer in having.values() if _is_body(layer)]
    if names is not None:
        wanted = [having[name] for name in names]
    missing = [layer.name for layer in wanted if layer.name not in other.layers]
    if missing:
        raise _refusal(other, f"it has no {' and no '.join(missing)}")
    if not wanted:
        raise _refusal(other, "the model has no embedding or recurrent layer; name others")
    return wanted


def _is_body(layer) -> bool:
    """Whether a layer says something of words and texts, and not of what is predicted."""
    import keras

    from sentiment_train.layers.embedding import Embedding
    from sentiment_train.layers.recurrence import KerasRecurrence, Recurrence

    recurrent = (Recurrence, KerasRecurrence, keras.layers.RNN, keras.layers.Bidirectional)
    return isinstance(layer, (Embedding, keras.layers.Embedding, *recurrent))


def _rows_are_words(layer, name: str) -> bool:
    """Whether a variable has a row for each word."""
    return name == "embeddings" or name in getattr(layer, "word_rows", ())


def _vocabulary_of(directory: str) -> tuple[str, ...]:
    try:
        return load_vocabulary(directory)
    except DataError as error:
        raise CheckpointError(
            f"Experiment.init_from matches embeddings by word: {error.message}"
        ) from None


def _refusal(other: OtherRun, why: str) -> CheckpointError:
    return CheckpointError(
        f"Experiment.init_from = '{other.path}': {why}. There are {other.described()}. Make the"
        " shapes equal, or name only layers that fit in Experiment.init_layers."
    )


def _shape(array) -> str:
    return "×".join(map(str, array.shape)) or "scalar"
