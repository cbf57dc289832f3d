"""A `GraphDef` that can be read and rewritten: names, edges, and pieces traced from Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

_RESOURCE, _STRING, _VARIANT = 20, 7, 21  # of tensorflow.DataType


class Graph:
    """The nodes of a graph by name. Tensors are called `node:output`; control edges are dropped.

    Args:
      graph_def: what was inlined; its function library (loop bodies and the like) is kept.
    """

    def __init__(self, graph_def):
        self.nodes = {}
        self._by_name = {f.signature.name: f for f in graph_def.library.function}
        self.versions = graph_def.versions
        for node in graph_def.node:
            self.nodes[node.name] = copy = type(node)()
            copy.CopyFrom(node)
            del copy.input[:]
            copy.input.extend(full(name) for name in node.input if not name.startswith("^"))
            for attribute in ("_output_shapes", "_class"):
                copy.attr.pop(attribute, None)

    def inputs(self, name: str) -> Sequence[str]:
        """The tensors that a node eats."""
        return self.nodes[name].input

    def ancestors(self, tensors: Iterable[str]) -> list[str]:
        """The nodes that tensors are computed from, every node after those that it eats."""
        order, seen = [], set()
        pending = [(node_of(tensor), False) for tensor in tensors]
        while pending:
            name, done = pending.pop()
            if done:
                order.append(name)
            elif name not in seen:
                seen.add(name)
                pending.append((name, True))
                pending += [(node_of(t), False) for t in self.inputs(name)]
        return order

    def descendants(self, names: Iterable[str]) -> set[str]:
        """The given nodes and all that depend on them."""
        consumers, found = self.consumers(), set(names)
        pending = list(found)
        while pending:
            for consumer in consumers.get(pending.pop(), ()):
                if consumer not in found:
                    found.add(consumer)
                    pending.append(consumer)
        return found

    def consumers(self) -> dict[str, list[str]]:
        """For each node the nodes that eat one of its outputs."""
        found: dict[str, list[str]] = {}
        for name, node in self.nodes.items():
            for tensor in node.input:
                found.setdefault(node_of(tensor), []).append(name)
        return found

    def prune(self, tensors: Iterable[str]) -> None:
        """Forgets what tensors do not depend on."""
        self.nodes = {name: self.nodes[name] for name in self.ancestors(tensors)}

    def replace(self, old: str, new: str, keep: Iterable[str] = ()) -> None:
        """Makes all nodes except those in `keep` eat the tensor `new` in place of `old`."""
        kept = set(keep)
        for name, node in self.nodes.items():
            if name not in kept:
                for place, tensor in enumerate(node.input):
                    if tensor == old:
                        node.input[place] = new

    def splice(self, prefix: str, function: Callable, inputs: Sequence[str], shapes) -> list[str]:
        """Adds what a Python function does to tensors; returns the names of its results.

        Args:
          prefix: of the names of the new nodes.
          function: from as many symbolic tensors as `inputs` to a tensor or a list of them.
          shapes: a `Shapes` of this graph, for dtypes and static shapes of the inputs.
        """
        import tensorflow as tf

        with tf.Graph().as_default() as traced:
            specs = [shapes[tensor] for tensor in inputs]
            holders = [tf.compat.v1.placeholder(dtype, shape) for dtype, shape in specs]
            results = tf.nest.flatten(function(*holders))
            named = [op.outputs for op in traced.get_operations()]
        given = {full(holder.name): tensor for holder, tensor in zip(holders, inputs, strict=True)}
        rename = lambda tensor: given.get(full(tensor), f"{prefix}/{full(tensor)}")  # noqa: E731
        for node in traced.as_graph_def().node:
            if full(node.name) not in given:
                node.input[:] = [rename(t) for t in node.input if not t.startswith("^")]
                node.name = f"{prefix}/{node.name}"
                self.nodes[node.name] = node
        known = {rename(t.name): (t.dtype, t.shape) for tensors in named for t in tensors}
        shapes.learn({t: spec for t, spec in known.items() if t not in inputs})
        return [rename(result.name) for result in results]

    def graph_def(self, tensors: Iterable[str] | None = None, without: Iterable[str] = ()):
        """A GraphDef of all nodes, or of those that tensors depend on, except `without`."""
        import tensorflow as tf

        absent = set(without)
        result = tf.compat.v1.GraphDef()
        result.versions.CopyFrom(self.versions)
        names = self.nodes if tensors is None else self.ancestors(tensors)
        result.node.extend(self.nodes[name] for name in names if name not in absent)
        result.library.function.extend(self._functions(result.node))
        return result

    def within(self, name: str) -> Iterator:
        """A node, and the nodes in the bodies of its functions (of a loop, say)."""
        yield self.nodes[name]
        for function in self._functions([self.nodes[name]]):
            yield from function.node_def

    def _functions(self, nodes: Iterable) -> Iterator:
        """The functions that nodes call, and those that these call."""
        seen, pending = set(), list(nodes)
        while pending:
            for attribute in pending.pop().attr.values():
                for called in (attribute.func, *attribute.list.func):
                    if called.name in self._by_name and called.name not in seen:
                        seen.add(called.name)
                        yield (function := self._by_name[called.name])
                        pending += function.node_def

    def touches_strings(self, name: str, shapes: Shapes) -> bool:
        """Whether a node, or the body of its function, eats or gives strings."""
        own = (*self.inputs(name), *shapes.outputs(name))
        return any(shapes.is_string(tensor) for tensor in own) or any(
            _STRING in (attribute.type, *attribute.list.type)
            for node in self.within(name)
            for attribute in node.attr.values()
        )


class Shapes:
    """Dtypes and static shapes of all tensors of a graph, by TensorFlow's own inference."""

    def __init__(self, graph: Graph):
        import tensorflow as tf

        self._learnt = {}
        self._graph = tf.Graph()
        with self._graph.as_default():
            tf.graph_util.import_graph_def(graph.graph_def(), name="")

    def __getitem__(self, tensor: str):
        """`(dtype, TensorShape)`."""
        if tensor in self._learnt:
            return self._learnt[tensor]
        found = self._graph.get_tensor_by_name(tensor)
        return found.dtype, found.shape

    def learn(self, specs: dict) -> None:
        """Takes in tensors that were added since."""
        self._learnt |= specs

    def outputs(self, name: str) -> list[str]:
        """The tensors that a node gives."""
        return [full(t.name) for t in self._graph.get_operation_by_name(name).outputs]

    def is_string(self, tensor: str) -> bool:
        return self[tensor][0].as_datatype_enum == _STRING

    def is_handle(self, tensor: str) -> bool:
        """Whether it is no number but a table, a variable, or a list of tensors."""
        return self[tensor][0].as_datatype_enum in (_RESOURCE, _VARIANT)

    def is_resource(self, tensor: str) -> bool:
        return self[tensor][0].as_datatype_enum == _RESOURCE


def full(tensor: str) -> str:
    """`node` → `node:0`; the names of a GraphDef leave the first output's number out."""
    return tensor if ":" in tensor else f"{tensor}:0"


def node_of(tensor: str) -> str:
    """`node:1` → `node`."""
    return tensor.partition(":")[0]
