"""Which ops may run on a device, and where between them the graph is best cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sentiment_train.hub.graph import Graph, Shapes, full, node_of
from sentiment_train.hub.inline import Flat, NotCuttable

# Ops that XLA can compile, but whose output has a shape that depends on values.
_SHAPE_BY_VALUE = frozenset(
    ("Where", "Unique", "UniqueV2", "UniqueWithCounts", "UniqueWithCountsV2", "DynamicPartition",
     "DynamicStitch", "ParallelDynamicStitch", "SetDiff1D", "ListDiff")
)  # fmt: skip
_SHAPE_OF = ("Shape", "ShapeN", "Size", "Rank")

# The inputs that must be known when XLA compiles, from the list of each op's kernel.
_KNOWN_INPUTS = {
    "Reshape": [1], "Fill": [0], "BroadcastTo": [1], "Tile": [1], "StridedSlice": [1, 2, 3],
    "Slice": [1, 2], "Range": [0, 1, 2], "Pad": [1], "PadV2": [1], "MirrorPad": [1],
    "ExpandDims": [1], "ConcatV2": [-1], "Concat": [0], "Sum": [1], "Mean": [1], "Max": [1],
    "Min": [1], "Prod": [1], "All": [1], "Any": [1], "GatherV2": [2], "OneHot": [1],
    "UnsortedSegmentSum": [2], "UnsortedSegmentMax": [2], "UnsortedSegmentMin": [2],
    "UnsortedSegmentProd": [2], "Transpose": [1], "Split": [0], "SplitV": [1, 2], "ArgMax": [1],
    "ArgMin": [1], "TopKV2": [1], "ScatterNd": [2], "Cumsum": [1], "Cumprod": [1],
    "ReverseV2": [1], "LinSpace": [2], "Bincount": [1], "DenseBincount": [1], "Roll": [1, 2],
    "TensorListReserve": [0, 1], "EmptyTensorList": [0, 1], "SparseToDense": [1],
    "RandomUniform": [0], "RandomStandardNormal": [0], "TruncatedNormal": [0],
}  # fmt: skip

_INFINITE = 1 << 30
_EDGE = 64  # bytes that one more tensor at the border counts for


@dataclass
class Sides:
    """The nodes of a graph by where they can be.

    `constant`: depend on nothing; both halves may have them. `device`: depend on a variable.
    `host`: eat strings, tables or values as shapes, or are eaten by those that do. All others are
    free.
    """

    constant: set[str]
    device: set[str]
    host: set[str]


def sides(flat: Flat, shapes: Shapes) -> Sides:
    """Sorts the nodes.

    Raises:
      NotCuttable: if a node must be on both sides, or if nothing depends on a variable.
    """
    graph = flat.graph
    device = graph.descendants(node_of(tensor) for tensor in flat.variables)
    if node_of(flat.output) not in device:
        raise NotCuttable("its output depends on no variable: all its numbers are constants")
    inputs = {node_of(flat.texts), *flat.captures}
    varying = graph.descendants(inputs) | device
    constant = {name for name in graph.nodes if name not in varying}
    constant -= graph.descendants(
        n for n in constant if graph.touches_strings(n, shapes) or _has_handles(graph, shapes, n)
    )
    on_host = {
        name
        for name in graph.nodes
        if name not in constant and name not in device and not _for_device(graph, shapes, name)
    }
    for name in device:
        if graph.touches_strings(name, shapes):
            raise NotCuttable(
                f"{graph.nodes[name].op} ({name}) works on strings, and on a variable of the model"
            )
        eaten = [t for t in graph.inputs(name) if shapes.is_resource(t)]
        if eaten:
            raise NotCuttable(f"{name} looks up in a table what was computed from a variable")
    on_host |= inputs
    found = Sides(constant, device, on_host)
    _needing_shapes(graph, found)
    found.host = {n for n in graph.ancestors(map(full, found.host)) if n not in constant}
    return found


def _has_handles(graph: Graph, shapes: Shapes, name: str) -> bool:
    return any(shapes.is_handle(t) for t in (*graph.inputs(name), *shapes.outputs(name)))


def _for_device(graph: Graph, shapes: Shapes, name: str) -> bool:
    """Whether a node may be compiled: numbers only, and static shapes if its inputs have them."""
    if graph.touches_strings(name, shapes):
        return False
    if any(shapes.is_resource(t) for t in (*graph.inputs(name), *shapes.outputs(name))):
        return False
    return all(compilable(node.op) for node in graph.within(name))


def compilable(op: str) -> bool:
    """Whether XLA has a kernel for it that keeps shapes static."""
    return op not in _SHAPE_BY_VALUE and op in _kernels()


_KERNELS: set[str] = set()


def _kernels() -> set[str]:
    """The ops that XLA can compile for the CPU; TensorFlow registers them with the first use."""
    import tensorflow as tf
    from tensorflow.python.framework import kernels

    if not _KERNELS:
        tf.function(tf.identity, jit_compile=True)(tf.zeros([]))
        for kernel in kernels.get_all_registered_kernels().kernel:
            if kernel.device_type == "XLA_CPU_JIT":
                _KERNELS.add(kernel.op)
        _KERNELS.update(("Placeholder", "PlaceholderWithDefault", "StopGradient", "Snapshot"))
    return _KERNELS


def known_inputs(node) -> list[str]:
    """The tensors of a node that XLA must know when it compiles."""
    places = _KNOWN_INPUTS.get(node.op, [])
    return [node.input[place] for place in places if place < len(node.input)]


def _needing_shapes(graph: Graph, found: Sides) -> None:
    """Puts on the host what says how large something is and cannot be known from shapes alone.

    Its value becomes static all the same: see `carriers`.
    """
    pending = [
        tensor
        for name, node in graph.nodes.items()
        if name not in found.constant and name not in found.host
        for tensor in known_inputs(node)
    ]
    by_shapes = _known_by_shapes(graph, found)
    seen = set()
    while pending:
        name = node_of(pending.pop())
        if name in seen:
            continue
        seen.add(name)
        if name in found.device:
            if graph.nodes[name].op not in _SHAPE_OF:
                pending += graph.inputs(name)
        elif name not in by_shapes:
            found.host.add(name)


def _known_by_shapes(graph: Graph, found: Sides) -> set[str]:
    """The nodes whose values follow from shapes of tensors that may be on the device."""
    known = set(found.constant)
    for name in graph.ancestors(map(full, graph.nodes)):
        if name not in found.host and name not in known:
            inputs = graph.inputs(name)
            of_shape = graph.nodes[name].op in _SHAPE_OF
            if of_shape or (inputs and all(node_of(t) in known for t in inputs)):
                known.add(name)
    return known


def carried(graph: Graph, on_device: set[str], constant: set[str], border: list[str]) -> set[str]:
    """The tensors of the border that XLA must know when it compiles."""
    pending = [t for name in on_device for t in known_inputs(graph.nodes[name])]
    seen, found = set(), set()
    while pending:
        tensor = pending.pop()
        name = node_of(tensor)
        if tensor in border:
            found.add(tensor)
        elif name in on_device and name not in seen and name not in constant:
            seen.add(name)
            if graph.nodes[name].op not in _SHAPE_OF:
                pending += graph.inputs(name)
    return found


def border_of(graph: Graph, on_device: set[str], constant: set[str]) -> list[str]:
    """The tensors that the host half gives and the device half eats, in the order of the graph."""
    found = {}
    for name in sorted(on_device):
        for tensor in graph.inputs(name):
            if node_of(tensor) not in on_device and node_of(tensor) not in constant:
                found[tensor] = None
    return list(found)


def least_border(graph: Graph, found: Sides, sizes: dict[str, int]) -> set[str]:
    """The nodes to have on the device, so that the fewest bytes pass: a minimum cut.

    Of equally good cuts the one nearest the strings is taken.

    Args:
      sizes: bytes of each tensor that could pass, for some texts.
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow

    names = [n for n in graph.nodes if n not in found.constant]
    place = {key: i + 2 for i, key in enumerate([*names, *sizes])}  # 0: the host, 1: the device
    edges: dict[tuple[int, int], int] = {}
    for name in names:
        if name in found.host:
            edges[0, place[name]] = _INFINITE
        elif name in found.device:
            edges[place[name], 1] = _INFINITE
        for tensor in graph.inputs(name):
            giver = node_of(tensor)
            if giver in found.constant:
                continue
            edges[place[name], place[giver]] = _INFINITE  # the host eats nothing of the device's
            if tensor in sizes:
                edges[place[giver], place[tensor]] = min(sizes[tensor] + _EDGE, _INFINITE // 2)
                edges[place[tensor], place[name]] = _INFINITE
            elif giver not in found.device:
                edges[place[giver], place[name]] = _INFINITE
    rows, columns = np.array(list(edges)).T
    size = len(place) + 2
    capacity = csr_matrix((np.array(list(edges.values()), np.int32), (rows, columns)), (size, size))
    flow = maximum_flow(capacity, 0, 1).flow
    residual = (capacity - flow).tocsr()
    residual.eliminate_zeros()
    reached = set(breadth_first_order(residual, 0, return_predecessors=False).tolist())
    return {name for name in names if place[name] not in reached}
