"""The device half of an encoder as a Keras layer with ordinary weights."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from sentiment_train.hub.cut import Cut


class DevicePart(keras.layers.Layer):
    """Border tensors → vectors of texts; every variable of the SavedModel is a weight of its own.

    So they are counted, mirrored, saved and exported like those of any layer. It computes in
    float32 whatever the precision of the rest: its graph was written for that. The next layer casts
    what it gives.

    Attributes:
      top_first: the names of the trainable weights, the nearest to the output first.
    """

    def __init__(self, cut: Cut, trainable: Callable[[tf.Variable], bool], name: str):
        """`trainable` says of a variable of the SavedModel whether it was meant to be trained."""
        super().__init__(name=name, dtype="float32")
        self._cut = cut
        names = weight_names([variable.name for variable in cut.variables])
        self._values = [
            self.add_weight(
                name=weight_name,
                shape=variable.shape,
                dtype=variable.dtype.name,
                initializer=_copy_of(variable),
                trainable=variable.dtype.is_floating and trainable(variable),
            )
            for weight_name, variable in zip(names, cut.variables, strict=True)
        ]
        self.top_first = [weight.name for weight in self._values if weight.trainable]
        self.built = True

    def call(self, features):
        """`{border_0 …, rows [batch] int32}` → `[batch, dimension] float32`.

        What the device half gives has rows of filler texts, too; `rows` are those to be kept.
        """
        border = [features[f"border_{i}"] for i in range(self._cut.feature_count)]
        values = [tf.convert_to_tensor(weight) for weight in self._values]
        return tf.gather(self._cut.apply(border, values), features["rows"])


def _copy_of(variable: tf.Variable) -> Callable:
    """A Keras initializer that gives the value of a variable."""
    return lambda shape, dtype: tf.cast(variable.numpy(), dtype)


def weight_names(names: list[str]) -> list[str]:
    """`dense/kernel:0` → `dense.kernel`, each once: names of Keras weights have no slash."""
    found: list[str] = []
    for name in names:
        plain = name.partition(":")[0].replace("/", ".")
        same = sum(other.partition("#")[0] == plain for other in found)
        found.append(f"{plain}#{same + 1}" if same else plain)
    return found
