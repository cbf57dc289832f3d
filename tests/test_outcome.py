"""What is left of a training, where a whole run is not needed; see tests/reports/test_report.py."""

import pytest

from sentiment_train.errors import ConfigError
from sentiment_train.outcome import _class_lines
from sentiment_train.reports.settings import Report


def test_classes_stand_below_each_other_and_very_many_are_counted():
    one = {"precision": 0.5, "recall": 0.25, "f1": 1 / 3, "support": 1200}
    lines = _class_lines({"bad": one, "good ones": one})
    assert lines[0] == "bad        precision 0.500  recall 0.250  F1 0.333  of 1,200"
    assert lines[1].startswith("good ones  precision")
    many = _class_lines({str(i): one for i in range(25)})
    assert many[-1] == "… and 5 more classes in results.json"
    assert len(many) == 21


@pytest.mark.parametrize("wrong", [{"examples": -1}, {"baseline_rows": 1}, {"baseline": "svm"}])
def test_the_report_checks_its_settings(wrong):
    with pytest.raises(ConfigError, match=rf"Report.{next(iter(wrong))} = "):
        Report(**wrong)
