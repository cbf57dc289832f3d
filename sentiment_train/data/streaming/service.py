"""The tf.data service as a stream's other end: is it there, is it whole, has it gone?"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

from sentiment_train.errors import EXIT_RESUME, DataError, UserError

SECONDS_TO_APPEAR = 60
_SECONDS_TO_ANSWER = 5
_MOST_AHEAD = 16  # rounds that a data worker which joined later may be behind the others
_START = "scripts/data_service.sh starts one"


class ServiceGone(UserError):
    """The service went away in the middle of a run."""

    exit_code = EXIT_RESUME


class Service:
    """A dispatcher and its data workers.

    Args:
      address: `grpc://host:port` of the dispatcher.
    """

    def __init__(self, address: str):
        self.address = address
        self._workers: tuple[str, ...] = ()
        self._rounds: dict[int, int] = {}
        self._places: dict[int, tuple[int, int]] = {}

    def wait(self, seconds: float = SECONDS_TO_APPEAR) -> None:
        """Returns as soon as the dispatcher and at least one data worker are there.

        Raises:
          DataError: if they are not within so many seconds.
        """
        deadline = time.monotonic() + seconds
        while not self._workers:
            try:
                self._workers = registered_workers(self.address)
                problem = "has no data workers"
            except ConnectionError:
                problem = "does not answer"
            if not self._workers and time.monotonic() >= deadline:
                raise DataError(
                    f"Shards.service = '{self.address}' {problem} for {seconds:g} seconds;"
                    f" {_START}."
                )
            time.sleep(0.2 if not self._workers else 0)

    def wait_for_all(self, count: int, seconds: float = SECONDS_TO_APPEAR) -> None:
        """Returns when all data workers that the dispatcher knows by name are there.

        Raises:
          DataError: if they are not within so many seconds; their shards would be left out.
        """
        deadline = time.monotonic() + seconds
        while len(self._workers) < count:
            if time.monotonic() >= deadline:
                raise DataError(
                    f"Of the {count} data workers of {self.address} only"
                    f" {', '.join(self._workers)} have come in {seconds:g} seconds."
                )
            time.sleep(0.2)
            self._workers = self._still_registered()

    def check_round(self, data_worker: int, data_workers: int, block: int, batch: int) -> None:
        """Notes who gave an element: they take turns, or one of them is gone.

        TensorFlow itself goes on without a data worker that was killed, and without its shards. One
        that is started again at the same address begins anew, with examples that were seen.

        Raises:
          ServiceGone: if one was passed over, or goes back.
        """
        if (block, batch) <= self._places.get(data_worker, (-1, -1)):
            raise self.gone(f"data worker {data_worker} was started again")
        self._places[data_worker] = block, batch
        self._rounds[data_worker] = self._rounds.get(data_worker, 0) + 1
        slowest = min(range(data_workers), key=lambda i: self._rounds.get(i, 0))
        if max(self._rounds.values()) - self._rounds.get(slowest, 0) > _MOST_AHEAD:
            raise self.gone(f"data worker {slowest} gives nothing any more")

    def check_alive(self) -> None:
        """Asks when nothing has come for a while.

        Raises:
          ServiceGone: if a data worker cannot be connected any more.
        """
        for address in self._workers:
            if not _answers(address):
                raise self.gone(f"data worker {address} does not answer")

    def _still_registered(self) -> tuple[str, ...]:
        try:
            return registered_workers(self.address)
        except ConnectionError:
            raise self.gone("its dispatcher does not answer") from None

    def gone(self, what: str) -> ServiceGone:
        """The error that tells it to the user."""
        return ServiceGone(
            f"The data service {self.address} has gone: {what}. Start it again, and the same"
            " command on all workers; it goes on from the last checkpoint."
        )


def registered_workers(address: str) -> tuple[str, ...]:
    """The addresses of the data workers that have come to a dispatcher, sorted.

    Asked as `DispatcherService.GetWorkers` of dispatcher.proto, for which TensorFlow has no Python.

    Raises:
      ConnectionError: if nothing, or something else, answers there.
    """
    import grpc

    with grpc.insecure_channel(address.removeprefix("grpc://")) as channel:
        ask = channel.unary_unary("/tensorflow.data.DispatcherService/GetWorkers")
        try:
            answer = ask(b"", timeout=_SECONDS_TO_ANSWER)
        except grpc.RpcError as error:
            raise ConnectionError(str(error.code())) from None
    return tuple(sorted(info.decode() for worker in _fields(answer) for info in _fields(worker)))


def _fields(message: bytes) -> Iterator[bytes]:
    """The values of field 1 of a serialized message, strings or messages, one after the other."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        if tag & 7 == 0:
            _, place = _varint(message, place)
            continue
        size, place = _varint(message, place)
        if tag == 1 << 3 | 2:
            yield message[place : place + size]
        place += size


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_ANSWER):
            return True
    except OSError:
        return False
