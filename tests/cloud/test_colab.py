"""The notebook, executed from its first cell to its last on a CPU, off Colab."""

from __future__ import annotations

import os
import pathlib

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs the extra dev")
nbclient = pytest.importorskip("nbclient", reason="needs the extra dev")
pytest.importorskip("ipykernel", reason="needs the extra dev")

ROOT = pathlib.Path(__file__).parents[2]

SMALL = """
include 'data/imdb.gin'
include 'model/recurrent.gin'
PackagedReviews.subset = 'rotten_tomatoes'
Splits.max_examples = 1500
RecurrentClassifier.units = (4,)
RecurrentClassifier.embedding_size = 4
Vocabulary.max_size = 500
Buckets.count = 1
Training.log_every = '2 steps'
Report.baseline = 'none'
Runtime.xla = 'off'
"""


@pytest.fixture
def notebook():
    return nbformat.read(ROOT / "cloud" / "colab.ipynb", as_version=4)


def cell_of(notebook, name):
    (cell,) = [cell for cell in notebook.cells if cell["id"] == name]
    return cell


def printed(cell):
    return "".join(output.get("text", "") for output in cell["outputs"])


def test_the_notebook_has_ten_cells_and_no_output_of_somebody(notebook):
    nbformat.validate(notebook)
    assert len(notebook.cells) == 10
    code = [cell for cell in notebook.cells if cell["cell_type"] == "code"]
    assert [cell["outputs"] for cell in code] == [[]] * len(code)
    assert {cell["execution_count"] for cell in code} == {None}


@pytest.mark.slow
def test_all_cells_run_in_order(notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("SENTIMENT_TRAIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    (tmp_path / "small.gin").write_text(SMALL)
    parameters = cell_of(notebook, "parameters")
    assert "parameters" in parameters["metadata"]["tags"]
    parameters["source"] += (
        '\nGIN_FILE, BINDINGS, RUN = "small.gin", ["Training.length = \'6 steps\'"], "runs/small"'
    )
    client = nbclient.NotebookClient(
        notebook, timeout=200, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    assert "nothing was trained" in printed(cell_of(notebook, "dry-run"))
    assert "(done); all numbers in runs/small" in printed(cell_of(notebook, "train"))
    (report,) = cell_of(notebook, "report")["outputs"]
    assert "test examples" in report["data"]["text/markdown"]
    assert printed(cell_of(notebook, "classify")).count('"label": ') == 2
    assert (tmp_path / "runs" / "small-saved_model.zip").stat().st_size > 1000


def test_a_command_that_fails_ends_the_notebook(notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    cell_of(notebook, "parameters")["source"] += '\nGIN_FILE = "nowhere.gin"'
    client = nbclient.NotebookClient(
        notebook, timeout=100, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="ended with 2; see above"):
        client.execute()
    assert "error: " in printed(cell_of(notebook, "dry-run"))
    assert cell_of(notebook, "train")["execution_count"] is None
