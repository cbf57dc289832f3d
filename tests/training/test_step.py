"""The promise of a step: neither replicas nor accumulation nor XLA change what is learned."""

import keras
import numpy as np
import pytest
from small_training import VOCABULARY, assert_close, pooled_model, random_split, whole_batch

from sentiment_train.data.batches import FILLER
from sentiment_train.layers.dropout import Dropout
from sentiment_train.models.recurrent import RecurrentClassifier
from sentiment_train.schema import ModelInputs
from sentiment_train.training import optimizers
from sentiment_train.training.losses import CrossEntropy

pytestmark = pytest.mark.usefixtures("tf")

SPLIT = random_split()
# Rows not divisible by the replicas, a full batch with filler at its end, and one row alone: with
# 2 or 3 replicas, some replica then has nothing but filler.
UNEVEN = [range(0, 7), [*range(7, 12), FILLER, FILLER], [12], range(13, 20)]


def recurrent():
    settings = RecurrentClassifier(embedding_size=4, cell="gru", units=(3,), bidirectional=True)
    return settings.build(ModelInputs(VOCABULARY, 2))


def adam():
    return optimizers.Adam().build(0.05)


def reference(model, rows_of_steps, optimizer, clip_norm=None):
    """Plain Keras on one device, without filler rows → last weights, measures of each step."""
    import tensorflow as tf

    rng = np.random.default_rng(5)
    model.set_weights([rng.normal(0, 0.5, w.shape) for w in model.weights])
    measures = []
    for rows in rows_of_steps:
        batch = whole_batch(SPLIT, [row for row in rows if row != FILLER])
        with tf.GradientTape() as tape:
            logits = model(batch.features, training=True)[:, 0]
            sign = 2.0 * batch.labels - 1.0
            total = tf.reduce_sum(batch.weights * tf.math.softplus(-sign * logits))
            mean = total / batch.weights.sum()
        gradients = tape.gradient(mean, model.trainable_variables)
        gradients = [tf.convert_to_tensor(g) for g in gradients]
        norm = tf.linalg.global_norm(gradients)
        if clip_norm:
            gradients = [g * min(1.0, clip_norm / norm) for g in gradients]
        optimizer.apply(gradients, model.trainable_variables)
        hits = (logits.numpy() > 0) == (batch.labels == 1)
        weights = batch.weights
        measures.append([float(total), weights.sum(), (weights * hits).sum(), float(norm)])
    return model.get_weights(), measures


@pytest.mark.parametrize("optimizer", [adam, lambda: keras.optimizers.SGD(0.5)])
@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_replicas_learn_what_plain_keras_on_one_device_learns(trainer, replicas, optimizer):
    weights, measures = reference(pooled_model(), UNEVEN, optimizer(), clip_norm=0.1)
    t = trainer(replicas, optimizer=optimizer, clip_norm=0.1)
    found = [t.train(SPLIT, rows) for rows in UNEVEN]
    np.testing.assert_allclose(found, measures, rtol=1e-5, atol=1e-6)
    assert_close(t.weights(), weights)


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_a_recurrent_model_learns_the_same_on_replicas(trainer, replicas):
    steps = [range(0, 7), [*range(7, 12), FILLER, FILLER]]
    weights, measures = reference(recurrent(), steps, keras.optimizers.SGD(0.5))
    t = trainer(replicas, model=recurrent)
    found = [t.train(SPLIT, rows) for rows in steps]
    np.testing.assert_allclose(found, measures, rtol=1e-5, atol=1e-6)
    assert_close(t.weights(), weights)


def test_all_replicas_hold_the_same_weights_and_slots(trainer):
    t = trainer(3, optimizer=adam, average_decay=0.9)
    t.train(SPLIT, range(7))
    for variable in t.step.variables().values():
        variable = variable.value if isinstance(variable, keras.Variable) else variable
        first, *others = t.devices.strategy.experimental_local_results(variable)
        assert len(others) == 2
        for other in others:
            np.testing.assert_array_equal(other.numpy(), first.numpy())


@pytest.mark.parametrize("replicas", [1, 2])
def test_accumulated_batches_are_one_step_on_all_their_rows(trainer, replicas):
    parts = [range(0, 7), range(7, 9), [*range(9, 12), FILLER]]
    at_once = trainer(1, clip_norm=0.1)
    expected = [
        at_once.train(SPLIT, [row for part in parts for row in part]),
        at_once.train(SPLIT, range(20, 26)),
    ]
    t = trainer(replicas, accumulate_batches=3, clip_norm=0.1)
    for rows in parts:
        t.train(SPLIT, rows)
    found = [t.apply()]
    t.train(SPLIT, range(20, 26))  # the last step of an epoch may have fewer batches
    found.append(t.apply())
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert_close(t.weights(), at_once.weights())
    sizes = {-(-n // replicas) for n in (7, 2, 4, 6)}  # rows of a replica
    assert t.step.traces == len(sizes) + 1  # of `accumulate`, and of `apply_accumulated`


@pytest.mark.parametrize("replicas", [1, 3])
def test_gradients_are_clipped_together_after_the_sum_over_replicas(trainer, replicas):
    free, clipped = trainer(replicas), trainer(replicas, clip_norm=0.01)
    before = clipped.weights()
    norms = [t.train(SPLIT, range(9)).gradient_norm for t in (free, clipped)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)
    assert norms[0] > 0.01
    moved = [(a - b) / 0.5 for a, b in zip(clipped.weights(), before, strict=True)]
    assert np.sqrt(sum((m**2).sum() for m in moved)) == pytest.approx(0.01, rel=1e-3)
    freely = [(a - b) / 0.5 for a, b in zip(free.weights(), before, strict=True)]
    assert_close(moved, [m * 0.01 / norms[0] for m in freely])


def test_a_gradient_below_the_limit_is_not_clipped(trainer):
    free, clipped = trainer(), trainer(clip_norm=1e3)
    for t in (free, clipped):
        t.train(SPLIT, range(9))
    assert_close(clipped.weights(), free.weights())


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("width", [1, 2])
def test_the_loss_sums_weights_class_weights_and_smoothing(trainer, replicas, width):
    class_weights, smoothing = np.array([0.3, 2.0]), 0.2
    t = trainer(
        replicas,
        model=lambda: pooled_model(width),
        loss=CrossEntropy(label_smoothing=smoothing),
        class_weights=class_weights,
    )
    batch = whole_batch(SPLIT, range(7))
    logits = t.step.model(batch.features).numpy().astype(np.float64)
    if width == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    targets = np.eye(2)[batch.labels] * (1 - smoothing) + smoothing / 2
    weights = batch.weights * class_weights[batch.labels]
    found = t.train(SPLIT, range(7))
    assert found.loss == pytest.approx((weights * -(targets * log_p).sum(axis=1)).sum(), rel=1e-5)
    assert found.weight == pytest.approx(weights.sum(), rel=1e-6)
    hits = logits.argmax(axis=1) == batch.labels
    assert found.correct == pytest.approx((weights * hits).sum(), rel=1e-6)


@pytest.mark.parametrize("replicas, rows", [(1, range(7)), (3, range(7)), (2, [12])])
def test_a_regulariser_counts_once_whatever_the_replicas(trainer, replicas, rows):
    def regularised():
        return pooled_model(kernel_regularizer=keras.regularizers.L2(0.1))

    plain, t = trainer(1), trainer(replicas, model=regularised)
    kernel = t.step.model.get_layer("logits").kernel.numpy()
    loss = plain.train(SPLIT, rows).loss
    assert t.train(SPLIT, rows).loss == pytest.approx(loss, rel=1e-5)  # it is no part of the loss
    expected = plain.weights()
    expected[-2] = expected[-2] - 0.5 * 2 * 0.1 * kernel
    assert_close(t.weights(), expected)


@pytest.mark.parametrize("replicas", [1, 2])
def test_the_moving_average_is_numpys_and_only_in_place_inside_its_block(trainer, replicas):
    t = trainer(replicas, average_decay=0.25)
    expected = t.weights()
    for number, rows in enumerate(UNEVEN, 1):
        t.train(SPLIT, rows)
        decay = min(0.25, (1 + number) / (10 + number))
        pairs = zip(expected, t.weights(), strict=True)
        expected = [decay * average + (1 - decay) * weight for average, weight in pairs]
    assert_close([average.numpy() for average in t.step.average.averages], expected)
    own = t.weights()
    with t.step.average.in_place_of_weights():
        assert_close(t.weights(), expected)
        assert_close(t.step.model.get_weights(), expected)
    np.testing.assert_equal(t.weights(), own)
    with pytest.raises(KeyError), t.step.average.in_place_of_weights():
        raise KeyError
    np.testing.assert_equal(t.weights(), own)


OPTIMIZERS = [
    optimizers.Adam(),
    optimizers.AdamW(weight_decay=0.1),
    optimizers.Nadam(),
    optimizers.Sgd(nesterov=True),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
def test_every_optimizer_steps_on_2_replicas_as_on_1(trainer, optimizer):
    one, two = (trainer(n, optimizer=lambda: optimizer.build(0.05)) for n in (1, 2))
    for rows in (range(7), range(7, 14), range(14, 21)):
        assert two.train(SPLIT, rows) == pytest.approx(one.train(SPLIT, rows), rel=1e-5)
    assert_close(two.weights(), one.weights())
    assert int(two.step.optimizer.iterations.numpy()) == 3


@pytest.mark.parametrize("replicas", [1, 2])
def test_adamw_decays_kernels_and_spares_biases(trainer, replicas):
    t = trainer(replicas, optimizer=lambda: optimizers.AdamW(weight_decay=0.1).build(0.5))
    before = t.weights()
    t.train(SPLIT, [FILLER] * 4)  # no gradient: all that moves is decay
    for weight, old, new in zip(t.step.weights, before, t.weights(), strict=True):
        share = 1.0 if weight.name == "bias" else 1 - 0.5 * 0.1
        np.testing.assert_allclose(new, share * old, rtol=1e-5)


class Foreign(keras.layers.Layer):
    """Variables with the names of somebody else, as a pretrained encoder has them."""

    def build(self, shape):
        self.matrix = self.add_weight(name="tanh_layer_0.w.part_0", shape=(4, 4))
        self.shift = self.add_weight(name="tanh_layer_0.b.part_0", shape=(4,))
        self.scale = self.add_weight(name="g", shape=())
        self.norm = self.add_weight(name="layer_norm.rows", shape=(1, 4))

    def call(self, x):
        return (x @ self.matrix + self.shift) * self.scale + self.norm


def foreign_model():
    plain = pooled_model()
    x = Foreign(name="encoder")(plain.get_layer("hidden").output)
    return keras.Model(plain.input, keras.layers.Dense(1, name="logits")(x))


@pytest.mark.parametrize("replicas", [1, 2])
def test_adamw_spares_vectors_and_norms_whatever_their_names(trainer, replicas):
    optimizer = lambda: optimizers.AdamW(weight_decay=0.1).build(0.5)  # noqa: E731
    t = trainer(replicas, model=foreign_model, optimizer=optimizer)
    before = t.weights()
    t.train(SPLIT, [FILLER] * 4)
    decayed = {
        weight.path
        for weight, old, new in zip(t.step.weights, before, t.weights(), strict=True)
        if not np.array_equal(old, new)
    }
    matrices = {"embedding/embeddings", "hidden/kernel", "logits/kernel"}
    assert decayed == {*matrices, "encoder/tanh_layer_0.w.part_0"}


@pytest.mark.parametrize("replicas, clip_norm", [(1, None), (2, 1.0)])
def test_a_batch_of_weight_0_gives_zeros_and_leaves_fresh_weights_alone(
    trainer, replicas, clip_norm
):
    t = trainer(replicas, optimizer=adam, clip_norm=clip_norm)
    before = t.weights()
    assert t.train(SPLIT, [FILLER] * 4) == (0.0, 0.0, 0.0, 0.0)
    np.testing.assert_equal(t.weights(), before)


def test_there_is_one_trace_for_each_shape(trainer):
    t = trainer(2)
    for rows, length in [(range(7), 6), (range(3), 9), (range(7, 15), 6), (range(6, 10), 9)]:
        t.train(SPLIT, rows, length)
    assert t.step.train.experimental_get_tracing_count() == 2


def wide_dropout():
    tokens = keras.Input([None], dtype="int32", name="tokens")
    lengths = keras.Input([], dtype="int32", name="lengths")
    x = keras.layers.Embedding(VOCABULARY, 500, name="embedding")(tokens)[:, 0]
    x = Dropout(0.5, name="dropout")(x)
    logits = keras.layers.Dense(1, name="logits")(x)
    logits += 0.0 * keras.ops.cast(lengths[:, None], "float32")  # Keras 3.12 wants every input used
    return keras.Model({"tokens": tokens, "lengths": lengths}, logits)


def share_of_changed_units(t, number):
    """Trains on one and the same row on every replica."""
    kernel = t.step.model.get_layer("logits").kernel
    before = kernel.numpy()
    t.number = number
    t.train(SPLIT, [3] * t.devices.replicas)
    return kernel.numpy() != before


@pytest.mark.parametrize("replicas, share", [(1, 0.5), (2, 0.75), (3, 0.875)])
def test_replicas_drop_different_units(trainer, replicas, share):
    changed = share_of_changed_units(trainer(replicas, model=wide_dropout), 0)
    assert changed.mean() == pytest.approx(share, abs=0.06)


def test_dropout_is_a_function_of_the_seed_and_the_number_of_the_batch(trainer):
    one, same, other_seed = (trainer(model=wide_dropout, seed=seed) for seed in (0, 0, 1))
    units = share_of_changed_units(one, 4)
    np.testing.assert_array_equal(share_of_changed_units(same, 4), units)
    for other in (share_of_changed_units(one, 5), share_of_changed_units(other_seed, 4)):
        assert (units == other).mean() == pytest.approx(0.5, abs=0.1)
