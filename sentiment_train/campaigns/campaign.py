"""A campaign: a list of runs, each a process of `sentiment_train.main`; begun again, it goes on.

<directory>/<name>/      the run directory
<directory>/<name>.log   what its process printed
<directory>/runs.json    how each process ended: exit code, machine, date, seconds
"""

from __future__ import annotations

import contextlib
import datetime
import json
import pathlib
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import gin

from sentiment_train import config
from sentiment_train.campaigns import machine
from sentiment_train.campaigns.processes import Command, run_all
from sentiment_train.errors import EXIT_RESUME, ConfigError, Interrupted, RunError, UserError
from sentiment_train.experiment import Experiment
from sentiment_train.run_directory import RunDirectory

_SHOWN_DIFFERENCES = 5


@dataclass(frozen=True)
class PlannedRun:
    """One run: the name of its directory and what is configured."""

    name: str
    gin_files: tuple[str, ...]
    bindings: tuple[str, ...] = ()

    def flags(self) -> list[str]:
        """The flags of `main` that say what is run."""
        files = [f"--gin_file={name}" for name in self.gin_files]
        return files + [f"--gin_bindings={binding}" for binding in self.bindings]

    def command(self) -> str:
        """What a person types for it."""
        return shlex.join(["python", "-m", "sentiment_train.main", *self.flags()])


@dataclass(frozen=True)
class CheckedRun:
    """A planned run whose configuration was parsed and made."""

    plan: PlannedRun
    experiment: Experiment
    config: str
    operative: str


def check(plan: PlannedRun) -> CheckedRun:
    """Parses and makes a run without starting it.

    Raises:
      ConfigError: as `main` would, with the name of the run in front.
    """
    try:
        provenance = config.parse(plan.gin_files, plan.bindings)
        experiment = config.make(Experiment, provenance)
    except ConfigError as error:
        message = error.message.removeprefix("--gin_bindings: ")
        raise ConfigError(f"{plan.name}: {message}") from None
    return CheckedRun(plan, experiment, gin.config_str(), gin.operative_config_str())


@dataclass(frozen=True)
class Standing:
    """Where a run stands."""

    run: CheckedRun
    directory: str
    status: str  # waiting, done, diverged, interrupted or failed
    results: dict = field(default_factory=dict)  # results.json, when done
    why: str = ""  # it failed or diverged
    process: dict = field(default_factory=dict)  # its entry in runs.json; empty if made elsewhere


class Campaign:
    """Runs, their directories and their processes.

    Args:
      directory: of all run directories.
      flag: that named it, for messages.
      cache: the `--cache_dir` of every run.
      say: prints a line.

    Raises:
      ConfigError: if two runs have the same name.
    """

    def __init__(
        self,
        directory: str,
        flag: str,
        runs: Sequence[CheckedRun],
        cache: str,
        say: Callable[[str], None] = print,
    ):
        names = [run.plan.name for run in runs]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"Two runs are called '{name}'; rename one of the gin files.")
        self.directory, self.flag = RunDirectory(directory, flag), flag
        self.runs, self.cache, self.say = runs, cache, say

    def of(self, run: CheckedRun) -> RunDirectory:
        """The directory of a run."""
        return RunDirectory(self.directory.file(run.plan.name), self.flag)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other processes from the same campaign.

        Raises:
          RunError: if another one holds it, or if a run was made by another configuration.
        """
        with self.directory.locked():
            self.refuse_changed()
            yield

    def tell(self) -> None:
        """Prints where every run stands; changes nothing.

        Raises:
          RunError: if a run was made by another configuration.
        """
        self.refuse_changed()
        for standing in self.standings():
            self.say(f"  {standing.status:<12}{standing.run.plan.name}")

    def refuse_changed(self) -> None:
        """Raises RunError if a run has another configuration, or if this is a run itself."""
        if self.directory.read("config.gin") is not None:
            raise RunError(f"{self.directory.path} is itself a run; choose another {self.flag}.")
        for run in self.runs:
            directory = self.of(run)
            if directory.is_protected and (lines := self._differences(run)):
                raise directory.of_another_configuration(
                    lines,
                    _SHOWN_DIFFERENCES,
                    "go back to that configuration, or remove the directory to run it anew.",
                )

    def _differences(self, run: CheckedRun) -> list[str]:
        compare = config.differing_bindings
        return self.of(run).differences(run.config, run.operative, compare)

    def standings(self) -> list[Standing]:
        """Where every run stands, in their order."""
        processes = self._processes()
        return [self._standing(run, processes.get(run.plan.name, {})) for run in self.runs]

    def _processes(self) -> dict[str, dict]:
        return json.loads(self.directory.read("runs.json") or "{}")

    def _standing(self, run: CheckedRun, process: dict) -> Standing:
        directory = self.of(run)
        status, code = directory.status, process.get("exit_code")
        if status == "done":
            results = json.loads(directory.read("results.json") or "{}")
            if not results:
                why = "it is done, but its results.json is gone"
                return Standing(run, directory.path, "failed", why=why, process=process)
            return Standing(run, directory.path, "done", results, process=process)
        if status == "diverged" and not self._differences(run):
            why = json.loads(directory.read("status.json")).get("why", "")
            return Standing(run, directory.path, "diverged", why=why, process=process)
        if code in (None, 0):  # 0: it was done, and its directory was removed
            return Standing(run, directory.path, "waiting")
        ended = "interrupted" if code in _INTERRUPTED else "failed"
        return Standing(run, directory.path, ended, why=process.get("why", ""), process=process)

    def run(self, parallel: int, changed: Callable[[str], None]) -> None:
        """Runs what is neither done nor diverged; one that fails does not keep others from running.

        Args:
          parallel: processes at a time.
          changed: called with the name of every run that has ended.

        Raises:
          Interrupted: after a signal, when all processes have saved and ended.
          UserError: if a run has not ended well, when all others have.
        """
        waiting = [o for o in self.standings() if o.status not in ("done", "diverged")]
        if already := len(self.runs) - len(waiting):
            self.say(f"{already} of {len(self.runs)} runs have ended before")
        numbers = {o.run.plan.name: f"[{i}/{len(waiting)}]" for i, o in enumerate(waiting, 1)}
        runs, log_sizes, spent = {o.run.plan.name: o.run for o in waiting}, {}, {}

        def started(command: Command) -> None:
            spent[command.name] = self._seconds_before(runs[command.name])
            log_sizes[command.name] = command.log.stat().st_size if command.log.exists() else 0
            self.say(f"{numbers[command.name]} {command.name}: started, see {command.log}")

        def ended(command: Command, code: int, seconds: float) -> None:
            why = _last_error(command.log, log_sizes[command.name], code) if code else ""
            self._record(command.name, code, spent[command.name] + seconds, why)
            said = why or f"done in {seconds:,.0f} s"
            self.say(f"{numbers[command.name]} {command.name}: {said}")
            changed(command.name)

        all_ran = run_all([self._command(o.run) for o in waiting], parallel, started, ended)
        self._require_done(all_ran)

    def _command(self, run: CheckedRun) -> Command:
        arguments = (
            *(sys.executable, "-m", "sentiment_train.main", *run.plan.flags()),
            *(f"--model_dir={self.of(run).path}", f"--cache_dir={self.cache}"),
        )
        return Command(run.plan.name, arguments, self._logs() / f"{run.plan.name}.log")

    def _logs(self) -> pathlib.Path:
        """A local folder: a process cannot append to a file of an object store."""
        if "://" not in self.directory.path:
            return pathlib.Path(self.directory.path)
        folder = pathlib.Path(self.cache, "logs", self.directory.path.partition("://")[2])
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _seconds_before(self, run: CheckedRun) -> float:
        """Of the earlier processes whose checkpoints the run goes on from, however they ended."""
        before = self._processes().get(run.plan.name, {})
        return before.get("seconds", 0.0) if self.of(run).is_protected else 0.0

    def _record(self, name: str, code: int, seconds: float, why: str) -> None:
        entry = {
            "exit_code": code,
            "why": why,
            "seconds": round(seconds, 1),
            "ended": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "machine": machine.describe(),
        }
        self.directory.write_json("runs.json", {**self._processes(), name: entry})

    def _require_done(self, all_ran: bool) -> None:
        standings = self.standings()
        if not all_ran or any(o.status == "interrupted" for o in standings):
            done = sum(o.status == "done" for o in standings)
            raise Interrupted(
                f"Stopped by a signal; {done} of {len(standings)} runs are done. The same command"
                " goes on from there."
            )
        if failed := [o for o in standings if o.status != "done"]:
            listed = "\n  ".join(f"{o.run.plan.name} ({o.status}): {o.why}" for o in failed)
            raise UserError(
                f"{len(failed)} of {len(standings)} runs did not end well:\n  {listed}\n"
                "The same command tries the failed ones again; remove the directory of a diverged"
                " one to run it anew."
            )


_INTERRUPTED = (EXIT_RESUME, 130, -signal.SIGTERM, -signal.SIGINT)


def _last_error(log: pathlib.Path, start: int, code: int) -> str:
    """The message that a process ended with, from what it printed behind `start`."""
    if code < 0:
        return f"ended by signal {signal.Signals(-code).name}"
    with log.open("rb") as file:
        file.seek(start)
        printed = "\n" + file.read().decode("utf-8", "replace").strip()
    start_of_error = printed.rfind("\nerror: ")
    message = printed[start_of_error + 8 :] if start_of_error >= 0 else printed.split("\n")[-1]
    return f"{message} (exit code {code})"
