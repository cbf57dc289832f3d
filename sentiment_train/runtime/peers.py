"""What the workers of a run tell each other beside their gradients.

`Alone` is a single process, which answers all questions by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from sentiment_train.errors import ConfigError, UserError
from sentiment_train.runtime.cluster import Cluster


class Peers(Protocol):
    """The workers of a run. All must ask the same questions in the same order."""

    cluster: Cluster

    def gather(self, value: Any) -> list:
        """What every worker gave (a JSON value each), in the order of the workers."""

    def should_stop(self, mine: bool) -> bool:
        """Whether to stop now: on all workers at the same call, soon after `mine` on one of them.

        Args:
          mine: whether this worker was asked to.
        """


class Alone:
    """A single process: worker 0 of 1."""

    cluster = Cluster()

    def gather(self, value: Any) -> list:
        return [value]

    def should_stop(self, mine: bool) -> bool:
        return mine


def agree(
    peers: Peers, what: str, value: Any, how: str, error: Callable[[str], UserError] = ConfigError
) -> None:
    """Raises an error on every worker unless all give the same value.

    Args:
      what: is compared, in the plural: "data".
      how: to mend it.
    """
    values = peers.gather(value)
    for index, other in enumerate(values):
        if other != values[0]:
            names = (f"worker {i} ({peers.cluster.addresses[i]})" for i in (0, index))
            raise error(f"The {what} of {' and '.join(names)} differ. {how}")
