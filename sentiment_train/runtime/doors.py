"""The port of a worker while the workers meet: who listens on it, who knocks at those of others."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time
from collections.abc import Callable

from sentiment_train.errors import ConfigError
from sentiment_train.runtime import complaints
from sentiment_train.runtime.cluster import Cluster
from sentiment_train.runtime.hello import Hello
from sentiment_train.runtime.wire import Closed, Connection

_HANDSHAKE_SECONDS = 5
_ANSWER_SECONDS = 15  # a worker that has just been started may be slow; who gives up looks gone
_PAUSE_SECONDS = 0.2  # between two knocks


class Door:
    """The port of this worker, on which others introduce themselves, each in a thread of its own.

    Args:
      hello: what this worker says of itself; `to` is filled in.
      come: called with the connection and the hello of each worker that comes. What does not
        speak the language of workers (a port scanner, a browser) is ignored.

    Raises:
      ConfigError: if the port is in use, with who is there if that is a worker.
    """

    def __init__(self, cluster: Cluster, hello: Hello, come: Callable[[Connection, Hello], None]):
        self._cluster, self._hello, self._come = cluster, hello, come
        self._listener = _listen(cluster, hello)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Frees the port, for TensorFlow's own server. Connections stay."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes up `accept`
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connected, _ = self._listener.accept()
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ECONNABORTED):
                    time.sleep(_PAUSE_SECONDS)
                    continue
                return  # closed
            threading.Thread(target=self._greet, args=(connected,), daemon=True).start()

    def _greet(self, connected: socket.socket) -> None:
        connection = Connection(connected)
        try:
            hello = Hello.of(connection.receive_first(_ANSWER_SECONDS))
            if hello is None:
                raise Closed("not a worker of sentiment_train")
            connection.send(self._hello.toward(hello.index).message())
        except Closed:
            connection.close()
            return
        self._come(connection, hello)


def knock(
    address: str, hello: Hello, patience: float = _ANSWER_SECONDS
) -> tuple[Connection, Hello]:
    """Connects with a worker and exchanges hellos.

    Args:
      patience: seconds, with the answer of who is there.

    Raises:
      Closed: if nobody answers, with the reason.
    """
    host, _, port = address.rpartition(":")
    try:
        connected = socket.create_connection((host.strip("[]"), int(port)), _HANDSHAKE_SECONDS)
    except OSError as error:
        raise Closed(_reason(error)) from None
    connection = Connection(connected)
    try:
        connection.send(hello.message())
        answer = Hello.of(connection.receive_first(patience))
    except Closed as error:
        connection.close()
        raise Closed(f"what is there does not answer like a worker: {error}") from None
    if answer is None:
        connection.close()
        raise Closed("what is there is no worker of sentiment_train")
    return connection, answer


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    return (error.strerror or str(error)).lower()


def knock_until_open(
    address: str, hello: Hello, give_up: threading.Event, why_not: Callable[[str], None]
) -> tuple[Connection, Hello] | None:
    """Knocks until somebody answers, or until `give_up` is set (then None).

    Args:
      why_not: told the reason each time that nobody answers.
    """
    while not give_up.is_set():
        try:
            return knock(address, hello)
        except Closed as reason:
            why_not(str(reason))
        give_up.wait(_PAUSE_SECONDS)
    return None


def _listen(cluster: Cluster, hello: Hello) -> socket.socket:
    """A socket that listens on this worker's port, on all interfaces as TensorFlow will do."""
    address = cluster.addresses[cluster.index]
    port = int(address.rpartition(":")[2])
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", port))
    except OSError as error:
        reason = error
    if reason.errno == errno.EADDRINUSE:
        raise ConfigError(_who_is_there(cluster, address, hello))
    raise ConfigError(
        f"{cluster.name(cluster.index).capitalize()} cannot listen on port {port}:"
        f" {reason.strerror}. Use another port in TF_CONFIG."
    )


def _who_is_there(cluster: Cluster, address: str, hello: Hello) -> str:
    """The message for a port in use; a worker that is there learns that it was started twice."""
    me, port = cluster.index, address.rpartition(":")[2]
    try:
        connection, there = knock(f"localhost:{port}", hello.of_a_twin(), _HANDSHAKE_SECONDS)
    except Closed:
        there = None
    else:
        connection.close()
    if there is not None:
        return complaints.same_port(cluster, there, hello)
    return (
        f"Port {port} of this machine, that of {cluster.name(me)}, is in use by another process."
        " Is one of an earlier run still there? End it, or use another port in TF_CONFIG."
    )
