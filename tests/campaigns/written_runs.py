"""Run directories that no training made: the files of finished runs, for tests about tables."""

from __future__ import annotations

import json
import pathlib
import sys

from sentiment_train.campaigns import campaign
from sentiment_train.campaigns.processes import Command

# An experiment that is checked in milliseconds; nothing of it is ever read.
EXPERIMENT = """
Experiment.source = @PackagedReviews()
Experiment.model = @RecurrentClassifier()
Training.length = '2 epochs'
"""


def results(accuracy: float, examples: int = 1000, **more) -> dict:
    """`results.json` of a classifier: 2 epochs of 100 s."""
    measured = {"loss": 0.3, "accuracy": accuracy, "macro_f1": accuracy - 0.01}
    return {
        "validation": {**measured, "accuracy": accuracy + 0.01, "examples": examples},
        "test": {**measured, "examples": examples},
        "steps": 20,
        "best_step": 20,
        "train_seconds": 200.0,
        "seconds_per_epoch": 100.0,
        "examples_per_second": 80.0,
        "parameters": 12345,
        **more,
    }


def write_done(run: campaign.CheckedRun, directory: pathlib.Path, found: dict) -> None:
    """The directory of a run that was finished with these results."""
    folder = directory / run.plan.name
    folder.mkdir(parents=True)
    (folder / "config.gin").write_text(run.config)
    (folder / "operative.gin").write_text(run.operative)
    (folder / "status.json").write_text('{"status": "done"}')
    (folder / "results.json").write_text(json.dumps(found))
    lines = [{"step": step, "validation/accuracy": 0.8 + step / 1000} for step in (10, 20)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


# A process in place of a training: writes the files it is given and exits with a code.
_PROGRAM = """
import json, pathlib, sys
folder, files, said, code = json.loads(sys.argv[1])
pathlib.Path(folder).mkdir(exist_ok=True)
for name, text in files.items():
    (pathlib.Path(folder) / name).write_text(text)
print(said)
sys.exit(code)
"""


def replace_training(monkeypatch, ends: dict[str, tuple[dict | None, str, int]]) -> list[str]:
    """Runs of a campaign end at once: `{name: (results, printed, exit code)}`.

    Returns the names of the runs that were started, which grows.
    """
    started = []

    def command(self, run):
        name = run.plan.name
        found, said, code = ends[name]
        status = {0: "done", 6: "diverged"}.get(code, "incomplete")
        files = {
            "config.gin": run.config,
            "operative.gin": run.operative,
            "status.json": json.dumps({"status": status, "why": said}),
            **({"results.json": json.dumps(found)} if found else {}),
        }
        started.append(name)
        told = json.dumps([self.of(run).path, files, said, code])
        log = pathlib.Path(self.directory.path) / f"{name}.log"
        return Command(name, (sys.executable, "-S", "-c", _PROGRAM, told), log)

    monkeypatch.setattr(campaign.Campaign, "_command", command)
    return started
