"""The end that all classifiers share: dropout, dense layers, logits."""

from __future__ import annotations


def check_output(model, num_classes: int) -> None:
    """Raises ConfigError if `model.output` does not fit the number of classes."""
    if model.output == "sigmoid" and num_classes != 2:
        model.refuse("output", f"is for two classes, the data have {num_classes}; use 'softmax'.")


def check_head(model) -> None:
    """Ranges of `dense_units` and `dropout`; raises ConfigError."""
    model.require(all(u >= 1 for u in model.dense_units), "dense_units", "numbers above 0")
    rates = model.dropout if isinstance(model.dropout, tuple) else (model.dropout,)
    model.require(all(0 <= rate < 1 for rate in rates), "dropout", "from 0 to less than 1")
    layers = len(model.dense_units) + 1
    if isinstance(model.dropout, tuple) and len(rates) != layers:
        model.refuse("dropout", f"must be one number, or {layers}: one for each dense layer and one"
                     " for the logits.")  # fmt: skip


def logits_of(
    x, dense_units: tuple[int, ...], dropout: float | tuple, output: str, num_classes: int
):
    """features `[batch, …, features]` → logits `[batch, …, 1 or num_classes] float32`."""
    import keras

    from sentiment_train.layers.dropout import Dropout

    rates = dropout if isinstance(dropout, tuple) else (dropout,) * (len(dense_units) + 1)
    for number, units in enumerate(dense_units, 1):
        x = Dropout(rates[number - 1], name=f"dropout_{number}")(x)
        x = keras.layers.Dense(units, activation="relu", name=f"dense_{number}")(x)
    x = Dropout(rates[-1], name="dropout")(x)
    one_logit = output == "sigmoid" or (output == "auto" and num_classes == 2)
    width = 1 if one_logit else num_classes
    return keras.layers.Dense(width, dtype="float32", name="logits")(x)


def pooled_logits_of(states, mask, pooling: str, head: tuple):
    """Every step classified, and the answers averaged over the real steps of each text.

    Args:
      states: `[batch, length, units]`.
      mask: `[batch, length] bool`.
      pooling: mean_logits or mean_probabilities.
      head: the other arguments of `logits_of`.

    Returns:
      Logits `[batch, 1 or num_classes] float32`.
    """
    from sentiment_train.layers.pooling import MeanPooling, MeanProbabilities

    kind = MeanPooling if pooling == "mean_logits" else MeanProbabilities
    return kind(name="pooling", dtype="float32")(logits_of(states, *head), mask=mask)
