import dataclasses

import pytest

from sentiment_train.training.actions import LookAtStart, Save, Validate
from sentiment_train.training.state import TrainingState


def validate(every=10, best_by="accuracy", patience=None, metrics=(), reports=None):
    values = iter(metrics)
    report = lambda step, values: reports.append((step, values))  # noqa: E731
    evaluate = lambda: {"loss": 0.5, best_by or "accuracy": next(values)}  # noqa: E731
    return Validate(every, evaluate, report if reports is not None else print, best_by, patience)


@pytest.mark.parametrize(
    "state, due",
    [
        (TrainingState(), False),
        (TrainingState(step=9), False),
        (TrainingState(step=10), True),
        (TrainingState(step=10, evaluated_step=10), False),
        (TrainingState(step=20, evaluated_step=10), True),
        (TrainingState(step=23, evaluated_step=20, finished=True), True),
        (TrainingState(step=23, evaluated_step=23, finished=True), False),
    ],
)
def test_validation_is_due_at_its_marks_and_at_the_end_once(state, due):
    assert validate().due(state) is due


def run(action, values_at):
    """Applies an action at steps 10, 20, …; returns the state after each."""
    state, states = TrainingState(), []
    for step in range(10, 10 * len(values_at) + 1, 10):
        state.step = step
        action(state)
        states.append(dataclasses.replace(state))
    return states


def test_the_first_value_is_the_best_and_only_a_better_one_replaces_it():
    values = [0.0, 0.7, 0.7, 0.6, 0.8]
    states = run(validate(metrics=values), values)
    assert [s.best_step for s in states] == [10, 20, 20, 20, 50]
    assert [s.best_value for s in states] == [0.0, 0.7, 0.7, 0.7, 0.8]
    assert [s.evaluations_since_best for s in states] == [0, 0, 1, 2, 0]
    assert [s.evaluated_step for s in states] == [10, 20, 30, 40, 50]


@pytest.mark.parametrize("best_by, best", [("loss", 30), ("macro_f1", 20)])
def test_a_lower_loss_is_better_and_a_higher_score(best_by, best):
    values = [0.5, 0.9, 0.1]
    assert run(validate(best_by=best_by, metrics=values), values)[-1].best_step == best


def test_patience_counts_from_the_best_not_from_the_evaluation_before():
    values = [0.8, 0.5, 0.6, 0.7]  # rises again, but stays below the best
    states = run(validate(patience=3, metrics=values), values)
    assert [s.finished for s in states] == [False, False, False, True]


def test_without_patience_or_a_metric_nothing_is_stopped():
    for action in (validate(metrics=[0.8] + 5 * [0.1]), validate(best_by=None, metrics=6 * [0.1])):
        assert not run(action, range(6))[-1].finished
    assert run(validate(best_by=None, metrics=[0.1]), [0])[0].best_step == -1


def test_what_was_found_is_reported_by_split_and_step():
    reports = []
    run(validate(metrics=[0.7], reports=reports), [0.7])
    assert reports == [(10, {"validation/loss": 0.5, "validation/accuracy": 0.7})]


def test_an_evaluation_that_is_cut_off_leaves_the_state_as_it_was():
    def cut_off():
        raise KeyboardInterrupt

    state = TrainingState(step=10)
    action = Validate(10, cut_off, print, "accuracy", None)
    with pytest.raises(KeyboardInterrupt):
        action(state)
    assert state == TrainingState(step=10)
    assert action.due(state)


def test_the_spread_is_measured_before_the_first_step_and_kept():
    reports = []
    look = LookAtStart(lambda: 0.9, lambda step, values: reports.append((step, values)))
    state = TrainingState()
    assert look.due(state)
    look(state)
    assert state == TrainingState(spread_at_start=0.9)
    assert not look.due(state)
    assert reports == [(0, {"validation/embedding_spread": 0.9})]
    assert not look.due(TrainingState(step=3))  # too late for it


@pytest.mark.parametrize(
    "state, due",
    [
        (TrainingState(), False),
        (TrainingState(step=9), False),
        (TrainingState(step=10), True),
        (TrainingState(step=13, evaluated_step=13, best_step=13), True),
        (TrainingState(step=14, evaluated_step=13, best_step=13), False),
        (TrainingState(step=13, finished=True), True),
    ],
)
def test_saving_is_due_at_its_marks_on_a_new_best_and_at_the_end(state, due):
    assert Save(10, print, restored=None).due(state) is due


def test_what_is_saved_is_due_again_only_when_it_has_changed():
    state, written = TrainingState(step=10), []
    save = Save(10, lambda s: written.append(s.as_dict()), restored=None)
    save(state)
    assert not save.due(state)
    state.evaluated_step = 10
    assert save.due(state)
    assert written == [TrainingState(step=10).as_dict()]


def test_what_was_restored_is_not_saved_again():
    state = TrainingState(step=10, finished=True)
    save = Save(10, print, restored=state)
    assert not save.due(state)
    state.step = 20
    assert save.due(state)
