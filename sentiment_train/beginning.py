"""Where a run begins: at its newest checkpoint, at another run's weights, or at fresh ones."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sentiment_train.assembly import Assembly
from sentiment_train.errors import CheckpointError, RunError, UserError
from sentiment_train.run_directory import RunDirectory
from sentiment_train.runtime.peers import agree
from sentiment_train.schema import TrainingExamples

if TYPE_CHECKING:
    from sentiment_train.training.checkpoints import Checkpoint, Checkpoints
    from sentiment_train.training.initial_weights import Origin
    from sentiment_train.training.state import TrainingState
    from sentiment_train.training.step import TrainStep


SEEN_SECONDS = 10  # after which every worker sees what the chief wrote, also on NFS


class Beginning:
    """Brings the variables of a step to where the run goes on, and checks that they fit.

    Attributes:
      made_of: what the checkpoints of this run belong to: data and vocabulary, by content, and the
        shards of a stream.
    """

    def __init__(
        self,
        assembly: Assembly,
        directory: RunDirectory,
        step: TrainStep,
        checkpoints: Checkpoints,
    ):
        self.assembly, self.directory = assembly, directory
        self.step, self.checkpoints = step, checkpoints
        self.say = assembly.console.say
        encoder = assembly.data.encoder
        vocabulary = getattr(encoder, "file_name", "vocabulary.txt")
        others = {name: name for name in getattr(encoder, "other_files", ())}
        self._files = {"vocabulary": vocabulary} | others  # what they are, their names
        shards = assembly.feeding.shards
        self.made_of = {"shards": shards} if shards is not None else {}
        self.made_of |= {"data": assembly.data.content}
        for what, name in self._files.items():
            self.made_of[what] = _digest(f"{assembly.data.directory}/{name}")

    def find(self) -> TrainingState:
        """1. the newest intact checkpoint of this run; 2. another run, as `init_from` says;
        3. fresh weights."""
        from sentiment_train.training.state import TrainingState

        checkpoint = self.seen_by_all("newest checkpoints", self.checkpoints.newest)
        if checkpoint is None:
            if self.checkpoints.steps():
                self.say("warning", "no intact checkpoint is left; training begins anew")
            self.say("run", f"{self.directory.path} (from the start)")
            origin = self.initialise()
            if origin is not None and self.assembly.is_chief:
                self.directory.write_json("init_from.json", dataclasses.asdict(origin))
            return TrainingState()
        self.restore(checkpoint)
        state = checkpoint.state
        self.say("run", f"{self.directory.path} (goes on after step {state.step:,})")
        return state

    def seen_by_all(self, what: str, look: Callable[[], Checkpoint | None]) -> Checkpoint | None:
        """A checkpoint, once all workers see the same one: NFS may show new files late.

        Args:
          what: is looked for, in the plural.

        Raises:
          CheckpointError: on every worker, if some see another one even after a while.
        """
        step_of = lambda checkpoint: checkpoint.state.step if checkpoint else -1  # noqa: E731
        checkpoint, peers = look(), self.assembly.peers
        wanted = peers.gather(step_of(checkpoint))[0]
        deadline = time.monotonic() + SEEN_SECONDS
        while step_of(checkpoint) != wanted and time.monotonic() < deadline:
            time.sleep(1)
            checkpoint = look()
        how = f"All need to see the same --model_dir; is {self.directory.path} shared?"
        agree(peers, what, step_of(checkpoint), how, CheckpointError)
        return checkpoint

    def initialise(self) -> Origin | None:
        """Fresh weights: what layers make from the training texts, then what is taken from the run
        that `Experiment.init_from` names.

        Raises:
          CheckpointError: on every worker, if they cannot be taken on all, or are not the same.
        """
        self._make_from_texts()
        return self.take()

    def _make_from_texts(self) -> None:
        """Gives the training texts to the layers whose first weights are made from them."""
        from sentiment_train.training.inner_layers import all_layers

        examples = self._training_examples()
        layers = [layer for layer in all_layers(self.step.model) if hasattr(layer, "start_from")]
        for layer in layers:
            if how := getattr(layer, "made_by", None):  # takes long enough for a line
                self.say("weights", f"{how} to {len(examples.rows):,} training texts")
        layers = [layer for layer in layers if layer.start_from(examples)]
        if not layers:
            return
        self._take_those_of_the_chief([v for layer in layers for v in layer.weights])
        if self.step.average:
            self.step.average.restart()
        names = " + ".join(layer.name for layer in layers)
        self.say("weights", f"{names} made from {len(examples.rows):,} training texts")

    def _training_examples(self) -> TrainingExamples:
        """With the weights that the loss gives them."""
        assembly = self.assembly
        train = assembly.data.splits["train"]
        return TrainingExamples(
            train.tokens,
            train.offsets,
            train.labels,
            train.weights * self.step.class_weights[train.labels],
            assembly.trained_rows,
            len(assembly.data.class_names),
        )

    def _take_those_of_the_chief(self, variables: list) -> None:
        """What is fitted on processors of another kind differs in the last digits; all replicas
        need the same."""
        devices, peers = self.assembly.devices, self.assembly.peers
        if devices.cluster.workers == 1:
            return
        made = [[variable.path, *variable.shape] for variable in variables]
        how = "Are the packages of all workers the same?"
        agree(peers, "weights made from the texts", made, how, CheckpointError)
        of_chief = devices.of_the_chief([variable.numpy() for variable in variables])
        for variable, value in zip(variables, of_chief, strict=True):
            variable.assign(value)

    def take(self) -> Origin | None:
        """Takes weights of the run that `Experiment.init_from` names, if it names one.

        Raises:
          CheckpointError: as `initialise`.
        """
        import tensorflow as tf

        from sentiment_train.training.initial_weights import OtherRun, take

        experiment, peers = self.assembly.experiment, self.assembly.peers
        if experiment.init_from is None:
            return None
        warn = lambda text: self.say("warning", text)  # noqa: E731
        origin = refused = None
        try:
            path = os.path.expanduser(experiment.init_from).rstrip("/")
            other = OtherRun(path, warn)
            if (status := RunDirectory(path).status) != "done":
                warn(f"{path}, which this run starts from, is {status}")
            vocabulary = self.assembly.data.directory
            origin = take(self.step, vocabulary, other, experiment.init_layers)
        except UserError as error:
            refused = error
        except (OSError, tf.errors.OpError) as error:
            reason = getattr(error, "message", error)
            refused = CheckpointError(f"Cannot read {experiment.init_from}: {reason}")
        if refused is not None:
            raise refused
        how = f"All need to see the same run in {origin.path}."
        agree(peers, "weights to start from", origin.sha256, how, CheckpointError)
        self.say("weights", f"{origin.taken} taken from {origin.path} (step {origin.step:,})")
        return origin

    def restore(self, checkpoint: Checkpoint) -> None:
        """Assigns the variables of a checkpoint.

        Raises:
          CheckpointError: if it belongs to other data, another vocabulary or another model.
        """
        from sentiment_train.training.checkpoints import restore

        for what, digest in self.made_of.items():
            if checkpoint.made_of.get(what) != digest:
                raise CheckpointError(
                    f"The {what} of this run have changed since it began, so its checkpoints no"
                    f" longer fit. Restore the {what}, or choose another --model_dir."
                )
        self._check_vocabulary()
        restore(self.step.variables(), checkpoint.arrays)

    def _check_vocabulary(self) -> None:
        """Raises CheckpointError if what the encoder saved here is not what the run was trained
        with.

        What is missing is written again.
        """
        for what, name in self._files.items():
            path = self.directory.file(name)
            found = _digest(path)
            if not found and self.assembly.is_chief:
                self.write_vocabulary()
            elif found not in ("", self.made_of[what]):
                raise CheckpointError(
                    f"{path} is not the one that the checkpoints were trained with. Delete it; it"
                    " is written again."
                )

    def write_vocabulary(self) -> None:
        """Saves the encoder in the run directory, unless it is there.

        Raises:
          RunError: if it cannot be written.
        """
        import tensorflow as tf

        if all(
            _digest(self.directory.file(name)) == self.made_of[what] != ""
            for what, name in self._files.items()
        ):
            return
        try:
            self.assembly.data.encoder.save(self.directory.path)
        except (OSError, tf.errors.OpError) as error:
            reason = getattr(error, "message", error)
            raise RunError(f"Cannot write the vocabulary: {reason}. Mend that and go on.") from None


def _digest(path: str) -> str:
    """sha256 of a file, or an empty string if there is none."""
    import tensorflow as tf

    if not tf.io.gfile.exists(path):
        return ""
    with tf.io.gfile.GFile(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()
