"""Cuts a text encoder in two: a host half that eats strings, a device half that has the weights.

The host half gives *border tensors*, numbers only. The device half is a pure function of these and
of the values of the variables: it can be differentiated, mirrored and compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import tensorflow as tf

from sentiment_train.hub import rewrites
from sentiment_train.hub.graph import Graph, Shapes, full, node_of
from sentiment_train.hub.inline import Flat, NotCuttable, flatten
from sentiment_train.hub.sides import (
    Sides,
    border_of,
    carried,
    compilable,
    least_border,
    sides,
)

_MOST_CARRIED = 32  # numbers of one tensor
_AGREE = 1e-5

# Of every kind that changes shapes: words that come twice, no words, many, other scripts.
PROBES = (
    b"the cat sat on the mat, and the dog sat on the cat",
    b"",
    b"good",
    "Ein großartiger Film — très émouvant, 素晴らしい映画".encode(),
    b"  two   spaces  ",
    b"It's 12:30; don't shout!!! #never @anyone http://example.org/a?b=c",
    b"worst film ever, worst film ever, worst film ever, worst film ever" * 3,
    "😀 привет мир".encode(),
)


@dataclass(frozen=True)
class Border:
    """One tensor that passes from host to device.

    `carried`: its values are sizes, which XLA must know; they pass as the shapes of tensors
    `[value + 1, 0] uint8`, one for each value, because a shape is static and a value is not.
    """

    tensor: str  # its name in the graph of the SavedModel
    dtype: tf.DType
    shape: tuple[int | None, ...]
    carried: bool

    @property
    def features(self) -> int:
        """As how many tensors it passes."""
        return int(np.prod(self.shape)) if self.carried else 1

    @property
    def specs(self) -> list:
        """Of what passes."""
        if self.carried:
            return [tf.TensorSpec([None, 0], tf.uint8)] * self.features
        return [tf.TensorSpec(self.shape or [1], self.dtype)]

    def pack(self, value) -> list:
        """The tensor → what passes, each of rank 1 or more."""
        if not self.carried:
            return [value if self.shape else tf.reshape(value, [1])]
        value = tf.cast(tf.reshape(value, [-1]), tf.int32)
        return [tf.zeros([value[i] + 1, 0], tf.uint8) for i in range(self.features)]

    def unpack(self, features: Sequence):
        """What `pack` gave → the tensor."""
        if not self.carried:
            return features[0] if self.shape else tf.reshape(features[0], [])
        sizes = [tf.shape(feature)[0] - 1 for feature in features]
        return tf.cast(tf.reshape(tf.stack(sizes), self.shape), self.dtype)


@dataclass(frozen=True, eq=False, repr=False)
class Cut:
    """The two halves of an encoder.

    `host(texts [n] string)` gives the list of features that pass: `border_0`, `border_1` …
    """

    border: tuple[Border, ...]
    host: Callable
    device: tf.compat.v1.GraphDef
    variables: tuple[tf.Variable, ...]  # those that the output depends on, the nearest to it first
    output: str
    why_not_compiled: str | None  # None: XLA can compile the device half
    captures: tuple[tf.Tensor, ...]  # the handles of tables and the like that the host half uses

    @property
    def feature_count(self) -> int:
        """How many features pass."""
        return sum(part.features for part in self.border)

    @cached_property
    def apply(self) -> Callable:
        """The device half: features and the values of `variables` → `[rows, dimension] float32`.

        A `tf.function` of its own: gradient tapes do not see ops that are imported, only that it is
        called. It is traced once, for all sizes.
        """
        features = [spec for part in self.border for spec in part.specs]
        values = [tf.TensorSpec(v.shape, v.dtype) for v in self.variables]
        return tf.function(self._import, [features, values], autograph=False)

    def _import(self, features: Sequence, values: Sequence):
        features = list(features)
        inputs = {f"variable_{i}:0": value for i, value in enumerate(values)}
        for i, part in enumerate(self.border):
            inputs[f"border_{i}:0"] = part.unpack(features[: part.features])
            del features[: part.features]
        found = tf.graph_util.import_graph_def(self.device, inputs, [self.output], name="")
        return found[0]


def cut(function, texts, output) -> Cut:
    """Cuts a concrete function.

    Args:
      function: a `ConcreteFunction` of texts `[n] string`; its tensors `texts` and `output`
        `[n, dimension] float32` say what goes in and out.

    Raises:
      NotCuttable: if it cannot be.
    """
    flat = flatten(function, texts, output)
    if rewrites.without_duplicates_sought(flat):
        found = _cut(flat)
        if _agrees(found, function, output):
            return found
        flat = flatten(function, texts, output)
    found = _cut(flat)
    if not _agrees(found, function, output):
        raise NotCuttable("its two halves together do not give what the whole gives")
    return found


def _cut(flat: Flat) -> Cut:
    rewrites.with_static_shapes(flat)
    graph, shapes = flat.graph, Shapes(flat.graph)
    found = sides(flat, shapes)
    on_device = least_border(graph, found, _sizes(flat, shapes, found))
    tensors = border_of(graph, on_device, found.constant)
    carriers = carried(graph, on_device, found.constant, tensors)
    values = _host_function(flat, tensors)(tf.constant(PROBES))
    border = tuple(
        Border(t, shapes[t][0], _shape(value, t in carriers), t in carriers)
        for t, value in zip(tensors, values, strict=True)
    )
    weights = _top_first(graph, flat, on_device)
    names = {tensor: f"border_{i}:0" for i, tensor in enumerate(tensors)}
    names |= {tensor: f"variable_{i}:0" for i, tensor in enumerate(weights)}
    ops = [name for name in graph.ancestors([flat.output]) if name in on_device]
    return Cut(
        border=border,
        host=_packing_host(flat, border),
        device=_device_graph(graph, flat.output, names),
        variables=tuple(flat.variables[tensor] for tensor in weights),
        output=flat.output,
        why_not_compiled=_why_not_compiled(graph, ops, border),
        captures=tuple(flat.captures.values()),
    )


def _shape(value, carried: bool) -> tuple[int | None, ...]:
    """Of a tensor of sizes the shape itself, of others only how many dimensions they have."""
    return tuple(value.shape) if carried else (None,) * value.shape.rank


def _sizes(flat: Flat, shapes: Shapes, found: Sides) -> dict[str, int]:
    """Bytes of each tensor that may pass, for the probes."""
    passing = [
        tensor
        for name in flat.graph.nodes
        if name not in found.host and name not in found.constant
        for tensor in flat.graph.inputs(name)
        if node_of(tensor) not in found.device and node_of(tensor) not in found.constant
    ]
    passing = [
        t for t in dict.fromkeys(passing) if not shapes.is_string(t) and not shapes.is_handle(t)
    ]
    values = _host_function(flat, passing)(tf.constant(PROBES))
    return {t: int(np.asarray(v).nbytes) for t, v in zip(passing, values, strict=True)}


def _host_function(flat: Flat, tensors: Sequence[str]) -> Callable:
    """texts `[n] string` → tensors that depend on no variable, as a list."""
    given = {flat.texts, *map(full, flat.captures)}
    graph_def = flat.graph.graph_def([*tensors, flat.texts], without=map(node_of, given))
    used = {tensor for node in graph_def.node for tensor in node.input}

    def host(texts):
        capture = tf.compat.v1.get_default_graph().capture
        captures = {full(node): value for node, value in flat.captures.items()}
        inputs = {tensor: capture(v) for tensor, v in captures.items() if tensor in used}
        inputs |= {flat.texts: texts} if flat.texts in used else {}
        return tf.graph_util.import_graph_def(graph_def, inputs, list(tensors), name="")

    return _on_host(host)


def _on_host(function: Callable) -> Callable:
    """A `tf.function` of texts, on the CPU."""

    def on_cpu(texts):
        with tf.device("/cpu:0"):
            return function(texts)

    return tf.function(on_cpu, [tf.TensorSpec([None], tf.string)], autograph=False)


def _packing_host(flat: Flat, border: Sequence[Border]) -> Callable:
    """texts `[n] string` → the features of the border."""
    tensors = _host_function(flat, [part.tensor for part in border])

    def host(texts):
        values = tensors(texts)
        return [
            feature
            for part, value in zip(border, values, strict=True)
            for feature in part.pack(tf.ensure_shape(value, [None] * len(part.shape)))
        ]

    return _on_host(host)


def _device_graph(graph: Graph, output: str, names: dict[str, str]):
    """What the output depends on, up to the tensors in `names`, which get these names instead."""
    for tensor, name in names.items():
        node = tf.compat.v1.NodeDef(name=node_of(name), op="Placeholder")
        graph.nodes[node.name] = node
        graph.replace(tensor, name)
    return graph.graph_def([output], without=map(node_of, names.values()))


def _top_first(graph: Graph, flat: Flat, on_device: set[str]) -> list[str]:
    """The tensors of the variables, the nearest to the output first: by the longest way to it."""
    distance = {node_of(flat.output): 0}
    nearest: dict[str, int] = {}
    for name in reversed(graph.ancestors([flat.output])):
        if name not in distance:
            continue
        for tensor in graph.inputs(name):
            giver = node_of(tensor)
            if tensor in flat.variables:
                nearest[tensor] = min(nearest.get(tensor, 1 << 30), distance[name])
            elif giver in on_device:
                distance[giver] = max(distance.get(giver, 0), distance[name] + 1)
    return sorted(nearest, key=lambda tensor: (nearest[tensor], flat.variables[tensor].name))


def _why_not_compiled(graph: Graph, ops: list[str], border: Sequence[Border]) -> str | None:
    for name in ops:
        for node in graph.within(name):
            if not compilable(node.op):
                return f"{node.op} in its device half cannot be compiled ({name})"
    for part in border:
        if part.carried and part.features > _MOST_CARRIED:
            return f"{part.tensor} has too many sizes that depend on the texts"
    return None


def _agrees(found: Cut, function, output) -> bool:
    """Whether the halves give what the whole gives, for texts together and alone."""
    place = [t is output for t in function.outputs].index(True)
    for texts in (PROBES, PROBES[:1]):
        texts = tf.constant(texts)
        whole = tf.nest.flatten(function(texts), expand_composites=True)[place].numpy()
        values = [tf.convert_to_tensor(v) for v in found.variables]
        halves = found.apply(found.host(texts), values).numpy()
        if whole.shape != halves.shape:
            return False
        scale = 1 + np.abs(whole[np.isfinite(whole)]).max(initial=0)
        if not np.allclose(whole, halves, rtol=0, atol=_AGREE * scale, equal_nan=True):
            return False
    return True
