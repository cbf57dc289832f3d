"""Encoders in use: whole vectors of texts, or the host half that feeds the device half."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from sentiment_train.errors import DataError
from sentiment_train.hub import border, encoder

_TEXTS_AT_ONCE = 64


class _HubFitted:
    vocabulary_size = 0  # there are no ids to be embedded
    file_name = encoder.FILE_NAME  # what `save` writes

    def __init__(self, text_encoder: encoder.HubTextEncoder):
        self._made_by = text_encoder
        self.settings = text_encoder.settings
        self.whole = self.settings.whole()
        self.dimension = self.whole.dimension
        self.needs = self.whole.needs  # modules to import before an exported model is loaded

    def save(self, directory: str) -> None:
        """Writes `encoder.json`."""
        self._made_by.save(directory)

    def _clean(self, texts):
        """`[n] string` → the same, valid UTF-8 and not longer than is asked for."""
        texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
        if (most := self.settings.max_characters) is not None:
            texts = tf.strings.substr(texts, 0, most, unit="UTF8_CHAR")
        return texts


class FrozenEncoder(_HubFitted):
    """The whole encoder on the host: each text becomes one vector, which the store keeps."""

    max_length = 1

    def __init__(self, text_encoder: encoder.HubTextEncoder):
        super().__init__(text_encoder)
        self.resources = list(self.whole.tracked)
        self.feature_specs = {
            "tokens": ((None, None, self.dimension), "float32"),
            "lengths": ((None,), "int32"),
        }

    @property
    def lines(self) -> list[tuple[str, str]]:
        """What was decided, as label and text."""
        what = f"whole on the host, not trained, {self.dimension} numbers for a text"
        return [("encoder", f"{self.settings.handle}, {what}")]

    def encode(self, texts):
        """`[n] string` → `[n, (1), dimension] float32` ragged."""
        vectors = self._vectors(texts)
        return tf.RaggedTensor.from_row_splits(vectors, tf.range(tf.shape(vectors)[0] + 1))

    def features(self, texts):
        """`[n] string` → tokens `[n, 1, dimension] float32`, lengths `[n] int32`; any n."""
        vectors = self._vectors(texts)
        lengths = tf.ones_like(vectors[:, 0], tf.int32)
        return {"tokens": vectors[:, None, :], "lengths": lengths}

    def _vectors(self, texts):
        """`[n] string` → `[n, dimension] float32`, some at a time, for the sake of memory."""
        texts = tf.concat([self._clean(texts), [b""]], axis=0)  # never none, and none missing
        count = tf.shape(texts)[0]
        starts = tf.range(0, count, _TEXTS_AT_ONCE)
        parts = tf.TensorArray(
            tf.float32, tf.size(starts), infer_shape=False, element_shape=[None, self.dimension]
        )
        some = lambda i: self.whole.function(texts[starts[i] : starts[i] + _TEXTS_AT_ONCE])  # noqa: E731
        _, parts = tf.while_loop(
            lambda i, _: i < tf.size(starts),
            lambda i, parts: (i + 1, parts.write(i, some(i))),
            [tf.constant(0), parts],
        )
        return tf.reshape(parts.concat(), [-1, self.dimension])[:-1]


class CutEncoder(_HubFitted):
    """The host half: texts become border tensors, which the device half turns into vectors.

    The store keeps only the length of each text: the host half runs again for every batch, because
    border tensors of single texts cannot be put together. It is a pure function, so what it gives
    for a batch may be kept by whoever wants to.
    """

    max_length = None

    def __init__(self, text_encoder: encoder.HubTextEncoder):
        super().__init__(text_encoder)
        self.settings.refuse_unless_trainable()
        self.cut = encoder.halves(self.whole)
        self._host = tf.function(
            lambda texts: self.cut.host(self._clean(texts)),
            input_signature=[tf.TensorSpec([None], tf.string)],
            autograph=False,
        )
        self.resources = _owners(self.whole.tracked, self.cut.captures)
        self.why_not_compiled = self.cut.why_not_compiled
        specs = [spec for part in self.cut.border for spec in part.specs]
        self.feature_specs = {
            f"border_{i}": (tuple(spec.shape), spec.dtype.name) for i, spec in enumerate(specs)
        }
        self.feature_specs["rows"] = ((None,), "int32")
        self._rule = "HubEncoder.static_shapes = False"
        if self.settings.static_shapes:
            self._rule = border.learn(self._host)
        self.static_shapes = not isinstance(self._rule, str)
        self.why_not_static = None if self.static_shapes else self._rule

    @property
    def lines(self) -> list[tuple[str, str]]:
        """What was decided, as label and text."""
        names = ", ".join(
            _described(*spec) for n, spec in self.feature_specs.items() if n != "rows"
        )
        return [
            (
                "encoder",
                f"{self.settings.handle}, cut in two: {len(self.cut.variables)} variables on the"
                f" device, {self.dimension} numbers for a text",
            ),
            ("", f"at the border: {names}"),
            ("", self.why_not_static or self._rule.described()),
        ]

    def encode(self, texts):
        """`[n] string` → `[n, (length), 0] uint8` ragged: only the length of each text."""
        lengths = tf.map_fn(self._length, texts, fn_output_signature=tf.int64)
        nothing = tf.zeros([tf.reduce_sum(lengths), 0], tf.uint8)
        return tf.RaggedTensor.from_row_lengths(nothing, lengths)

    def _length(self, text):
        """Of one text, at least 1: see `border`; with dynamic shapes its numbers at the border."""
        features = self._host(text[None])
        if self.static_shapes:
            sizes = tf.concat([tf.shape(f, tf.int64) for f in features], axis=0)
            length = self._rule.length_from(sizes)
        else:
            length = tf.reduce_max([tf.size(f, tf.int64) for f in features])
        return tf.maximum(length, 1)

    def features(self, texts):
        """`[n] string` → the features of the device half; any n, any bytes."""
        rows = tf.range(tf.shape(texts)[0])
        filled = tf.concat([texts, [b""]], axis=0)  # no row: no sizes; the last row may be lost
        return self._named(self._host(filled), rows)

    def batch_features(
        self,
        texts: Sequence[bytes | None],
        length: int,
        shortest: int = 1,
        lengths: Sequence[int] | None = None,
    ) -> dict[str, np.ndarray]:
        """The features of one replica's rows of a batch, as large as those of all such batches.

        Args:
          texts: None stands for a row of weight 0.
          length: of the bucket: that of the longest text it may have.
          shortest: that of the shortest one; the same for all batches of the bucket. The nearer it
            is to the truth, the fewer filler texts are needed where the border is flat and padded.
          lengths: those that `encode` gave for the texts, anything for None; else measured here.

        Raises:
          DataError: if a text does not keep to the rule that was learnt.
        """
        rows = np.arange(len(texts), dtype=np.int32)
        if not self.static_shapes:
            given = [b"a" if text is None else text for text in texts] + [b"a"]
            given = tf.constant(given, tf.string)
            return {k: np.asarray(v) for k, v in self._named(self._host(given), rows).items()}
        rule = self._rule
        if rule.flat and lengths is None:
            lengths = [shortest if text is None else self._measured(text) for text in texts]
        elif lengths is None:
            lengths = [shortest] * len(texts)
        of_filler = rule.length_of_filler(length, shortest)
        lengths = [of_filler if t is None else n for t, n in zip(texts, lengths, strict=True)]
        filler = rule.filler(of_filler)
        given = [filler if text is None else text for text in texts]
        added = rule.fillers(lengths, length, shortest)
        features = self._host(tf.constant(given + [rule.filler(n) for n in added], tf.string))
        found = {k: np.asarray(v) for k, v in self._named(features, rows).items()}
        self._check(found, rule.sizes([*lengths, *added]))
        return found

    def _measured(self, text: bytes) -> int:
        return int(self._rule.length_from(border.sizes_of(self._host, [text])))

    def _check(self, found: dict, expected: np.ndarray) -> None:
        sizes = [size for name, v in found.items() if name != "rows" for size in v.shape]
        if sizes != list(expected):
            raise DataError(
                f"{self.settings.handle}: the sizes of a batch do not follow from the lengths of"
                " its texts. Set HubEncoder.static_shapes = False (and Runtime.xla = 'off')."
            )

    def _named(self, features: Sequence, rows) -> dict:
        return {f"border_{i}": feature for i, feature in enumerate(features)} | {"rows": rows}


def _described(shape: tuple, dtype: str) -> str:
    """`int32 [?, ?]`; a size that passes as a shape is called so."""
    if shape == (None, 0):
        return "a size"
    return f"{dtype} [{', '.join('?' if size is None else str(size) for size in shape)}]"


def _owners(tracked: Sequence, handles: Sequence) -> list:
    """The tables and the like, of loaded SavedModels, that handles belong to."""
    wanted = {id(handle) for handle in handles}
    owners = {}
    for loaded in tracked:
        for part in tf.train.TrackableView(loaded).descendants():
            if id(getattr(part, "resource_handle", None)) in wanted:
                owners[id(part)] = part
    return list(owners.values())
