"""Text in, sentiment out (of a language model: perplexity), from an exported SavedModel.

It needs nothing of the code that trained it; tensorflow-text only if the model has ops of it.

python -m sentiment_train.predict --saved_model=runs/bilstm/saved_model --text="Loved it."
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import os
import sys
import zlib
from collections.abc import Iterator
from itertools import islice

from absl import app, flags

from sentiment_train import quiet
from sentiment_train.errors import DataError, UserError, did_you_mean
from sentiment_train.export.read_back import load as load_saved_model
from sentiment_train.replacing import is_remote, replace_file

_SAVED_MODEL = flags.DEFINE_string("saved_model", None, "Directory of the SavedModel.")
_TEXT = flags.DEFINE_multi_string("text", [], "A text; may be given several times.")
_INPUT = flags.DEFINE_string(
    "input", None, "A file of texts: .txt (one per line), .csv, .tsv, .jsonl; also with .gz behind."
)
_OUTPUT = flags.DEFINE_string("output", None, "File of the answers; default: standard output.")
_FIELD = flags.DEFINE_string("field", "text", "Column or key of the text in .csv, .tsv, .jsonl.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Texts per call of the model.", lower_bound=1)


def main(argv) -> int:
    try:
        if len(argv) > 1:
            raise UserError(f"unexpected argument '{argv[1]}'; a text goes into --text=…")
        if not _SAVED_MODEL.value or not (_TEXT.value or _INPUT.value):
            raise UserError("--saved_model=DIR and --text=… or --input=FILE are needed")
        texts = _texts()
        classify = load(_SAVED_MODEL.value)
        with _output() as write:
            while batch := list(islice(texts, _BATCH_SIZE.value)):
                for answer in classify(batch):
                    write(json.dumps(answer, ensure_ascii=False) + "\n")
    except UserError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # `… | head`: the reader has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def load(directory: str):
    """A function from a list of texts to a list of `{text, label, probabilities}`, or of a language
    model `{text, perplexity, log_probability, tokens}`.

    Raises:
      DataError: if there is no SavedModel of this project.
    """
    quiet.import_tensorflow()
    import tensorflow as tf

    try:
        model, _ = load_saved_model(directory)
        serve = model.signatures["serving_default"]
    except (OSError, KeyError, RuntimeError, ImportError, tf.errors.OpError) as error:
        reason = str(getattr(error, "message", error)).split("\n")[0]
        message = f"No usable SavedModel in '{directory}': {reason}{_of_a_run(directory)}"
        raise DataError(message) from None
    found = set(serve.structured_outputs)
    names = next((names for names in _ANSWERS if set(names) <= found), None)
    if set(serve.structured_input_signature[1]) != {"text"} or names is None:
        raise DataError(f"The SavedModel in '{directory}' does not map text to label.")

    def classify(texts: list[str]) -> list[dict]:
        encoded = [_bytes_of(text) for text in texts]
        answers = serve(text=tf.constant(encoded))
        columns = {"text": encoded, **{name: answers[name].numpy().tolist() for name in names}}
        return [
            {name: _plain(value) for name, value in zip(columns, values, strict=True)}
            for values in zip(*columns.values(), strict=True)
        ]

    classify.model = model  # keeps the variables that `serve` only refers to weakly
    return classify


def _of_a_run(directory: str) -> str:
    """What to do, if it is the directory of a run."""
    import tensorflow as tf

    inner = os.path.join(directory, "saved_model")
    if tf.io.gfile.exists(inner):
        return f". This is the directory of a run; write --saved_model={inner}"
    if tf.io.gfile.exists(os.path.join(directory, "config.gin")):
        return (
            ". This is the directory of a run that has exported nothing yet; `python -m"
            f" sentiment_train.main --mode=export --model_dir={directory}` does it"
        )
    return ""


# Outputs of the SavedModel of a classifier, and of a language model.
_ANSWERS = (("label", "probabilities"), ("perplexity", "log_probability", "tokens"))


def _plain(value):
    """A value as JSON shows it."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 6)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _bytes_of(text: str) -> bytes:
    """The bytes that were read; a lone surrogate, which JSON can write, stays invalid UTF-8."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _texts() -> Iterator[str]:
    """All texts of --text, then those of --input."""
    path = _INPUT.value
    if not path:
        return iter(_TEXT.value)
    kind = os.path.splitext(path.removesuffix(".gz"))[1]
    readers = {".txt": _lines, ".csv": _csv_fields, ".tsv": _csv_fields, ".jsonl": _json_fields}
    if kind not in readers:
        raise DataError(
            f"--input={path}: expected a file ending in {', '.join(readers)}, with or without .gz."
        )
    if not is_remote(path) and not os.path.isfile(path):
        raise DataError(f"--input={path}: there is no such file.")
    try:
        return iter([*_TEXT.value, *readers[kind](path)])
    except (gzip.BadGzipFile, zlib.error, EOFError):
        raise DataError(f"--input={path}: not a gzip file, or a damaged one.") from None


def _open(path: str):
    """A file of this machine as it is read, one of an object store as a whole."""
    raw = io.BytesIO(_remote_bytes(path)) if is_remote(path) else io.FileIO(path)
    file = gzip.GzipFile(fileobj=raw) if path.endswith(".gz") else io.BufferedReader(raw)
    return io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")


def _remote_bytes(path: str) -> bytes:
    quiet.import_tensorflow()
    import tensorflow as tf

    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            return file.read()
    except tf.errors.OpError as error:
        raise DataError(f"--input={path}: {error.message}") from None


def _lines(path: str) -> Iterator[str]:
    with _open(path) as file:
        for line in file:
            yield line.rstrip("\r\n")


def _csv_fields(path: str) -> Iterator[str]:
    csv.field_size_limit(sys.maxsize)
    with _open(path) as file:
        tabs = path.removesuffix(".gz").endswith(".tsv")
        rows = csv.DictReader(file, delimiter="\t" if tabs else ",")
        columns = rows.fieldnames or []
        if _FIELD.value not in columns:
            raise DataError(
                f"{path}: no column '{_FIELD.value}' among {columns}; name it with --field."
                f"{did_you_mean(_FIELD.value, columns)}"
            )
        try:
            for row in rows:
                yield row[_FIELD.value] or ""
        except csv.Error as error:
            raise DataError(f"{path}:{rows.line_num}: {error}.") from None


def _json_fields(path: str) -> Iterator[str]:
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                text = json.loads(line)[_FIELD.value]
            except (ValueError, KeyError, TypeError):
                text = None
            if not isinstance(text, str):
                raise DataError(
                    f"{path}:{number}: expected an object with a text '{_FIELD.value}'."
                )
            yield text


@contextlib.contextmanager
def _output():
    """A function that writes; a file appears under its name only when it is complete."""
    if not _OUTPUT.value:
        yield sys.stdout.write
        sys.stdout.flush()
        return
    if is_remote(_OUTPUT.value):
        answers = io.StringIO()
        yield answers.write
        _write_remote(_OUTPUT.value, answers.getvalue())
        return
    partial = f"{_OUTPUT.value}.partial"
    try:
        with open(partial, "w", encoding="utf-8") as file:
            yield file.write
        os.replace(partial, _OUTPUT.value)
    except OSError as error:
        raise DataError(f"--output={_OUTPUT.value}: {error.strerror}") from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(partial)


def _write_remote(path: str, text: str) -> None:
    import tensorflow as tf

    try:
        replace_file(path, text.encode())
    except tf.errors.OpError as error:
        raise DataError(f"--output={path}: {error.message}") from None


def run() -> None:
    """Entry point, also of the console script, whose --help would else not know these flags."""
    for flag in flags.FLAGS.get_flags_for_module(__name__):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    app.run(main)


if __name__ == "__main__":
    run()
