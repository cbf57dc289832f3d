"""SIGTERM and Ctrl-C as a question that the loop asks between two steps."""

from __future__ import annotations

import signal

from sentiment_train.errors import Interrupted
from sentiment_train.runtime.peers import Peers


class StopRequest:
    """Remembers the first SIGTERM or SIGINT; a second one ends the process at once.

    Signals are only noticed where somebody asks: training, evaluation and export do, between two
    batches. With several workers the answer becomes yes on all at the same question, soon after a
    signal to one of them.
    """

    def __init__(self, peers: Peers):
        self._peers = peers

    def listen(self) -> None:
        """Installs the handlers (in the main thread)."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._remember)

    def _remember(self, number, frame):
        self._peers.ask_to_stop()
        signal.signal(number, signal.SIG_DFL)

    def __call__(self) -> bool:
        """Whether some worker was asked to stop. All workers must ask equally often."""
        return self._peers.should_stop()

    def check_alone(self, doing: str) -> None:
        """For what one worker does while the others wait for it.

        Args:
          doing: "the baseline".

        Raises:
          Interrupted: if some worker was asked to stop.
        """
        if self._peers.stop_was_asked:
            raise Interrupted(f"Stopped by a signal during {doing}.")
