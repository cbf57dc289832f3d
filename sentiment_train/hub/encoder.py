"""Any TF-Hub text encoder, or SavedModel of one, as gin configures it."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import pathlib
from collections.abc import Iterable
from dataclasses import dataclass

import gin

from sentiment_train.config import Part
from sentiment_train.errors import ConfigError, DataError

FILE_NAME = "encoder.json"


@gin.configurable
@dataclass(frozen=True)
class HubEncoder(Part):
    """A pretrained encoder: a SavedModel that takes texts, or a preprocessor and an encoder.

    A handle is a URL of TF-Hub or Kaggle, a directory, or `gs://…`.
    """

    handle: str = gin.REQUIRED
    preprocessor: str | None = None  # the handle of what turns texts into the encoder's inputs
    signature: str | None = None  # None: __call__, else serving_default
    output: str | None = None  # of several; None: default, else pooled_output
    max_characters: int | None = None  # of a text; the rest is cut off. None: nothing is
    static_shapes: bool = True  # filler texts give all batches of a bucket the same shapes

    def check(self):
        for name in ("handle", "preprocessor", "signature", "output"):
            self.require(getattr(self, name) != "", name, "a text that is not empty")
        fine = self.max_characters is None or self.max_characters >= 1
        self.require(fine, "max_characters", "at least 1")

    def text_encoder(self, frozen: bool) -> HubTextEncoder:
        """What the store and the input pipeline need: whole vectors, or the host half.

        Nothing is read or fetched before its methods are called.
        """
        return HubTextEncoder(self, frozen)

    def layer(self, fitted, name: str):
        """The device half of a fitted encoder as a Keras layer, with the pretrained weights."""
        from sentiment_train.hub.device_part import DevicePart

        return DevicePart(fitted.cut, fitted.whole.is_trainable, name)

    def refuse_unless(self, mode: str) -> None:
        """Any mode may work. Whether the encoder can be cut is known once it was read."""

    def refuse_unless_trainable(self) -> None:
        """Raises ConfigError if the encoder can only be used frozen; it says why."""
        whole = self.whole()
        problem = self.why_not_cut()
        if problem is None and not any(map(whole.is_trainable, halves(whole).variables)):
            problem = "none of its variables is trainable"
        if problem is not None:
            raise ConfigError(
                f"HubEncoder.handle = '{self.handle}' cannot be trained: {problem}. Use it with"
                " SentenceEncoderClassifier.mode = 'frozen'.",
                "HubEncoder.handle",
            )

    def whole(self):
        """The encoder as it was saved (`hub.saved_models.Whole`), read once."""
        return _whole(self._paths(), self.signature, self.output, self.content())

    def why_not_cut(self) -> str | None:
        """Why the encoder cannot be cut in two; None: it can be."""
        found = halves(self.whole())
        return found if isinstance(found, str) else None

    def _paths(self) -> tuple[str, ...]:
        from sentiment_train.hub.handles import resolve

        handles = [("handle", self.handle), ("preprocessor", self.preprocessor)]
        return tuple(
            resolve(handle, f"HubEncoder.{name}") for name, handle in handles if handle is not None
        )

    def content(self) -> str:
        """A digest of the SavedModels."""
        from sentiment_train.hub.saved_models import content_digest

        return " ".join(content_digest(path) for path in self._paths())


@dataclass(frozen=True)
class HubTextEncoder:
    """Gives the fitted encoder.

    Its methods raise ConfigError if the encoder cannot be used so, DataError if it cannot be read.
    """

    settings: HubEncoder
    frozen: bool

    def fingerprint(self) -> str:
        """A digest of all that makes what is kept of a text and is not in the settings."""
        if not self.frozen:
            self.settings.refuse_unless_trainable()
        return f"{self.settings.content()} {_code()}"

    def fit(self, texts: Iterable[str]):
        """Nothing is learnt from the texts."""
        from sentiment_train.hub import fitted

        return fitted.FrozenEncoder(self) if self.frozen else fitted.CutEncoder(self)

    def load(self, directory: str):
        """The encoder that `save` described.

        Raises:
          DataError: if the SavedModel has changed since.
        """
        import tensorflow as tf

        path = f"{directory}/{FILE_NAME}"
        with tf.io.gfile.GFile(path) as file:
            saved = json.load(file)
        if saved["content"] != self.settings.content():
            raise DataError(
                f"{path} was written with another version of {self.settings.handle}. Bring that"
                " one back, or start a new run."
            )
        return self.fit(())

    def save(self, directory: str) -> None:
        """Writes `encoder.json`: which SavedModel it is, not what is in it."""
        import tensorflow as tf

        notes = dataclasses.asdict(self) | {"content": self.settings.content()}
        with tf.io.gfile.GFile(f"{directory}/{FILE_NAME}", "w") as file:
            file.write(json.dumps(notes, indent=2, ensure_ascii=False) + "\n")


@functools.lru_cache(maxsize=2)
def _whole(paths: tuple[str, ...], signature: str | None, output: str | None, content: str):
    from sentiment_train.hub import saved_models

    directory, *preprocessor = paths
    return saved_models.load(directory, (preprocessor or [None])[0], signature, output)


@functools.lru_cache(maxsize=2)
def halves(whole):
    """A `Cut`, or the reason why there is none."""
    import tensorflow as tf

    from sentiment_train.hub.cut import cut
    from sentiment_train.hub.inline import NotCuttable
    from sentiment_train.hub.saved_models import said_by

    if whole.from_session:
        return "it was saved by TensorFlow 1, where the variables belong to a session"
    function = whole.function
    try:
        return cut(function, function.inputs[0], function.outputs[0])
    except NotCuttable as error:
        return error.reason
    except tf.errors.OpError as error:
        return f"it fails for some texts ({said_by(error)})"


@functools.cache
def _code() -> str:
    digest = hashlib.sha256()
    for path in sorted(pathlib.Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
