"""The workers meet: before TensorFlow waits for anybody, everyone has been reached by everyone.

Each worker listens on its own port of TF_CONFIG and knocks at all the others', so that whatever
would keep TensorFlow from connecting (a firewall, a wrong name, a wrong port) is found now. The
chief compares what must be equal, and decides: it says `go` when every worker has told it that it
reached all, or `end` with one sentence, with which every worker ends. The first one whose time is
up ends the waiting of all. Only where there is no chief a worker finds its own words.

    worker → chief: hello, then met | late {missing: {index: reason}} | problem {sentence}
    chief → worker: hello, then go | end {sentence}

Nothing of this is secret: as with TensorFlow's own ports, whoever reaches them can disturb a run.
Keep them inside a private network.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Mapping
from typing import Any

from sentiment_train.errors import ConfigError, Interrupted
from sentiment_train.runtime import complaints, doors
from sentiment_train.runtime.cluster import Cluster
from sentiment_train.runtime.hello import Hello
from sentiment_train.runtime.wire import Closed, Connection, Inbox

_LAST_WORD_SECONDS = 5  # for the chief's answer when a worker's time is up


class Met:
    """What a meeting leaves behind.

    Attributes:
      connections: of the chief with all workers, of the others with the chief, by index.
      kept: others that are only held open: until TensorFlow has the port, they keep the system
        from giving it to somebody who wants any port.
      inbox: where what comes on them is found.
    """

    def __init__(self):
        self.connections: dict[int, Connection] = {}
        self.kept: list[Connection] = []
        self.inbox = Inbox()


def meet(cluster: Cluster, same: Mapping[str, Any], seconds: float) -> Met:
    """Waits until all workers are there.

    Args:
      same: JSON values that must be equal on all workers, by name.
      seconds: to wait for the last one.

    Raises:
      ConfigError: with the cause, in the same words on all workers.
      Interrupted: if a worker is gone meanwhile.
    """
    role = _Chief if cluster.is_chief else _Worker
    meeting = role(Hello(cluster.index, -1, cluster.addresses, same), cluster, seconds)
    try:
        meeting.run()
    finally:
        meeting.over.set()
        meeting.door.close()
    return meeting.left


class _Meeting:
    """What chief and workers have in common. Threads listen, knock and read; what they find is put
    into one inbox, which the main thread empties, so that everything else is done by one thread."""

    def __init__(self, hello: Hello, cluster: Cluster, seconds: float):
        self.hello, self.cluster, self.seconds = hello, cluster, seconds
        self.deadline = time.monotonic() + seconds
        self.left = Met()
        self.inbox = self.left.inbox
        self.reached: set[int] = set()
        self.why_not: dict[int, str] = {}
        self.over = threading.Event()
        self.door = doors.Door(
            cluster, hello, lambda connection, of: self.inbox.put("visitor", connection, of)
        )
        for index in cluster.others:
            threading.Thread(target=self._knock, args=(index,), daemon=True).start()

    def _knock(self, index: int) -> None:
        """In a thread of its own."""

        def why_not(reason: str) -> None:
            self.why_not[index] = reason

        address, hello = self.cluster.addresses[index], self.hello.toward(index)
        if answered := doors.knock_until_open(address, hello, self.over, why_not):
            self.inbox.put("answer", *answered, index)

    def run(self) -> None:
        """Returns when all may go; raises what `meet` does."""
        while not self.settled():
            left = self.deadline - time.monotonic()
            if left <= 0:
                self.on_late()
                continue
            try:
                kind, *found = self.inbox.get(left)
            except queue.Empty:
                continue
            getattr(self, f"on_{kind}")(*found)

    def complaint_of_answer(self, hello: Hello, index: int) -> str | None:
        """What is wrong with who answered at the address of a worker, if something is."""
        if hello.process == self.hello.process:
            return complaints.same_port(self.cluster, self.hello, hello.standing_at(index))
        if hello.addresses != self.hello.addresses:
            return complaints.other_than(self.hello, hello)
        if hello.index != index:
            return complaints.wrong_index(self.cluster, index, hello.index)
        return None


class _Chief(_Meeting):
    """Who decides.

    Attributes:
      ready: the workers that have reached all others.
      cannot_reach: of a worker whose time is up, whom it has not reached, and why.
      everyone: all connections that others came by or opened their door for, with their index.
      sentence: that all end with, once there is one.
    """

    def __init__(self, *arguments):
        self.ready: set[int] = set()
        self.cannot_reach: dict[int, dict[int, str]] = {}
        self.everyone: list[tuple[int, Connection]] = []
        self.told: set[int] = set()
        self.sentence: str | None = None
        super().__init__(*arguments)

    def settled(self) -> bool:
        """Whether all may go; they have been told so.

        Raises:
          ConfigError: when all have been told that they may not; the last one has until the
            deadline to come and hear it.
        """
        others = set(self.cluster.others)
        if self.sentence is not None:
            if self.told != others and time.monotonic() < self.deadline:
                return False
            for _, connection in self.everyone:
                connection.finish_sending()
            raise ConfigError(self.sentence)
        if not (self.ready == self.reached == others):
            return False
        self.door.close()
        for index, connection in self.left.connections.items():
            try:
                connection.send({"kind": "go"})
            except Closed:
                raise Interrupted(complaints.gone_meanwhile(self.cluster, index)) from None
        return True

    def on_visitor(self, connection: Connection, hello: Hello) -> None:
        """Somebody has come to this worker's door."""
        if hello.twice:
            connection.close()
            self.end(complaints.same_port(self.cluster, self.hello, hello))
            return
        complaint = complaints.other_than(self.hello, hello)
        if complaint is None and hello.index in self.left.connections:
            complaint = complaints.two_processes(self.cluster, hello.index, connection.peer)
        if complaint is None:
            self.left.connections[hello.index] = connection
            self.inbox.read(connection, hello.index)
        self._told_or_judged(hello.index, connection, complaint)

    def on_answer(self, connection: Connection, hello: Hello, index: int) -> None:
        """A worker has opened its door."""
        self.left.kept.append(connection)
        complaint = self.complaint_of_answer(hello, index)
        if complaint is None:
            complaint = complaints.other_than(self.hello, hello)
        if complaint is None:
            self.reached.add(index)
        self._told_or_judged(index, connection, complaint)

    def on_message(self, index: int, connection: Connection, message: dict | None) -> None:
        """A worker that has come says something."""
        if message is None:
            if self.sentence is None:
                raise Interrupted(complaints.gone_meanwhile(self.cluster, index))
        elif message["kind"] == "met":
            self.ready.add(index)
        elif message["kind"] == "problem":
            self.end(message["sentence"])
        elif message["kind"] == "late":
            self.cannot_reach[index] = {int(i): why for i, why in message["missing"].items()}
            self.on_late()

    def on_late(self) -> None:
        """Somebody's time is up."""
        here = set(self.left.connections)
        about = here, self.reached, self.cannot_reach, self.why_not, self.seconds
        self.end(complaints.missing(self.cluster, *about))

    def _told_or_judged(self, index: int, connection: Connection, complaint: str | None) -> None:
        self.everyone.append((index, connection))
        if self.sentence is not None or complaint is not None:
            self.end(complaint)

    def end(self, sentence: str | None) -> None:
        """Tells all who have come so far; the first sentence counts."""
        self.sentence = self.sentence or sentence
        for index, connection in self.everyone:
            with contextlib.suppress(Closed):  # it heard it by its other connection, or is gone
                connection.send({"kind": "end", "sentence": self.sentence})
            self.told.add(index)


class _Worker(_Meeting):
    """Who waits for the chief's word.

    Attributes:
      problem: that was found here, for the chief to tell to all.
    """

    def __init__(self, *arguments):
        self.problem: str | None = None
        self.said: set[str] = set()
        self.may_go = self.chief_is_gone = False
        super().__init__(*arguments)

    def settled(self) -> bool:
        """Whether the chief has said `go`; tells it what it needs to know for that."""
        if self.problem is not None:
            self._say("problem", sentence=self.problem)
        elif self.reached == set(self.cluster.others):
            self._say("met")
        return self.may_go

    def on_visitor(self, connection: Connection, hello: Hello) -> None:
        """Somebody has come to this worker's door."""
        if hello.twice:
            self.problem = complaints.same_port(self.cluster, self.hello, hello)
        if hello.index != 0 or hello.twice:
            connection.close()
            return
        self.left.kept.append(connection)  # a chief, which may have to tell why it all ends
        self.inbox.read(connection, 0)

    def on_answer(self, connection: Connection, hello: Hello, index: int) -> None:
        """A worker has opened its door."""
        complaint = self.complaint_of_answer(hello, index)
        if complaint is None:
            self.reached.add(index)
        else:
            self.problem = self.problem or complaint
        if index != 0 or hello.index != 0:
            connection.close()
            return
        self.left.connections[0] = connection
        self.inbox.read(connection, 0)

    def on_message(self, index: int, connection: Connection, message: dict | None) -> None:
        """The chief says something."""
        if message is None:
            if connection is self.left.connections.get(0) and not self.chief_is_gone:
                self.chief_is_gone = True  # why, it may have said on the other connection
                self.deadline = time.monotonic() + _LAST_WORD_SECONDS
        elif message["kind"] == "end":
            raise ConfigError(message["sentence"])
        elif message["kind"] == "go":
            self.may_go = True

    def on_late(self) -> None:
        """The time is up; if there is a chief, it has a last word."""
        if self.chief_is_gone:
            raise Interrupted(complaints.gone_meanwhile(self.cluster, 0))
        if 0 in self.left.connections and "late" not in self.said:
            others = set(self.cluster.others) - self.reached
            self._say("late", missing={i: self.why_not.get(i, "no answer") for i in others})
            self.deadline = time.monotonic() + _LAST_WORD_SECONDS
        elif self.problem is not None:
            raise ConfigError(self.problem)
        elif 0 in self.left.connections:
            raise ConfigError(complaints.silent_chief(self.cluster, self.seconds))
        else:
            why_not = self.why_not.get(0)
            raise ConfigError(complaints.no_chief(self.cluster, why_not, self.seconds))

    def _say(self, kind: str, **more) -> None:
        """Tells the chief once, as soon as it is there."""
        if (chief := self.left.connections.get(0)) is None or kind in self.said:
            return
        self.said.add(kind)
        with contextlib.suppress(Closed):  # the inbox will say so
            chief.send({"kind": kind, **more})
