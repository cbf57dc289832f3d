import contextlib
import os
import signal
import threading
import time

import pytest

from sentiment_train.errors import Interrupted
from sentiment_train.runtime.peers import Alone
from sentiment_train.runtime.stop_request import StopRequest

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture
def asked():
    """One that listens to the signals of this process."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    request = StopRequest(Alone())
    request.listen()
    yield request
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_remembered_and_the_second_ends_the_process(asked, number):
    assert not asked()
    os.kill(os.getpid(), number)
    assert asked()
    assert asked()
    assert signal.getsignal(number) == signal.SIG_DFL


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_block_where_nobody_asks(asked, number):
    done = []

    def work():
        with asked.at_once("the baseline"):
            os.kill(os.getpid(), number)
            time.sleep(0.001)
            done.append("the rest of it")

    with pytest.raises(Interrupted, match="Stopped by a signal during the baseline"):
        work()
    assert done == []
    assert asked()


def test_a_block_that_swallows_the_exception_ends_by_it_all_the_same(asked):
    def work():
        with asked.at_once("the export"), contextlib.suppress(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.001)

    with pytest.raises(Interrupted):
        work()


def test_a_signal_to_another_worker_ends_the_block_too():
    peers = Alone()
    request, before = StopRequest(peers), signal.getsignal(signal.SIGTERM)
    request.listen()

    def work():
        with request.at_once("the baseline"):
            for _ in range(2000):
                time.sleep(0.01)

    try:
        threading.Timer(0.05, peers.ask_to_stop).start()  # as the control thread would
        with pytest.raises(Interrupted):
            work()
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_block_does_not_begin_after_a_signal_that_nobody_has_asked_about(asked):
    begun = []
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Interrupted), asked.at_once("the baseline"):
        begun.append("the baseline")
    assert begun == []


def test_a_block_that_nobody_disturbs_comes_to_its_end(asked):
    with asked.at_once("the baseline"):
        done = True
    assert done
    assert not asked()
