"""SIGTERM and Ctrl-C as a question that the loop asks between two steps."""

from __future__ import annotations

import signal

from sentiment_train.runtime.strategy import Devices


class StopRequest:
    """Remembers the first SIGTERM or SIGINT; a second one ends the process at once.

    Signals are only noticed where somebody asks: training, evaluation and export do, between two
    batches. With several workers the answer is yes on all as soon as it is yes on one, so that all
    stop at the same step.
    """

    def __init__(self, devices: Devices):
        self._signal: int | None = None
        self._devices = devices

    def listen(self) -> None:
        """Installs the handlers (in the main thread)."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._remember)

    def _remember(self, number, frame):
        self._signal = number
        signal.signal(number, signal.SIG_DFL)

    def __call__(self) -> bool:
        """Whether some worker was asked to stop. All workers must ask equally often."""
        return self._devices.any_worker(self._signal is not None)
