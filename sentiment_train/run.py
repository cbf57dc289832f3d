"""An experiment in its run directory: restored, trained to the end; `outcome` does the rest."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
from typing import TYPE_CHECKING

import gin

from sentiment_train import overview
from sentiment_train.errors import (
    CheckpointError,
    DivergedError,
    Interrupted,
    RunError,
    UserError,
)
from sentiment_train.experiment import Assembly
from sentiment_train.outcome import Outcome
from sentiment_train.run_directory import RunDirectory
from sentiment_train.training.duration import to_steps

if TYPE_CHECKING:
    from sentiment_train.training.initial_weights import Origin


class Run:
    """An experiment in its run directory."""

    def __init__(self, assembly: Assembly, directory: RunDirectory):
        from sentiment_train.training.checkpoints import Checkpoints

        self.assembly, self.directory = assembly, directory
        self.say = assembly.console.say
        keep = assembly.experiment.checkpointing.keep
        self.warn = lambda text: self.say("warning", text)
        self.checkpoints = Checkpoints(directory.file("checkpoints"), keep, self.warn)
        self.step = self._train_step()
        self.made_of = self._made_of()

    def _train_step(self):
        from sentiment_train.training.step import TrainStep

        assembly, experiment = self.assembly, self.assembly.experiment
        model, labels = assembly.model, assembly.data.splits["train"].labels[assembly.trained_rows]
        self.total_steps = to_steps(experiment.training.length, assembly.steps_per_epoch)
        self.schedule = experiment.schedule.build(self.total_steps, assembly.steps_per_epoch)
        class_weights = experiment.loss.weights_of_classes(assembly.data.class_names, labels)
        with assembly.decisions.strategy.scope():
            return TrainStep(
                model,
                experiment.loss,
                class_weights,
                experiment.optimizer.build(self.schedule),
                experiment.training,
                assembly.decisions,
            )

    def _made_of(self) -> dict[str, str]:
        """What a checkpoint belongs to: data and vocabulary, by content."""
        data = self.assembly.data
        vocabulary = _digest(f"{data.directory}/vocabulary.txt")
        return {"data": data.content, "vocabulary": vocabulary}

    def train(self) -> None:
        """Trains to the end, then evaluates and exports the weights that are kept."""
        overview.print_all(self.assembly, with_table=False)
        state = self._restore_newest()
        if self.assembly.is_chief:
            self._write_vocabulary()
            self.directory.set_status("incomplete")
        self.assembly.should_stop.listen()
        try:
            self._loop(state)
        except DivergedError as error:
            if self.assembly.is_chief:
                self.directory.set_status("diverged", step=state.step, why=error.message)
            raise
        except Interrupted:
            where = f"step {state.step} of {self.total_steps}"
            raise Interrupted(
                f"Stopped by a signal and saved at {where} in {self.directory.path}."
                " The same command goes on from there."
            ) from None
        try:
            self._finish(state)
        except Interrupted:
            raise Interrupted(
                f"Stopped by a signal after the training; {self.directory.path} has all of it."
                " The same command goes on with the evaluation."
            ) from None

    def _restore_newest(self):
        """1. the newest intact checkpoint of this run; 2. another run, as `init_from` says;
        3. fresh weights."""
        from sentiment_train.training.state import TrainingState

        checkpoint = self.checkpoints.newest()
        found = checkpoint.state.step if checkpoint else 0
        if not self.assembly.devices.same_on_all_workers(found):
            raise CheckpointError(
                f"The workers found different checkpoints (this one: step {found}). They need one"
                f" --model_dir that all of them see; is {self.directory.path} shared?"
            )
        if checkpoint is None:
            if self.checkpoints.steps():
                self.say("warning", "no intact checkpoint is left; training begins anew")
            self.say("run", f"{self.directory.path} (from the start)")
            origin = self.initialise()
            if origin is not None and self.assembly.is_chief:
                self.directory.write_json("init_from.json", dataclasses.asdict(origin))
            return TrainingState()
        self._restore(checkpoint)
        state = checkpoint.state
        self.say("run", f"{self.directory.path} (goes on after step {state.step:,})")
        return state

    def initialise(self) -> Origin | None:
        """Takes the weights of the run that `Experiment.init_from` names, if it names one.

        Raises:
          CheckpointError: on every worker, if they cannot be taken on all, or are not the same.
        """
        import tensorflow as tf

        from sentiment_train.training.initial_weights import OtherRun, take

        experiment, devices = self.assembly.experiment, self.assembly.devices
        if experiment.init_from is None:
            return None
        origin = refused = None
        try:
            path = os.path.expanduser(experiment.init_from).rstrip("/")
            other = OtherRun(path, self.warn)
            if (status := RunDirectory(path).status) != "done":
                self.warn(f"{path}, which this run starts from, is {status}")
            vocabulary = self.assembly.data.directory
            origin = take(self.step, vocabulary, other, experiment.init_layers)
        except UserError as error:
            refused = error
        except (OSError, tf.errors.OpError) as error:
            reason = getattr(error, "message", error)
            refused = CheckpointError(f"Cannot read {experiment.init_from}: {reason}")
        if devices.any_worker(refused is not None):
            raise refused or CheckpointError("Another worker cannot use Experiment.init_from.")
        # In pieces that a float32 holds exactly.
        pieces = [int(origin.sha256[start : start + 5], 16) for start in range(0, 20, 5)]
        if not all(devices.same_on_all_workers(piece) for piece in pieces):
            raise CheckpointError(f"The workers do not see the same run in {origin.path}.")
        self.say("weights", f"{origin.taken} taken from {origin.path} (step {origin.step:,})")
        return origin

    def _restore(self, checkpoint) -> None:
        from sentiment_train.training.checkpoints import restore

        self._check_vocabulary()
        for what, digest in self.made_of.items():
            if checkpoint.made_of.get(what) != digest:
                raise CheckpointError(
                    f"The {what} of this run have changed since it began, so its checkpoints no"
                    f" longer fit. Restore the {what}, or choose another --model_dir."
                )
        restore(self.step.variables(), checkpoint.arrays)

    def _check_vocabulary(self) -> None:
        """Raises CheckpointError if the run's own vocabulary is not the one it was trained with.

        A missing one is written again.
        """
        path = self.directory.file("vocabulary.txt")
        found = _digest(path)
        if not found and self.assembly.is_chief:
            self._write_vocabulary()
        elif found not in ("", self.made_of["vocabulary"]):
            raise CheckpointError(
                f"{path} is not the vocabulary that the checkpoints were trained with. Delete it;"
                " it is written again."
            )

    def _write_vocabulary(self) -> None:
        import tensorflow as tf

        if _digest(self.directory.file("vocabulary.txt")) == self.made_of["vocabulary"] != "":
            return
        try:
            self.assembly.data.encoder.save(self.directory.path)
        except (OSError, tf.errors.OpError) as error:
            reason = getattr(error, "message", error)
            raise RunError(f"Cannot write the vocabulary: {reason}. Mend that and go on.") from None

    def _loop(self, state) -> None:
        """Assembles the loop with its actions and runs it."""
        from sentiment_train.training.loop import Loop
        from sentiment_train.training.progress import Progress

        assembly, console = self.assembly, self.assembly.console
        with self._reporting(state) as report:
            progress = Progress(
                to_steps(assembly.experiment.training.log_every, assembly.steps_per_epoch),
                report,
                lambda step: float(self.schedule(step)),
                allow_overflow=assembly.decisions.float16,
                tick=console.advance,
            )
            loop = Loop(
                self.step,
                assembly,
                self.total_steps,
                progress,
                self._actions(report, state),
                self._save,
                assembly.should_stop,
            )
            if (batch := assembly.batch_of_any_length()) is not None:
                self.step.trace(batch)
            console.start_progress(state.step, self.total_steps)
            try:
                loop.run(state)
            finally:
                console.end_progress()

    def _actions(self, report, state) -> list:
        """What the loop does between two steps; saving is last, so that it holds all the others."""
        from sentiment_train.training.actions import Save, Validate

        experiment, per_epoch = self.assembly.experiment, self.assembly.steps_per_epoch
        actions = []
        if "validation" in self.assembly.data.splits:
            validation = experiment.validation
            actions.append(
                Validate(
                    to_steps(validation.every, per_epoch),
                    self._evaluate_validation,
                    report,
                    validation.best_by,
                    validation.patience,
                )
            )
        save_every = to_steps(experiment.checkpointing.every, per_epoch)
        actions.append(Save(save_every, self._save, restored=state if state.step else None))
        return actions

    def _reporting(self, state):
        """A function that reports metrics of a step to files and screen, as a context."""
        import tensorflow as tf

        from sentiment_train.reports.writers import MetricWriter, reporting

        if not self.assembly.is_chief:
            return contextlib.nullcontext(lambda step, values: None)
        file = self.directory.file

        def open_writer() -> MetricWriter:
            writer = MetricWriter(file("tensorboard"), file("metrics.jsonl"), tf.io.gfile)
            writer.go_on_after(state.step)
            writer.text("config", f"```\n{gin.config_str()}\n```")
            return writer

        return reporting(open_writer, self.assembly.console, (OSError, tf.errors.OpError))

    def _save(self, state) -> None:
        from sentiment_train.training.checkpoints import arrays_of

        if self.assembly.is_chief:
            self.checkpoints.save(state, arrays_of(self.step.variables()), self.made_of)

    def _averaged(self):
        average = self.step.average
        return average.in_place_of_weights() if average else contextlib.nullcontext()

    def _evaluate_validation(self) -> dict[str, float]:
        with self._averaged():
            return self.assembly.evaluate("validation")

    @contextlib.contextmanager
    def best_weights(self):
        """Inside the block the model has the weights that the run keeps; gives their checkpoint.

        Raises:
          CheckpointError: if the run has no checkpoint, or the best one is damaged.
        """
        checkpoint = self.checkpoints.best()
        if checkpoint is None:
            raise CheckpointError(
                f"{self.directory.path} has no intact checkpoint. Train it first (--mode=train)."
            )
        self._restore(checkpoint)
        with self._averaged():
            yield checkpoint

    def _finish(self, state) -> None:
        """Results, report and SavedModel of the kept weights; only then the run is done."""
        self.assembly.devices.wait_for_all()  # until the chief has written the last checkpoint
        with self.best_weights() as best:
            Outcome(self.assembly, self.directory).write(state, best.state.step)
            if self.assembly.is_chief:
                self.directory.set_status("done", step=state.step)
        self.assembly.devices.wait_for_all()  # leaving early would end the chief as well


def _digest(path: str) -> str:
    """sha256 of a file, or an empty string if there is none."""
    import tensorflow as tf

    if not tf.io.gfile.exists(path):
        return ""
    with tf.io.gfile.GFile(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()
