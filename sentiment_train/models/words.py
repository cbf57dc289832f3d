"""Word vectors, as every model over words has them: tokens → `[batch, length, embedding_size]`."""

from __future__ import annotations

from sentiment_train.schema import ModelInputs

# For messages of models that cannot read `ModelInputs.added_by_words`.
NO_HINTS = "does not go with WideAndDeep.hints: {why}. Set WideAndDeep.hints = False."


def check_words(config) -> None:
    """Ranges of the fields that all models over words share; raises ConfigError."""
    config.require(config.embedding_size >= 1, "embedding_size", "at least 1")
    fine = 0 <= config.embedding_dropout < 1
    config.require(fine, "embedding_dropout", "from 0 to less than 1")


def word_table(config, tokens, vocabulary_size: int):
    """`[vocabulary_size, embedding_size]`, the vectors of all words."""
    from sentiment_train.layers.embedding import Embedding

    layer = Embedding(
        vocabulary_size, config.embedding_size, config.normalized_embedding, name="embedding"
    )
    return layer(tokens)


def word_vectors(config, tokens, lengths, inputs: ModelInputs):
    """`[batch, length, embedding_size]`, what a model sees of its tokens.

    Normalised ones may be perturbed. That comes after the dropout, as in what the authors of
    Miyato et al. 2017 published: a unit that is dropped is not moved.
    """
    import keras

    from sentiment_train.layers.dropout import Dropout
    from sentiment_train.layers.embedding import Lookup
    from sentiment_train.layers.hints import Hints
    from sentiment_train.layers.perturbation import Perturbable

    vectors = Lookup(name="lookup")(tokens, word_table(config, tokens, inputs.vocabulary_size))
    dropout = Dropout(config.embedding_dropout, whole_vectors=True, name="embedding_dropout")
    vectors = dropout(vectors)
    if config.normalized_embedding:
        vectors = Perturbable(name="words")(vectors, lengths)
    if inputs.added_by_words is None:
        return vectors
    hints = Hints(config.embedding_size, name="hints")(inputs.added_by_words, lengths)
    return keras.layers.Add(name="words_and_hints")([vectors, hints])
