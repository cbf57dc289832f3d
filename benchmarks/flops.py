"""The arithmetic that a training step cannot do without, of a recurrent classifier.

Counted are multiplications and additions of the recurrent layers' matrix products, for real tokens
only: neither padding nor element-wise work, embedding, head, optimizer. For each token, layer and
direction:

    forward            2 · gates · units · (features + units)     gates: GRU 3, LSTM 4, simple 1
    forward, backward  3 × that

The backward pass has two products for each one of the forward pass: towards the inputs, and
towards the weights. Of the first layer, whose inputs are vectors of words, the products with
`features` are counted once for each token or, if that is less, once for each word of the
vocabulary: a word's product is the same wherever it stands. Counting all tokens there, as it is
often done, would give a larger number of the same step.
"""

from __future__ import annotations

from collections.abc import Sequence

GATES = {"simple": 1, "gru": 3, "lstm": 4}


def experiment_of(gin_file: str, bindings: Sequence[str] = ()):
    """The parsed `Experiment`; TensorFlow is not imported for it."""
    from sentiment_train import config
    from sentiment_train.experiment import Experiment

    return config.make(Experiment, config.parse([gin_file], list(bindings)))


def of_a_step(experiment, tokens: float) -> float | None:
    """Useful FLOP of one training step with so many real tokens; None of a model without layers
    that are counted."""
    model = getattr(experiment.model, "deep", None) or experiment.model
    if not hasattr(model, "cell"):
        return None
    encoder = getattr(experiment.encoder, "words", experiment.encoder)  # n-grams beside words
    words = min(tokens, encoder.vocabulary.max_size)
    rows, features, forward = words, model.embedding_size, 0.0
    directions = 1 + model.bidirectional
    for units in model.units:
        per_row = 2 * GATES[model.cell] * units * directions
        forward += per_row * (rows * features + tokens * units)
        joined = directions if model.merge == "concat" else 1
        rows, features = tokens, units * joined
    return 3 * forward
