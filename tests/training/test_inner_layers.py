"""The layers of a model are found, however deep they lie."""

import keras
import pytest

from sentiment_train.training.inner_layers import all_layers

pytestmark = pytest.mark.usefixtures("tf")


class Holding(keras.layers.Layer):
    """Has layers in an attribute, and calls none."""

    def __init__(self, held, **options):
        super().__init__(**options)
        self.held = held

    def build(self, shape):
        """Nothing to build."""

    def call(self, x):
        return x


def test_layers_in_lists_layers_and_models_are_found_once_each():
    deepest = keras.layers.Dense(1, name="deepest")
    inner = Holding([{"a": Holding(deepest, name="within")}, deepest], name="holding")
    small = keras.Sequential([inner, keras.layers.Reshape([1, 2], name="reshaped")], name="small")
    both = keras.layers.Bidirectional(keras.layers.GRU(1, name="gru"), name="both")
    x = keras.Input([2])
    found = all_layers(keras.Model(x, both(small(x))))
    assert len(found) == len(set(map(id, found)))
    names = {layer.name for layer in found}
    assert {"small", "holding", "within", "deepest", "reshaped", "both"} < names
    assert {"forward_gru", "backward_gru"} < names
