"""Which settings go with a wide and a deep model, and what the others are told."""

import pytest

from sentiment_train import config
from sentiment_train.errors import ConfigError
from sentiment_train.experiment import Experiment

SETTINGS = [
    "Experiment.source = @PackagedReviews()",
    "Experiment.model = @WideAndDeep()",
    "WideAndDeep.wide = @NGrams()",
]
CONVOLUTION = "WideAndDeep.deep = @GatedConvolutionClassifier()"


def make(*bindings: str) -> Experiment:
    deep = [] if any("WideAndDeep.deep" in b for b in bindings) else [CONVOLUTION]
    return config.make(Experiment, config.parse([], [*SETTINGS, *deep, *bindings]))


def test_its_words_can_be_perturbed_if_those_of_the_network_can():
    normalized = "GatedConvolutionClassifier.normalized_embedding = True"
    for parts, expected in (("both", True), ("deep", True), ("wide", None)):
        model = make(normalized, f"WideAndDeep.parts = '{parts}'").model
        assert model.normalized_embedding is expected
    assert make().model.normalized_embedding is False


def test_a_network_that_sees_padding_is_not_exported():
    padded = ["WideAndDeep.deep = @RecurrentClassifier()", "RecurrentClassifier.masked = False"]
    with pytest.raises(ConfigError, match="sees padding"):
        make(*padded)


def test_a_regulariser_names_the_network_that_it_needs():
    adversarial = ["Experiment.loss = @CrossEntropy()", "CrossEntropy.regulariser = @Adversarial()"]
    with pytest.raises(ConfigError, match="in GatedConvolutionClassifier: normalized_embedding"):
        make(*adversarial)


@pytest.mark.parametrize(
    "binding, message",
    [
        ("NGrams.inverse_penalty = 0.0", "NGrams.inverse_penalty = 0.0 .* above 0"),
        ("NGrams.smoothing = 0.0", "NGrams.smoothing = 0.0 .* above 0"),
        ("NGrams.folds = 1", "NGrams.folds = 1 .* 2 to 100"),
        ("WideAndDeep.parts = 'none'", "WideAndDeep.parts = 'none'"),
        ("WideAndDeep.deep = @LanguageModel()", "WideAndDeep.deep"),
        ("WideAndDeep.deep = @NGrams()", "WideAndDeep.deep"),
        ("Experiment.encoder = @WordEncoder()", "WideAndDeep brings its own"),
    ],
)
def test_what_cannot_be_is_refused_by_name(binding, message):
    with pytest.raises(ConfigError, match=message):
        make(binding)
