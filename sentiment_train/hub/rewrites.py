"""Ops on variables whose output is as large as their values say, written with static shapes.

Nothing here changes a number. Each rewrite takes an op that depends on a variable and puts ordinary
TensorFlow in its place, in which sizes come from the host.
"""

from __future__ import annotations

import tensorflow as tf

from sentiment_train.hub.graph import Graph, Shapes, full, node_of
from sentiment_train.hub.inline import Flat

_SEGMENTS = {
    f"{sparse}Segment{how}{given}": (how, bool(sparse))
    for sparse in ("Sparse", "")
    for how in ("Sum", "Mean", "SqrtN", "Max", "Min", "Prod")
    for given in ("", "WithNumSegments")
}


def without_duplicates_sought(flat: Flat) -> bool:
    """Looks every id up as often as it occurs, in place of each distinct id once.

    How many distinct ids a batch has is not known from its lengths. `y, place = Unique(x)` becomes
    `y = x, place = 0, 1, 2 …`: of what is looked up in a table and then put in its place again,
    the result is the same. The caller has to compare, in case that `y` is used otherwise.

    Returns:
      Whether anything was changed.
    """
    graph, shapes = flat.graph, Shapes(flat.graph)
    device = graph.descendants(node_of(tensor) for tensor in flat.variables)
    changed = False
    for name in list(graph.nodes):
        node = graph.nodes[name]
        if node.op not in ("Unique", "UniqueV2") or name in device:
            continue
        if shapes.is_string(node.input[0]) or shapes[node.input[0]][1].rank != 1:
            continue
        dtype = shapes[f"{name}:1"][0]
        place = graph.splice(
            f"{name}/every", lambda x, d=dtype: tf.range(tf.size(x, d), dtype=d),
            [node.input[0]], shapes,
        )  # fmt: skip
        graph.replace(f"{name}:0", node.input[0])
        graph.replace(f"{name}:1", place[0])
        changed = True
    graph.prune([flat.output, flat.texts])
    return changed


def with_static_shapes(flat: Flat) -> None:
    """Rewrites segment sums, sharded look-ups and moves of rows; see the functions below."""
    graph = flat.graph
    for rewrite in (_sharded_lookups, _segments, _moves_of_rows):
        shapes = Shapes(graph)
        device = graph.descendants(node_of(tensor) for tensor in flat.variables)
        rewrite(graph, shapes, device)
        graph.prune([flat.output, flat.texts])


def _sharded_lookups(graph: Graph, shapes: Shapes, device: set[str]) -> None:
    """ids split over the shards of a table, looked up, put together again → a sum of choices.

    How many ids a shard gets depends on the words. So every shard is asked for all ids, and what
    the others have to answer is replaced. It is the pattern that `tf.nn.embedding_lookup` writes.
    """
    for name in list(graph.nodes):
        node = graph.nodes.get(name)
        if node is None or node.op not in ("DynamicStitch", "ParallelDynamicStitch"):
            continue
        shards = len(node.input) // 2
        parts = [_Shard.find(graph, node.input[i], node.input[shards + i]) for i in range(shards)]
        if name not in device or None in parts:
            continue
        if any(part.split != parts[0].split for part in parts):
            continue
        ids, chosen = graph.inputs(parts[0].split)
        tables = [part.table for part in parts]

        def choose(ids, chosen, *tables):
            result = None
            for number, table in enumerate(tables):
                mine = tf.equal(chosen, number)
                rows = tf.gather(table, tf.where(mine, ids, tf.zeros_like(ids)))
                mine = tf.reshape(mine, [-1] + [1] * (len(table.shape) - 1))
                result = rows if result is None else tf.where(mine, rows, result)
            return result

        new = graph.splice(f"{name}/chosen", choose, [ids, chosen, *tables], shapes)
        graph.replace(full(name), new[0])


class _Shard:
    """One shard's part of a sharded look-up: rows of `table` for what `split` gives to it."""

    def __init__(self, split: str, table: str):
        self.split, self.table = split, table

    @classmethod
    def find(cls, graph: Graph, places: str, rows: str) -> _Shard | None:
        """The shard whose `rows` go to `places`; None if this is no sharded look-up."""
        place_split, place_number = _source(graph, places)
        gather = graph.nodes[_source(graph, rows)[0]]
        if gather.op != "GatherV2" or graph.nodes[place_split].op != "DynamicPartition":
            return None
        split, number = _source(graph, gather.input[1])
        if graph.nodes[split].op != "DynamicPartition" or number != place_number:
            return None
        data, by = graph.inputs(place_split)
        if graph.inputs(split)[1] != by or graph.nodes[_source(graph, data)[0]].op != "Range":
            return None
        return cls(split, _whole(graph, gather.input[0]))


def _source(graph: Graph, tensor: str) -> tuple[str, int]:
    """The node and output that a tensor is a plain copy of."""
    while graph.nodes[node_of(tensor)].op in ("Identity", "Cast"):
        if graph.nodes[node_of(tensor)].op == "Cast":
            break
        tensor = graph.inputs(node_of(tensor))[0]
    return node_of(tensor), int(tensor.partition(":")[2])


def _whole(graph: Graph, tensor: str) -> str:
    node, output = _source(graph, tensor)
    return f"{node}:{output}"


def _segments(graph: Graph, shapes: Shapes, device: set[str]) -> None:
    """Sums over segments of rows: as many as the host says there are."""
    for name in list(graph.nodes):
        node = graph.nodes[name]
        if node.op not in _SEGMENTS or node_of(node.input[0]) not in device:
            continue
        how, sparse = _SEGMENTS[node.op]
        inputs = list(node.input)
        if shapes[inputs[2 if sparse else 1]][0] is None:
            continue
        segments = inputs[2 if sparse else 1]
        if node.op.endswith("WithNumSegments"):
            count = inputs[3]
        else:
            count = graph.splice(f"{name}/count", _count_of, [segments], shapes)[0]
        rows = inputs[0]
        if sparse:
            rows = graph.splice(f"{name}/rows", tf.gather, inputs[:2], shapes)[0]
        over = lambda r, s, c, how=how: _over_segments(how, r, s, c)  # noqa: E731
        new = graph.splice(f"{name}/segments", over, [rows, segments, count], shapes)
        graph.replace(full(name), new[0])


def _count_of(segments):
    """How many rows the op itself would give: the last segment's number and one."""
    return tf.reduce_max(tf.concat([segments, [-1]], axis=0)) + 1


def _over_segments(how: str, rows, segments, count):
    """`rows [m, …]` in `segments [m]` → `[count, …]`; an empty segment is 0."""
    if how in ("Max", "Min", "Prod"):
        op = {"Max": tf.math.unsorted_segment_max, "Min": tf.math.unsorted_segment_min,
              "Prod": tf.math.unsorted_segment_prod}[how]  # fmt: skip
        result = op(rows, segments, count)
        if how == "Prod":
            return result
        there = tf.math.unsorted_segment_sum(tf.ones_like(segments), segments, count) > 0
        shape = [-1] + [1] * ((rows.shape.rank or 2) - 1)
        return tf.where(tf.reshape(there, shape), result, tf.zeros_like(result))
    total = tf.math.unsorted_segment_sum(rows, segments, count)
    if how == "Sum":
        return total
    ones = tf.ones_like(segments, rows.dtype)
    size = tf.maximum(tf.math.unsorted_segment_sum(ones, segments, count), 1)
    size = tf.sqrt(size) if how == "SqrtN" else size
    return total / tf.reshape(size, [-1] + [1] * ((rows.shape.rank or 2) - 1))


def _moves_of_rows(graph: Graph, shapes: Shapes, device: set[str]) -> None:
    """Ragged vectors → a padded tensor: the host pads row *numbers*, the device looks them up."""
    for name in list(graph.nodes):
        node = graph.nodes[name]
        if node.op != "RaggedTensorToTensor" or node_of(node.input[1]) not in device:
            continue
        if any(node_of(t) in device for t in (node.input[0], *node.input[2:])):
            continue
        types = list(node.attr["row_partition_types"].list.s)
        rank = shapes[node.input[1]][1].rank

        def places(shape, first, *partitions, types=types, rank=rank):
            if shape.shape.rank == 0:
                shape = tf.constant(-1, shape.dtype)  # nothing is asked for
            elif rank is not None and rank > 1:
                shape = shape[: tf.size(shape) - (rank - 1)]  # without the vector's own size
            numbers = tf.range(1, _values(types, first, partitions) + 1)
            return tf.raw_ops.RaggedTensorToTensor(
                shape=shape, values=numbers, default_value=tf.zeros([], tf.int32),
                row_partition_tensors=[first, *partitions], row_partition_types=types,
            )  # fmt: skip

        found = graph.splice(f"{name}/places", places, [node.input[0], *node.input[3:]], shapes)

        def look_up(values, default, places):
            default = tf.broadcast_to(default, tf.shape(values[:1]))
            return tf.gather(tf.concat([default, values], axis=0), places)

        inputs = [node.input[1], node.input[2], found[0]]
        new = graph.splice(f"{name}/rows", look_up, inputs, shapes)
        graph.replace(full(name), new[0])


def _values(types, first, partitions):
    """How many values a ragged tensor has, by its innermost partition."""
    innermost = (first, *partitions)[-1]
    if types[-1] == b"ROW_SPLITS":
        return tf.cast(innermost[-1], tf.int32)
    return tf.size(innermost)
