"""SIGTERM and Ctrl-C as a question that the loop asks between two steps."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

from sentiment_train.errors import Interrupted
from sentiment_train.runtime.peers import Peers

_LOOK_SECONDS = 0.2  # between two looks whether another worker got a signal


class StopRequest:
    """Remembers the first SIGTERM or SIGINT; a second one ends the process at once.

    Signals are only noticed where somebody asks: training and evaluation do, between two batches.
    With several workers the answer becomes yes on all at the same question, soon after a signal to
    one of them. For work without such places there is `at_once`.
    """

    def __init__(self, peers: Peers):
        self._peers = peers
        self._doing: str | None = None
        self._signalled = False

    def listen(self) -> None:
        """Installs the handlers (in the main thread)."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._remember)

    def _remember(self, number, frame):
        self._peers.ask_to_stop()
        self._signalled = True
        signal.signal(number, signal.SIG_DFL)
        doing, self._doing = self._doing, None
        if doing is not None:
            raise _stopped_during(doing)

    def __call__(self) -> bool:
        """Whether some worker was asked to stop. All workers must ask equally often."""
        return self._peers.should_stop()

    @contextlib.contextmanager
    def at_once(self, doing: str) -> Iterator[None]:
        """A block that a signal to any worker ends in the middle, for what only the chief does
        while the others wait for it.

        Args:
          doing: "the baseline".

        Raises:
          Interrupted: if some worker was asked to stop, at the latest behind the block.
        """
        if self._signalled or self._peers.stop_was_asked:  # since the last question
            raise _stopped_during(doing)
        over = threading.Event()
        watch = threading.Thread(target=self._pass_on, args=(over,), daemon=True)
        self._doing = doing
        watch.start()
        try:
            yield
        finally:
            self._doing = None
            over.set()
        if self._peers.stop_was_asked:  # it came late, or a library kept the exception to itself
            raise _stopped_during(doing)

    def _pass_on(self, over: threading.Event) -> None:
        """Gives the main thread the signal that another worker got."""
        while not over.wait(_LOOK_SECONDS):
            if self._peers.stop_was_asked:
                if self._doing and signal.getsignal(signal.SIGTERM) == self._remember:
                    signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)
                return


def _stopped_during(doing: str) -> Interrupted:
    return Interrupted(f"Stopped by a signal during {doing}.")
