"""The end that all classifiers share: dropout, dense layers, logits."""

from __future__ import annotations


def check_output(model, num_classes: int) -> None:
    """Raises ConfigError if `model.output` does not fit the number of classes."""
    if model.output == "sigmoid" and num_classes != 2:
        model.refuse("output", f"is for two classes, the data have {num_classes}; use 'softmax'.")


def logits_of(x, dense_units: tuple[int, ...], dropout: float, output: str, num_classes: int):
    """features `[batch, features]` → logits `[batch, 1 or num_classes] float32`."""
    import keras

    from sentiment_train.layers.dropout import Dropout

    for number, units in enumerate(dense_units, 1):
        x = Dropout(dropout, name=f"dropout_{number}")(x)
        x = keras.layers.Dense(units, activation="relu", name=f"dense_{number}")(x)
    x = Dropout(dropout, name="dropout")(x)
    one_logit = output == "sigmoid" or (output == "auto" and num_classes == 2)
    width = 1 if one_logit else num_classes
    return keras.layers.Dense(width, dtype="float32", name="logits")(x)
