"""What distribution costs is measured by real processes and told with its spread."""

from __future__ import annotations

from benchmarks import distribution
from benchmarks.recurrence import with_tables


def test_the_same_two_cores_are_compared_within_a_round():
    def measured(**rates):
        return {way: distribution.Measured(rate, 2_000_000, 50) for way, rate in rates.items()}

    rounds = [
        measured(one=200.0, replicas=150.0, workers=180.0),
        measured(one=100.0, replicas=80.0, workers=95.0),
        measured(one=400.0, replicas=200.0, workers=300.0),
    ]
    lines = distribution.table({"bilstm": rounds}).splitlines()
    first = "| `gin/bilstm.gin` | 2,000,000 | 1 worker × 2 cores | 200 (100–400) |  |"
    assert lines[2] == first
    assert lines[3].endswith("2 logical replicas | 150 (80–200) | 75 (50–80) % |")
    assert lines[4].endswith("2 workers × 1 core | 180 (95–300) | 90 (75–95) % |")


def test_two_workers_are_measured_by_the_real_program(tmp_path, cache):
    measuring = distribution.Measuring("keras_mlp", 60, tmp_path, str(cache))
    found = measuring.measure("workers", tmp_path / "run")
    assert found.rate > 0
    assert found.parameters > 2_000_000
    assert found.steps == 2 * 2  # epochs of 48 reviews, 32 of them in a batch


def test_the_page_has_a_block_for_the_table():
    page = distribution.PAGE.read_text(encoding="utf-8")
    assert "\n| x |\n" in with_tables(page, {"cost": "| x |"}, distribution.COMMAND)
