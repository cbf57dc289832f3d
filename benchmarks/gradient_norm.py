"""How much of the gradient is left, step by step back through a review; see `recurrence`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

REVIEWS = 300
STEPS = 200  # of every review that is looked at
SMALLEST = 1e-16  # that is drawn


@dataclass(frozen=True)
class Fading:
    """Norms of ∂loss/∂state of one network; `[steps + 1, reviews] float64`.

    Row k is of the state k steps before the last one; the last row is of the state before the first
    token. The state of an LSTM is h and c together: both go on to the next step.
    """

    cell: str
    trained: bool
    norms: np.ndarray

    def quantiles(self, *shares: float) -> np.ndarray:
        """`[shares, steps + 1]`, over the reviews."""
        return np.quantile(self.norms, shares, axis=1)

    def left(self, steps: int) -> float:
        """The median of what is left so many steps before the end, as a share of that at it."""
        return float(np.median(self.norms[steps] / self.norms[0]))


def fading_of(assembly, trained: bool) -> Fading:
    """Of the current weights of an experiment like gin/scratch_rnn.gin that reads the last state.

    Args:
      assembly: an `assembly.Assembly`.
    """
    test, model = assembly.data.splits["test"], assembly.model
    rows = np.flatnonzero(test.lengths >= STEPS)[:REVIEWS]
    ends = test.offsets[rows + 1]
    tokens = np.stack([test.tokens[end - STEPS : end] for end in ends])
    cell, (units,) = assembly.experiment.model.cell, assembly.experiment.model.units
    layer = model.get_layer(f"{cell}_1")
    table = model.get_layer("embedding").get_weights()[0]
    resumed = resumable(cell, units, table.shape, layer.get_weights())
    logits = model.get_layer("logits")
    return Fading(cell, trained, norms(resumed, table, logits, tokens, test.labels[rows]))


def resumable(cell: str, units: int, table_shape: tuple[int, int], weights: list[np.ndarray]):
    """The layer of the project, called as `layer(ids, lengths, table)`, but it begins in the states
    `layer.before` and returns those at the end as well."""
    from sentiment_train.layers.recurrence import Recurrence

    class Resumable(Recurrence):
        before: tuple = ()

        def initial_states(self, inputs):
            return self.before

    layer = Resumable(cell, units, return_state=True)
    layer.build(None, None, table_shape)
    layer.built = True
    layer.set_weights(weights)
    return layer


def norms(layer, table: np.ndarray, head, tokens: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The norms of `Fading`, from the gradient that the layer itself computes.

    The reviews are read token by token: thus every state is a tensor between two calls of the
    layer, and the tape gives the derivative with respect to it, along all paths to the loss.

    Args:
      layer: see `resumable`.
      head: from the last hidden state `[reviews, units]` to logits `[reviews, 1]`.
      tokens: `[reviews, steps] int32`.
      labels: `[reviews]`, 0 or 1.
    """
    import tensorflow as tf

    table = tf.constant(table)
    one = tf.ones(len(tokens), tf.int32)
    targets = tf.constant(labels[:, None], tf.float32)
    with tf.GradientTape() as tape:
        states = [tuple(tf.zeros([len(tokens), layer.units]) for _ in range(layer.cell.states))]
        tape.watch(states)
        for step in range(tokens.shape[1]):
            layer.before, ids = states[-1], tf.constant(tokens[:, step : step + 1])
            _, *after = layer(ids, one, table=table, training=True)
            states.append(tuple(after))
        loss = tf.nn.sigmoid_cross_entropy_with_logits(targets, head(states[-1][0]))
    (d_h, *_), *earlier = tape.gradient(loss, states[::-1])  # of the last state only h is read
    # In float64, or the squares of what is left would be zero long before it is.
    wide = [tf.cast(tf.concat(g, axis=-1), tf.float64) for g in [[d_h], *earlier]]
    return np.stack([tf.norm(gradient, axis=-1) for gradient in wide])


def table(fadings: Sequence[Fading]) -> str:
    """Markdown: what is left of the gradient so many steps before the end."""
    steps = (1, 10, 50, 100, 200)
    head = " | ".join(f"{step} back" for step in steps)
    lines = [f"| cell | weights | {head} |", "|---|---|" + "---:|" * len(steps)]
    for fading in fadings:
        left = " | ".join(f"{fading.left(step):.2g}" for step in steps)
        lines.append(f"| {fading.cell} | {'trained' if fading.trained else 'fresh'} | {left} |")
    return "\n".join(lines)


def picture(fadings: Sequence[Fading]) -> bytes:
    """A PNG: a curve for each network; medians, of trained ones with the middle half shaded."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), dpi=100, layout="constrained")
    axes = figure.subplots()
    # Of the palette of Okabe and Ito (2008), which the colour-blind can tell apart.
    colours = {"simple": "#0072B2", "gru": "#D55E00", "lstm": "#009E73"}
    for fading in fadings:
        quantiles = fading.quantiles(0.25, 0.5, 0.75)
        low, middle, high = np.where(quantiles < SMALLEST, np.nan, quantiles)
        steps = np.arange(len(middle))
        looks = {"color": colours[fading.cell], "linestyle": "-" if fading.trained else "--"}
        label = f"{fading.cell}, {'trained' if fading.trained else 'fresh weights'}"
        axes.plot(steps, middle, label=label, linewidth=1.4, **looks)
        if fading.trained:
            axes.fill_between(steps, low, high, color=looks["color"], alpha=0.15, linewidth=0)
    axes.set(yscale="log", xlabel="steps before the end", ylabel="norm of ∂loss/∂state")
    axes.grid(alpha=0.3)
    axes.legend()
    return _small_png(figure)


def _small_png(figure) -> bytes:
    """With 64 colours: a third of the size, and no difference to be seen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image  # matplotlib needs it, too

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    buffer = io.BytesIO()
    pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    pixels.quantize(64, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
