"""Real processes of Python that begin with TensorFlow imported, which takes seconds otherwise.

A server imports what is heavy, once for each process of pytest. For every program it forks a child:
that has an environment, a working directory, arguments and output of its own, then does what
`python -m module …` does, to the end of the interpreter. It can be killed and waited for like any
other process. Nothing of TensorFlow has run before the fork; only its modules are there.

Two things are not as in a fresh process. Children of one server share its seed of `hash()`, so a
test of "the same command, the same bits" should have one cold process among them. And what
TensorFlow reads while it is imported (`TF_CPP_MIN_LOG_LEVEL`) is the server's.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import pathlib
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time

_HEAVY = (
    "tensorflow",
    "keras",
    "absl.app",
    "gin",
    "matplotlib.figure",
    "safetensors.numpy",
    "sklearn.feature_extraction.text",
    "sklearn.linear_model",
    "sklearn.metrics",
    "tensorboard.summary.writer.event_file_writer",
)


class WarmProcess:
    """A child of the server, with the methods of `subprocess.Popen` that tests need.

    Attributes:
      returncode: the exit status, negative for a signal; None while it is not known to have ended.
    """

    def __init__(self, server: Server, pid: int):
        self._server, self.pid = server, pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit status if the process has ended."""
        return self._ended_within(0)

    def wait(self, timeout: float = 240) -> int:
        """The exit status, after at most `timeout` seconds.

        Raises:
          subprocess.TimeoutExpired: if it still runs; it is not ended by that.
        """
        if self._ended_within(timeout) is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        return self.returncode

    def _ended_within(self, seconds: float) -> int | None:
        if self.returncode is None:
            self.returncode = self._server.status_of(self.pid, seconds)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Does nothing if the process has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # ended just now
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Server:
    """The process that forks, seen from the tests. When they end, so do its children.

    The two talk in lines of JSON: a request for each program, answered by its pid, and at the end
    of each child its pid and status.
    """

    def __init__(self):
        self._connection, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            # A cold process holds back what TensorFlow says while it looks for devices.
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C is for pytest, which ends the server
        )
        theirs.close()
        self._lock = threading.RLock()
        self._received = b""
        self._started: list[int] = []
        self._statuses: dict[int, int] = {}
        atexit.register(self.close)

    def close(self) -> None:
        """Ends the server and all that it has started."""
        self._connection.close()
        self._process.wait()

    def start(self, request: dict) -> WarmProcess:
        with self._lock:
            self._connection.sendall(json.dumps(request).encode() + b"\n")
            while not self._started:
                self._read(60)
            return WarmProcess(self, self._started.pop())

    def status_of(self, pid: int, seconds: float) -> int | None:
        """The exit status of a child, or None if it has not ended within so many seconds."""
        deadline = time.monotonic() + seconds
        with self._lock:
            while pid not in self._statuses:
                left = deadline - time.monotonic()
                if not self._read(max(left, 0)) and left <= 0:
                    return None
            return self._statuses[pid]

    def _read(self, seconds: float) -> bool:
        """Takes in what the server sends within that time; whether that was anything."""
        if not select.select([self._connection], [], [], seconds)[0]:
            return False
        if not (received := self._connection.recv(65536)):
            raise RuntimeError("The server of warm processes has ended; its output says why.")
        *lines, self._received = (self._received + received).split(b"\n")
        for line in lines:
            answer = json.loads(line)
            if "status" in answer:
                self._statuses[answer["pid"]] = answer["status"]
            else:
                self._started.append(answer["pid"])
        return True


@functools.cache
def server() -> Server:
    """That of this process, started when it is first needed."""
    return Server()


def start(
    arguments: list[str], env: dict[str, str], cwd: pathlib.Path, log: pathlib.Path
) -> WarmProcess:
    """Starts `python arguments…`; its output is appended to `log`.

    Args:
      arguments: `-m module …` or `script.py …`.
    """
    log.touch()  # may be read before the child has opened it
    request = {"arguments": arguments, "env": env, "cwd": str(cwd), "log": str(log)}
    return server().start(request)


def serve(connection: socket.socket) -> dict:
    """The server: forks until the other side hangs up. Returns in a child, with its request."""
    awake, wake = socket.socketpair()
    awake.setblocking(False)
    wake.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake.fileno())
    requests = connection.makefile("rb")
    children: set[int] = set()
    while True:
        ready, _, _ = select.select([requests, awake], [], [])
        if awake in ready:
            awake.recv(4096)
            _tell_of_the_dead(children, connection)
        if requests in ready:
            if not (line := requests.readline()):
                break
            if not (pid := os.fork()):
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for ours in (requests, connection, awake, wake):
                    ours.close()
                return json.loads(line)
            children.add(pid)
            _tell(connection, {"pid": pid})
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    os._exit(0)


def _tell(connection: socket.socket, answer: dict) -> None:
    with contextlib.suppress(BrokenPipeError):  # the tests have ended; we are about to notice
        connection.sendall(json.dumps(answer).encode() + b"\n")


def _tell_of_the_dead(children: set[int], connection: socket.socket) -> None:
    for pid in list(children):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            children.remove(pid)
            _tell(connection, {"pid": pid, "status": os.waitstatus_to_exitcode(status)})


def become(request: dict) -> None:
    """In a child: the program of a request, with everything that `python` would give it."""
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    log = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    null = os.open(os.devnull, os.O_RDONLY)
    for ours, place in ((null, 0), (log, 1), (log, 2)):
        os.dup2(ours, place)
    os.closerange(3, max(log, null) + 1)
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    first, *arguments = request["arguments"]
    if first == "-m":
        first, *arguments = arguments
        sys.path[:1] = [request["cwd"], *paths]  # in place of the directory of this file
        sys.argv = [first, *arguments]
        runpy.run_module(first, run_name="__main__", alter_sys=True)
    else:
        sys.path[:1] = [os.path.dirname(first), *paths]
        sys.argv = [first, *arguments]
        runpy.run_path(first, run_name="__main__")


def main() -> None:
    connection = socket.socket(fileno=int(sys.argv[1]))
    for name in _HEAVY:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # no child touches, and so copies, what all share
    become(serve(connection))


if __name__ == "__main__":
    main()
