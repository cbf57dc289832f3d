"""The regularisers that move word vectors, against the paper's equations, text by text."""

from dataclasses import dataclass, field

import keras
import numpy as np
import pytest
from paper_equations import PooledTexts
from small_training import VOCABULARY, Grouped, assert_close, random_split, sgd, whole_batch

from sentiment_train.data.batches import FILLER
from sentiment_train.data.sources.packaged import PackagedReviews
from sentiment_train.errors import ConfigError
from sentiment_train.experiment import Experiment
from sentiment_train.models.mlp import MlpClassifier
from sentiment_train.models.multilingual_use import MultilingualUse
from sentiment_train.models.recurrent import RecurrentClassifier
from sentiment_train.models.sentence_encoder import SentenceEncoderClassifier
from sentiment_train.schema import ModelInputs
from sentiment_train.training.adversarial import Adversarial, VirtualAdversarial, of_norm
from sentiment_train.training.checkpoints import arrays_of, restore
from sentiment_train.training.gradients import RowGradients, Rows
from sentiment_train.training.grouped_optimizer import GroupedOptimizer
from sentiment_train.training.groups import ParameterGroup
from sentiment_train.training.losses import CrossEntropy

pytestmark = pytest.mark.usefixtures("tf")

SPLIT = random_split(classes=3)
UNEVEN = [range(0, 7), [*range(7, 12), FILLER, FILLER], [12], range(13, 20)]
CLASS_WEIGHTS = np.array([0.5, 1.0, 2.0], np.float32)
FREQUENCIES = np.random.default_rng(1).integers(0, 9, VOCABULARY).astype(np.float32)
BOTH = [Adversarial(0.7, 0.5), VirtualAdversarial(0.7, 0.5, power_iterations=2, xi=0.3)]
OF_KIND = pytest.mark.parametrize("regulariser", BOTH, ids=["adversarial", "virtual"])
KEY = (3, 4)


def pooled(classes=3, **options):
    """Normalised word vectors → mean → relu → logits."""
    settings = MlpClassifier(
        embedding_size=4, pooling="mean", dense_units=(5,), normalized_embedding=True, **options
    )
    return settings.build(ModelInputs(VOCABULARY, classes))


@dataclass
class Small:
    """A model on one device, and the gradients of its loss with a regulariser."""

    regulariser: object = None
    model: object = field(default_factory=pooled)
    class_weights: np.ndarray = field(default_factory=lambda: CLASS_WEIGHTS)

    def __post_init__(self):
        rng = np.random.default_rng(5)
        for weight in self.model.trainable_variables:
            weight.assign(rng.normal(0, 0.5, weight.shape))
        self.model.get_layer("embedding").frequencies.assign(FREQUENCIES)
        weights = self.model.trainable_variables
        self.of_rows = RowGradients(
            self.model,
            CrossEntropy(regulariser=self.regulariser),
            self.class_weights,
            weights,
            GroupedOptimizer.of_all(sgd(), len(weights)),
        )

    def gradients(self, batch, scale=1.0) -> list[np.ndarray]:
        return [g.numpy() for g in self.of_rows.sums(0, batch, KEY, scale)[0]]

    def rows(self, batch) -> Rows:
        return Rows(self.of_rows, range(len(self.of_rows.weights)), batch, KEY, 1.0)

    def perturbation(self, batch):
        rows = self.rows(batch)
        return self.regulariser.perturbation(rows, rows.answer(rows.loss)).numpy()

    def loss(self, batch, move=None) -> float:
        rows = self.rows(batch)
        return float(rows.loss(rows.answer(rows.loss, move).outputs))


@OF_KIND
def test_the_gradients_are_those_of_the_papers_equations(tf, regulariser):
    small, batch = Small(regulariser), whole_batch(SPLIT, range(9))
    paper = PooledTexts(FREQUENCIES, [weight.numpy() for weight in small.of_rows.weights])
    weights = batch.weights * CLASS_WEIGHTS[batch.labels]
    expected = paper.gradients(batch, weights, KEY, regulariser)
    assert_close(small.gradients(batch), expected)


def test_the_one_logit_of_two_classes_is_the_difference_of_two(tf):
    batch = whole_batch(random_split(), range(9))
    for regulariser in BOTH:
        one, two = (
            Small(regulariser, pooled(2, output=output), np.ones(2, np.float32))
            for output in ("auto", "softmax")
        )
        *below, kernel, bias = (w.numpy() for w in one.of_rows.weights)
        for weight, value in zip(
            two.of_rows.weights,
            [*below, np.hstack([0 * kernel, kernel]), np.append(0 * bias, bias)],
            strict=True,
        ):
            weight.assign(value)
        assert_close(two.gradients(batch)[:-2], one.gradients(batch)[:-2])


@OF_KIND
def test_a_perturbation_has_its_norm_over_the_real_tokens_of_a_text(regulariser):
    batch = whole_batch(SPLIT, [0, 1, 2, 3, FILLER])
    found = Small(regulariser).perturbation(batch)
    lengths = batch.features["lengths"]
    for text, length in zip(found[:4], lengths, strict=False):
        assert np.linalg.norm(text) == pytest.approx(regulariser.epsilon, rel=1e-5)
        assert not text[length:].any()
    if isinstance(regulariser, Adversarial):
        assert not found[4].any()  # a row that fills up has no loss, so no direction


def test_a_direction_of_nothing_stays_nothing(tf):
    found = of_norm(5.0, tf.constant([[[3.0, 0.0], [0.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]]))
    np.testing.assert_allclose(found, [[[3, 0], [0, 4]], [[0, 0], [0, 0]]], rtol=1e-6)


def test_an_adversarial_perturbation_raises_the_loss_more_than_random_ones(tf):
    small, batch = Small(Adversarial(0.3)), whole_batch(SPLIT, range(12))
    worst = small.loss(batch, small.perturbation(batch)) - small.loss(batch)
    rng, of_words = np.random.default_rng(0), small.rows(batch)
    words = of_words.answer(of_words.loss).words
    others = [
        of_norm(0.3, words.of_real_tokens(rng.normal(size=(12, 6, 4)).astype(np.float32)))
        for _ in range(20)
    ]
    assert worst > 2 * max(small.loss(batch, move) - small.loss(batch) for move in others) > 0


def test_padding_changes_neither_perturbation_nor_gradient():
    small = Small(Adversarial())
    short, long = (whole_batch(SPLIT, range(9), length) for length in (6, 11))
    np.testing.assert_allclose(
        small.perturbation(long)[:, :6], small.perturbation(short), rtol=1e-4, atol=1e-6
    )
    assert_close(small.gradients(long), small.gradients(short))


@OF_KIND
def test_all_answers_of_a_step_drop_the_same_units(regulariser):
    """With hardly any perturbation the moved texts have the clean loss and its gradient, and no
    divergence: that is so only if no unit was dropped in one answer alone."""
    batch = whole_batch(SPLIT, range(9))
    options = {"embedding_dropout": 0.5, "dropout": 0.5}
    hardly = type(regulariser)(epsilon=1e-6)
    clean, both = (Small(r, pooled(**options)).gradients(batch) for r in (None, hardly))
    times = 2 if isinstance(regulariser, Adversarial) else 1
    for a, b in zip(both, clean, strict=True):
        np.testing.assert_allclose(a, times * b, rtol=1e-3, atol=1e-4)


@OF_KIND
def test_the_scale_of_a_loss_changes_nothing_but_the_scale(regulariser):
    small, batch = Small(regulariser), whole_batch(SPLIT, range(9))
    scaled = [g / 1024 for g in small.gradients(batch, scale=1024.0)]
    assert_close(scaled, small.gradients(batch))


def normalised(trainer, regulariser, **options):
    """A `Trainer` of the pooled model; what is reported is the loss of the texts as they are."""
    options = {"model": pooled, "class_weights": CLASS_WEIGHTS, **options}
    t = trainer(loss=CrossEntropy(regulariser=regulariser), **options)
    t.step.model.get_layer("embedding").frequencies.assign(FREQUENCIES)
    return t


def test_two_replicas_learn_what_one_device_learns(trainer):
    one, several = (normalised(trainer, Adversarial(), replicas=n) for n in (1, 2))
    for rows in UNEVEN:
        found, expected = several.train(SPLIT, rows), one.train(SPLIT, rows)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert_close(several.weights(), one.weights())


def test_accumulated_batches_are_one_large_batch(trainer):
    at_once = normalised(trainer, Adversarial())
    t = normalised(trainer, Adversarial(), accumulate_batches=2)
    expected = at_once.train(SPLIT, range(12))
    t.train(SPLIT, range(5))
    t.train(SPLIT, range(5, 12))
    np.testing.assert_allclose(t.apply(), expected, rtol=1e-5, atol=1e-6)
    assert_close(t.weights(), at_once.weights())


def test_the_reported_loss_is_that_of_the_texts_as_they_are(trainer):
    with_it, without = (normalised(trainer, r).train(SPLIT, range(9)) for r in (BOTH[0], None))
    assert with_it[:3] == pytest.approx(without[:3], rel=1e-6)
    assert with_it.gradient_norm != pytest.approx(without.gradient_norm, rel=0.01)


def test_a_compiled_step_is_the_plain_one(trainer):
    plain, compiled = (normalised(trainer, Adversarial(), jit_compile=jit) for jit in (False, True))
    for rows in UNEVEN[:2]:
        np.testing.assert_allclose(
            compiled.train(SPLIT, rows), plain.train(SPLIT, rows), rtol=1e-4, atol=1e-4
        )


def test_a_run_that_goes_on_is_one_that_never_stopped(trainer):
    options = {"model": lambda: pooled(dropout=0.3), "average_decay": 0.9}
    whole, first, second = (normalised(trainer, BOTH[1], **options) for _ in range(3))
    steps = [range(start, start + 7) for start in (0, 7, 14, 21)]
    measures = [whole.train(SPLIT, rows) for rows in steps]
    for rows in steps[:2]:
        first.train(SPLIT, rows)
    restore(second.step.variables(), arrays_of(first.step.variables()))
    second.number = second.steps = 2
    assert [second.train(SPLIT, rows) for rows in steps[2:]] == measures[2:]
    found, expected = (arrays_of(t.step.variables()) for t in (second, whole))
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_words_are_moved_also_while_their_vectors_are_frozen(trainer):
    late = (ParameterGroup(("embedding/*",), starts="2 steps"),)
    frozen, learning = (
        normalised(trainer, Adversarial(), optimizer=Grouped(groups)) for groups in (late, ())
    )
    for t in (frozen, learning):
        t.train(SPLIT, range(9))
    table, *others = frozen.weights()
    np.testing.assert_array_equal(table, normalised(trainer, None).weights()[0])
    assert_close(others, learning.weights()[1:])


def test_float16_stays_near_float32(trainer):
    exact = normalised(trainer, Adversarial())
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    t = normalised(trainer, Adversarial(), float16=True)
    t.step.loss_scale.scale.assign(64.0)  # the first one is for a loss that overflows here
    for rows in UNEVEN:
        found, expected = t.train(SPLIT, rows), exact.train(SPLIT, rows)
        np.testing.assert_allclose(found, expected, rtol=0.05, atol=0.02)


@pytest.mark.parametrize(
    "model, why",
    [
        (
            RecurrentClassifier(),
            "needs normalised .* RecurrentClassifier: normalized_embedding = True",
        ),
        (
            SentenceEncoderClassifier(encoder=MultilingualUse(), mode="fine_tune"),
            "moves word vectors, and SentenceEncoderClassifier has none",
        ),
    ],
    ids=["not normalised", "no words"],
)
def test_an_experiment_with_a_model_it_cannot_work_on_is_refused(model, why):
    parts = {"source": PackagedReviews(), "loss": CrossEntropy(regulariser=Adversarial())}
    with pytest.raises(ConfigError, match=f"regulariser = @Adversarial.. {why}"):
        Experiment(model=model, **parts)
    fine = RecurrentClassifier(normalized_embedding=True)
    assert Experiment(model=fine, **parts).model is fine


@pytest.mark.parametrize(
    "kind, setting",
    [
        (Adversarial, {"epsilon": 0.0}),
        (Adversarial, {"weight": -1.0}),
        (VirtualAdversarial, {"power_iterations": 0}),
        (VirtualAdversarial, {"xi": 0.0}),
        (CrossEntropy, {"regulariser": Adversarial}),  # without brackets
    ],
)
def test_settings_out_of_range_are_refused_by_name(kind, setting):
    (name,) = setting
    with pytest.raises(ConfigError, match=rf"{kind.__name__}\.{name} = "):
        kind(**setting)
