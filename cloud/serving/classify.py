"""Asks a TensorFlow Serving server over HTTP; needs nothing but Python.

    python classify.py --text="I loved every minute." --text="Dull."
    python classify.py --url=http://server:8501 --input=texts.txt > answers.jsonl

prints one JSON object per text, as `python -m sentiment_train.predict` does.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from itertools import chain, islice

_NOT_SHOWN = "logits"


class ServerError(Exception):
    """The server cannot be asked, or refused; the text says why."""


def ask(url: str, model: str, texts: list[bytes], seconds: float) -> list[dict]:
    """One request: the outputs of the model for each text.

    Args:
      url: of the REST interface, e.g. http://localhost:8501.
      seconds: to wait for the answer.

    Raises:
      ServerError: if there is no answer, or not that of a model of this project.
    """
    address = f"{url.rstrip('/')}/v1/models/{model}:predict"
    body = json.dumps({"inputs": {"text": [_as_json(text) for text in texts]}}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            outputs = json.load(answer)["outputs"]
        columns = {name: outputs[name] for name in outputs if name != _NOT_SHOWN}
        rows = list(zip(*columns.values(), strict=True))
        if len(rows) != len(texts):
            raise ValueError(f"{len(rows)} answers to {len(texts)} texts")
    except urllib.error.HTTPError as error:
        raise ServerError(f"{address} answered {error.code}: {_reason(error)}") from None
    except OSError as error:
        raise ServerError(f"{address} cannot be asked: {getattr(error, 'reason', error)}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ServerError(f"{address} does not answer as a text classifier: {error!r}") from None
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _as_json(text: bytes) -> str | dict[str, str]:
    """A string as it is; what is not UTF-8 in base64, as the interface wants it."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(text).decode()}


def _reason(error: urllib.error.HTTPError) -> str:
    """The server's own message, which is JSON if the model refused."""
    text = error.read().decode("utf-8", "replace").strip()
    try:
        return json.loads(text)["error"].splitlines()[0]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return error.reason


def _texts(arguments) -> Iterator[bytes]:
    yield from (text.encode("utf-8", "surrogateescape") for text in arguments.text)
    if arguments.input:
        with open(arguments.input, "rb") as file:
            yield from (line.rstrip(b"\r\n") for line in file)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="http://localhost:8501", help="of the server")
    parser.add_argument("--model", default="sentiment", help="its name in models.config")
    parser.add_argument("--text", action="append", default=[], help="a text; repeatable")
    parser.add_argument("--input", help="a file of texts, one per line")
    parser.add_argument("--batch_size", type=int, default=64, help="texts per request")
    parser.add_argument("--seconds", type=float, default=30.0, help="to wait for an answer")
    arguments = parser.parse_args()
    if not arguments.text and not arguments.input:
        parser.error("--text=… or --input=FILE is needed")
    if arguments.batch_size < 1:
        parser.error("--batch_size is at least 1")
    try:
        texts = _texts(arguments)
        for first in texts:
            batch = list(islice(chain([first], texts), arguments.batch_size))
            answers = ask(arguments.url, arguments.model, batch, arguments.seconds)
            for text, answer in zip(batch, answers, strict=True):
                shown = {"text": text.decode("utf-8", "replace"), **answer}
                print(json.dumps(shown, ensure_ascii=False))
    except (ServerError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
