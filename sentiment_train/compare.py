"""Runs several experiments, each a process of its own, and writes one table of them.

python -m sentiment_train.compare --gin_file=gin/gru.gin --gin_file=gin/bilstm.gin --seeds=0,1,2
"""

from __future__ import annotations

import os
import pathlib
import shlex
from dataclasses import dataclass

from absl import flags

from sentiment_train import command_line

QUICK = "quick.gin"


def _define_flags() -> None:
    flags.DEFINE_multi_string(
        "gin_file", [], "The gin file of one experiment; repeatable. Default: all of gin/."
    )
    flags.DEFINE_list("seeds", [], "Seeds such as 0,1,2: a run of every experiment with each.")
    flags.DEFINE_bool("quick", False, f"A smoke test of seconds: gin/{QUICK} on top of each file.")
    flags.DEFINE_string(
        "output_dir",
        None,
        "The directory of all runs and of comparison.md and .html; default: runs/comparison, with"
        " --quick runs/comparison_quick.",
    )
    flags.DEFINE_bool("only_table", False, "Write the tables of what is there; run nothing.")


def _run() -> None:
    """The flags as a comparison."""
    values = flags.FLAGS
    files = [os.path.expanduser(name) for name in values.gin_file] or shipped_experiments()
    directory = values.output_dir or f"runs/comparison{'_quick' if values.quick else ''}"
    comparison = Comparison(
        tuple(files), tuple(values.gin_bindings), tuple(values.seeds), values.quick
    )
    comparison.run(
        os.path.expanduser(directory),
        os.path.expanduser(values.cache_dir),
        values.parallel,
        values.dry_run,
        values.only_table,
    )


def shipped_experiments() -> list[str]:
    """The files of `gin/` that bind a source and a model, as `--gin_file` takes them.

    Raises:
      ConfigError: if there are none.
    """
    from sentiment_train import gin_files
    from sentiment_train.errors import ConfigError

    paths = gin_files.search_path()
    folders = [path for path in paths if path.name == "gin" and path.is_dir()]
    found = []
    for path in sorted(folders[0].glob("*.gin")) if folders else []:
        bound = set()
        for statement in gin_files.read_file(str(path), paths, including=()):
            if getattr(statement, "selector", "").rpartition(".")[2] == "Experiment":
                bound.add(statement.arg_name)
        if {"source", "model"} <= bound:
            found.append(str(path) if str(path.parent) == "gin" else path.name)
    if not found:
        raise ConfigError("There is no gin/ with experiments; name them with --gin_file=…")
    return found


@dataclass(frozen=True)
class Comparison:
    """Experiments, and how they are run."""

    gin_files: tuple[str, ...]
    bindings: tuple[str, ...] = ()
    seeds: tuple[str, ...] = ()  # none: that of each file
    quick: bool = False

    def run(
        self,
        directory: str,
        cache: str,
        parallel: int = 1,
        dry_run: bool = False,
        only_table: bool = False,
    ) -> None:
        """Runs what is not done yet and writes the tables after every run.

        Raises:
          ConfigError: before anything is started, if one of the runs cannot be.
          RunError: if a run was made by another configuration, or another process compares here.
          Interrupted: after a signal; the same command goes on.
          UserError: in the end, if a run has failed or diverged.
        """
        from sentiment_train import quiet
        from sentiment_train.campaigns.campaign import Campaign, check

        runs = [check(plan) for plan in self.plan()]
        quiet.import_tensorflow()
        campaign = Campaign(directory, "--output_dir", runs, cache)
        print(f"{len(runs)} run{'s' * (len(runs) != 1)} in {directory}", flush=True)
        if dry_run:
            campaign.tell()
            return
        with campaign.held():
            write_tables(self, campaign)
            try:
                if not only_table:
                    campaign.run(parallel, lambda name: write_tables(self, campaign))
            finally:
                show(self, campaign)

    def plan(self) -> list:
        """A `PlannedRun` for every experiment and seed; those of an experiment follow each other.

        Raises:
          ConfigError: if a seed is there twice.
        """
        from sentiment_train.campaigns.campaign import PlannedRun
        from sentiment_train.errors import ConfigError

        seeds = [seed.strip() for seed in self.seeds]
        if len(set(seeds)) < len(seeds):
            raise ConfigError(f"--seeds={','.join(seeds)}: a seed is there twice.")
        plans = []
        for file in self.gin_files:
            files, name = (file, QUICK) if self.quick else (file,), pathlib.Path(file).stem
            if not seeds:
                plans.append(PlannedRun(name, files, self.bindings))
            for seed in seeds:
                bindings = (*self.bindings, f"Runtime.seed = {seed}")
                plans.append(PlannedRun(f"{name},seed={seed}", files, bindings))
        return plans

    def command(self, file: str) -> str:
        """What a person types for one row."""
        if not self.seeds:
            plans = [plan for plan in self.plan() if plan.gin_files[0] == file]
            return plans[0].command()
        flagged = [f"--gin_file={file}", *(f"--gin_bindings={b}" for b in self.bindings)]
        flagged += [f"--seeds={','.join(self.seeds)}", *(["--quick"] if self.quick else [])]
        return shlex.join(["python", "-m", "sentiment_train.compare", *flagged])


def write_tables(comparison: Comparison, campaign) -> None:
    """comparison.md, comparison.html and comparison.png, of what is there."""
    import tensorflow as tf

    from sentiment_train.reports.document import Picture, to_html, to_markdown
    from sentiment_train.reports.side_by_side import blocks

    title = "Comparison of experiments" + (" (quick)" if comparison.quick else "")
    rows = rows_of(comparison, campaign)
    document = blocks(rows, interval_of, comparison.quick, "comparison.png")
    campaign.directory.write("comparison.md", to_markdown(title, document))
    campaign.directory.write("comparison.html", to_html(title, document))
    for block in document:
        if isinstance(block, Picture):
            with tf.io.gfile.GFile(campaign.directory.file(block.file), "wb") as file:
                file.write(block.png)


def show(comparison: Comparison, campaign) -> None:
    """Prints the table of results and where everything is."""
    from sentiment_train.reports.document import to_lines
    from sentiment_train.reports.side_by_side import results_table

    table = results_table(rows_of(comparison, campaign), interval_of, comparison.quick)
    print("", *to_lines(table), "", sep="\n")
    for name in ("comparison.md", "comparison.html"):
        print(f"written: {campaign.directory.file(name)}")


def rows_of(comparison: Comparison, campaign) -> list:
    """A `Row` for every experiment, from the directories of its runs."""
    from sentiment_train.reports.side_by_side import Row

    standings = campaign.standings()
    each = len(standings) // len(comparison.gin_files)
    rows = []
    for number, file in enumerate(comparison.gin_files):
        own = standings[number * each : (number + 1) * each]
        rows.append(
            Row(
                name=pathlib.Path(file).stem,
                command=comparison.command(file),
                published=own[0].run.experiment.published,
                runs=[_run_of(standing, campaign) for standing in own],
            )
        )
    return rows


def _run_of(standing, campaign):
    from sentiment_train.reports.history import read_history
    from sentiment_train.reports.side_by_side import RunOf

    directory = campaign.of(standing.run)
    report = "report.html" if standing.status == "done" and directory.read("report.html") else ""
    return RunOf(
        status=standing.status,
        why=standing.why,
        results=standing.results,
        process=standing.process,
        history=read_history(directory.read("metrics.jsonl") or ""),
        report=f"{standing.run.plan.name}/{report}" if report else "",
    )


def interval_of(row) -> tuple[float, float] | None:
    """The 95 % interval of a row's accuracy; None if it has none."""
    from sentiment_train.evaluation.repetitions import accuracy_interval

    if not row.split or row.values(row.split, "perplexity"):
        return None
    own = row.values("details", row.split, "accuracy_interval")
    if len(own) == 1:
        return tuple(own[0])  # it heeds the weights of the examples
    # Results of version 0.1 have no details.
    effective = row.values("details", row.split, "effective_examples")
    examples = effective or row.values(row.split, "examples")
    return accuracy_interval(row.values(row.split, "accuracy"), examples[0])


def run() -> None:
    """Entry point, also of the console script."""
    command_line.start(__name__, _define_flags, _run)


if __name__ == "__main__":
    run()
