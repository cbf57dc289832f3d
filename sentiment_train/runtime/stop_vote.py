"""How all workers stop at the same question, without a message for each of them."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sentiment_train.runtime.cluster import Cluster


class StopVote:
    """The agreement on the poll at which `should_stop` becomes true everywhere.

    All workers poll equally often, so polls can be counted, and the number of a poll means the
    same place of the program on each worker. Two threads of a process take part: the main thread
    polls, the control thread deals with messages. What they share changes under one lock.

    1. A worker that was asked to stop sends `stop` to the chief.
    2. At the first `stop` the chief sends `ask` to all, itself included.
    3. A control thread answers `ask` with `next`, the number p of the poll that its main thread
       has not yet left. In the same moment, under the lock, it freezes the polls: from then on the
       main thread does not leave a poll without a verdict.
    4. The chief takes the greatest number v of all answers and sends it to all as the `verdict`.
    5. Poll k is false if k < v, else true.

    Why it is right. A poll that a worker left before it was asked was false and had a number below
    its p, thus below v. Every poll that it leaves afterwards follows rule 5. So on each worker
    exactly the polls from v on are true. Why it ends: answering and the verdict are work of control
    threads alone, which never wait for a main thread. So it does not matter that some main threads
    wait in a poll while others wait for them in a collective: the verdict comes, the waiting polls
    below v return, and all come to poll v. If a program ends before v, nobody waits.

    `stop` may come from several workers at a time, and more than once: all but the first are
    ignored. A worker that is gone answers nothing; then the run ends anyway (`Workers`).

    Args:
      changed: the lock; notified when a waiting main thread should look again.
      send: sends a message to a worker.
    """

    def __init__(
        self,
        cluster: Cluster,
        changed: threading.Condition,
        send: Callable[[int, dict], None],
    ):
        self._cluster, self._changed, self._send = cluster, changed, send
        self._next = 0  # the number of the poll that the main thread has not yet left
        self._frozen = False
        self._verdict: int | None = None
        self._answers: dict[int, int] = {}  # only the chief has some
        self.reached = False  # whether a poll was true here

    @property
    def asked(self) -> bool:
        return self._frozen

    def poll(self, check: Callable[[], None]) -> bool:
        """The main thread's question.

        Args:
          check: raises if there will be no verdict.
        """
        with self._changed:
            while self._frozen and self._verdict is None:
                check()
                self._changed.wait()
            poll, self._next = self._next, self._next + 1
            self.reached = self._verdict is not None and poll >= self._verdict
            return self.reached

    def request(self) -> None:
        """This worker was asked to stop."""
        if self._cluster.is_chief:
            self.on_stop()
        else:
            self._send(0, {"kind": "stop"})

    def on_stop(self) -> None:
        """Some worker was asked to stop; to the chief."""
        if self._frozen:
            return
        for index in self._cluster.others:
            self._send(index, {"kind": "ask"})
        self.on_next(0, self._freeze())

    def on_ask(self) -> None:
        """To the others."""
        self._send(0, {"kind": "next", "poll": self._freeze()})

    def _freeze(self) -> int:
        with self._changed:
            self._frozen = True
            return self._next

    def on_next(self, index: int, poll: int) -> None:
        """To the chief."""
        self._answers[index] = poll
        if len(self._answers) < self._cluster.workers:
            return
        verdict = max(self._answers.values())
        for other in self._cluster.others:
            self._send(other, {"kind": "verdict", "poll": verdict})
        self.on_verdict(verdict)

    def on_verdict(self, poll: int) -> None:
        """To all."""
        with self._changed:
            self._verdict = poll
            self._changed.notify_all()
