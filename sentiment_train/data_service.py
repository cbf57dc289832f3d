"""Starts tf.data service for `Shards.service`: a dispatcher and data workers that read our rows.

python -m sentiment_train.data_service --workers=2 --port=5050

starts them all on this machine and prints the address. On several machines start each by itself:

python -m sentiment_train.data_service --role=dispatcher --port=5050 --addresses=a:5051,b:5051
python -m sentiment_train.data_service --role=worker --dispatcher=a:5050 --address=a:5051
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time

from absl import app, flags

from sentiment_train import command_line

_SECONDS_TO_START = 120
_SECONDS_TO_END = 30


def _define_flags() -> None:
    flags.DEFINE_enum("role", "all", ["all", "dispatcher", "worker"], "What to start.")
    flags.DEFINE_integer("workers", 1, "Data workers, of role 'all'.", lower_bound=1)
    flags.DEFINE_string("host", "127.0.0.1", "Where others reach this machine, of role 'all'.")
    flags.DEFINE_integer(
        "port", 5050, "Of the dispatcher; its data workers get the ones that follow. 0: free ones."
    )
    flags.DEFINE_list("addresses", [], "host:port of all data workers, of role 'dispatcher'.")
    flags.DEFINE_string("dispatcher", None, "host:port of the dispatcher, of role 'worker'.")
    flags.DEFINE_string("address", None, "host:port of this data worker, of role 'worker'.")
    flags.DEFINE_integer("parent", None, "A process; the server ends when it is gone.")


def _run() -> None:
    values = flags.FLAGS
    if values.role == "all":
        _start_all(values.host, values.port, values.workers)
    elif values.role == "dispatcher":
        _serve_dispatcher(values.port, values.addresses)
    else:
        _serve_worker(values.dispatcher, values.address)


def _serve_dispatcher(port: int, addresses: list[str]) -> None:
    from sentiment_train import quiet
    from sentiment_train.errors import ConfigError

    if not addresses:
        raise ConfigError("--addresses is needed: host:port of all data workers, with commas.")
    _check_free(port)
    quiet.import_tensorflow()
    import tensorflow as tf

    service = tf.data.experimental.service
    # Data workers that are known by name have a number each, and read shards of their own.
    config = service.DispatcherConfig(port=port, worker_addresses=addresses)
    _serve(service.DispatchServer(config))


def _serve_worker(dispatcher: str | None, address: str | None) -> None:
    from sentiment_train import quiet
    from sentiment_train.errors import ConfigError

    for name, value in (("dispatcher", dispatcher), ("address", address)):
        if not value or not value.rpartition(":")[2].isdecimal():
            raise ConfigError(f"--{name} is needed, as host:port.")
    port = int(address.rpartition(":")[2])
    _check_free(port)
    _wait_for_dispatcher(dispatcher)
    quiet.import_tensorflow()
    import tensorflow as tf

    from sentiment_train.data.streaming import rows

    rows.register()
    service = tf.data.experimental.service
    config = service.WorkerConfig(dispatcher_address=dispatcher, worker_address=address, port=port)
    _serve(service.WorkerServer(config))


def _wait_for_dispatcher(address: str) -> None:
    """Raises UserError if nobody listens there in time; TensorFlow would wait without end."""
    from sentiment_train.errors import UserError

    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + _SECONDS_TO_START
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), 5).close()
            return
        except (OSError, OverflowError) as error:
            if time.monotonic() > deadline:
                raise UserError(
                    f"The dispatcher {address} does not answer for {_SECONDS_TO_START} seconds"
                    f" ({error}). Start it (--role=dispatcher), or mend --dispatcher."
                ) from None
        time.sleep(0.5)


def _serve(server) -> None:
    """Until a signal comes, or the process that started this one is gone."""
    ended = _on_signals()
    parent = flags.FLAGS.parent
    while not ended.wait(1.0):
        if parent is not None and os.getppid() != parent:
            break
    del server


def _start_all(host: str, port: int, workers: int) -> None:
    """Starts the dispatcher and its data workers as processes, and ends them together."""
    from sentiment_train.errors import UserError

    ended = _on_signals()
    own, *others = _ports(port, workers + 1)
    dispatcher = f"{host}:{own}"
    addresses = [f"{host}:{number}" for number in others]
    processes = [_start("dispatcher", f"--port={own}", f"--addresses={','.join(addresses)}")]
    processes += [
        _start("worker", f"--dispatcher={dispatcher}", f"--address={address}")
        for address in addresses
    ]
    try:
        if _wait_until_ready(f"grpc://{dispatcher}", workers, processes, ended):
            counted = f"{workers} data worker{'s' if workers > 1 else ''}"
            print(f"ready: Shards.service = 'grpc://{dispatcher}' ({counted})", flush=True)
        while not ended.wait(0.5):
            for place, process in enumerate(processes):
                if process.poll() is not None:
                    what = f"Data worker {place}" if place else "The dispatcher"
                    raise UserError(
                        f"{what} of the data service has ended ({process.returncode}); so the"
                        " others are ended."
                    )
    finally:
        _end(processes)


def _end(processes: list[subprocess.Popen]) -> None:
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + _SECONDS_TO_END
    for process in processes:
        try:
            process.wait(max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:  # TensorFlow's server may wait for a client
            process.kill()
            process.wait()


def _wait_until_ready(address: str, workers: int, processes: list, ended) -> bool:
    """Whether all data workers have come; False after a signal."""
    from sentiment_train.data.streaming.service import registered_workers
    from sentiment_train.errors import UserError

    deadline = time.monotonic() + _SECONDS_TO_START
    while not ended.wait(0.3):
        if any(process.poll() is not None for process in processes):
            raise UserError("A part of the data service could not start; the reason is above.")
        with contextlib.suppress(ConnectionError):  # not there yet
            if len(registered_workers(address)) == workers:
                return True
        if time.monotonic() > deadline:
            raise UserError(f"The data service at {address} is not ready after 2 minutes.")
    return False


def _start(role: str, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "sentiment_train.data_service", f"--role={role}"]
    # A group of its own: Ctrl-C is for this process, which ends the others.
    return subprocess.Popen(
        [*command, f"--parent={os.getpid()}", *arguments], start_new_session=True
    )


def _ports(first: int, count: int) -> list[int]:
    """So many ports from `first` on, or any free ones if it is 0."""
    if first:
        for port in range(first, first + count):
            _check_free(port)
        return list(range(first, first + count))
    sockets = [socket.create_server(("", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def _check_free(port: int) -> None:
    """Raises ConfigError if something listens there already, or if it is no port."""
    from sentiment_train.errors import ConfigError

    if not 0 < port < 65536:
        raise ConfigError(f"Port {port} is none; allowed: 1 to 65535.")
    try:
        socket.create_server(("", port)).close()
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else error
        raise ConfigError(f"Port {port} cannot be used: {why}. Name another one.") from None


def _on_signals() -> threading.Event:
    """An event that SIGTERM and Ctrl-C set."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    return ended


def run() -> None:
    """Entry point."""
    _define_flags()
    for flag in flags.FLAGS.get_flags_for_module(__name__):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    app.run(lambda argv: command_line.exit_code(argv, _run))


if __name__ == "__main__":
    run()
