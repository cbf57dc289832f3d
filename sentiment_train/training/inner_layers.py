"""The layers of a model, however deep they lie."""

from __future__ import annotations

from collections.abc import Iterator


def all_layers(layer) -> list:
    """A Keras layer or model and all layers in it, each once.

    Keras makes only those public that lie directly in a model. A layer has its own as attributes.
    """
    import keras

    found, waiting = {}, [layer]
    while waiting:
        one = waiting.pop()
        if id(one) not in found:
            found[id(one)] = one
            public = one.layers if isinstance(one, keras.Model) else ()
            inner = [*public, *_layers_in(list(vars(one).values()))]
            waiting += reversed(inner)
    return list(found.values())


def _layers_in(value) -> Iterator:
    """Those among the items of lists and the like."""
    import keras

    if isinstance(value, keras.layers.Layer):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _layers_in(item)
