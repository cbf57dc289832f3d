"""The scripts of `cloud/`, which is no package, and a SavedModel that they can serve."""

from __future__ import annotations

import importlib.util
import pathlib
import sys

import numpy as np
import pytest

CLOUD = pathlib.Path(__file__).parents[2] / "cloud"


@pytest.fixture(scope="session")
def script():
    """A script of `cloud/` as a module, by its path there."""

    def load(path: str):
        name = f"cloud_{pathlib.Path(path).stem}"
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, CLOUD / path)
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module  # a dataclass looks for its own module there
            spec.loader.exec_module(module)
        return sys.modules[name]

    return load


@pytest.fixture(scope="session")
def saved_model(tf, tmp_path_factory) -> str:
    """A small classifier of words with random weights, exported as a run does."""
    from sentiment_train.data.encoders import WordEncoder
    from sentiment_train.export.serving import ServingModule
    from sentiment_train.models.recurrent import RecurrentClassifier
    from sentiment_train.schema import ModelInputs

    folder = str(tmp_path_factory.mktemp("served"))
    rules = WordEncoder(max_length=None)
    rules.fit(["a good film", "a bad film", "not great, not terrible"]).save(folder)
    encoder = rules.load(folder)
    settings = RecurrentClassifier(embedding_size=4, cell="gru", units=(3,))
    model = settings.build(ModelInputs(encoder.vocabulary_size, 2))
    rng = np.random.default_rng(5)
    model.set_weights([rng.normal(0, 0.7, w.shape) for w in model.weights])
    module = ServingModule(model, encoder, ("negative", "positive"))
    tf.saved_model.save(module, f"{folder}/saved_model", signatures=module.signatures())
    return f"{folder}/saved_model"
