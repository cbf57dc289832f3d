"""An overflow on one worker alone: all workers skip the step, as real processes."""

from __future__ import annotations

import json

import warm
from program import ROOT, environment, task_configs


def test_an_overflow_on_one_worker_makes_all_skip_and_halves_the_scale(tmp_path):
    script, workers = ROOT / "tests" / "flows" / "float16_worker.py", []
    for index, config in enumerate(task_configs(2)):
        log = tmp_path / f"{index}.log"
        process = warm.start([str(script)], environment(TF_CONFIG=config), tmp_path, log)
        workers.append((process, log))
    for process, log in workers:
        assert process.wait(120) == 0, log.read_text()
    first, second = (json.loads(log.read_text().splitlines()[-1]) for _, log in workers)
    assert first == second
    assert [state["scale"] for state in first] == [2.0**15, 2.0**14, 2.0**13, 2.0**13]
    assert [state["finite"] for state in first] == [True, False, False, True]
    applied, of_worker_0, of_worker_1, applied_again = (state["digest"] for state in first)
    assert applied == of_worker_0 == of_worker_1
    assert applied_again != applied
