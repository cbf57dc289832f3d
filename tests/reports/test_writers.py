import json
import math
import uuid

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from sentiment_train.reports.writers import MetricWriter


class Run:
    """A run directory, written by one process after the other."""

    def __init__(self, directory, files):
        self.events, self.lines = f"{directory}/tensorboard", f"{directory}/metrics.jsonl"
        self._files = files

    def write(self, after, values, texts=()):
        """One process that goes on after a step."""
        writer = MetricWriter(self.events, self.lines, self._files)
        writer.go_on_after(after)
        for tag, text in texts:
            writer.text(tag, text)
        for step, value in values.items():
            writer.scalars(step, {"train/loss": value, "train/accuracy": 1 - value})
        writer.close()

    def accumulated(self):
        return EventAccumulator(self.events).Reload()

    def curve(self, tag="train/loss"):
        return {event.step: event.value for event in self.accumulated().Scalars(tag)}

    def json_lines(self):
        with self._files.GFile(self.lines) as file:
            return [json.loads(line) for line in file]


@pytest.fixture(params=["local", "ram"])
def run(request, tf, tmp_path):
    """On the disk and in TensorFlow's memory file system."""
    directory = tmp_path if request.param == "local" else f"ram://{uuid.uuid4().hex}"
    tf.io.gfile.makedirs(str(directory))
    return Run(directory, tf.io.gfile)


def test_scalars_can_be_read_back_from_both(run):
    run.write(0, {1: 0.75, 2: 0.5})
    assert run.accumulated().Tags()["scalars"] == ["train/loss", "train/accuracy"]
    assert run.curve() == {1: 0.75, 2: 0.5}
    assert run.curve("train/accuracy") == {1: 0.25, 2: 0.5}
    assert run.json_lines() == [
        {"step": 1, "train/loss": 0.75, "train/accuracy": 0.25},
        {"step": 2, "train/loss": 0.5, "train/accuracy": 0.5},
    ]


def test_a_job_of_vertex_ai_has_its_events_where_they_are_collected(run, monkeypatch):
    elsewhere = run.events.replace("tensorboard", "logs")
    monkeypatch.setenv("AIP_TENSORBOARD_LOG_DIR", f"{elsewhere}/")
    run.write(0, {1: 0.75})
    run.events = elsewhere
    assert run.curve() == {1: 0.75}
    assert [line["step"] for line in run.json_lines()] == [1]


def test_a_text_can_be_read_back(run):
    run.write(0, {1: 0.5}, texts=[("config", "```\nAdam.beta_1 = 0.9  # ä\n```")])
    found = run.accumulated()
    assert found.SummaryMetadata("config").plugin_data.plugin_name == "text"
    (event,) = found.Tensors("config")
    text = tensor_util.make_ndarray(event.tensor_proto).item().decode()
    assert text == "```\nAdam.beta_1 = 0.9  # ä\n```"


def test_going_on_leaves_neither_gaps_nor_doubles(run):
    run.write(0, dict.fromkeys(range(1, 8), 0.5), texts=[("config", "text")])
    run.write(4, {5: 0.25, 6: 0.25})
    expected = {1: 0.5, 2: 0.5, 3: 0.5, 4: 0.5, 5: 0.25, 6: 0.25}
    assert run.curve() == expected
    assert {line["step"]: line["train/loss"] for line in run.json_lines()} == expected
    assert len(run.json_lines()) == 6
    assert len(run.accumulated().Tensors("config")) == 1  # what has no step stays


def test_starting_again_forgets_everything(run):
    run.write(0, {1: 0.5, 2: 0.5})
    run.write(0, {1: 0.25})
    assert run.curve() == {1: 0.25}
    assert [line["train/loss"] for line in run.json_lines()] == [0.25]


@pytest.mark.parametrize("torn", ['{"step": 3, "train/lo', "{", '{"step": 3}garbage', "[3]", "3"])
def test_a_half_written_last_line_is_dropped(run, tf, torn):
    run.write(0, {1: 0.5, 2: 0.5})
    for name, text in (
        (run.lines, torn),
        (f"{run.lines}.partial", "of a process that was cut off"),
    ):
        with tf.io.gfile.GFile(name, "a") as file:
            file.write(text)
    run.write(3, {4: 0.25})
    assert [line["step"] for line in run.json_lines()] == [1, 2, 4]


def test_a_number_that_is_not_finite_is_written(run):
    run.write(0, {1: math.nan})
    assert math.isnan(run.curve()[1])
    assert math.isnan(run.json_lines()[0]["train/loss"])


def test_what_was_flushed_is_there_before_the_end(run, tf):
    writer = MetricWriter(run.events, run.lines, tf.io.gfile)
    writer.scalars(1, {"train/loss": 0.5})
    writer.flush()
    try:
        assert run.curve() == {1: 0.5}
        assert len(run.json_lines()) == 1
    finally:
        writer.close()


def test_no_tensorflow_is_needed():
    import subprocess
    import sys

    code = "import sys, sentiment_train.reports.writers; assert 'tensorflow' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
