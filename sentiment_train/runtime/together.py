"""A process of a run and its peers: alone, or met with the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sentiment_train.errors import ConfigError
from sentiment_train.runtime.cluster import from_environment
from sentiment_train.runtime.peers import Alone, Peers

_OF_CLUSTERS = ("auto", "multi_worker")


def peers_of(strategy: str, seconds: float, same: Mapping[str, Any]) -> Peers:
    """Meets the other workers that the environment names, if there are some. TensorFlow must not
    have been started: it needs the port on which they meet.

    Args:
      strategy: that of `Runtime`.
      seconds: to wait for the last one.
      same: JSON values that must be equal on all workers, by name.

    Returns:
      Peers that are a context, to be left when the work is done.

    Raises:
      ConfigError: for a cluster that does not fit, or does not come together.
      Interrupted: if a worker is gone before all have met.
    """
    cluster = from_environment()
    if cluster.workers == 1:
        return Alone(cluster)
    if strategy not in _OF_CLUSTERS:
        raise ConfigError(
            f"Runtime.strategy = {strategy!r} is for one process, but TF_CONFIG names"
            f" {cluster.workers} workers. Use 'auto' or 'multi_worker', or unset TF_CONFIG.",
            "Runtime.strategy",
        )
    from sentiment_train.runtime.meeting import meet
    from sentiment_train.runtime.workers import Workers

    return Workers(cluster, meet(cluster, same, seconds))
