import re

import keras
import numpy as np
import pytest

from sentiment_train.errors import ConfigError
from sentiment_train.runtime.runtime import Runtime, decide

pytestmark = pytest.mark.usefixtures("tf")


@pytest.fixture(autouse=True)
def _float32():
    yield
    keras.mixed_precision.set_dtype_policy("float32")


def lines(**settings):
    return dict(decide(Runtime(strategy="cpu", **settings)).lines)


def test_every_decision_has_a_line_with_its_reason():
    assert lines() == {
        "runtime": "cpu, 1 replica — as configured",
        "precision": "float32 — the default; every device has it",
        "xla": "only loops over time, in training — on a CPU the rest gains nothing by it",
        "cudnn": "off — no GPU; recurrent layers are our own loop over time",
        "randomness": "seed 0, deterministic ops — the same command gives the same bits",
    }


@pytest.mark.parametrize(
    "settings, what, line",
    [
        ({"logical_cpus": 2}, "runtime", "cpu, 2 replicas — Runtime.logical_cpus = 2"),
        ({"precision": "bfloat16"}, "precision", "bfloat16 — as configured; .* slower"),
        ({"precision": "float16"}, "precision", "float16 — as configured; .*the loss is scaled"),
        ({"xla": "on"}, "xla", "on — as configured$"),
        ({"xla": "off"}, "xla", "off — as configured$"),
        ({"seed": 7}, "randomness", "seed 7, deterministic"),
        ({"deterministic": False}, "randomness", "seed 0, ops as fast as they come"),
    ],
)
def test_what_is_configured_is_in_its_line(settings, what, line):
    assert re.match(line, lines(**settings)[what])


@pytest.mark.parametrize(
    "precision, policy",
    [("float32", "float32"), ("bfloat16", "mixed_bfloat16"), ("float16", "mixed_float16")],
)
def test_the_precision_is_set_for_layers_made_afterwards(precision, policy):
    decisions = decide(Runtime(strategy="cpu", precision=precision))
    assert decisions.float16 is (precision == "float16")
    assert keras.layers.Dense(1).dtype_policy.name == policy


@pytest.mark.parametrize("xla, compiled, use_cudnn", [("on", True, False), ("auto", False, False)])
def test_xla_and_cudnn_are_not_used_together(xla, compiled, use_cudnn):
    decisions = decide(Runtime(strategy="cpu", xla=xla))
    assert (decisions.jit_compile, decisions.use_cudnn) == (compiled, use_cudnn)


@pytest.mark.parametrize("xla, loops", [("auto", "compiled"), ("on", "xla"), ("off", "plain")])
def test_loops_over_time_are_compiled_on_a_cpu_unless_xla_is_off(xla, loops):
    assert decide(Runtime(strategy="cpu", xla=xla)).recurrent_loops == loops


def test_replicas_share_the_cores():
    alone, two = (decide(Runtime(strategy="cpu", logical_cpus=n)).cores for n in (1, 2))
    assert two == max(alone // 2, 1)


def test_the_seed_fixes_initial_weights():
    def kernel(seed):
        assert decide(Runtime(strategy="cpu", seed=seed)).seed == seed
        layer = keras.layers.Dense(4)
        layer.build((None, 3))
        return layer.kernel.numpy()

    np.testing.assert_array_equal(kernel(3), kernel(3))
    assert not np.array_equal(kernel(3), kernel(4))


@pytest.mark.parametrize(
    "setting",
    [
        {"logical_cpus": 0},
        {"logical_cpus": 65},
        {"seed": -1},
        {"seed": 2**31},
        {"precision": "float64"},
        {"strategy": "gpu"},
        {"xla": True},
        {"deterministic": 1},
    ],
)
def test_settings_out_of_range_are_refused_by_name(setting):
    (name,) = setting
    with pytest.raises(ConfigError, match=rf"Runtime\.{name} = "):
        Runtime(**setting)
