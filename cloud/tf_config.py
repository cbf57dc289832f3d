#!/usr/bin/env python3
"""Prints TF_CONFIG, made from a list of hosts. Needs Python 3.8 or newer and nothing else.

    export TF_CONFIG=$(python cloud/tf_config.py --hosts=node1,node2 --index=1)

Hosts are named one by one, or by a pattern and their number:

    --hosts=10.0.0.5,10.0.0.6:2300       where there is no port, --port counts
    --hosts=train-{}.workers --count=4   train-0.workers, train-1.workers, …

This machine's place in the list, counted from 0, is given in one of three ways:

    --index=1                               as a number
    --index_variable=JOB_COMPLETION_INDEX   as the name of the environment variable that has it
    (neither)                               found by this machine's names and addresses

The first host is the chief.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from typing import NoReturn


def main() -> None:
    flags = _parse()
    hosts = _hosts(flags)
    addresses = [host if _port_of(host) else f"{host}:{flags.port}" for host in hosts]
    for address in addresses:
        if addresses.count(address) > 1:
            _fail(f"--hosts: {address} is there more than once; give each worker its own port.")
    index = _index(flags, addresses)
    if not 0 <= index < len(addresses):
        _fail(f"index {index}, but there are {len(addresses)} hosts; the first one has index 0.")
    task = {"type": "worker", "index": index}
    print(json.dumps({"cluster": {"worker": addresses}, "task": task}))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--hosts", required=True, help="comma-separated, or a pattern with {}")
    parser.add_argument("--count", type=int, help="how many hosts a pattern stands for")
    parser.add_argument("--port", type=int, default=2222, help="of all workers (default: 2222)")
    parser.add_argument("--index", type=int, help="this machine's place in the list, from 0 on")
    parser.add_argument("--index_variable", help="the environment variable that has the index")
    return parser.parse_args()


def _hosts(flags: argparse.Namespace) -> list[str]:
    if not 0 < flags.port < 65536:
        _fail(f"--port={flags.port} is no port; allowed: 1 to 65535.")
    if ("{}" in flags.hosts) != (flags.count is not None):
        _fail("a pattern (--hosts=train-{}.workers) and --count=… go together.")
    if flags.count is not None:
        if flags.count < 1:
            _fail(f"--count={flags.count} is no number of hosts.")
        return [flags.hosts.replace("{}", str(i)) for i in range(flags.count)]
    hosts = [host.strip() for host in flags.hosts.split(",")]
    if not all(hosts):
        _fail(f"--hosts={flags.hosts}: there is an empty name.")
    return hosts


def _port_of(host: str) -> str:
    """The port behind the last colon, or an empty string. IPv6 addresses stand in brackets."""
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        return ""
    if not port.isdecimal() or not name or (":" in name and not name.endswith("]")):
        _fail(f"--hosts: '{host}' is not host or host:port; IPv6 addresses stand in brackets.")
    if not 0 < int(port) < 65536:
        _fail(f"--hosts: the port of '{host}' is none; allowed: 1 to 65535.")
    return port


def _index(flags: argparse.Namespace, addresses: list[str]) -> int:
    if flags.index is not None and flags.index_variable is not None:
        _fail("give --index or --index_variable, not both.")
    if flags.index is not None:
        return flags.index
    if flags.index_variable is None:
        return _index_of_this_machine(addresses)
    text = os.environ.get(flags.index_variable, "")
    if not text.strip().isdecimal():
        _fail(f"the environment variable {flags.index_variable} is '{text}', which is no index.")
    return int(text)


def _index_of_this_machine(addresses: list[str]) -> int:
    """The only address that is one of this machine.

    A name is one of its names, or is resolved to an address that a socket can be bound to here.
    """
    names = {socket.gethostname(), socket.getfqdn()}
    mine = [
        index
        for index, address in enumerate(addresses)
        if address.rpartition(":")[0] in names or _is_here(address.rpartition(":")[0])
    ]
    if len(mine) == 1:
        return mine[0]
    found = "several hosts of --hosts are" if mine else "no host of --hosts is"
    _fail(f"{found} this machine ({', '.join(sorted(names))}). Give --index=….")


def _is_here(host: str) -> bool:
    try:
        found = socket.getaddrinfo(host.strip("[]"), 0, type=socket.SOCK_STREAM)
    except OSError:
        return False
    for family, kind, protocol, _, address in found:
        try:
            with socket.socket(family, kind, protocol) as one:
                one.bind(address)
                return True
        except OSError:
            continue
    return False


def _fail(problem: str) -> NoReturn:
    print(f"error: {problem}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
