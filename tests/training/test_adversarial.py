"""The regularisers that move word vectors, against the paper's equations, text by text."""

from dataclasses import dataclass, field
from functools import partial

import keras
import numpy as np
import pytest
from paper_equations import PooledTexts
from small_training import VOCABULARY, Grouped, assert_close, random_split, sgd, whole_batch

from sentiment_train.data.batches import FILLER, RowSlice
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
    options = {"embedding_size": 4, "pooling": "mean", "dense_units": (5,), **options}
    settings = MlpClassifier(normalized_embedding=True, **options)
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

    def rows(self, batch, scale=1.0) -> Rows:
        return Rows(self.of_rows, range(len(self.of_rows.weights)), batch, KEY, scale)

    def move(self, batch, scale=1.0):
        rows = self.rows(batch, scale)
        return self.regulariser.perturbation(rows, rows.answer(rows.loss))

    def perturbation(self, batch, scale=1.0) -> np.ndarray:
        return self.move(batch, scale).numpy()

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


@pytest.mark.parametrize("precision, scale", [("bfloat16", 1.0), ("float16", 2.0**15)])
def test_a_short_precision_finds_nearly_the_direction_of_float32(precision, scale):
    split, regulariser = random_split(rows=24, longest=200, classes=3), VirtualAdversarial(1.0)
    batch = whole_batch(split, range(24), 200)
    model = partial(pooled, embedding_size=32, dense_units=())
    exact = Small(regulariser, model())
    keras.mixed_precision.set_dtype_policy(f"mixed_{precision}")
    short = Small(regulariser, model())
    expected, found = exact.perturbation(batch), short.perturbation(batch, scale)
    np.testing.assert_allclose((found**2).sum(axis=(1, 2)), 1.0, rtol=1e-5)  # none is 0 or NaN
    cosines = np.abs((found * expected).sum(axis=(1, 2)))  # d and -d are as good as each other
    assert cosines.mean() > 0.93


def test_compiled_in_bfloat16_virtual_moves_go_where_those_of_float32_go(tf):
    """One logit has one direction and its opposite, whatever d was drawn."""
    batch, virtual = whole_batch(random_split(longest=200), range(24), 200), VirtualAdversarial(1.0)
    model = partial(pooled, 2, embedding_size=32, dense_units=())
    weights = np.ones(2, np.float32)
    expected = Small(virtual, model(), weights).perturbation(batch)
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    short = Small(virtual, model(), weights)
    found = tf.function(short.move, jit_compile=True)(batch).numpy()
    assert np.abs((found * expected).sum(axis=(1, 2))).min() > 0.97


def test_a_direction_of_very_small_numbers_has_its_norm_all_the_same(tf):
    np.testing.assert_allclose(of_norm(5.0, tf.constant([[[3e-25, 4e-25]]])), [[[3, 4]]], rtol=1e-6)


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


def test_virtual_moves_of_every_replica_and_accumulated_batch_are_added(tf, trainer):
    """Each draws another d, so they are not those of one large batch."""
    t = normalised(trainer, BOTH[1], replicas=2, accumulate_batches=2)
    small, before = Small(BOTH[1]), t.weights()
    small.model.set_weights(t.step.model.get_weights())
    gradients, weight = 0.0, 0.0
    for number, rows in enumerate((range(5), range(5, 12))):
        t.train(SPLIT, rows)
        for replica in range(2):
            batch = whole_batch(SPLIT, RowSlice(2, replica).of(np.asarray(rows)))
            key = tf.random.experimental.stateless_fold_in([0, number], replica)
            found, sums = small.of_rows.sums(0, batch, key, 1.0)
            gradients, weight = gradients + np.array(found, object), weight + float(sums[1])
    t.apply()
    assert_close(
        t.weights(), [w - 0.5 * g / weight for w, g in zip(before, gradients, strict=True)]
    )


def test_a_run_that_goes_on_is_one_that_never_stopped(trainer):
    options = {"model": lambda: pooled(dropout=0.3), "average_decay": 0.9}
    whole, second = (normalised(trainer, BOTH[1], **options) for _ in range(2))
    first, last = ([range(start, start + 7) for start in starts] for starts in ((0, 7), (14, 21)))
    for rows in first:
        whole.train(SPLIT, rows)
    restore(second.step.variables(), arrays_of(whole.step.variables()))
    second.number = second.steps = 2
    assert [second.train(SPLIT, rows) for rows in last] == [whole.train(SPLIT, r) for r in last]
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
