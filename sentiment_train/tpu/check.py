"""The check: every program of every bucket is lowered and compiled, and its memory counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sentiment_train import overview
from sentiment_train.assembly import Assembly
from sentiment_train.errors import ConfigError, UserError
from sentiment_train.experiment import Experiment
from sentiment_train.tpu import report
from sentiment_train.tpu.absent import decisions_for
from sentiment_train.tpu.compiler import Compiled, TpuCompiler
from sentiment_train.tpu.largest import Largest, find_largest
from sentiment_train.tpu.programs import Bucket, Module, Program, Programs
from sentiment_train.tpu.refusals import Refusal, why_not_compiled


class NotForTpu(UserError):
    """A program does not compile, or does not fit."""

    exit_code = 7


@dataclass(frozen=True)
class Checked:
    """What became of one program."""

    program: Program
    refusal: Refusal | None = None
    module: Module | None = None
    compiled: Compiled | None = None

    @property
    def needed(self) -> int:
        """Bytes on a core while it runs."""
        return self.compiled.total + self.module.kept


class Check:
    """An experiment on the TPUs of one topology.

    Args:
      largest: off | estimated | verified: what is said of the largest batch of training.
    """

    def __init__(self, experiment: Experiment, cache: str, compiler: TpuCompiler, largest: str):
        self.compiler, self.largest = compiler, largest
        decisions = decisions_for(experiment.runtime, compiler.cores, compiler.topology)
        self.assembly = Assembly(experiment, cache, decisions)
        self.say = self.assembly.console.say

    def run(self, buckets: Sequence[str]) -> list[Checked]:
        """Checks and prints every program of the buckets.

        Args:
          buckets: all | shortest | longest | a length.

        Raises:
          NotForTpu: if one does not compile or does not fit; the message names the first.
          ConfigError: if the experiment cannot be for a TPU at all.
        """
        overview.print_all(self.assembly, with_table=False)
        self.say("tpu", report.of_topology(self.compiler))
        programs = Programs(self.assembly)
        of_all = (p for b in chosen(programs.buckets, buckets) for p in programs.of(b))
        found = []
        for checked in self._checked(of_all):
            found.append(checked)
            self.say(*report.of_program(checked, self.compiler))
        if self.largest != "off":
            for checked in found:
                if "training" in checked.program.name and not checked.refusal:
                    largest = self._largest(programs, checked)
                    line = report.of_largest(checked.program, largest, self.compiler.cores)
                    self.say("largest", line)
        failed = [c for c in found if c.refusal or c.needed > self.compiler.memory]
        if failed:
            where = report.place_of(failed[0].program)
            why = failed[0].refusal.why if failed[0].refusal else "it needs too much memory"
            raise NotForTpu(
                f"{len(failed)} of {len(found)} programs cannot run on a {self.compiler.topology};"
                f" the first, {where}: {why}."
            )
        self.say("fine", f"all {len(found)} programs compile and fit")
        return found

    def _checked(self, programs: Iterator[Program]) -> Iterator[Checked]:
        """Lowers a program while the one before it is compiled."""
        waiting: list[Checked] = []
        for program in programs:
            lowered = program.lower()
            if isinstance(lowered, Module):
                self.compiler.send(lowered.text)
            yield from map(self._received, waiting)
            refusal = lowered if isinstance(lowered, Refusal) else None
            waiting = [Checked(program, refusal, None if refusal else lowered)]
        yield from map(self._received, waiting)

    def _received(self, checked: Checked) -> Checked:
        if checked.refusal:
            return checked
        compiled = self.compiler.receive()
        refusal = None
        if compiled.error and compiled.needed is None:
            refusal = why_not_compiled(compiled.error)
        return Checked(checked.program, refusal, checked.module, compiled)

    def _largest(self, programs: Programs, checked: Checked) -> Largest | None:
        """Of the program of one bucket, in rows of a core."""
        cores, name = self.compiler.cores, checked.program.name
        bucket: Bucket = checked.program.bucket
        known = {-(-bucket.rows // cores): checked.needed}

        def needed_at(rows: int) -> int | None:
            if rows not in known:
                of_rows = programs.of(bucket.of_rows(rows * cores))
                program = next(p for p in of_rows if p.name == name)
                (again,) = self._checked(iter([program]))
                known[rows] = None if again.refusal else again.needed
            return known[rows]

        (rows,) = known
        return find_largest(needed_at, rows, self.compiler.memory, self.largest == "verified")


def chosen(buckets: Sequence[Bucket], names: Sequence[str]) -> list[Bucket]:
    """The buckets of these names, each once, shortest first.

    Raises:
      ConfigError: for a name that is none, or for no name at all.
    """
    names = list(names) or [""]  # checking nothing would say that all is fine
    by_name = {str(bucket.length): [bucket] for bucket in buckets}
    by_name |= {"all": list(buckets), "shortest": [buckets[0]], "longest": [buckets[-1]]}
    for name in names:
        if name not in by_name:
            raise ConfigError(
                f"--buckets: '{name}' is none; use all, shortest, longest, or a length of"
                f" {', '.join(str(bucket.length) for bucket in buckets)}."
            )
    wanted = {bucket for name in names for bucket in by_name[name]}
    return [bucket for bucket in buckets if bucket in wanted]
