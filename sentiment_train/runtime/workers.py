"""One of several workers: its questions to the others, and how it notices that one is gone.

The connections of the meeting stay open for the whole run, in a star: the chief has one with each
worker. A control thread deals with what comes on them, because the main thread may sit in a
collective operation of TensorFlow which waits for a worker that is no longer there.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
import traceback
from typing import Any

from sentiment_train.errors import EXIT_RESUME, Interrupted, UserError
from sentiment_train.runtime import complaints, leaving
from sentiment_train.runtime.cluster import Cluster
from sentiment_train.runtime.meeting import Met
from sentiment_train.runtime.stop_vote import StopVote
from sentiment_train.runtime.wire import Closed, Connection

_BEAT_SECONDS = 5  # between two signs of life
_SILENCE_SECONDS = 30  # after which a worker counts as gone, though its connection is still there
_ENDED_GRACE_SECONDS = 10  # for an error that all workers find by themselves
_GONE_GRACE_SECONDS = 1  # for a main thread that does not wait in TensorFlow
_SAVING_SECONDS = 60  # for writing the last checkpoint, after all have agreed to stop
_CLEAN_UP_SECONDS = 20  # for a main thread that has begun to leave
_TENSORFLOW_ERROR_SECONDS = _SILENCE_SECONDS + 5  # its errors come before the silence is noticed
_OTHER_ERROR_SECONDS = 1


class Workers:
    """`Peers` of a cluster, as a context: leaving it tells the others how this worker ended.

    How it can end, and what the others do then:

    * All come to the end, or stop together after a signal: everyone waits here for everyone, so
      that nobody takes away what another one still needs.
    * A `UserError`: the others print its sentence and exit with its code. If all find the same
      error by themselves (data that differ, a loss that is not finite), each prints its own.
    * Any other exception: first it is asked whether it is only what TensorFlow makes of another
      worker's end. If not, the others are told as above.
    * Without a word (SIGKILL, power, network): the connection ends, or nothing is heard on it. All
      others print who is gone and exit with 75.
    """

    def __init__(self, cluster: Cluster, met: Met):
        self.cluster, self._inbox = cluster, met.inbox
        self._connections: dict[int, Connection] = met.connections
        self._kept = met.kept
        self._changed = threading.Condition()
        self._stop = StopVote(cluster, self._changed, self._send)
        self._gathered = 0
        self._values: dict[int, dict[int, Any]] = {}  # by question and worker; only of the chief
        self._answers: dict[int, list] = {}  # by question
        self._left: set[int] = set()
        self._all_left = self._leaving = False
        self._news: UserError | None = None  # why this run ends here, when another one knows it
        now = time.monotonic()
        self._heard, self._beaten, self._awake = dict.fromkeys(self._connections, now), now, now
        threading.Thread(target=self._watch, name="workers", daemon=True).start()

    # What the main thread asks.

    def gather(self, value: Any) -> list:
        """See `Peers`."""
        question, self._gathered = self._gathered, self._gathered + 1
        if self.cluster.is_chief:
            self._on_value(0, question, value)
        else:
            self._send(0, {"kind": "value", "question": question, "value": value})
        with self._changed:
            while question not in self._answers:
                self._check()
                self._changed.wait()
            return self._answers.pop(question)

    def ask_to_stop(self) -> None:
        """See `Peers`."""
        self._inbox.put("stop_requested")

    def should_stop(self) -> bool:
        """See `Peers`."""
        return self._stop.poll(self._check)

    @property
    def stop_was_asked(self) -> bool:
        """See `Peers`."""
        return self._stop.asked

    def _check(self) -> None:
        if self._news is not None:
            raise self._news

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind, error: BaseException | None, trace) -> None:
        with self._changed:
            self._leaving = True
            self._changed.notify_all()
        stopped = isinstance(error, Interrupted) and self._stop.reached
        if error is None or stopped:
            self._wait_for_all()
        elif not isinstance(error, UserError):
            self._wait_for_news(_patience_with(error))
        if self._news is None and error is not None and not stopped:
            self._tell_all("ended", by=self.cluster.index, **leaving.last_words(error))
        for connection in [*self._connections.values(), *self._kept]:
            connection.finish_sending()
        # Who stopped was promised a checkpoint, but the chief may have died while it wrote it.
        unsaved = stopped and not self.cluster.is_chief
        own = isinstance(error, UserError) and not (unsaved and self._news)
        failed = error if own else self._news
        if failed is not None or error is not None:
            leaving.exit_without_clean_up(getattr(failed or error, "exit_code", 1))
        if failed is not None and failed is not error:
            raise failed from None

    def _wait_for_all(self) -> None:
        """Until everybody is here, or it is known that somebody will not come."""
        if self.cluster.is_chief:
            self._inbox.put("message", 0, None, {"kind": "bye"})
        else:
            self._send(0, {"kind": "bye"})
        with self._changed:
            self._changed.wait_for(lambda: self._all_left or self._news)

    def _wait_for_news(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._news, seconds)

    def _send(self, index: int, message: dict) -> None:
        connection = self._connections[index]
        try:
            connection.send(message)
        except Closed:
            self._inbox.put("message", index, connection, None)

    def _tell_all(self, kind: str, **more) -> None:
        for index in self._connections:
            self._send(index, {"kind": kind, **more})

    # What the control thread does.

    def _watch(self) -> None:
        try:
            while self._news is None and not self._all_left:
                with contextlib.suppress(queue.Empty):  # nothing came for a second
                    kind, *found = self._inbox.get(1.0)
                    self._deal_with(kind, found)
                self._give_signs_of_life()
            if self._news is not None:
                self._see_to_the_end(self._news)
        except BaseException:  # without this thread a lost worker would be noticed by nobody
            traceback.print_exc()
            leaving.end_now("the workers cannot talk to each other; the reason is above.", 1)

    def _see_to_the_end(self, news: UserError) -> None:
        """Lets the main thread end by itself if it can, else ends the process."""
        grace = _GONE_GRACE_SECONDS if news.exit_code == EXIT_RESUME else _ENDED_GRACE_SECONDS
        with self._changed:
            if self._stop.reached:
                grace = _SAVING_SECONDS
            leaves = self._changed.wait_for(lambda: self._leaving, grace)
        if leaves:
            time.sleep(_CLEAN_UP_SECONDS)
            leaving.end_now(None, news.exit_code)
        leaving.end_now(news.message, news.exit_code)

    def _give_signs_of_life(self) -> None:
        """Sends them, and looks who gave none."""
        now = time.monotonic()
        if now - self._awake > _BEAT_SECONDS + 5:  # this process itself was stopped, or starved
            self._heard = dict.fromkeys(self._heard, now)
        self._awake = now
        if now - self._beaten > _BEAT_SECONDS:
            self._beaten = now
            self._tell_all("alive")
        for index, heard in self._heard.items():
            if now - heard > _SILENCE_SECONDS:
                self._on_gone(index, f"nothing was heard of it for {_SILENCE_SECONDS} seconds")

    def _hear_news(self, kind: str, by: int, sentence: str, code: int, detail: str) -> None:
        """Something ends this run here; the chief hands it on to the others."""
        if self._news is not None:
            return
        if self.cluster.is_chief:
            more = {"how": detail} if kind == "lost" else {"sentence": detail, "code": code}
            for index in self._connections:
                if index != by:
                    self._send(index, {"kind": kind, "by": by, **more})
        with self._changed:
            self._news = UserError(sentence)
            self._news.exit_code = code
            self._changed.notify_all()

    def _deal_with(self, kind: str, found: list) -> None:
        if kind == "stop_requested":
            self._stop.request()
        elif kind != "message":
            found[0].close()  # a late visitor of the meeting
        else:
            index, connection, message = found
            if connection is not None and connection is not self._connections[index]:
                return  # one that is only kept open
            if message is None:
                self._on_gone(index, "its connection is closed")
                return
            self._heard[index] = time.monotonic()
            message = dict(message)
            getattr(self, f"_on_{message.pop('kind')}")(index, **message)

    def _on_alive(self, index: int) -> None:
        """That it came is all."""

    def _on_value(self, index: int, question: int, value: Any) -> None:
        with self._changed:
            values = self._values.setdefault(question, {})
            values[index] = value
            if len(values) < self.cluster.workers:
                return
            del self._values[question]
        answer = [values[i] for i in range(self.cluster.workers)]
        self._tell_all("answer", question=question, values=answer)
        self._on_answer(0, question, answer)

    def _on_answer(self, index: int, question: int, values: list) -> None:
        with self._changed:
            self._answers[question] = values
            self._changed.notify_all()

    def _on_stop(self, index: int) -> None:
        self._stop.on_stop()

    def _on_ask(self, index: int) -> None:
        self._stop.on_ask()

    def _on_next(self, index: int, poll: int) -> None:
        self._stop.on_next(index, poll)

    def _on_verdict(self, index: int, poll: int) -> None:
        self._stop.on_verdict(poll)

    def _on_bye(self, index: int) -> None:
        self._left.add(index)
        if len(self._left) == self.cluster.workers:
            self._tell_all("all_left")
            self._on_all_left(0)

    def _on_all_left(self, index: int) -> None:
        with self._changed:
            self._all_left = True
            self._changed.notify_all()

    def _on_ended(self, index: int, by: int, sentence: str, code: int) -> None:
        """A worker ended with an error; the chief hands it on."""
        self._hear_news("ended", by, complaints.ended(self.cluster, by, sentence), code, sentence)

    def _on_lost(self, index: int, by: int, how: str) -> None:
        """The chief says that a worker is gone."""
        self._on_gone(by, how)

    def _on_gone(self, index: int, how: str) -> None:
        if index not in self._left:
            sentence = complaints.gone(self.cluster, index, how)
            self._hear_news("lost", index, sentence, EXIT_RESUME, how)


def _patience_with(error: BaseException) -> float:
    """Seconds in which an error may turn out to be what TensorFlow makes of a worker's end."""
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return 0
    of_tensorflow = type(error).__module__.startswith("tensorflow")
    return _TENSORFLOW_ERROR_SECONDS if of_tensorflow else _OTHER_ERROR_SECONDS
