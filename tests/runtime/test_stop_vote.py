"""The agreement on the poll at which all stop, with a main and a control thread for each worker."""

import queue
import random
import threading
import time

import pytest

from sentiment_train.runtime.cluster import Cluster
from sentiment_train.runtime.stop_vote import StopVote


class Office:
    """Workers of one process: their votes, and queues in place of connections."""

    def __init__(self, workers: int):
        addresses = tuple(f"host{i}:1" for i in range(workers))
        self.inboxes = [queue.SimpleQueue() for _ in range(workers)]
        self.sent = []
        self.votes = [
            StopVote(Cluster(addresses, i), threading.Condition(), self.sender(i))
            for i in range(workers)
        ]
        self.threads = [
            threading.Thread(target=self.control, args=(i,), daemon=True) for i in range(workers)
        ]
        for thread in self.threads:
            thread.start()

    def sender(self, sender: int):
        def send(index, message):
            self.sent.append(message["kind"])
            self.inboxes[index].put((sender, message))

        return send

    def control(self, index: int) -> None:
        while (found := self.inboxes[index].get()) is not None:
            sender, message = found
            kind = message["kind"]
            if kind == "request":
                self.votes[index].request()
            elif kind == "next":
                self.votes[index].on_next(sender, message["poll"])
            elif kind == "verdict":
                self.votes[index].on_verdict(message["poll"])
            else:
                getattr(self.votes[index], f"on_{kind}")()

    def ask(self, index: int) -> None:
        self.inboxes[index].put((index, {"kind": "request"}))

    def wait_until_all_are_asked(self) -> None:
        while not all(vote.asked for vote in self.votes):
            time.sleep(0.001)

    def close(self) -> None:
        for inbox in self.inboxes:
            inbox.put(None)
        for thread in self.threads:
            thread.join(10)


def no_news() -> None:
    """Nothing is wrong with the other workers."""


def polls_of(office, index, asks_at, answers, in_step=None, most=10_000, pause=0.0):
    """A main thread: polls until the answer is yes, or `most` times."""
    for poll in range(most):
        if poll in asks_at:
            office.ask(index)
        if in_step is not None:
            in_step.wait(10)  # a collective operation: nobody passes before all are here
        time.sleep(pause)
        answers[index].append(office.votes[index].poll(no_news))
        if answers[index][-1]:
            return


@pytest.mark.parametrize("in_step", [True, False], ids=["in step", "free"])
@pytest.mark.parametrize("seed", range(8))
def test_all_stop_at_the_same_poll_whoever_is_asked_and_when(seed, in_step):
    chosen = random.Random(seed)
    workers = chosen.choice([2, 3, 4])
    office, answers = Office(workers), [[] for _ in range(workers)]
    asked = chosen.sample(range(workers), chosen.randint(1, workers))
    barrier = threading.Barrier(workers) if in_step else None
    mains = []
    for i in range(workers):
        at = {chosen.randrange(50)} if i in asked else ()
        pause = chosen.choice([0.0002, 0.0005, 0.001])
        arguments = (office, i, at, answers, barrier, 10_000, pause)
        mains.append(threading.Thread(target=polls_of, args=arguments, daemon=True))
    for thread in mains:
        thread.start()
    for thread in mains:
        thread.join(30)
    office.close()
    assert not any(thread.is_alive() for thread in mains)
    assert len({tuple(found) for found in answers}) == 1
    assert answers[0][-1] is True
    assert office.sent.count("verdict") == office.sent.count("ask") == workers - 1
    assert all(vote.reached and vote.asked for vote in office.votes)


def test_nobody_sends_anything_before_a_stop():
    office, answers = Office(3), [[], [], []]
    for i in range(3):
        polls_of(office, i, (), answers, most=50)
    office.close()
    assert answers == [[False] * 50] * 3
    assert office.sent == []


def test_a_worker_that_is_behind_stops_where_the_first_one_is():
    office, answers = Office(2), [[], []]
    polls_of(office, 1, (), answers, most=30)  # far ahead of worker 0, which has not polled yet
    office.ask(0)
    office.wait_until_all_are_asked()
    polls_of(office, 0, (), answers)
    polls_of(office, 1, (), answers)
    office.close()
    assert answers == [[False] * 30 + [True], [False] * 30 + [True]]


def test_once_stopped_every_later_poll_says_so():
    office = Office(1)
    office.ask(0)
    office.wait_until_all_are_asked()
    office.close()
    assert [office.votes[0].poll(no_news) for _ in range(3)] == [True] * 3


def test_who_waits_for_a_verdict_hears_that_there_will_be_none():
    vote = StopVote(Cluster(("a:1", "b:1"), 1), threading.Condition(), lambda *_: None)
    vote.on_ask()

    def news():
        raise ConnectionError("worker 0 has gone")

    with pytest.raises(ConnectionError, match="worker 0 has gone"):
        vote.poll(news)
