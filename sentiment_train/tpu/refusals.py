"""Why a program cannot be lowered or compiled: the first operation that is in the way, by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class Refusal:
    """What cannot run on a TPU."""

    why: str


_NO_KERNEL = re.compile(r"No registered '(\w+)' OpKernel.*?\{\{node ([^}]+)\}\}", re.DOTALL)
_PLACE = re.compile(r'^File "([^"]+)", line (\d+)', re.MULTILINE)


def why_refused(message: str, graph: tf.Graph, layers: Sequence[str]) -> Refusal:
    """From what TensorFlow says when it cannot translate a function.

    Args:
      graph: of the function.
      layers: names of the layers of the model.
    """
    if found := _NO_KERNEL.search(message):
        operation, node = found[1], found[2]
        if operation == "_Arg":
            return Refusal(f"argument '{node}' is no number; strings never enter a TPU")
        places = _PLACE.findall(message)
        where = f"; {places[-1][0]}:{places[-1][1]}" if places else ""
        return Refusal(
            f"{operation}{_in_layer(node, layers)} has no form for a TPU ({node}{where})"
        )
    if tables := _tables(graph):
        operation, node = tables[0]
        return Refusal(
            f"{operation}{_in_layer(node, layers)} reads a table, which is on the host ({node})"
        )
    return Refusal(_first_line(message))


def why_not_compiled(message: str) -> Refusal:
    """From what the TPU compiler says; of a long message the first line, and the operation."""
    named = re.search(r'op_name="([^"]+)"', message)
    where = f" ({named[1]})" if named else ""
    return Refusal(_first_line(message) + where)


def _in_layer(node: str, layers: Sequence[str]) -> str:
    """` of layer 'x'` if a part of the path of the node is named after one."""
    for part in reversed(node.split("/")):
        for name in (part, re.sub(r"_\d+$", "", part)):  # the latter: called more than once
            if name in layers:
                return f" of layer '{name}'"
    return ""


def _tables(graph: tf.Graph) -> list[tuple[str, str]]:
    """Operation and node of those that use a resource which is no variable."""
    variables = {id(variable.handle) for variable in graph.variables}
    return [
        (consumer.type, consumer.name)
        for outside, inside in graph.captures
        if outside.dtype == tf.resource and id(outside) not in variables
        for consumer in inside.consumers()
    ]


def _first_line(message: str) -> str:
    return message.strip().split("\n")[0].removeprefix("Failed getting HLO text: ")[:400]
