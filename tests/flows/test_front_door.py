"""What a newcomer meets: help, a dry run, the shipped gin files, an installed package."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import zipfile

import pytest
from program import ROOT, environment


def run(*command: str, cwd: pathlib.Path, path: pathlib.Path = ROOT) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=environment(path),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("module", ["main", "predict", "sweep", "compare"])
def test_help_answers_without_importing_anything_heavy(module, tmp_path):
    code = (
        "import runpy, sys; sys.argv[1:] = ['--help']\n"
        f"try: runpy.run_module('sentiment_train.{module}', run_name='__main__', alter_sys=True)\n"
        "except SystemExit: pass\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'sklearn', 'tensorboard'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    result = run("-c", code, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "--[no]dry_run" in result.stdout or "--saved_model" in result.stdout


def test_a_dry_run_shows_everything_and_leaves_nothing(program):
    flags = ["--dry_run", "--gin_bindings=Buckets.count = 3"]
    assert program.finish("run", *flags) == 0, program.log("run")
    shown = program.log("run")
    for label in ("data", "classes", "text", "buckets", "model", "runtime", "precision", "xla"):
        assert f"\n{label} " in shown, label
    assert "RecurrentClassifier.units = (6,)" in shown  # the resolved configuration
    assert "Adam.beta_1 = 0.9" in shown  # with its defaults
    assert "padding" in shown
    assert "8,301 parameters" in shown
    assert not (program.folder / "run").exists()


def test_every_shipped_experiment_parses_and_is_read_whole(tmp_path):
    experiments = sorted({*(ROOT / "gin").glob("*.gin")} - {ROOT / "gin" / "quick.gin"})
    assert experiments
    code = (
        "import sys; from sentiment_train import config; from sentiment_train.experiment import *\n"
        "for name in sys.argv[1:]: config.make(Experiment, config.parse([name], []))"
    )
    result = run("-c", code, *map(str, experiments), cwd=tmp_path)
    assert result.returncode == 0, result.stderr


def test_an_installed_package_brings_its_gin_files(tmp_path):
    pip = ["-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    source = tmp_path / "source"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(source)], check=True)
    built = run(*pip, str(source), cwd=tmp_path)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    code = (
        "from sentiment_train import config; from sentiment_train.experiment import *\n"
        "print(config.make(Experiment, config.parse(['bilstm.gin'], [])).model.cell)"
    )
    result = run("-c", code, cwd=tmp_path, path=tmp_path / "installed")
    assert result.stdout == "lstm\n", result.stderr
