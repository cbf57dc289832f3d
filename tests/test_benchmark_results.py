"""What is made of measurements: medians, ratios of neighbours, targets, files, pages."""

from __future__ import annotations

import json
import statistics
import sys

import pytest
from absl import flags

from benchmarks import (
    flops,
    machine,
    processes,
    results,
    results_page,
    run,
    targets,
    training_runs,
)
from benchmarks.bench import Bench
from benchmarks.rounds import Case, Contender, measured, ratios, values
from benchmarks.spread import spread
from benchmarks.tables import Column, table, times
from benchmarks.targets import AT_LEAST, AT_MOST, Target


def contender(name: str, *numbers: float, **options) -> Contender:
    """One that answers these rates, one after the other."""
    answers = iter(numbers)
    return Contender(name, f"what {name} is", lambda: {"rate": next(answers)}, **options)


def case_of(**numbers: tuple[float, ...]) -> dict:
    repeats = max(map(len, numbers.values()))
    return measured(Case("a", [contender(k, *v) for k, v in numbers.items()]), repeats, print)


def test_contenders_take_turns():
    order = []

    def one(name):
        return Contender(name, name, lambda: order.append(name) or {})

    measured(Case("a", [one("ours"), one("theirs")]), 3, print)
    assert order == ["ours", "theirs"] * 3


def test_a_ratio_is_of_neighbours_and_not_of_medians():
    case = case_of(ours=(20.0, 10.0, 40.0), theirs=(4.0, 5.0, 5.0))
    found = ratios(case, ("ours", "rate"), ("theirs", "rate"))
    assert found == [5.0, 2.0, 8.0]
    assert spread(found, 1) == "5.0 (2.0–8.0)"  # 20 ÷ 5 would be 4
    assert spread([1234.5]) == "1,234"


def test_who_takes_minutes_has_fewer_rounds_and_no_ratio_in_the_others():
    ours, slow = contender("ours", 6.0, 8.0), contender("slow", 2.0, rounds=1)
    case = measured(Case("a", [ours, slow]), 2, print)
    assert values(case, "slow", "rate") == [2.0]
    assert ratios(case, ("ours", "rate"), ("slow", "rate")) == [3.0]


def test_a_missing_peer_is_told_in_a_sentence_and_the_others_are_measured(capsys):
    there, missing = contender("ours", 1.0), contender("peer", 1.0, needs="no_such_library")
    case = measured(Case("speed", [there, missing]), 1, print)
    sentence = "no_such_library is not installed: pip install -c constraints.txt -e '.[bench]'"
    assert f"speed: {sentence}\n" in capsys.readouterr().out
    assert case["missing"] == {"peer": sentence}
    assert list(case["rounds"][0]) == ["ours"]
    lines = table({"speed": case}, [Column("rate", "rate"), times("rate")]).splitlines()
    assert lines[2:] == ["| what ours is | 1 |  |", f"| what peer is | {sentence} |  |"]


@pytest.mark.parametrize(
    "sense, numbers, reached",
    [
        (AT_LEAST, (11.0, 13.0, 40.0), True),
        (AT_LEAST, (11.0, 11.9, 40.0), False),
        (AT_MOST, (11.0, 13.0, 40.0), False),
        (AT_MOST, (12.0,), True),
        (AT_LEAST, (), None),
    ],
)
def test_a_target_is_judged_by_the_median(sense, numbers, reached):
    target = Target("key", "speed", "group", sense, 12, lambda cases: cases["a"], " ×")
    found = {"groups": {"group": {"cases": {"a": list(numbers)}}}}
    assert target.reached(found) is reached
    row = targets.table(found, (target,)).splitlines()[2]
    assert row.startswith(f"| speed | {sense} 12 × | ")
    word = {True: "reached", False: "**missed**", None: "not measured"}[reached]
    assert row.endswith(f" | {word} |  |")
    assert target.reached({"groups": {}}) is None


def test_a_missed_target_is_explained_by_its_profile(tmp_path, monkeypatch):
    target = Target("loop", "the loop", "data", AT_LEAST, 3, lambda cases: [2.0])
    monkeypatch.setattr(results_page, "TARGETS", (target,))
    monkeypatch.setattr(results_page, "PROFILES", tmp_path)
    found = {"groups": {"data": {"cases": {}}}}
    assert results_page.why_missed(found)[-1].startswith(
        "No profile yet; it goes into `benchmarks/"
    )
    (tmp_path / "loop.md").write_text("Python takes 70 % of it.\n")
    assert results_page.why_missed(found) == ["### the loop", "Python takes 70 % of it."]
    assert results_page.why_missed({"groups": {}}) == []


LSTM = ("RecurrentClassifier.cell = 'lstm'", "RecurrentClassifier.units = (3, 5)")


@pytest.mark.parametrize(
    "bindings, tokens, flop",
    [
        # 2 · 3 gates · 7 units · (128 features + 7), for each of 2,000 tokens, but the features
        # only for each of 1,000 words.
        (("RecurrentClassifier.units = (7,)",), 2000, 3 * 2 * 3 * 7 * (128 * 1000 + 7 * 2000)),
        (("RecurrentClassifier.units = (7,)",), 10, 3 * 2 * 3 * 7 * (128 + 7) * 10),
        (LSTM, 10, 3 * 2 * 4 * (3 * (128 + 3) + 5 * (3 + 5)) * 10),
        (
            (*LSTM, "RecurrentClassifier.bidirectional = True"),
            10,
            2 * 3 * 2 * 4 * (3 * (128 + 3) + 5 * (2 * 3 + 5)) * 10,
        ),
    ],
)
def test_useful_flop_are_those_of_the_recurrent_products(bindings, tokens, flop):
    gin_file = str(processes.ROOT / "gin" / "gru.gin")
    assert flops.of_a_step(flops.experiment_of(gin_file, bindings), tokens) == flop


def test_a_model_without_recurrent_layers_has_no_useful_flop():
    experiment = flops.experiment_of(str(processes.ROOT / "gin" / "keras_mlp.gin"))
    assert flops.of_a_step(experiment, 1000) is None


class Group:
    """In place of a module of `groups`."""

    TITLE, STORY = "Title", "Story."
    ROUNDS, MEASUREMENTS, MINUTES = 2, 2, 0.1

    def __init__(self, number: float):
        self.number = number

    def cases(self, bench):
        if self.number is None:
            raise ValueError("there is\nno number")
        numbers = [self.number] * self.ROUNDS
        yield Case("a", [contender("ours", *numbers)], {"quick": bench.quick})

    def tables(self, cases):
        return table(cases, [Column("rate", "rate")])


def flags_of(*arguments: str) -> flags.FlagValues:
    found = flags.FlagValues()
    run.define_flags(found)
    found(["benchmark", *arguments])
    return found


@pytest.fixture
def two_groups(monkeypatch):
    groups = {"first": Group(1.0), "second": Group(2.0)}
    for module in (run, results_page):
        monkeypatch.setattr(module, "GROUPS", groups)
    return groups


def test_a_group_that_is_measured_again_leaves_the_others(two_groups, tmp_path):
    before, _ = run.measure(flags_of(f"--output={tmp_path}", "--repeats=1"))
    two_groups["second"].number = 3.0
    after, failed = run.measure(flags_of(f"--output={tmp_path}", "--only=second", "--quick"))
    assert failed == []
    assert after["groups"]["first"] == before["groups"]["first"]
    assert after["groups"]["second"]["cases"]["a"]["rounds"] == [{"ours": {"rate": 3.0}}]
    assert after["groups"]["second"]["cases"]["a"]["facts"] == {"quick": True}
    assert json.loads((tmp_path / "results.json").read_text()) == after
    drawn = (tmp_path / "results.md").read_text()
    assert "| what ours is | 3 |" in drawn
    assert "python -m benchmarks.run --only=second" in drawn
    assert run.measure(flags_of(f"--output={tmp_path}", "--draw")) == (after, [])


def test_a_group_that_fails_is_named_and_replaces_nothing(two_groups, tmp_path, capsys):
    output = f"--output={tmp_path}"
    two_groups["second"].number = None
    found, failed = run.measure(flags_of(output))
    assert failed == ["second: no number"]
    assert set(found["groups"]) == {"first", "second"}
    assert "Not measured: no number." in (tmp_path / "results.md").read_text()
    two_groups["second"].number = 4.0
    whole, failed = run.measure(flags_of(output, "--only=second"))
    assert failed == []
    assert len(whole["groups"]["second"]["cases"]["a"]["rounds"]) == Group.ROUNDS
    two_groups["second"].number = None
    again, failed = run.measure(flags_of(output, "--only=second"))
    assert again == whole
    assert failed == ["second: no number"]
    plan = "first           2 rounds    2 measurements  about 0.1 minutes"
    assert plan in capsys.readouterr().err


def test_a_group_of_another_machine_is_not_mixed_in(two_groups, monkeypatch, tmp_path):
    output = f"--output={tmp_path}"
    run.measure(flags_of(output))
    monkeypatch.setattr(machine, "describe", lambda: "another machine")
    with pytest.raises(SystemExit, match="is of another machine"):
        run.measure(flags_of(output, "--only=second"))
    found, _ = run.measure(flags_of(output))
    assert results.machines(found) == {"another machine"}


def test_who_fails_is_named_and_not_asked_again():
    def fails():
        raise SystemExit("much that was printed\npeer: exit code 1")

    case = Case("a", [contender("ours", 1.0, 2.0), Contender("peer", "a peer", fails)])
    found = measured(case, 2, print)
    assert found["failed"] == {"peer": "peer: exit code 1"}
    assert found["rounds"] == [{"ours": {"rate": 1.0}}, {"ours": {"rate": 2.0}}]


def test_what_is_not_judged_stands_beside_a_target():
    target = Target(
        *("key", "speed", "group", AT_LEAST, 3, lambda cases: cases["a"], " ×"),
        middle=statistics.mean,
        beside=(("slow:", lambda cases: [4.0]), ("none:", lambda cases: [])),
    )
    row = target.row({"groups": {"group": {"cases": {"a": [2.0, 3.0, 6.0]}}}})
    assert row == ("speed", "≥ 3 ×", "3.7 (2.0–6.0) ×", "reached", "slow: 4.0 ×")


def test_numbers_that_mean_nothing_are_not_kept(two_groups, monkeypatch, tmp_path):
    monkeypatch.setattr(run, "HOME", tmp_path)
    found, _ = run.measure(flags_of("--quick"))
    assert set(found["groups"]) == {"first", "second"}
    assert not list(tmp_path.iterdir())


def test_results_of_another_schema_are_refused(tmp_path):
    (tmp_path / "results.json").write_text('{"schema": 99}')
    with pytest.raises(SystemExit, match=r"results\.json has another schema"):
        results.read(tmp_path)


def test_the_page_that_is_kept_is_drawn_from_the_results_that_are_kept():
    found = results.read(run.HOME)
    assert (run.HOME / "results.md").read_text(encoding="utf-8") == results_page.draw(found)


def test_a_process_answers_and_its_cost_is_known(tmp_path, monkeypatch):
    (tmp_path / "probe.py").write_text(
        "import os, sys\n"
        "from benchmarks import processes\n"
        "def measure(size):\n"
        "    if size < 0:\n"
        "        sys.exit('no such size')\n"
        "    kept = b'x' * size\n"
        "    left = [os.environ.get(name) for name in ('OMP_NUM_THREADS', 'KERAS_BACKEND')]\n"
        "    return {'left': left, 'given': os.environ['GIVEN']}\n"
        "processes.answer(measure)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    found = processes.ask("probe", {"size": 300_000_000}, tmp_path, GIVEN="this")
    assert (found["left"], found["given"]) == ([None, None], "this")
    assert found["peak_memory_bytes"] > 300_000_000
    assert found["process_seconds"] > 0
    assert found["cpu_seconds"] > 0
    with pytest.raises(SystemExit, match="no such size\nprobe: exit code 1: no such size"):
        processes.ask("probe", {"size": -1}, tmp_path, GIVEN="this")


def test_the_command_imports_no_tensorflow():
    """What a child has used at most begins with what this process has when it forks."""
    code = "import sys, benchmarks.run; print([m for m in ('tensorflow', 'keras', 'torch')"
    code += " if m in sys.modules])"
    import subprocess

    printed = subprocess.check_output(
        [sys.executable, "-c", code], env=processes.environment(), text=True
    )
    assert printed.strip() == "[]"


def test_validations_are_read_with_their_times(tmp_path, tf):
    from sentiment_train.reports.writers import MetricWriter

    writer = MetricWriter(str(tmp_path / "tensorboard"), str(tmp_path / "m.jsonl"), tf.io.gfile)
    for step, accuracy in ((10, 0.5), (20, 0.75)):
        writer.scalars(step, {"train/loss": 1.0})
        writer.scalars(step, {"validation/accuracy": accuracy, "validation/loss": 0.1})
    writer.close()
    (first, a), (second, b) = training_runs.validations_of(tmp_path)
    assert (a, b) == (0.5, 0.75)
    assert second >= first > 1e9


def test_a_quick_run_has_40_examples(tmp_path):
    assert Bench(tmp_path, "", quick=True).examples(None) == ("Splits.max_examples = 40",)
    assert Bench(tmp_path, "").examples(None) == ()
    assert Bench(tmp_path, "").examples(7) == ("Splits.max_examples = 7",)
