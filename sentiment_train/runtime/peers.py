"""What the workers of a run tell each other beside their gradients.

`Alone` is a single process, which answers all questions by itself; `workers.Workers` is one of
several.
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
        """What every worker gave (a JSON value each), in the order of the workers.

        Raises:
          UserError: if a worker is gone or ended by an error meanwhile.
        """

    def ask_to_stop(self) -> None:
        """Lets `should_stop` become true soon. A signal handler may call it."""

    def should_stop(self) -> bool:
        """Whether to stop now: true on all workers from the same call on, soon after one of them
        was asked to.

        Raises:
          UserError: as `gather`.
        """

    @property
    def stop_was_asked(self) -> bool:
        """Whether a request to stop has come this far. It comes to each worker at another moment,
        so it is only for what one worker does while the others wait for it."""


class Alone:
    """A single process: worker 0 of 1."""

    def __init__(self, cluster: Cluster | None = None):
        self.cluster = cluster or Cluster()
        self.stop_was_asked = False

    def gather(self, value: Any) -> list:
        return [value]

    def ask_to_stop(self) -> None:
        self.stop_was_asked = True

    def should_stop(self) -> bool:
        return self.stop_was_asked

    def __enter__(self) -> Alone:
        return self

    def __exit__(self, *_) -> None:
        """Nobody has to be told."""


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
            names = " and ".join(peers.cluster.name(i) for i in (0, index))
            raise error(f"The {what} of {names} differ. {how}")
