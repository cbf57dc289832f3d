"""An experiment in its run directory: restored, trained to the end; `outcome` does the rest."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import gin

from sentiment_train import overview
from sentiment_train.assembly import Assembly
from sentiment_train.beginning import Beginning
from sentiment_train.data.batches import epoch_order
from sentiment_train.duration import to_steps
from sentiment_train.errors import CheckpointError, DivergedError, Interrupted
from sentiment_train.evaluation.spread import SpreadWatch, rows_looked_at, spread_of
from sentiment_train.outcome import Outcome
from sentiment_train.run_directory import RunDirectory

if TYPE_CHECKING:
    from sentiment_train.training.initial_weights import Origin


class Run:
    """An experiment in its run directory.

    Args:
      started: `time.monotonic()` when the job of this process began; see `training.costs`.
    """

    def __init__(self, assembly: Assembly, directory: RunDirectory, started: float | None = None):
        from sentiment_train.training.checkpoints import Checkpoints

        self.assembly, self.directory, self.started = assembly, directory, started
        self.say = assembly.console.say
        keep = assembly.experiment.checkpointing.keep
        self.warn = lambda text: self.say("warning", text)
        self.checkpoints = Checkpoints(directory.file("checkpoints"), keep, self.warn)
        self.step = self._train_step()
        self.beginning = Beginning(assembly, directory, self.step, self.checkpoints)

    def _train_step(self):
        from sentiment_train.training.grouped_optimizer import GroupedOptimizer
        from sentiment_train.training.step import TrainStep

        assembly, experiment = self.assembly, self.assembly.experiment
        model, labels = assembly.model, assembly.data.splits["train"].labels[assembly.trained_rows]
        per_epoch = assembly.steps_per_epoch
        self.total_steps = to_steps(experiment.training.length, per_epoch)
        class_weights = experiment.loss.weights_of_classes(assembly.data.class_names, labels)
        with assembly.decisions.strategy.scope():
            return TrainStep(
                model,
                experiment.loss,
                class_weights,
                GroupedOptimizer.of_groups(assembly.groups, experiment.optimizer, per_epoch),
                experiment.training,
                assembly.decisions,
            )

    def train(self) -> None:
        """Trains to the end, then evaluates and exports the weights that are kept."""
        overview.print_all(self.assembly, with_table=False)
        state = self.beginning.find()
        if self.assembly.is_chief:
            self.beginning.write_vocabulary()
            self.directory.set_status("incomplete")
        self.assembly.should_stop.listen()
        try:
            self._loop_and_finish(state)
        except DivergedError as error:  # of the loop, or of the weights that it left
            if self.assembly.is_chief:
                self.directory.set_status("diverged", step=state.step, why=error.message)
            raise

    def _loop_and_finish(self, state) -> None:
        try:
            self._loop(state)
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

    def initialise(self) -> Origin | None:
        """Makes the first weights; see `Beginning`."""
        return self.beginning.initialise()

    def rehearse(self) -> Origin | None:
        """Refuses what the beginning of a run would. What layers make from the training texts is
        left out: that may take minutes, and needs no more than the texts."""
        return self.beginning.take()

    def _loop(self, state) -> None:
        """Assembles the loop with its actions and runs it."""
        from sentiment_train.training.loop import Loop
        from sentiment_train.training.progress import Progress

        assembly, console = self.assembly, self.assembly.console
        meter = self._meter()
        with self._reporting(state) as report:
            progress = Progress(
                to_steps(assembly.experiment.training.log_every, assembly.steps_per_epoch),
                report,
                self.step.optimizer.learning_rates,
                allow_overflow=assembly.decisions.float16,
                tick=console.advance,
                meter=meter,
            )
            loop = Loop(
                self.step,
                meter.watch(assembly.feeding),
                self.total_steps,
                progress,
                self._actions(report, state),
                self._save,
                assembly.should_stop,
            )
            if (batch := assembly.feeding.batch_of_any_shape()) is not None:
                self.step.trace(batch)
                if self.step.optimizer.takes_rows and not self.step.finds_rows:
                    self.warn(
                        "sparse_updates changes nothing: this model uses all rows of its tables in"
                        " every step"
                    )
            console.start_progress(state.step, self.total_steps)
            try:
                loop.run(state)
            finally:
                console.end_progress()

    def _meter(self):
        """What measures the costs of this process."""
        from sentiment_train.training.costs import Meter, batch_size, shape
        from sentiment_train.training.inner_layers import all_layers

        assembly = self.assembly
        loops = {getattr(layer, "loops", None) for layer in all_layers(assembly.model)}
        compiled_for = batch_size if "compiled_parts" in loops else None
        on_a_tpu = assembly.devices.kind == "tpu"
        if assembly.decisions.jit_compile or on_a_tpu or "compiled" in loops:
            compiled_for = shape
        return Meter(self.started, lambda: self.step.traces, compiled_for)

    def _actions(self, report, state) -> list:
        """What the loop does between two steps; saving is last, so that it holds all the others."""
        from sentiment_train.training.actions import LookAtStart, Save, Validate

        experiment, per_epoch = self.assembly.experiment, self.assembly.steps_per_epoch
        actions = []
        if "validation" in self.assembly.data.splits:
            validation, watch = experiment.validation, self._spread_watch()
            if watch is not None:
                actions.append(LookAtStart(watch.measure, report))
            actions.append(
                Validate(
                    to_steps(validation.every, per_epoch),
                    lambda: self._evaluate_validation(state, watch),
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
            writer.go_on_after(state.step or -1)  # what is measured before the first step is step 0
            writer.text("config", f"```\n{gin.config_str()}\n```")
            return writer

        return reporting(open_writer, self.assembly.console, (OSError, tf.errors.OpError))

    def _save(self, state) -> None:
        from sentiment_train.training.checkpoints import arrays_of

        if self.assembly.is_chief:
            self.checkpoints.save(state, arrays_of(self.step.variables()), self.beginning.made_of)

    def _averaged(self):
        average = self.step.average
        return average.in_place_of_weights() if average else contextlib.nullcontext()

    def _evaluate_validation(self, state, watch: SpreadWatch | None) -> dict[str, float]:
        with self._averaged():
            metrics = self.assembly.evaluate("validation")
            if watch is not None:
                metrics["embedding_spread"] = watch.look(state.spread_at_start)
        return metrics

    def _spread_watch(self) -> SpreadWatch | None:
        """Of the layer that the model calls its embeddings, on some texts of the validation split;
        None if it has none."""
        import keras

        from sentiment_train.evaluation.evaluator import Evaluator

        assembly, model = self.assembly, self.assembly.model
        if (layer := getattr(model, "embeddings", None)) is None:
            return None
        split, decisions = assembly.data.splits["validation"], assembly.decisions
        chosen = rows_looked_at(len(split))
        planned = epoch_order(split.lengths, assembly.buckets, 0, 0, chosen)
        # Not compiled: for so few texts that takes longer than it saves.
        evaluator = Evaluator(
            keras.Model(model.input, model.get_layer(layer).output),
            decisions.strategy,
            False,
            assembly.should_stop,
        )

        def measure() -> float:
            batches = assembly.feeding.read_split(split, planned, keep="spread")
            rows = [batch.rows for batch in planned]
            found = evaluator.predict(batches, rows, split.labels, split.weights)
            return spread_of(found.logits[chosen])

        return SpreadWatch(measure, self.warn)

    @contextlib.contextmanager
    def best_weights(self):
        """Inside the block the model has the weights that the run keeps; gives their checkpoint.

        Raises:
          CheckpointError: if the run has no checkpoint, or the best one is damaged, or not all see
            the same one: a shared file system may show new files late.
        """
        checkpoint = self.beginning.seen_by_all("best checkpoints", self.checkpoints.best)
        if checkpoint is None:
            raise CheckpointError(
                f"{self.directory.path} has no intact checkpoint. Train it first (--mode=train)."
            )
        self.beginning.restore(checkpoint)
        with self._averaged():
            yield checkpoint

    def _finish(self, state) -> None:
        """Results, report and SavedModel of the kept weights; only then the run is done."""
        self.assembly.peers.gather(None)  # until the chief has written the last checkpoint
        with self.best_weights() as best:
            Outcome(self.assembly, self.directory).write(state, best.state.step)
            if self.assembly.is_chief:
                self.directory.set_status("done", step=state.step)
        self.assembly.peers.gather(None)  # leaving early would end the chief as well
