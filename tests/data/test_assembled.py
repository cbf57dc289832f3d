"""What the options of data and buckets come to in an experiment, assembled in this process."""

from collections import Counter

import numpy as np
import pytest

from sentiment_train import config, overview
from sentiment_train.assembly import Assembly
from sentiment_train.data.batches import FILLER
from sentiment_train.data.sources.packaged import PackagedTweets
from sentiment_train.data.splits import Splits
from sentiment_train.errors import ConfigError, DataError
from sentiment_train.experiment import Experiment
from sentiment_train.run import Run
from sentiment_train.run_directory import RunDirectory

SMALL = [
    "Experiment.source = @PackagedReviews()",
    "PackagedReviews.subset = 'rotten_tomatoes'",
    "Experiment.model = @RecurrentClassifier()",
    "RecurrentClassifier.cell = 'gru'",
    "RecurrentClassifier.units = (4,)",
    "RecurrentClassifier.embedding_size = 4",
    "WordEncoder.max_length = 60",  # longer than any of them
    "Splits.max_examples = 300",
    "Buckets.count = 2",
    "Training.length = '1 epochs'",
]
LONGEST = ["Buckets.pad_to = 'longest_in_batch'", "Buckets.batch_size = 16"]


def make(*bindings: str) -> Experiment:
    return config.make(Experiment, config.parse([], [*SMALL, *bindings]))


@pytest.fixture(scope="module")
def assemble(tmp_path_factory):
    cache = str(tmp_path_factory.mktemp("cache"))
    return lambda *bindings: Assembly(make(*bindings), cache)


@pytest.mark.parametrize("shapes", [[], LONGEST], ids=["bucket", "longest_in_batch"])
def test_rows_that_are_too_long_are_evaluated_but_not_trained_on(assemble, capsys, shapes):
    assembly = assemble("Buckets.leave_out_above = 20", *shapes)
    lengths = {name: split.lengths for name, split in assembly.data.splits.items()}
    kept = np.flatnonzero(lengths["train"] <= 20)
    assert 50 < len(kept) < len(lengths["train"]) == 240
    for epoch in (0, 1):
        planned = assembly.feeding.order(epoch)
        rows = np.concatenate([batch.rows for batch in planned])
        assert sorted(rows[rows != FILLER]) == kept.tolist()
        assert len(planned) == assembly.steps_per_epoch
    assert max(lengths["test"]) > 20
    assert assembly.evaluate("test")["examples"] == 30
    overview.print_data(assembly)
    overview.print_buckets(assembly)
    overview.print_bucket_table(assembly)
    printed = capsys.readouterr().out
    assert f"{240 - len(kept)} texts longer than 20 tokens left out of training" in printed
    table = [words for line in printed.splitlines() if (words := line.split())[0].isdecimal()]
    in_buckets = [int(row[2]) for row in table if len(row) == 5]
    assert sum(in_buckets) == (0 if shapes else len(kept))


@pytest.mark.parametrize(
    "shapes", [[], ["Buckets.batch_size = 8"], LONGEST], ids=["buckets", "equal rows", "longest"]
)
def test_batches_of_all_shapes_need_one_trace_on_a_cpu(tf, assemble, tmp_path, shapes):
    assembly = assemble(*shapes)
    planned = assembly.feeding.order(0)[:6]
    assert len({batch.length for batch in planned}) > 1
    run = Run(assembly, RunDirectory(str(tmp_path)))
    run.step.trace(assembly.feeding.batch_of_any_shape())
    for number, batch in enumerate(assembly.feeding.read(planned)):
        run.step.train(batch, tf.constant(number), 0)
    assert run.step.train.experimental_get_tracing_count() == 1


def test_batches_padded_to_their_longest_are_announced(assemble, capsys):
    overview.print_buckets(assemble(*LONGEST))
    shapes = "batches of 16 random rows, padded to the longest of each; 4"
    assert shapes in capsys.readouterr().out


def test_what_is_compiled_as_a_whole_has_a_trace_for_each_bucket(assemble):
    assert assemble("Runtime.xla = 'on'").feeding.batch_of_any_shape() is None


def test_what_is_left_out_is_printed(assemble, capsys):
    overview.print_data(assemble())
    line = capsys.readouterr().out.splitlines()[-3]
    assert "240 train, 30 validation, 30 test" in line
    assert line.endswith("8,230 more than Splits.max_examples not taken")


@pytest.mark.parametrize(
    "setting", ["Splits.confidence_above = 0.5", "Splits.confidence_as_weight = True"]
)
def test_confidences_that_are_not_there_are_asked_for(assemble, setting):
    with pytest.raises(DataError, match=r"every example has 1\.0\. Name the column"):
        _ = assemble(setting).data


def test_padding_to_the_longest_is_refused_where_shapes_are_compiled(assemble):
    with pytest.raises(ConfigError, match="XLA would compile each of them") as error:
        _ = assemble("Runtime.xla = 'on'", *LONGEST).buckets
    assert error.value.binding == "Buckets.pad_to"


@pytest.mark.parametrize("max_length", [19, 20])
def test_a_limit_that_nothing_reaches_is_refused(max_length):
    limits = ("Buckets.leave_out_above = 20", f"WordEncoder.max_length = {max_length}")
    with pytest.raises(ConfigError, match=f"WordEncoder cuts every text to {max_length} tokens"):
        make(*limits)
    assert make(limits[0], "WordEncoder.max_length = 21").buckets.leave_out_above == 20


def test_models_are_told_the_most_tokens_of_a_text(assemble, monkeypatch):
    assembly, told = assemble(), []
    kind = type(assembly.experiment.model)
    build = kind.build
    monkeypatch.setattr(
        kind, "build", lambda self, inputs: told.append(inputs.max_length) or build(self, inputs)
    )
    assembly.new_model()
    assert told == [60]


def test_the_gin_file_of_the_airline_tweets_splits_and_filters_them():
    bindings = ["Experiment.model = @RecurrentClassifier()"]
    experiment = config.make(Experiment, config.parse(["data/airline.gin"], bindings))
    assert experiment.source == PackagedTweets()
    assert experiment.splits == Splits(validation=0.2, test=0.2, confidence_above=0.5)


def test_the_original_table_of_airline_tweets_is_read_as_the_gin_file_says(tmp_path):
    header = (
        "tweet_id,airline_sentiment,airline_sentiment_confidence,negativereason,"
        "negativereason_confidence,airline,airline_sentiment_gold,name,negativereason_gold,"
        "retweet_count,text,tweet_coord,tweet_created,tweet_location,user_timezone"
    )
    rows = [
        '1,neutral,1.0,,,United,,a,,0,"@united what,\nand ""when""?",,2015-02-24,,',
        "2,positive,0.3486,,0.0,Delta,,b,,0,@JetBlue 💖 it’s ok,[40.1; -74.2],2015-02-24,NY,",
        "3,negative,0.7,Late Flight,0.7,Delta,,c,,1,late,,2015-02-24,,Quito",
    ]
    path = tmp_path / "Tweets.csv"
    path.write_text("\n".join([header, *rows]), encoding="utf-8")
    bindings = ["Experiment.model = @RecurrentClassifier()", f"CsvSource.path = '{path}'"]
    parsed = config.parse(["data/airline_csv.gin"], bindings)
    experiment = config.make(Experiment, parsed)
    examples = list(experiment.source.splits()["all"])
    assert [(e.text, e.label, e.confidence) for e in examples] == [
        ('@united what,\nand "when"?', "neutral", 1.0),
        ("@JetBlue 💖 it’s ok", "positive", 0.3486),
        ("late", "negative", 0.7),
    ]
    assert experiment.splits.confidence_above == 0.5
    assert Counter(e.label for e in examples).keys() == set(experiment.source.class_names)
