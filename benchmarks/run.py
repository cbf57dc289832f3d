"""Ours and what a user would pick instead, side by side, in one run.

    python -m benchmarks.run                        # everything, about half an hour on two cores
    python -m benchmarks.run --only=serving         # one group; the others stay as they are
    python -m benchmarks.run --quick                # 40 examples, once: shows that it works
    python -m benchmarks.run --draw                 # measures nothing, draws the page again

Needs `pip install 'sentiment_train[bench,samples]'`; what is missing is told and left out. Writes
`benchmarks/results.json` and `benchmarks/results.md`, and the table of targets into README.md.
"""

from __future__ import annotations

import os
import pathlib
import tempfile

from absl import app, flags

from benchmarks import page, processes, results, targets
from benchmarks.bench import Bench
from benchmarks.groups import GROUPS
from benchmarks.pages import with_tables
from benchmarks.rounds import say

HOME = pathlib.Path(__file__).parent
README = processes.ROOT / "README.md"


def measure(values) -> dict:
    """What the flags ask for, added to what was measured before.

    After every group the files are written, so that what was measured is not lost.
    """
    folder = output_of(values)
    found = results.read(folder) if folder else {"schema": results.SCHEMA, "groups": {}}
    repeats = 1 if values.quick else values.repeats
    for name in [] if values.draw else values.only or GROUPS:
        with tempfile.TemporaryDirectory() as scratch:
            cache = os.path.expanduser(values.cache_dir)
            bench = Bench(pathlib.Path(scratch), cache, values.quick)
            say(f"== {name}")
            found["groups"][name] = results.of_group(GROUPS[name], bench, repeats, say)
        if folder:
            write(folder, found)
    if folder:
        write(folder, found)
    return found


def output_of(values) -> pathlib.Path | None:
    """The folder that is written into: none for numbers that mean nothing, unless one is named."""
    if values.output:
        return pathlib.Path(values.output)
    return None if values.quick else HOME


def write(folder: pathlib.Path, found: dict) -> None:
    """results.json and results.md; at home the table of targets in README.md, if it has a place."""
    folder.mkdir(parents=True, exist_ok=True)
    results.write(folder, found)
    (folder / "results.md").write_text(page.draw(found), encoding="utf-8")
    if folder == HOME:
        readme = README.read_text(encoding="utf-8")
        if f"<!-- begin: {page.COMMAND} (targets) -->" in readme:
            tables = {"targets": targets.table(found)}
            README.write_text(with_tables(readme, tables, page.COMMAND), encoding="utf-8")


def define_flags(flag_values=flags.FLAGS) -> None:
    """Defined by the command, so that a process may import several benchmarks."""
    options = {"flag_values": flag_values}
    what = "Measure only this group; repeatable."
    flags.DEFINE_multi_enum("only", [], list(GROUPS), what, **options)
    flags.DEFINE_integer("repeats", 3, "Rounds; what takes minutes is done once.", 1, **options)
    flags.DEFINE_bool("quick", False, "40 examples, once: shows that it works.", **options)
    flags.DEFINE_bool("draw", False, "Measure nothing; draw results.md again.", **options)
    flags.DEFINE_string("output", None, "Folder of the results; default: benchmarks/.", **options)
    processes.define_cache_flag(flag_values)


def main(argv) -> int:
    if len(argv) > 1:
        print(f"error: unexpected argument '{argv[1]}'; all arguments are --flags.")
        return 2
    print(page.draw(measure(flags.FLAGS)))
    return 0


if __name__ == "__main__":
    define_flags()
    app.run(main)
