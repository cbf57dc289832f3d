import json

import pytest

from sentiment_train.errors import ConfigError
from sentiment_train.runtime import together
from sentiment_train.runtime.cluster import Cluster
from sentiment_train.runtime.peers import agree


def tf_config(*addresses):
    task = {"type": "worker", "index": 0}
    return json.dumps({"cluster": {"worker": addresses}, "task": task})


@pytest.mark.parametrize("strategy", ["cpu", "mirrored", "tpu"])
def test_a_strategy_for_one_process_is_refused_in_a_cluster(monkeypatch, strategy):
    monkeypatch.setenv("TF_CONFIG", tf_config("a:1", "b:1"))
    with pytest.raises(ConfigError, match=f"'{strategy}' is for one process.* names 2 workers"):
        together.peers_of(strategy, 1, {})


@pytest.mark.parametrize("strategy", ["auto", "cpu", "multi_worker"])
def test_one_worker_meets_nobody_and_agrees_with_itself(monkeypatch, strategy):
    monkeypatch.setenv("TF_CONFIG", tf_config("no.such.host:1"))
    with together.peers_of(strategy, 1, {}) as alone:
        assert alone.cluster == Cluster(("no.such.host:1",), 0)
        assert alone.gather({"a": 1}) == [{"a": 1}]
        agree(alone, "data", "digest", "")
        assert not alone.should_stop()
        alone.ask_to_stop()
        assert alone.should_stop()
        assert alone.stop_was_asked
