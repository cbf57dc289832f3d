"""Trains an experiment at every point of a grid, each run a process of its own; one table of all.

python -m sentiment_train.sweep --gin_file=gin/bilstm.gin --grid="cell=gru,lstm" --grid="seed=0,1,2"
"""

from __future__ import annotations

import datetime
import os
import pathlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from absl import flags

from sentiment_train import command_line


def _define_flags() -> None:
    flags.DEFINE_multi_string(
        "gin_file", [], "A gin file; may be given several times, later ones win."
    )
    flags.DEFINE_multi_string(
        "grid",
        [],
        "An axis of the grid, name=value,value,… such as batch_size=16,32; repeatable. Names:"
        " batch_size, epochs, steps, seed, vocabulary_size, a parameter of the model, the schedule"
        " or another part (units, dropout, learning_rate), or a whole binding.",
    )
    flags.DEFINE_string(
        "sweep_dir",
        None,
        "The directory of all runs and the table; default: runs/<name of the last gin file>_sweep.",
    )


def _run() -> None:
    """The flags as a sweep."""
    from sentiment_train.errors import ConfigError

    values = flags.FLAGS
    if not values.gin_file:
        raise ConfigError("--gin_file=… is needed, e.g. --gin_file=gin/bilstm.gin")
    files = tuple(os.path.expanduser(name) for name in values.gin_file)
    directory = values.sweep_dir or f"runs/{pathlib.Path(files[-1]).stem}_sweep"
    sweep = Sweep(files, tuple(values.gin_bindings), tuple(values.grid))
    cache = os.path.expanduser(values.cache_dir)
    sweep.run(os.path.expanduser(directory), cache, values.parallel, values.dry_run)


@dataclass(frozen=True)
class Sweep:
    """An experiment and the grid over it."""

    gin_files: tuple[str, ...]
    bindings: tuple[str, ...]
    grids: tuple[str, ...]

    def run(self, directory: str, cache: str, parallel: int = 1, dry_run: bool = False) -> None:
        """Runs what is not done yet and writes the table after every run.

        Raises:
          ConfigError: before anything is started, if one of the runs cannot be.
          RunError: if a run was made by another configuration, or another process sweeps here.
          Interrupted: after a signal; the same command goes on.
          UserError: in the end, if a run has failed or diverged.
        """
        from sentiment_train import quiet
        from sentiment_train.campaigns.campaign import Campaign

        axes, cells, runs = self.plan()
        quiet.import_tensorflow()
        campaign = Campaign(directory, "--sweep_dir", runs, cache)
        print(f"{len(cells)} run{'s' * (len(cells) != 1)} in {directory}", flush=True)
        if dry_run:
            campaign.tell()
            return
        with campaign.held():
            tables = Tables(self, campaign, axes, cells)
            try:
                campaign.run(parallel, tables.update)
            finally:
                tables.show()

    def plan(self):
        """Axes, cells and their checked runs. Raises ConfigError."""
        from sentiment_train import config
        from sentiment_train.campaigns.campaign import PlannedRun, check
        from sentiment_train.campaigns.grid import axes_of, cells_of
        from sentiment_train.errors import ConfigError
        from sentiment_train.experiment import Experiment

        if not self.grids:
            raise ConfigError('--grid=… is needed, e.g. --grid="batch_size=16,32"; repeatable.')

        def experiment():
            return config.make(Experiment, config.parse(self.gin_files, self.bindings))

        axes = axes_of(self.grids, experiment)
        cells = cells_of(axes)
        runs = []
        for cell in cells:
            bindings = (*self.bindings, *cell.bindings)
            runs.append(check(PlannedRun(cell.name, self.gin_files, bindings)))
        _require_different(runs)
        return axes, cells, runs


def _require_different(runs: Sequence) -> None:
    """Raises ConfigError if two cells are one experiment, e.g. as a scope of the file wins."""
    from sentiment_train.errors import ConfigError

    seen = {}
    for run in runs:
        other = seen.setdefault(run.operative, run)
        if other is not run:
            raise ConfigError(
                f"{other.plan.name} and {run.plan.name} are the same experiment: does the gin file"
                " bind that parameter in a scope, or does another binding decide in its place?"
            )


class Tables:
    """What the sweep is told by: sweep.md, .csv and .json, and TensorBoard's HParams tab."""

    def __init__(self, sweep: Sweep, campaign, axes: Sequence, cells: Sequence):
        import tensorflow as tf

        from sentiment_train.reports.hparams import HparamsWriter

        self.sweep, self.campaign, self.cells = sweep, campaign, cells
        chosen = {run.experiment.validation.best_by for run in campaign.runs}
        self.chosen_by = (chosen.pop() if len(chosen) == 1 else None) or "accuracy"
        tags = [f"validation/{self.chosen_by}", f"test/{self.chosen_by}"]
        self.tags = list(dict.fromkeys([*tags, "test/accuracy", "test/macro_f1"]))
        self.hparams = HparamsWriter(
            campaign.directory.file("hparams"),
            tf.io.gfile,
            {axis.name: axis.values for axis in axes if not axis.is_seed},
            self.tags,
        )
        for cell, standing in self._standings():
            self._write_hparams(cell, standing)
        self._write(self.table())

    def _standings(self):
        return zip(self.cells, self.campaign.standings(), strict=True)

    def update(self, name: str) -> None:
        """Writes the tables anew, and for TensorBoard the run of that name."""
        self._write(self.table())
        for cell, standing in self._standings():
            if cell.name == name:
                self._write_hparams(cell, standing)

    def table(self):
        """The `SweepTable` as things stand."""
        from sentiment_train.evaluation.metrics import LOWER_IS_BETTER
        from sentiment_train.reports.sweep_table import CellResult, SweepTable

        results = [
            CellResult(cell.name, cell.values, cell.seed, s.status, s.why, s.results)
            for cell, s in self._standings()
        ]
        return SweepTable(results, self.chosen_by, self.chosen_by in LOWER_IS_BETTER)

    def _write(self, table) -> None:
        from sentiment_train.reports.document import Facts, to_markdown

        flagged = [f"--gin_file={name}" for name in self.sweep.gin_files]
        flagged += [f"--gin_bindings={binding}" for binding in self.sweep.bindings]
        flagged += [f"--grid={grid}" for grid in self.sweep.grids]
        command = shlex.join(["python", "-m", "sentiment_train.sweep", *flagged])
        title = f"Sweep of {pathlib.Path(self.sweep.gin_files[-1]).stem}"
        directory = self.campaign.directory
        blocks = [*table.blocks(), Facts([("made by", command)])]
        directory.write("sweep.md", to_markdown(title, blocks))
        directory.write("sweep.csv", table.csv())
        directory.write_json("sweep.json", table.json())

    def _write_hparams(self, cell, standing) -> None:
        if standing.status in ("waiting", "interrupted"):
            return
        metrics = None
        if standing.status == "done":
            parts = {tag: tag.split("/") for tag in self.tags}
            metrics = {tag: standing.results.get(s, {}).get(m) for tag, (s, m) in parts.items()}
            metrics = {tag: value for tag, value in metrics.items() if value is not None}
        ended = datetime.datetime.now(datetime.timezone.utc)
        if "ended" in standing.process:
            ended = datetime.datetime.fromisoformat(standing.process["ended"])
        seconds = standing.process.get("seconds", 0.0)
        times = ended.timestamp() - seconds, ended.timestamp()
        self.hparams.run(cell.name, cell.point, cell.values, metrics, times)

    def show(self) -> None:
        """Prints the table and where everything is."""
        from sentiment_train.reports.document import to_lines

        table = self.table()
        print("", *to_lines(table.table()), "", *table.notes(), sep="\n", flush=True)
        directory = self.campaign.directory
        print(f"written: {directory.file('sweep.md')}, .csv and .json")
        print(f"look: python -m tensorboard.main --logdir {shlex.quote(directory.path)}")


def run() -> None:
    """Entry point, also of the console script."""
    command_line.start(__name__, _define_flags, _run)


if __name__ == "__main__":
    run()
