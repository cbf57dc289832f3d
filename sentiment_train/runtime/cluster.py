"""Who takes part: `TF_CONFIG`, checked before TensorFlow waits for anybody."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from sentiment_train.errors import ConfigError

_EXAMPLE = (
    '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
)


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


def from_environment() -> Cluster:
    """The cluster that `TF_CONFIG` describes; chief and workers count as one list, chief first.

    Raises:
      ConfigError: if it is missing or not of the form that TensorFlow documents, with what is
        wrong.
    """
    text = os.environ.get("TF_CONFIG", "")
    if not text:
        raise ConfigError(
            f"Runtime.strategy = 'multi_worker' needs TF_CONFIG in the environment, e.g. {_EXAMPLE}"
        )
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        kind, index = task["type"], int(str(task["index"]))
        chiefs, workers = list(cluster.get("chief", [])), list(cluster.get("worker", []))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"TF_CONFIG is not of the form {_EXAMPLE}: {error!r}") from None
    if kind not in ("chief", "worker"):
        raise ConfigError(f"TF_CONFIG: task type '{kind}' does not train; use chief or worker.")
    if others := sorted(set(cluster) - {"chief", "worker"}):
        raise ConfigError(f"TF_CONFIG: '{others[0]}' does not train; name chief and workers only.")
    if len(chiefs) > 1:
        raise ConfigError(f"TF_CONFIG: there is more than one chief: {chiefs}.")
    members = chiefs if kind == "chief" else workers
    if not 0 <= index < len(members):
        raise ConfigError(f"TF_CONFIG: task index {index}, but there are {len(members)} {kind}s.")
    addresses = tuple(chiefs + workers)
    _check_addresses(addresses)
    return Cluster(addresses, index if kind == "chief" else len(chiefs) + index)


def _check_addresses(addresses: tuple[str, ...]) -> None:
    for address in addresses:
        host, _, port = str(address).rpartition(":")
        if not host or not port.isdecimal():
            raise ConfigError(f"TF_CONFIG: '{address}' is not host:port.")
    if twice := {a for a in addresses if addresses.count(a) > 1}:
        raise ConfigError(f"TF_CONFIG: {sorted(twice)} is there more than once.")
