"""`--grid` becomes bindings and cells; every mistake is told before anything starts."""

from __future__ import annotations

import ast
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_train import config
from sentiment_train.campaigns.grid import as_gin, axes_of, cells_of, split_values
from sentiment_train.errors import ConfigError
from sentiment_train.experiment import Experiment

EXPERIMENT = [
    "Experiment.source = @PackagedReviews()",
    "Experiment.model = @RecurrentClassifier()",
    "Experiment.schedule = @CosineSchedule()",
]


def experiment():
    return config.make(Experiment, config.parse([], EXPERIMENT))


def cells(*grids):
    return cells_of(axes_of(grids, experiment))


def test_the_grid_of_document_004():
    made = cells("batch_size=16,32,64", "epochs=2,5", "seed=0,1,2")
    assert len(made) == 18
    assert made[0].name == "batch_size=16,epochs=2,seed=0"
    assert made[-1].name == "batch_size=64,epochs=5,seed=2"
    assert made[0].bindings == (
        "Buckets.batch_size = 16",
        "Training.length = '2 epochs'",
        "Runtime.seed = 0",
    )
    assert made[0].values == {"batch_size": "16", "epochs": "2"}
    assert (made[0].seed, made[0].point) == ("0", "batch_size=16,epochs=2")


def test_the_order_of_the_axes_makes_no_other_cells():
    one = cells("seed=0,1", "epochs=2", "batch_size=16,32")
    other = cells("batch_size=16,32", "epochs=2", "seed=0,1")
    assert {cell.name for cell in one} == {cell.name for cell in other}
    assert one[0].name == "batch_size=16,epochs=2,seed=0"


@pytest.mark.parametrize(
    ("grid", "binding"),
    [
        ("steps=100", "Training.length = '100 steps'"),
        ("learning_rate=3e-3", "CosineSchedule.learning_rate = 3e-3"),
        ("dropout=0.5", "RecurrentClassifier.dropout = 0.5"),
        ("units=(64, 32)", "RecurrentClassifier.units = (64, 32)"),
        ("cell=gru", "RecurrentClassifier.cell = 'gru'"),
        ("pooling=mean+max", "RecurrentClassifier.pooling = 'mean+max'"),
        ("bidirectional=True", "RecurrentClassifier.bidirectional = True"),
        ("vocabulary_size=1000", "Vocabulary.max_size = 1000"),
        ("max_length=None", "WordEncoder.max_length = None"),
        ("clip_norm=1.0", "Training.clip_norm = 1.0"),
        ("beta_1=0.8", "Adam.beta_1 = 0.8"),
        ("Experiment.optimizer=@Nadam()", "Experiment.optimizer = @Nadam()"),
        ("Validation.every=1 epoch", "Validation.every = '1 epoch'"),
    ],
)
def test_a_short_name_or_a_whole_binding(grid, binding):
    (cell,) = cells(grid)
    assert cell.bindings == (binding,)
    config.make(Experiment, config.parse([], [*EXPERIMENT, *cell.bindings]))


@pytest.mark.parametrize(
    ("grids", "message"),
    [
        (["dropuot=0.1"], "no part of this experiment has 'dropuot'. Did you mean 'dropout'?"),
        (["batch_sise=1"], "Did you mean 'batch_size'?"),
        (["every=1 epoch"], "'every' may be Checkpointing.every or Validation.every; write which"),
        (["batch_size"], "write name=value,value,… such as batch_size=16,32"),
        (["batch_size="], "a value is empty"),
        (["batch_size=16,,32"], "a value is empty"),
        (["units=(64,),(64"], "a bracket or quote is not closed"),
        (["cell='gru"], "a bracket or quote is not closed"),
        (["learning_rate=1e-3,0.001"], "the value 0.001 is there twice"),
        (["seed=1", "seed=2"], "--grid=seed is given twice"),
        (["epochs=2", "steps=100"], "'epochs' and 'steps' both set Training.length"),
        (["seed=1", "Runtime.seed=2"], "both set Runtime.seed"),
    ],
)
def test_a_mistake_is_one_message(grids, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        axes_of(grids, experiment)


literals = st.recursive(
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
    | st.text("ab ,()[]'\"\\%@=é"),
    lambda inner: st.tuples(inner, inner) | st.lists(inner, max_size=3) | st.tuples(inner),
    max_leaves=6,
)


@given(st.lists(literals, min_size=1, max_size=5))
def test_values_are_cut_only_at_commas_outside_brackets_and_quotes(values):
    texts = [repr(value) for value in values]
    assert split_values(",".join(texts), "") == texts
    assert [ast.literal_eval(as_gin(text)) for text in texts] == values


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4, unique=True))
def test_cells_have_different_names_that_are_fit_for_a_path(values):
    texts = [repr(value) for value in values]
    made = cells(f"WordEncoder.truncation={','.join(texts)}", "seed=0,1")
    names = [cell.name for cell in made]
    assert len({name.lower() for name in names}) == len(made) == 2 * len(values)
    assert all(re.fullmatch(r"[\w.+=,-]{1,200}", name, flags=re.ASCII) for name in names)


def test_a_bare_word_gets_quotes_and_nothing_else_does():
    assert [as_gin(text) for text in ("gru", "mean+max", "2 epochs")] == [
        "'gru'",
        "'mean+max'",
        "'2 epochs'",
    ]
    for text in ("1e-3", "-1", "None", "True", "(64,)", "'gru'", "@Adam()", "%WIDTH"):
        assert as_gin(text) == text
