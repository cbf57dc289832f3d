"""`sweep` and `compare` as they are typed: a mistake is one line and an exit code."""

from __future__ import annotations

import functools
import json
import subprocess
import sys

import pytest
from absl import flags
from program import ROOT, environment

from sentiment_train import command_line, compare, sweep


def run(*command: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def in_this_process(monkeypatch, capsys):
    """A module and its flags → exit code and what stood on stderr."""
    monkeypatch.chdir(ROOT)
    values = flags.FlagValues()
    flags.DEFINE_integer("verbosity", 0, "As absl.logging defines it.", flag_values=values)
    for kind in ("multi_string", "string", "bool", "integer", "list"):
        define = functools.partial(getattr(flags, f"DEFINE_{kind}"), flag_values=values)
        monkeypatch.setattr(flags, f"DEFINE_{kind}", define)
    monkeypatch.setattr(flags, "FLAGS", values)

    def call(module, *arguments: str) -> tuple[int, str]:
        module._define_flags()
        command_line._define_shared()
        code = command_line.exit_code(values(["program", *arguments]), module._run)
        return code, capsys.readouterr().err

    return call


@pytest.mark.parametrize(
    ("module", "arguments", "code", "message"),
    [
        (sweep, [], 2, "--gin_file=… is needed"),
        (sweep, ["--gin_file=gin/bilstm.gin"], 2, "--grid=… is needed"),
        (
            sweep,
            ["--gin_file=gin/bilstm.gin", "--grid=dropout=0,2"],
            2,
            "dropout=2: RecurrentClassifier.dropout = 2 is out of range",
        ),
        (sweep, ["gin/bilstm.gin"], 1, "unexpected argument 'gin/bilstm.gin'"),
        (compare, ["--gin_file=gin/bylstm.gin"], 2, "Did you mean 'bilstm.gin'?"),
        (compare, ["--seeds=0,0"], 2, "--seeds=0,0: a seed is there twice"),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(in_this_process, module, arguments, code, message):
    found, printed = in_this_process(module, *arguments)
    assert found == code, printed
    assert message in printed
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1


def test_a_process_ends_with_that_code():
    result = run("sentiment_train.sweep", "gin/bilstm.gin")
    assert result.returncode == 1
    assert result.stderr.startswith("error: unexpected argument 'gin/bilstm.gin'")
    assert result.stderr.count("\n") == 1


def test_a_quick_comparison_of_an_experiment_leaves_a_table_with_its_numbers(tmp_path, cache):
    folder = tmp_path / "out"
    where = [f"--output_dir={folder}", f"--cache_dir={cache}", "--quick"]
    arguments = ["sentiment_train.compare", "--gin_file=gin/keras_mlp.gin", *where]
    result = run(*arguments, "--gin_bindings=Report.baseline = 'nb'")
    assert result.returncode == 0, result.stdout + result.stderr
    found = json.loads((folder / "keras_mlp" / "results.json").read_text())
    accuracy, baseline = found["test"]["accuracy"], found["baseline"]["accuracy"]
    markdown = (folder / "comparison.md").read_text()
    (row,) = (line for line in markdown.split("\n") if line.startswith("| [keras_mlp"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[0] == r"[keras_mlp (quick)](<keras_mlp/report.html>)"
    assert cells[1:4] == ["document 004", "87.3%", f"{accuracy:.2%}"]
    assert cells[6:] == [f"{baseline:.2%}", f"{found['parameters']:,}"]
    page = (folder / "comparison.html").read_text()
    assert '<a href="keras_mlp/report.html">keras_mlp (quick)</a>' in page
    assert f"<td>{accuracy:.2%}</td>" in page
    assert (folder / "keras_mlp" / "report.html").exists()
    assert "written: " in result.stdout
