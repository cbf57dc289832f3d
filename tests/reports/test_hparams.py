"""A sweep as TensorBoard's HParams tab sees it, read back by the tab's own backend."""

from __future__ import annotations

import uuid

import pytest

from sentiment_train.reports.hparams import HparamsWriter, value_of

AXES = {"batch_size": ("16", "32"), "cell": ("gru", "lstm"), "units": ("(64,)", "64")}
TAGS = ["validation/accuracy", "test/accuracy"]


@pytest.fixture(params=["local", "ram"])
def folder(request, tmp_path, tf):
    """An empty place on the disk and in TensorFlow's memory file system."""
    if request.param == "local":
        return str(tmp_path)
    path = f"ram://{uuid.uuid4().hex}"
    tf.io.gfile.makedirs(path)
    return path


@pytest.fixture
def write(folder, tf):
    def write(axes=AXES):
        return HparamsWriter(f"{folder}/hparams", tf.io.gfile, axes, TAGS)

    return write


@pytest.fixture
def read(folder):
    """`(experiment, session groups)` of everything below the directory of the sweep."""

    def read():
        from tensorboard import context
        from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
        from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
        from tensorboard.plugins import base_plugin
        from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups
        from tensorboard.plugins.hparams.get_experiment import Handler

        multiplexer = EventMultiplexer().AddRunsFromDirectory(folder)
        multiplexer.Reload()
        provider = MultiplexerDataProvider(multiplexer, folder)
        backend = backend_context.Context(base_plugin.TBContext(data_provider=provider))
        request = context.RequestContext()
        statuses = [
            api_pb2.STATUS_SUCCESS,
            api_pb2.STATUS_FAILURE,
            api_pb2.STATUS_RUNNING,
            api_pb2.STATUS_UNKNOWN,
        ]
        asked = api_pb2.ListSessionGroupsRequest(allowed_statuses=statuses, slice_size=100)
        groups = list_session_groups.Handler(request, backend, "", asked).run().session_groups
        experiment = Handler(request, backend, "", api_pb2.GetExperimentRequest()).run()
        return experiment, {group.name: group for group in groups}

    return read


def metrics_of(message) -> dict[str, float]:
    return {value.name.tag: round(value.value, 4) for value in message.metric_values}


def test_the_tab_shows_axes_with_their_domains_and_the_mean_over_seeds(write, read):
    from tensorboard.plugins.hparams import api_pb2

    writer = write()
    point = {"batch_size": "16", "cell": "gru", "units": "(64,)"}
    for seed, accuracy in enumerate((0.8, 0.9)):
        numbers = {"validation/accuracy": accuracy, "test/accuracy": accuracy - 0.1}
        writer.run(f"a,seed={seed}", "a", point, numbers, (1000.0, 1060.0))
    other = {"batch_size": "32", "cell": "lstm", "units": "64"}
    writer.run("b,seed=0", "b", other, None, (1000.0, 1010.0))

    experiment, groups = read()
    domains = {info.name: info for info in experiment.hparam_infos}
    assert [v.number_value for v in domains["batch_size"].domain_discrete.values] == [16, 32]
    assert [v.string_value for v in domains["cell"].domain_discrete.values] == ["gru", "lstm"]
    assert [v.string_value for v in domains["units"].domain_discrete.values] == ["(64,)", "64"]
    assert all(info.differs for info in domains.values())  # else it is not shown at first
    assert [info.name.tag for info in experiment.metric_infos] == TAGS

    assert groups["a"].hparams["batch_size"].number_value == 16
    assert groups["a"].hparams["cell"].string_value == "gru"
    assert metrics_of(groups["a"]) == {"validation/accuracy": 0.85, "test/accuracy": 0.75}
    sessions = {session.name: session for session in groups["a"].sessions}
    assert set(sessions) == {"hparams/a,seed=0", "hparams/a,seed=1"}
    one = sessions["hparams/a,seed=1"]
    assert metrics_of(one) == {"validation/accuracy": 0.9, "test/accuracy": 0.8}
    assert one.end_time_secs - one.start_time_secs == 60
    assert one.status == api_pb2.STATUS_SUCCESS
    assert groups["b"].sessions[0].status == api_pb2.STATUS_FAILURE
    assert metrics_of(groups["b"]) == {}


def test_a_new_writer_forgets_an_older_grid(write, read):
    write().run("old", "old", {"cell": "gru"}, {"test/accuracy": 0.5}, (0.0, 1.0))
    write({"dropout": ("0", "0.5")}).run(
        "new", "new", {"dropout": "0"}, {"test/accuracy": float("nan")}, (0.0, 1.0)
    )
    experiment, groups = read()
    assert [info.name for info in experiment.hparam_infos] == ["dropout"]
    assert set(groups) == {"new"}
    assert metrics_of(groups["new"]) == {}  # not a number is not shown


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("16", 16), ("1e-3", 0.001), ("True", True), ("gru", "gru"), ("'gru'", "gru")],
        *[("(64,)", "(64,)"), ("None", "None"), ("@Adam()", "@Adam()")],
    ],
)
def test_a_value_is_a_number_a_truth_or_a_text(text, value):
    assert value_of(text) == value
    assert type(value_of(text)) is type(value)
