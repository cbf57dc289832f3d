"""`results.md`, drawn from what was measured."""

from __future__ import annotations

import pathlib

from benchmarks.groups import GROUPS
from benchmarks.promises import TARGETS
from benchmarks.results import failures
from benchmarks.targets import table

COMMAND = "python -m benchmarks.run"
PROFILES = pathlib.Path(__file__).with_name("profiles")
HEAD = f"""\
# Side by side with what a user would pick instead

Written by `{COMMAND}`; a part of it by `{COMMAND} --only=<group>`. All numbers are in
[results.json](results.json), as they were measured.

Every measurement is a process of its own with all cores and default numbers of threads. Contenders
take turns, round by round; a number is the median of the rounds, with the lowest and the highest in
brackets, and a ratio is one of neighbours in time: of two measurements of the same round. What the
others need comes with `pip install -c constraints.txt -e '.[bench]'`. Nothing here is a test."""


def draw(results: dict) -> str:
    """The whole page, markdown."""
    parts = [HEAD, "## Targets", table(results, TARGETS)]
    if missed := why_missed(results):
        parts += ["## Why a target is missed", *missed]
    for name, group in GROUPS.items():
        parts += [f"## {group.TITLE}", group.STORY]
        if part := results["groups"].get(name):
            failed = [f"Not measured: {what}." for what in failures(part)]
            parts += [group.tables(part["cases"]), *failed, _measured_on(name, part)]
        else:
            parts.append(f"Not measured yet: `{COMMAND} --only={name}`")
    return "\n\n".join(parts) + "\n"


def why_missed(results: dict) -> list[str]:
    """A paragraph for every missed target: its profile, as somebody wrote it down."""
    missed = [target for target in TARGETS if target.reached(results) is False]
    found = []
    for key in dict.fromkeys(target.key for target in missed):
        found += [f"### {t.what}" for t in missed if t.key == key]
        profile = PROFILES / f"{key}.md"
        there = profile.exists()
        missing = f"No profile yet; it goes into `benchmarks/profiles/{key}.md`."
        found.append(profile.read_text(encoding="utf-8").strip() if there else missing)
    return found


def _measured_on(name: str, part: dict) -> str:
    """Where and when, and what else the machine was doing."""
    versions = ", ".join(f"{package} {version}" for package, version in part["versions"].items())
    before, after = (" / ".join(map(str, load)) for load in part["load"])
    rounds = part["repeats"]
    return (
        f"{part['machine']}; {versions}. {part['measured']}, {rounds} round"
        f"{'s' if rounds > 1 else ''} in {part['seconds'] / 60:.0f} minutes, load average {before}"
        f" before and {after} after (1 / 5 / 15 minutes; a measurement alone makes 1 to 2).\n\n"
        f"    {COMMAND} --only={name}"
    )
