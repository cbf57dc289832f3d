"""`results.json`: everything that was measured, as it was measured; pages are drawn from it.

    {"schema": 1,
     "groups": {"documents": {
        "measured": "2026-01-31T12:00:00Z",   when it ended
        "machine": "AMD EPYC, 2 cores, …",    kind, not name
        "versions": {"tensorflow": "2.21.0", …},
        "load": [[0.1, 0.2, 0.2], [2.0, …]],  averages over 1, 5, 15 minutes: before, after
        "repeats": 3, "seconds": 612.0,
        "failed": null,                       why its later cases are not there
        "cases": {"gru": {
            "facts": {"examples": 2000},                     what the contenders have in common
            "contenders": {"ours": "`gin/gru.gin`", "gru": "document 000 …"},
            "missing": {"torch": "torch is not installed: …"},
            "failed": {"gru": "benchmarks.peers.document_scripts: exit code 1"},
            "rounds": [{"ours": {"epoch_seconds": 3.1, …}, "gru": {…}}, …]}}}}}

Numbers are in seconds, bytes, shares of 1 and counts; the measures of each group are the columns of
its tables. A group that is measured again replaces what it had; the others stay.
"""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import time
from collections.abc import Callable

from benchmarks import machine
from benchmarks.bench import Bench
from benchmarks.rounds import measured, sentence

SCHEMA = 1
_FILE = "results.json"


def none() -> dict:
    """What `results.json` holds before anything was measured."""
    return {"schema": SCHEMA, "groups": {}}


def read(folder: pathlib.Path) -> dict:
    """What was measured before; without a file, nothing.

    Raises:
      SystemExit: if the file has another schema.
    """
    path = folder / _FILE
    if not path.exists():
        return none()
    results = json.loads(path.read_text(encoding="utf-8"))
    if results.get("schema") != SCHEMA:
        raise SystemExit(f"error: {path} has another schema; remove it and measure everything.")
    return results


def write(folder: pathlib.Path, results: dict) -> None:
    """Replaces the file in one step."""
    partial = folder / f"{_FILE}.partial"
    partial.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, folder / _FILE)


def machines(results: dict) -> set[str]:
    """All that something was measured on."""
    return {part["machine"] for part in results["groups"].values()}


def of_group(group, bench: Bench, repeats: int, say: Callable[[str], None]) -> dict:
    """Measures a group: one of its cases after the other.

    Args:
      group: a module of `groups`.
      repeats: rounds of each case.
    """
    before, began = machine.load(), time.monotonic()
    cases, failed = {}, None
    try:
        for case in group.cases(bench):
            cases[case.name] = measured(case, repeats, say)
    except (Exception, SystemExit) as error:  # of what a case needs before it is measured
        failed = sentence(error)
        say(f"FAILED after {', '.join(cases) or 'no case'}: {error}")
    now = datetime.datetime.now(datetime.timezone.utc)
    return {
        "measured": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": machine.describe(),
        "versions": machine.versions(),
        "load": [before, machine.load()],
        "repeats": repeats,
        "seconds": round(time.monotonic() - began, 1),
        "failed": failed,
        "cases": cases,
    }


def failures(part: dict) -> list[str]:
    """What of a group was not measured though it could have been, a sentence each."""
    found = [
        f"{case}, {name}: {why}"
        for case, measured_case in part["cases"].items()
        for name, why in measured_case["failed"].items()
    ]
    return found + ([part["failed"]] if part["failed"] else [])
