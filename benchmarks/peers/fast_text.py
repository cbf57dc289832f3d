"""fastText (Joulin et al. 2017): averaged vectors of words and hashed word pairs, on all cores.

The settings are those with the best validation accuracy on the packaged reviews; what it took to
find them is not counted, which is to the good of fastText.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import tempfile

from benchmarks import processes

_SETTINGS = {"wordNgrams": 2, "dim": 20, "epoch": 10, "lr": 0.25, "minCount": 2}


def measure(examples: str) -> dict:
    """Trains, then answers.

    Args:
      examples: path of `{"train": {"texts": […], "labels": [str, …]}, "validation": …}`.

    Returns:
      The accuracy on validation and test.
    """
    import fasttext

    splits = json.loads(pathlib.Path(examples).read_text(encoding="utf-8"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        for text, label in zip(*splits["train"].values(), strict=True):
            file.write(f"__label__{label} {_line(text)}\n")
        file.flush()
        model = fasttext.train_supervised(file.name, thread=cores, verbose=0, **_SETTINGS)
    found = {}
    for name in ("validation", "test"):
        answers, _ = model.predict([_line(text) for text in splits[name]["texts"]])
        right = [
            a[0] == f"__label__{b}" for a, b in zip(answers, splits[name]["labels"], strict=True)
        ]
        found[name] = sum(right) / len(right)
    return found


def _line(text: str) -> str:
    """Lower-case words and signs apart from each other, on one line."""
    text = text.replace("<br />", " ").lower().encode("utf-8", "replace").decode()
    return " ".join(re.findall(r"\w+(?:'\w+)?|[^\w\s]", text))


if __name__ == "__main__":
    processes.answer(measure)
