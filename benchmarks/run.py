"""Ours and what a user would pick instead, side by side, in one run.

    python -m benchmarks.run                        # all but accuracy: 35 minutes on two cores
    python -m benchmarks.run --only=serving         # one group; the others stay as they are
    python -m benchmarks.run --quick                # 40 examples, once: shows that it works
    python -m benchmarks.run --draw                 # measures nothing, draws the page again

Needs `pip install -c constraints.txt -e '.[bench,samples]'`; what is missing is told and left out.
What fails is told and left out as well, and the exit code is 1. Writes `benchmarks/results.json`
and `benchmarks/results.md` after every group, and the table of targets into README.md.
"""

from __future__ import annotations

import os
import pathlib
import sys
import tempfile
import time

from absl import app, flags

from benchmarks import machine, processes, results, results_page
from benchmarks.bench import Bench
from benchmarks.groups import GROUPS, ON_REQUEST
from benchmarks.marked_blocks import with_tables
from benchmarks.promises import TARGETS
from benchmarks.rounds import say
from benchmarks.targets import table

HOME = pathlib.Path(__file__).parent
README = processes.ROOT / "README.md"


def measure(values) -> tuple[dict, list[str]]:
    """What the flags ask for, added to what was measured before, and what of it failed.

    After every group the files are written, so that what was measured is not lost. A group that
    failed does not replace an earlier one that did not.
    """
    folder, failed = output_of(values), []
    wanted = [] if values.draw else values.only or [n for n in GROUPS if n not in ON_REQUEST]
    found = kept(folder, values) if folder else results.none()
    began = time.monotonic()
    if folder == HOME:
        readme_with(found)  # has a place for them, or nothing is measured
    if wanted:
        say(plan(wanted, values))
    for name in wanted:
        say(f"== {name} ({(time.monotonic() - began) / 60:.1f} minutes gone)")
        part = _of_group(name, values)
        failures = results.failures(part)
        failed += [f"{name}: {what}" for what in failures]
        if failures and name in found["groups"] and not results.failures(found["groups"][name]):
            say(f"{name}: kept is what was measured before")
            continue
        found["groups"][name] = part
        if folder:
            write(folder, found)
    if folder:
        write(folder, found)
    return found, failed


def _of_group(name: str, values) -> dict:
    with tempfile.TemporaryDirectory() as scratch:
        cache = os.path.expanduser(values.cache_dir)
        bench = Bench(pathlib.Path(scratch), cache, values.quick)
        return results.of_group(GROUPS[name], bench, rounds_of(name, values), say)


def rounds_of(name: str, values) -> int:
    """Rounds of a group: of its own, unless told otherwise."""
    return 1 if values.quick else values.repeats or GROUPS[name].ROUNDS


def plan(wanted: list[str], values) -> str:
    """What will be measured, and how long that takes on two cores that do nothing else."""
    lines = []
    for name in wanted:
        group, rounds = GROUPS[name], rounds_of(name, values)
        line = f"   {name:15s} {rounds} round{'s' if rounds > 1 else ' '}"
        if rounds == group.ROUNDS:
            line += f"  {group.MEASUREMENTS:3d} measurements  about {group.MINUTES:g} minutes"
        lines.append(line)
    if all(rounds_of(name, values) == GROUPS[name].ROUNDS for name in wanted):
        total = sum(GROUPS[name].MINUTES for name in wanted)
        lines.append(f"   about {total:.0f} minutes in all, on two cores that do nothing else")
    return "\n".join([f"== on {machine.describe()}", *lines])


def kept(folder: pathlib.Path, values) -> dict:
    """What was measured before and stays; nothing of it if everything is measured again.

    Raises:
      SystemExit: if single groups were to be added to those of another machine.
    """
    found = results.read(folder)
    others = results.machines(found) - {machine.describe()}
    if values.draw or not others:
        return found
    if values.only:
        raise SystemExit(
            f"error: {folder / 'results.json'} is of another machine ({', '.join(sorted(others))};"
            f" this is {machine.describe()}). Measure everything, or name another --output."
        )
    return results.none()


def output_of(values) -> pathlib.Path | None:
    """The folder that is written into: none for numbers that mean nothing, unless one is named."""
    if values.output:
        return pathlib.Path(values.output)
    return None if values.quick else HOME


def write(folder: pathlib.Path, found: dict) -> None:
    """results.json and results.md; at home, when something was measured, the table of targets in
    README.md."""
    folder.mkdir(parents=True, exist_ok=True)
    results.write(folder, found)
    (folder / "results.md").write_text(results_page.draw(found), encoding="utf-8")
    if folder == HOME and found["groups"]:
        README.write_text(readme_with(found), encoding="utf-8")


def readme_with(found: dict) -> str:
    """README.md with the table of targets.

    Raises:
      ValueError: if it has no place for it.
    """
    page = README.read_text(encoding="utf-8")
    return with_tables(page, {"targets": table(found, TARGETS)}, results_page.COMMAND)


def define_flags(flag_values=flags.FLAGS) -> None:
    """Defined by the command, so that a process may import several benchmarks."""
    options = {"flag_values": flag_values}
    what = "Measure only this group; repeatable."
    flags.DEFINE_multi_enum("only", [], list(GROUPS), what, **options)
    flags.DEFINE_integer("repeats", None, "Rounds; default: each group's own.", 1, **options)
    flags.DEFINE_bool("quick", False, "40 examples, once: shows that it works.", **options)
    flags.DEFINE_bool("draw", False, "Measure nothing; draw results.md again.", **options)
    flags.DEFINE_string("output", None, "Folder of the results; default: benchmarks/.", **options)
    processes.define_cache_flag(flag_values)


def main(argv) -> int:
    if len(argv) > 1:
        print(f"error: unexpected argument '{argv[1]}'; all arguments are --flags.")
        return 2
    found, failed = measure(flags.FLAGS)
    print(results_page.draw(found))
    if flags.FLAGS.quick:
        print("--quick: 40 examples, once. It works; the numbers mean nothing.")
    for what in failed:
        print(f"error: not measured: {what}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    define_flags()
    app.run(main)
