"""Messages between workers: JSON objects over TCP, each behind its length in 4 bytes."""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import struct
import threading

_LENGTH = struct.Struct(">I")
_MOST_BYTES = 16 << 20  # also refuses what speaks HTTP or TLS: its first 4 bytes are far above
_PATIENCE_SECONDS = 30  # with a peer that does not take what it is sent


class Closed(Exception):
    """The other side is gone, or does not speak this language."""


class Connection:
    """One end of a connection. Any thread may send; only one at a time may receive."""

    def __init__(self, connected: socket.socket):
        connected.settimeout(_PATIENCE_SECONDS)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._socket, self._sending = connected, threading.Lock()
        self._unread = bytearray()

    def fileno(self) -> int:
        """For `selectors`."""
        return self._socket.fileno()

    @property
    def peer(self) -> str:
        """The address of the other side, or `?`."""
        try:
            return str(self._socket.getpeername()[0])
        except OSError:
            return "?"

    def send(self, message: dict) -> None:
        """Raises Closed if it cannot be sent."""
        content = json.dumps(message).encode()
        try:
            with self._sending:
                self._socket.sendall(_LENGTH.pack(len(content)) + content)
        except OSError as error:
            raise Closed(error.strerror or str(error)) from None

    def receive(self) -> list[dict]:
        """The next messages; waits for them as long as it takes.

        Raises:
          Closed: at the end, or at what is no message.
        """
        while not (messages := list(iter(self._next, None))):
            with contextlib.suppress(TimeoutError):
                self._unread += self._some()
        return messages

    def receive_first(self, seconds: float) -> dict:
        """The first message of a new connection; raises Closed if it does not come in time."""
        self._socket.settimeout(seconds)
        try:
            while (message := self._next()) is None:
                self._unread += self._some()
        except TimeoutError:
            raise Closed("no answer") from None
        self._socket.settimeout(_PATIENCE_SECONDS)
        return message

    def _some(self) -> bytes:
        try:
            content = self._socket.recv(1 << 16)
        except TimeoutError:
            raise
        except OSError as error:
            raise Closed(error.strerror or str(error)) from None
        if not content:
            raise Closed("closed by the other side")
        return content

    def _next(self) -> dict | None:
        """Takes a message from what was read, if there is a whole one."""
        if len(self._unread) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._unread)
        if length > _MOST_BYTES:
            raise Closed("not a worker of sentiment_train")
        end = _LENGTH.size + length
        if len(self._unread) < end:
            return None
        content = bytes(self._unread[_LENGTH.size : end])
        del self._unread[:end]
        try:
            message = json.loads(content)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            raise Closed("not a worker of sentiment_train")
        return message

    def finish_sending(self) -> None:
        """Says that nothing follows; the other side can still read all that was sent."""
        with contextlib.suppress(OSError):  # it is gone already
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._socket.close()


class Inbox:
    """What several threads have found, for one to deal with; `put` may interrupt itself, so a
    signal handler may call it."""

    def __init__(self):
        self._items: queue.SimpleQueue = queue.SimpleQueue()

    def put(self, kind: str, *found) -> None:
        self._items.put((kind, *found))

    def get(self, seconds: float) -> tuple:
        """The next one; raises queue.Empty if there is none in time."""
        return self._items.get(timeout=seconds)

    def read(self, connection: Connection, index: int) -> None:
        """Puts every message of a connection in: `("message", index, connection, message)`; its
        end is a message None."""

        def read_all() -> None:
            try:
                while True:
                    for message in connection.receive():
                        self.put("message", index, connection, message)
            except Closed:
                self.put("message", index, connection, None)

        threading.Thread(target=read_all, daemon=True).start()
