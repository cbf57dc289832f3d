"""GPUs and TPUs, as far as a machine without them can tell."""

import glob
import types

import keras
import pytest

from sentiment_train.errors import ConfigError
from sentiment_train.runtime import accelerators
from sentiment_train.runtime.peers import Alone
from sentiment_train.runtime.runtime import Runtime, decide
from sentiment_train.runtime.strategy import Devices

PLACES = ("TPU_NAME", "COLAB_TPU_ADDR", "COLAB_TPU_1VM", "TPU_ACCELERATOR_TYPE")


@pytest.fixture(autouse=True)
def _as_it_was(tf, monkeypatch):
    for name in (*PLACES, "TPU_WORKER_HOSTNAMES", "TF_CONFIG", "CLUSTER_SPEC"):
        monkeypatch.delenv(name, raising=False)
    yield
    keras.mixed_precision.set_dtype_policy("float32")
    tf.config.experimental.enable_tensor_float_32_execution(True)


def decided(tf, kind, **settings):
    """The decisions for devices that are only said to be of a kind."""
    devices = Devices(kind, tf.distribute.OneDeviceStrategy("/cpu:0"), Alone(), "for a test")
    return decide(Runtime(**settings), devices=devices)


@pytest.mark.parametrize(
    "kind, settings, precision, line",
    [
        ("cpu", {}, "float32", "float32 — the default; every device has it"),
        ("tpu", {}, "bfloat16", "bfloat16 — what a TPU multiplies in; weights stay float32"),
        (
            "gpu",
            {},
            "float32",
            "float32 — the default; every device has it; products in TensorFloat-32, where the GPU"
            " has it (Runtime.tensor_float_32)",
        ),
        (
            "gpu",
            {"precision": "float32", "tensor_float_32": False},
            "float32",
            "float32 — as configured; products in all 32 bits, by Runtime.tensor_float_32 = False",
        ),
        (
            "tpu",
            {"precision": "float32"},
            "float32",
            "float32 — as configured; products in bfloat16 (Runtime.tensor_float_32)",
        ),
        (
            "gpu",
            {"precision": "float16"},
            "float16",
            "float16 — as configured; weights stay float32, the loss is scaled",
        ),
    ],
)
def test_the_precision_is_decided_by_the_device_and_told(tf, kind, settings, precision, line):
    decisions = decided(tf, kind, **settings)
    assert decisions.precision == precision
    assert dict(decisions.lines)["precision"] == line
    policy = "float32" if precision == "float32" else f"mixed_{precision}"
    assert keras.layers.Dense(1).dtype_policy.name == policy


def test_the_products_of_float32_are_switched(tf):
    def products():
        function = tf.function(lambda x: tf.matmul(x, x), jit_compile=True)
        return function.experimental_get_compiler_ir(tf.zeros([2, 2]))(stage="stablehlo")

    decided(tf, "gpu", tensor_float_32=False)
    assert not tf.config.experimental.tensor_float_32_execution_enabled()
    assert "precision = [HIGHEST, HIGHEST]" in products()
    decided(tf, "gpu")
    assert "precision = [DEFAULT, DEFAULT]" in products()


@pytest.mark.parametrize(
    "kind, settings, tolerance",
    [
        ("cpu", {}, 1e-5),
        ("gpu", {}, 1e-2),
        ("gpu", {"tensor_float_32": False}, 1e-3),
        ("tpu", {}, 5e-2),
        ("tpu", {"precision": "float32", "tensor_float_32": False}, 1e-3),
    ],
)
def test_an_export_may_differ_by_as_much_as_the_products_do(tf, kind, settings, tolerance):
    assert decided(tf, kind, **settings).logit_tolerance == tolerance


def test_the_gpus_that_are_named_are_used_and_no_others(tf, monkeypatch):
    shown, growing = [], []
    found = [f"gpu {i}" for i in range(4)]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: found)
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda d, kind: shown.append((d, kind)))
    grow = lambda device, on: growing.append((device, on))  # noqa: E731
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", grow)
    accelerators.use_gpus(tf, (3, 1))
    assert shown == [(["gpu 3", "gpu 1"], "GPU")]
    assert growing == [("gpu 3", True), ("gpu 1", True)]
    accelerators.use_gpus(tf, None)
    assert len(shown) == 1
    assert growing[2:] == [(gpu, True) for gpu in found]


def test_a_gpu_that_is_not_there_is_named():
    with pytest.raises(
        ConfigError, match=r"gpus = \(0, 2\): there is no GPU 2; TensorFlow finds 2"
    ):
        accelerators.named_gpus(["a", "b"], (0, 2))
    with pytest.raises(ConfigError, match=r"Runtime.gpus = \(0,\) found no GPU"):
        accelerators.named_gpus([], (0,))


@pytest.mark.parametrize("strategy", ["auto", "mirrored"])
def test_named_gpus_are_never_replaced_by_a_cpu(tf, strategy):
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigError, match="found no GPU"):
        decide(Runtime(strategy=strategy, gpus=(0,)))


@pytest.mark.parametrize(
    "settings, problem",
    [
        ({"gpus": ()}, "different numbers from 0 on"),
        ({"gpus": (1, 1)}, "different numbers from 0 on"),
        ({"gpus": (-1,)}, "different numbers from 0 on"),
        ({"gpus": (0,), "strategy": "cpu"}, "changes nothing with strategy = 'cpu'"),
        ({"gpus": (0,), "strategy": "tpu"}, "changes nothing with strategy = 'tpu'"),
        ({"gpus": (0,), "logical_cpus": 2}, "does not go with logical_cpus"),
        ({"wait_for_workers": 0}, "1 to 86400 seconds"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, problem):
    with pytest.raises(ConfigError, match=problem):
        Runtime(**settings)


@pytest.mark.parametrize(
    "variables, address",
    [
        ({}, None),
        ({"TPU_NAME": "local"}, "local"),
        ({"TPU_NAME": "my-tpu"}, "my-tpu"),
        ({"TPU_NAME": "grpc://10.0.0.2:8470"}, "grpc://10.0.0.2:8470"),
        ({"COLAB_TPU_ADDR": "10.0.0.2:8470"}, "grpc://10.0.0.2:8470"),
        ({"COLAB_TPU_1VM": "1", "TPU_ACCELERATOR_TYPE": "v5e-1"}, "local"),
        ({"COLAB_TPU_1VM": ""}, None),  # as Colab and Kaggle set it on machines without a TPU
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, "local"),
        ({"TPU_NAME": "my-tpu", "TPU_WORKER_HOSTNAMES": "localhost"}, "my-tpu"),
    ],
)
def test_the_environment_says_where_a_tpu_is(monkeypatch, variables, address):
    monkeypatch.setattr(glob, "glob", lambda pattern: [])
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert accelerators.tpu_address() == address


def test_a_part_of_a_tpu_is_not_taken_for_all_of_it(tf, monkeypatch):
    connected = []
    monkeypatch.setattr(accelerators, "_has_tpu_ops", lambda tf: True)
    one_core = tf.distribute.OneDeviceStrategy("/cpu:0")
    monkeypatch.setattr(accelerators, "connect", lambda tf, a: connected.append(a) or one_core)
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "host-0,host-1")
    with pytest.raises(ConfigError, match="one of 2 machines of a TPU slice"):
        accelerators.tpu(tf, 1)
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "host-0")
    assert accelerators.tpu(tf, 1) == (one_core, "1 TPU core found")
    assert connected == ["local"]


def test_chips_of_this_machine_are_a_tpu(monkeypatch):
    monkeypatch.setattr(glob, "glob", lambda pattern: ["/dev/accel0"])
    assert accelerators.tpu_address() == "local"


def test_a_tpu_is_connected_to_by_its_address(tf, monkeypatch):
    asked = []
    resolver = types.SimpleNamespace(connect=lambda tpu: asked.append(tpu) or "the resolver")
    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", resolver)
    monkeypatch.setattr(tf.distribute, "TPUStrategy", lambda found: ("strategy of", found))
    assert accelerators.connect(tf, "my-tpu") == ("strategy of", "the resolver")
    assert asked == ["my-tpu"]


@pytest.mark.parametrize(
    "error",
    [ValueError("no such name\nmore"), RuntimeError("no such name"), OSError("no such name")],
)
def test_a_tpu_that_does_not_answer_is_one_message(tf, monkeypatch, error):
    def connect(tpu):
        raise error

    resolver = types.SimpleNamespace(connect=connect)
    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", resolver)
    with pytest.raises(ConfigError, match=r"no TPU answers at 'x' \(no such name\)\. Set TPU_NAME"):
        accelerators.connect(tf, "x")


def test_the_package_that_is_missing_is_named(tf):
    if accelerators._has_tpu_ops(tf):
        pytest.skip("this TensorFlow can use TPUs")
    with pytest.raises(ConfigError, match="extra `tpu`, which brings tensorflow-tpu"):
        decide(Runtime(strategy="tpu"))
