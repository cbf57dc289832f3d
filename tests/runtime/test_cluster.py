import json
import os

import pytest

from sentiment_train.errors import ConfigError
from sentiment_train.runtime.cluster import Cluster, from_environment

TWO = {"worker": ["a:1", "b:2"]}
WITH_CHIEF = {"chief": ["c:9"], **TWO}


@pytest.fixture
def cluster_of(monkeypatch):
    def parse(text, variable="TF_CONFIG"):
        for name in ("TF_CONFIG", "CLUSTER_SPEC"):
            monkeypatch.setenv(name, "")  # and so is put back, though the code may set it
        monkeypatch.setenv(variable, text)
        return from_environment()

    return parse


POOLS = {"workerpool0": ["c:9"], "workerpool1": ["a:1", "b:2"]}


def config(cluster=TWO, kind="worker", index=0, **more):
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}, **more})


@pytest.mark.parametrize(
    "text, expected, is_chief",
    [
        (config(), Cluster(("a:1", "b:2"), 0), True),
        (config(index=1), Cluster(("a:1", "b:2"), 1), False),
        (config(index="1"), Cluster(("a:1", "b:2"), 1), False),
        (config(WITH_CHIEF, "chief"), Cluster(("c:9", "a:1", "b:2"), 0), True),
        (config(WITH_CHIEF, "worker", 0), Cluster(("c:9", "a:1", "b:2"), 1), False),
        (config({"worker": ["[::1]:22"]}), Cluster(("[::1]:22",), 0), True),
    ],
)
def test_chief_and_workers_are_one_list(cluster_of, text, expected, is_chief):
    cluster = cluster_of(text)
    assert (cluster, cluster.is_chief) == (expected, is_chief)
    assert cluster.workers == len(expected.addresses)


def test_one_process_is_a_cluster_of_one(cluster_of):
    alone = cluster_of("")
    assert (alone.workers, alone.is_chief, alone.others) == (1, True, ())


def test_workers_are_named_by_index_and_address(cluster_of):
    cluster = cluster_of(config(WITH_CHIEF, "worker", 0))
    assert (cluster.name(2), cluster.others) == ("worker 2 (b:2)", (0, 2))


@pytest.mark.parametrize(
    "kind, index, place", [("workerpool0", 0, 0), ("workerpool1", 0, 1), ("workerpool1", "1", 2)]
)
def test_the_pools_of_vertex_are_chief_and_workers_for_tensorflow_too(
    cluster_of, kind, index, place
):
    more = {"environment": "cloud", "job": "{}"}
    given = cluster_of(config(POOLS, kind, index, **more), "CLUSTER_SPEC")
    assert given == Cluster(("c:9", "a:1", "b:2"), place)
    assert from_environment() == given  # now by TF_CONFIG, which TensorFlow reads
    role = "chief" if place == 0 else "worker"
    task = {"type": role, "index": int(index)}
    assert json.loads(os.environ["TF_CONFIG"]) == {"cluster": WITH_CHIEF, "task": task}


def test_tf_config_counts_before_the_pools(cluster_of, monkeypatch):
    assert cluster_of(config(POOLS, "workerpool0"), "CLUSTER_SPEC").workers == 3
    monkeypatch.setenv("TF_CONFIG", config())
    assert from_environment() == Cluster(("a:1", "b:2"), 0)


@pytest.mark.parametrize(
    "text, problem",
    [
        ("{", "CLUSTER_SPEC is not of the form .*workerpool0"),
        (config(POOLS, "worker"), "'worker' does not train; use workerpool0 or workerpool1"),
        (config(POOLS, "workerpool1", 2), "task index 2, but there are 2 workerpool1s"),
        (config({**POOLS, "workerpool2": ["p:1"]}, "workerpool0"), "'workerpool2' does not train"),
        (config({**POOLS, "workerpool0": ["c:9", "d:9"]}, "workerpool0"), "more than one chief"),
    ],
)
def test_malformed_pools_are_refused_with_one_message(cluster_of, text, problem):
    with pytest.raises(ConfigError, match=problem) as refused:
        cluster_of(text, "CLUSTER_SPEC")
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    "text, problem",
    [
        ("{", "is not of the form"),
        ("[]", "is not of the form"),
        ("3", "is not of the form"),
        ("null", "is not of the form"),
        ("{}", "is not of the form .*cluster"),
        ('{"cluster": {}}', "is not of the form .*task"),
        (config([]), "is not of the form"),
        (config(None), "is not of the form"),
        (config({"worker": 3}), "worker is 3; write a list"),
        (config({"worker": "a:1"}), "worker is .a:1.; write a list"),
        (config({"worker": {"0": "a:1"}}), "write a list"),
        (config(index=None), "is not of the form"),
        (config(index="first"), "is not of the form"),
        (config(index=0.5), "is not of the form"),
        (config(index=True), "is not of the form"),
        (config(index=float("inf")), "is not of the form"),
        (config({}), "task index 0, but there are 0 workers"),
        (config(index=2), "task index 2, but there are 2 workers"),
        (config(index=-1), "task index -1"),
        (config(kind="chief"), "task index 0, but there are 0 chiefs"),
        (config(kind="evaluator"), "task type 'evaluator' does not train"),
        (config(kind="ps"), "task type 'ps' does not train"),
        (config(kind=None), "task type 'None' does not train"),
        (config(kind=["worker"]), "does not train"),
        (config({"worker": ["a"]}), "'a' is not host:port"),
        (config({"worker": ["a:b"]}), "'a:b' is not host:port"),
        (config({"worker": ["a:0"]}), "'a:0' is not host:port"),
        (config({"worker": ["a:65536"]}), "'a:65536' is not host:port"),
        (config({"worker": [":1"]}), "':1' is not host:port"),
        (config({"worker": ["a:1", None]}), "'None' is not host:port"),
        (config({"worker": ["a:1", "a:1"]}), r"\['a:1'\] is there more than once"),
        (config({"chief": ["a:1"], **TWO}), "more than once"),
        (config({"chief": ["c:1", "d:1"], **TWO}), "more than one chief"),
        (config({"master": ["c:1"], **TWO}), "'master'"),
    ],
)
def test_a_malformed_cluster_is_refused_with_one_message(cluster_of, text, problem):
    with pytest.raises(ConfigError, match=problem) as refused:
        cluster_of(text)
    assert "\n" not in refused.value.message
