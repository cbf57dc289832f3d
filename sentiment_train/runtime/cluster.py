"""Who takes part: `TF_CONFIG`, checked before TensorFlow waits for anybody."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from sentiment_train.errors import ConfigError

EXAMPLE = (
    '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
)
_EXAMPLE_OF_POOLS = (
    '{"cluster": {"workerpool0": ["host1:2222"], "workerpool1": ["host2:2222"]},'
    ' "task": {"type": "workerpool0", "index": 0}}'
)
_ROLES = {"workerpool0": "chief", "workerpool1": "worker"}  # of Vertex AI's pools of machines


@dataclass(frozen=True)
class Cluster:
    """This process' place among the workers; a single process is worker 0 of 1."""

    addresses: tuple[str, ...] = ("",)
    index: int = 0

    @property
    def is_chief(self) -> bool:
        return self.index == 0

    @property
    def workers(self) -> int:
        return len(self.addresses)

    @property
    def others(self) -> tuple[int, ...]:
        """The indices of all workers but this one."""
        return tuple(i for i in range(self.workers) if i != self.index)

    def name(self, index: int) -> str:
        """`worker 1 (host:port)`."""
        return f"worker {index} ({self.addresses[index]})"


def from_environment() -> Cluster:
    """The cluster that `TF_CONFIG` describes; chief and workers count as one list, chief first.

    Without it Vertex AI's `CLUSTER_SPEC` counts; TF_CONFIG is then set, because TensorFlow reads
    it. Without both, this is a single process.

    Raises:
      ConfigError: if it is not of the form that TensorFlow documents, with what is wrong.
    """
    name, roles, example = "TF_CONFIG", {"chief": "chief", "worker": "worker"}, EXAMPLE
    text = os.environ.get(name, "")
    if not text:
        name, roles, example = "CLUSTER_SPEC", _ROLES, _EXAMPLE_OF_POOLS
        text = os.environ.get(name, "")
        if not text:
            return Cluster()
    try:
        config = json.loads(text)
        members = {kind: _list(name, kind, hosts) for kind, hosts in config["cluster"].items()}
        kind, index = config["task"]["type"], int(str(config["task"]["index"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{name} is not of the form {example}: {error!r}") from None
    cluster = _placed(name, roles, members, kind, index)
    if name != "TF_CONFIG":
        renamed = {roles[k]: hosts for k, hosts in members.items()}
        task = {"type": roles[kind], "index": index}
        os.environ["TF_CONFIG"] = json.dumps({"cluster": renamed, "task": task})
    return cluster


def _list(name: str, kind: str, hosts) -> list:
    if not isinstance(hosts, list):
        raise ConfigError(f'{name}: {kind} is {hosts!r}; write a list, ["host:port"].')
    return hosts


def _placed(name: str, roles: dict[str, str], members: dict, kind, index: int) -> Cluster:
    """The place of a task in the list of all.

    Args:
      name: of the variable, for messages.
      roles: which of `members` train: what they are called → chief or worker.
    """
    first, second = roles
    if not isinstance(kind, str) or kind not in roles:
        raise ConfigError(f"{name}: task type '{kind}' does not train; use {first} or {second}.")
    if others := sorted(set(members) - set(roles)):
        raise ConfigError(f"{name}: '{others[0]}' does not train; name {first} and {second}s only.")
    chiefs, workers = members.get(first, []), members.get(second, [])
    if len(chiefs) > 1:
        raise ConfigError(f"{name}: there is more than one chief: {chiefs}.")
    mine = chiefs if kind == first else workers
    if not 0 <= index < len(mine):
        raise ConfigError(f"{name}: task index {index}, but there are {len(mine)} {kind}s.")
    addresses = tuple(chiefs + workers)
    _check_addresses(name, addresses)
    return Cluster(addresses, index if kind == first else len(chiefs) + index)


def _check_addresses(name: str, addresses: tuple[str, ...]) -> None:
    for address in addresses:
        host, _, port = str(address).rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ConfigError(f"{name}: '{address}' is not host:port.")
    ports = [(host, int(port)) for host, _, port in (a.rpartition(":") for a in addresses)]
    if twice := {a for a, p in zip(addresses, ports, strict=True) if ports.count(p) > 1}:
        raise ConfigError(f"{name}: {sorted(twice)} is there more than once.")
