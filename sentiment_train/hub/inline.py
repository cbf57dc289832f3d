"""A function of a SavedModel as one flat graph, in which variables are values, not handles."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from sentiment_train.hub.graph import Graph, Shapes, full, node_of


class NotCuttable(Exception):
    """Why a model cannot be cut in two: one clause, without a full stop."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Flat:
    """What a function computes, as one graph without calls.

    `graph` has a placeholder for the texts, one for the *value* of every variable, and one for each
    other thing that the function captured (tables, models of tokenisers).
    """

    graph: Graph
    texts: str  # the tensor [n] string
    output: str  # the tensor [n, dimension]
    variables: dict[str, tf.Variable]  # by the tensor that stands for the value
    captures: dict[str, tf.Tensor]  # what the placeholders of other captures stand for, by node


# Ops that change something outside, so that the order of ops, and how often they run, counts.
_CHANGES = ("Assign", "TableInsert", "TableImport", "Enqueue", "StackPush", "PyFunc", "Scatter")
_HARMLESS = ("TensorScatter", "ScatterNd", "TensorListScatter")
# They keep loops from staying whole, or calls from being inlined.
_IN_THE_WAY = ("_lower_using_switch_merge", "api_implements", "_noinline", "_XlaMustCompile")
_READS = ("ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VariableShape")


def flatten(function, texts, output) -> Flat:
    """Inlines a concrete function and puts values in place of the reads of its variables.

    Args:
      function: a `ConcreteFunction` of texts `[n] string`; `texts` and `output` are its tensors.

    Raises:
      NotCuttable: if it changes a variable, or reads one in a loop or a branch.
    """
    graph = Graph(_inlined(function))
    _refuse_changes(graph)
    by_handle = {id(v.handle): v for v in function.graph.variables}
    variables, captures = {}, {}
    handles = {}
    for outside, inside in function.graph.captures:
        node = inside.op.name
        if id(outside) in by_handle:
            handles[full(node)] = by_handle[id(outside)]
        else:
            captures[node] = outside
    output = full(output.name)
    graph.prune([output])
    if full(texts.name) not in map(full, graph.nodes):
        raise NotCuttable("its output does not depend on the text")
    reads = _Reads(graph)
    for handle, variable in handles.items():
        if node_of(handle) in graph.nodes:
            variables[reads.replace(handle, variable)] = variable
    graph.prune([output, full(texts.name)])
    present = {tensor: v for tensor, v in variables.items() if node_of(tensor) in graph.nodes}
    captures = {node: value for node, value in captures.items() if node in graph.nodes}
    return Flat(graph, full(texts.name), output, present, captures)


def _inlined(function):
    """The GraphDef of a concrete function after grappler's inliner; loops stay whole.

    As `tensorflow.python.framework.convert_to_constants` does it.
    """
    from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, rewriter_config_pb2
    from tensorflow.python.grappler import tf_optimizer

    meta_graph = meta_graph_pb2.MetaGraphDef(graph_def=function.graph.as_graph_def())
    graph_def = meta_graph.graph_def
    bodies = graph_def.library.function
    for node in (*graph_def.node, *bodies, *(n for body in bodies for n in body.node_def)):
        for attribute in _IN_THE_WAY:
            node.attr.pop(attribute, None)
    kept = [tensor.name for tensor in (*function.inputs, *function.outputs)]
    meta_graph.collection_def["train_op"].node_list.value.extend(kept)
    config = config_pb2.ConfigProto()
    rewrites = config.graph_options.rewrite_options
    rewrites.min_graph_nodes = -1  # however small it is
    rewrites.optimizers.append("function")
    rewrites.function_optimization = rewriter_config_pb2.RewriterConfig.AGGRESSIVE
    return tf_optimizer.OptimizeGraph(config, meta_graph)


def _refuse_changes(graph: Graph) -> None:
    for name in graph.nodes:
        for node in graph.within(name):
            harmless = node.op.startswith(_HARMLESS)
            if not harmless and any(change in node.op for change in _CHANGES):
                raise NotCuttable(f"it changes its own state, or calls Python ({node.op})")


class _Reads:
    """Replaces the ops that read variables by ops on values."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.shapes = Shapes(graph)

    def replace(self, handle: str, variable: tf.Variable) -> str:
        """Gives the tensor that stands for the value from now on."""
        value = self._placeholder(f"{node_of(handle)}/value", variable)
        pending, consumers = [handle], self.graph.consumers()
        while pending:
            tensor = pending.pop()
            for name in consumers.get(node_of(tensor), ()):
                node = self.graph.nodes[name]
                if node.op == "Identity":
                    pending.append(full(name))
                elif node.op in _READS:
                    self.graph.replace(full(name), self._read(node, value))
                else:
                    raise NotCuttable(
                        f"the variable {variable.name} is read in a {node.op}, in a loop or branch"
                    )
        return value

    def _placeholder(self, name: str, variable: tf.Variable) -> str:
        shape = tf.TensorShape(variable.shape)
        node = tf.compat.v1.NodeDef(name=name, op="Placeholder")
        node.attr["dtype"].type = variable.dtype.as_datatype_enum
        node.attr["shape"].shape.CopyFrom(shape.as_proto())
        self.graph.nodes[name] = node
        self.shapes.learn({full(name): (variable.dtype, shape)})
        return full(name)

    def _read(self, node, value: str) -> str:
        if node.op == "ReadVariableOp":
            return value
        batch_dims = node.attr["batch_dims"].i
        what = {
            "ResourceGather": lambda v, ids: tf.gather(v, ids, batch_dims=batch_dims),
            "ResourceGatherNd": tf.gather_nd,
            "VariableShape": lambda v: tf.shape(v, tf.as_dtype(node.attr["out_type"].type)),
        }[node.op]
        inputs = [value, *node.input[1:]]
        return self.graph.splice(f"{node.name}/of_value", what, inputs, self.shapes)[0]
