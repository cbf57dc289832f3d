"""A SavedModel, or a pair of them, as one function from texts to vectors."""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from sentiment_train.errors import ConfigError, DataError, did_you_mean

_PREFERRED = ("default", "pooled_output")  # of several outputs
INSTALL = (
    "Run, in the folder of the source: pip install -c constraints.txt -e '.[samples,hub]' (with the"
    " pip of the environment, such as .venv/bin/pip)."
)


@dataclass(frozen=True, eq=False, repr=False)
class Whole:
    """An encoder as it was saved, not cut."""

    function: object  # ConcreteFunction: texts [n] string → vectors [n, dimension] float32
    tracked: tuple  # the loaded objects, which own its variables and tables
    from_session: bool  # saved by TensorFlow 1
    needs: tuple[str, ...]  # modules whose ops it has

    @property
    def dimension(self) -> int:
        return int(self.function.outputs[0].shape[-1])

    def is_trainable(self, variable: tf.Variable) -> bool:
        """Whether those who saved it meant a variable to be trained."""
        for loaded in self.tracked:
            named = getattr(loaded, "trainable_variables", None)
            if named is not None and not callable(named):
                if any(other is variable for other in named):
                    return True
                if any(other is variable for other in getattr(loaded, "variables", ())):
                    return False
        return variable.trainable


def load(directory: str, preprocessor: str | None, signature: str | None, output: str | None):
    """Reads SavedModels from local directories, on the CPU.

    Args:
      preprocessor: of a SavedModel whose outputs are the inputs of the encoder.
      signature: of the encoder; None: its `__call__`, else `serving_default`.
      output: the key of the vectors where the encoder gives a dictionary.

    Raises:
      ConfigError: if there is no such signature or output, or if it gives no vectors.
      DataError: if a SavedModel cannot be read.
    """
    paths = [path for path in (preprocessor, directory) if path is not None]
    needs = tuple({name: None for path in paths for name in _needs(path)})
    with tf.init_scope(), tf.device("/cpu:0"):
        loaded = [_load(path) for path in paths]
        encode = _callable(loaded[-1], directory, signature)
        if preprocessor is not None:
            encode = _chained(_callable(loaded[0], preprocessor, None), encode)
        concrete = _concrete(encode, output, directory)
    return Whole(concrete, tuple(loaded), _is_of_session(directory), needs)


def _concrete(encode: Callable, output: str | None, directory: str):
    """What texts `[n]` give; to a Keras model of inputs `[n, 1]` they are given so."""
    problem = None
    for texts_of in (lambda texts: texts, lambda texts: texts[:, None]):
        picking = lambda t, f=texts_of: _vectors(encode(f(t)), output, directory)  # noqa: E731
        try:
            function = tf.function(picking, autograph=False)
            return function.get_concrete_function(tf.TensorSpec([None], tf.string))
        except (ValueError, TypeError) as error:
            problem = problem or _last_line(error)
    raise ConfigError(
        f"{directory} is no encoder of texts ({problem}). An encoder takes a vector of strings;"
        " one that takes numbers needs HubEncoder.preprocessor.",
        "HubEncoder.handle",
    )


def _load(path: str):
    try:
        return tf.saved_model.load(path)
    except (OSError, ValueError, RuntimeError, tf.errors.OpError) as error:
        raise DataError(f"{path} cannot be read as a SavedModel: {_last_line(error)}") from None


def _read_proto(path: str):
    from tensorflow.python.saved_model import loader_impl

    try:
        return loader_impl.parse_saved_model(path)
    except (OSError, tf.errors.OpError) as error:
        raise DataError(f"{path} cannot be read as a SavedModel: {_last_line(error)}") from None


def _needs(path: str) -> tuple[str, ...]:
    """Imports what registers the ops of a SavedModel; the names of the modules.

    Raises:
      DataError: if nothing known has them.
    """
    from tensorflow.python.framework import op_def_registry

    listed = {op.name for op in _read_proto(path).meta_graphs[0].meta_info_def.stripped_op_list.op}
    own = lambda op: hasattr(tf.raw_ops, op) or op.startswith(("_", "Xla"))  # noqa: E731
    foreign = {op for op in listed if not own(op)}
    unknown = lambda: sorted(op for op in foreign if op_def_registry.get(op) is None)  # noqa: E731
    if not foreign:
        return ()
    try:
        import tensorflow_text  # noqa: F401
    except (ImportError, tf.errors.OpError) as error:
        raise DataError(
            f"{path} has ops of tensorflow-text ({', '.join(sorted(foreign)[:3])}), which is not"
            f" installed or does not fit TensorFlow ({_last_line(error)}). {INSTALL}"
        ) from None
    if unknown():
        raise DataError(
            f"{path} has ops that neither TensorFlow nor tensorflow-text knows:"
            f" {', '.join(unknown())}."
        )
    return ("tensorflow_text",)


def _is_of_session(path: str) -> bool:
    return not _read_proto(path).meta_graphs[0].HasField("object_graph_def")


def _callable(loaded, path: str, signature: str | None) -> Callable:
    """A function of one tensor, or of a dictionary of them.

    Raises:
      ConfigError: if there is no such signature, or none at all.
    """
    signatures = dict(getattr(loaded, "signatures", {}))
    if signature is None and callable(loaded):
        return lambda inputs: _call(loaded, inputs)
    name = signature or ("default" if "default" in signatures else "serving_default")
    if name not in signatures:
        raise ConfigError(
            f"{path} has no signature '{name}', only {', '.join(sorted(signatures)) or 'none'}."
            f"{did_you_mean(name, signatures)}",
            "HubEncoder.signature",
        )
    function = signatures[name]
    arguments = list(function.structured_input_signature[1])

    def call(inputs):
        return function(**(inputs if isinstance(inputs, dict) else {arguments[0]: inputs}))

    return call


def _call(loaded, inputs):
    """As when it is not trained: dropout inside a SavedModel stays off."""
    try:
        return loaded(inputs, training=False)
    except (TypeError, ValueError):
        return loaded(inputs)


def _chained(first: Callable, second: Callable) -> Callable:
    return lambda texts: second(first(texts))


def _vectors(found, output: str | None, path: str):
    """The vectors among what an encoder gives, `[n, dimension] float32`."""
    if isinstance(found, (list, tuple)) and len(found) == 1:
        found = found[0]
    if isinstance(found, dict):
        tensors = {name: t for name, t in found.items() if isinstance(t, tf.Tensor)}
        preferred = [name for name in _PREFERRED if name in tensors]
        name = output or (preferred or list(tensors))[0]
        if name not in tensors or not (output or preferred or len(tensors) == 1):
            raise ConfigError(
                f"HubEncoder.output = {output!r}: {path} gives {', '.join(sorted(tensors))}; name"
                f" the one that is a vector for each text.{did_you_mean(output or '', tensors)}",
                "HubEncoder.output",
            )
        found = tensors[name]
    elif output is not None:
        raise ConfigError(
            f"HubEncoder.output = '{output}': {path} has a single output. Leave it out.",
            "HubEncoder.output",
        )
    if not isinstance(found, tf.Tensor) or found.shape.rank not in (2, None):
        shape = getattr(found, "shape", type(found).__name__)
        raise ConfigError(
            f"HubEncoder.output = {output!r}: {path} gives {shape}, expected one vector for each"
            " text, [n, dimension]. Name another output.",
            "HubEncoder.output",
        )
    if not found.dtype.is_floating or found.shape[-1] is None:
        raise ConfigError(
            f"HubEncoder.output = {output!r}: {path} gives {found.dtype.name} of shape"
            f" {found.shape}; expected float vectors of a known size.",
            "HubEncoder.output",
        )
    return tf.cast(found, tf.float32)


def _last_line(error) -> str:
    lines = [line.strip() for line in str(error).split("\n") if line.strip()]
    return (lines or [type(error).__name__])[-1][:200]


def said_by(error: tf.errors.OpError) -> str:
    """What an op complained of, without what TensorFlow writes around it."""
    around = (
        r"\[*(\{\{.*?\}\})+\]*|\[(Op:.*)?\]|Graph execution error:|Detected at.*|<stack traces.*"
    )
    return " ".join(re.sub(around, "", error.message).split())[:200]


def content_digest(directory: str) -> str:
    """sha256 of all files of a SavedModel directory, by their names; read again if one changed."""
    found = []
    for folder, _, names in tf.io.gfile.walk(directory):
        for name in names:
            path = os.path.join(folder, name)
            stat = tf.io.gfile.stat(path)
            found.append((os.path.relpath(path, directory), stat.length, stat.mtime_nsec))
    return _digest(directory, tuple(sorted(found)))


@functools.lru_cache(maxsize=4)
def _digest(directory: str, files: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for name, length, _ in files:
        digest.update(f"{name}\0{length}\0".encode())
        with tf.io.gfile.GFile(os.path.join(directory, name), "rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()
