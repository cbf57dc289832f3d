"""What is lowered is what a core would run; what cannot run there is found by name."""

import os
import pathlib
import re
import subprocess
import sys
import textwrap

import pytest

from sentiment_train.errors import ConfigError
from sentiment_train.runtime.runtime import Runtime
from sentiment_train.tpu.check import NotForTpu, chosen
from sentiment_train.tpu.programs import Bucket, Module, Program
from sentiment_train.tpu.refusals import Refusal, why_not_compiled

pytestmark = pytest.mark.timeout(600)

ROOT = pathlib.Path(__file__).parents[2]
BUCKET = Bucket(4, 3, 1)


def lowered(tf, function, dtype="int32", layers=()):
    arguments = (tf.TensorSpec([3], dtype),)
    return Program("test", BUCKET, function, arguments, [], layers).lower()


def test_a_step_is_one_program_with_the_sums_of_all_cores_and_bfloat16_products(check):
    (training, evaluation) = check("keras_mlp.gin", buckets=("shortest",))
    text = training.module.text
    weights = 8  # two dense layers, logits and the table, of each its gradient; and three sums
    assert text.count('"stablehlo.all_reduce"') >= weights
    assert "replica_groups = dense<[[0, 1, 2, 3]]>" in text
    products = re.findall(r"stablehlo\.dot.* : \(tensor<\w+x(\w+)>, tensor<\w+x(\w+)>\)", text)
    assert ("bf16", "bf16") in products
    # In place: the new weights and moments take the memory of the old ones.
    assert training.compiled.outputs < 0.1 * training.compiled.arguments
    assert evaluation.module.kept > evaluation.compiled.arguments  # moments stay where they are


def test_rows_of_a_batch_are_those_of_one_core(check):
    (training, _) = check("keras_mlp.gin", "Buckets.batch_size = 30", buckets=("longest",))
    rows = training.program.arguments[0].labels.shape[0]
    assert (training.program.bucket.rows, rows) == (30, 8)


@pytest.mark.parametrize(
    "setting, refused",
    [
        ("Runtime.precision = 'float16'", "Runtime.precision = 'float16' is not for a TPU"),
        ("Runtime.xla = 'off'", "Runtime.xla = 'off' is impossible on a TPU"),
    ],
)
def test_settings_that_a_tpu_cannot_have_are_refused(check, setting, refused):
    with pytest.raises(ConfigError, match=refused) as error:
        check("keras_mlp.gin", setting)
    assert error.value.exit_code == 2


def test_accumulated_steps_are_two_programs(check):
    found = check("keras_mlp.gin", "Training.accumulate_batches = 2", buckets=("all",))
    assert [c.program.name for c in found] == ["accumulation", "update", "evaluation"]


def test_what_does_not_fit_is_an_error_and_an_estimate_says_what_would(
    check, compiler, monkeypatch, capsys
):
    found = check("keras_mlp.gin", buckets=("longest",), largest="estimated")
    printed = capsys.readouterr().out
    assert re.search(r"largest    training \[rows×200\]: about [\d,]+ rows a core", printed)
    monkeypatch.setattr(compiler, "memory", found[0].needed - 1)
    with pytest.raises(NotForTpu, match=r"1 of 2 .* v5e:2x2; the first, training .*memory"):
        check("keras_mlp.gin", buckets=("longest",))
    assert "too large  training [32×200]: needs" in capsys.readouterr().out


def test_operations_without_a_form_for_a_tpu_are_named_with_their_layer(tf):
    def spells(x):
        with tf.name_scope("model/spelling_1"):
            return tf.strings.length(tf.strings.as_string(x))

    found = lowered(tf, spells, layers=("spelling",))
    assert isinstance(found, Refusal)
    assert found.why.startswith("AsString of layer 'spelling' has no form for a TPU (")
    assert "test_programs.py:" in found.why


def test_a_table_and_a_string_are_named(tf):
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(tf.constant([1]), tf.constant([2])), 0
    )
    assert "LookupTableFindV2 reads a table" in lowered(tf, table.lookup).why
    assert "strings never enter a TPU" in lowered(tf, tf.strings.length, "string").why


def test_sizes_that_depend_on_values_are_seen(tf):
    found = lowered(tf, lambda x: tf.boolean_mask(x, x > 0))
    assert isinstance(found, Module)
    assert found.dynamic
    assert not lowered(tf, lambda x: x + 1).dynamic


def test_the_compiler_may_name_an_operation():
    why = why_not_compiled('INTERNAL: no.\n metadata={op_name="model/odd/Op"}').why
    assert why == "INTERNAL: no. (model/odd/Op)"


def test_buckets_are_chosen_by_name_or_length():
    buckets = [Bucket(8, 4, 1), Bucket(16, 2, 9), Bucket(32, 1, 17)]
    assert chosen(buckets, ["all"]) == buckets
    assert chosen(buckets, ["longest", "shortest"]) == [buckets[0], buckets[2]]
    assert chosen(buckets, ["16", "16"]) == [buckets[1]]
    for names, shown in ((["9"], "'9'"), ([], "''")):
        with pytest.raises(ConfigError, match=rf"{shown} is none; use all, .* 8, 16, 32"):
            chosen(buckets, names)


def test_a_string_in_the_step_ends_the_command_by_name(compiler, cache, tmp_path):
    (tmp_path / "spelled.py").write_text(
        textwrap.dedent("""
        from dataclasses import dataclass
        import gin
        from sentiment_train.config import Part

        @gin.configurable
        @dataclass(frozen=True)
        class Spelled(Part):
            def build(self, inputs):
                import keras
                import tensorflow as tf

                class Spelling(keras.layers.Layer):
                    def call(self, tokens):
                        digits = tf.strings.length(tf.strings.as_string(tokens))
                        return tf.reduce_sum(tf.cast(digits, tf.float32), 1, keepdims=True)

                    def compute_output_spec(self, tokens):
                        return keras.KerasTensor([tokens.shape[0], 1], "float32")

                tokens = keras.Input([None], dtype="int32", name="tokens")
                lengths = keras.Input([], dtype="int32", name="lengths")
                x = Spelling(name="spelling")(tokens)
                logits = keras.layers.Dense(1, dtype="float32")(x)
                return keras.Model({"tokens": tokens, "lengths": lengths}, logits)
        """)
    )
    (tmp_path / "spelled.gin").write_text(
        textwrap.dedent("""
        import spelled
        include 'runtime/auto.gin'
        include 'data/imdb.gin'
        Experiment.model = @Spelled()
        Buckets.lengths = (200,)
        WordEncoder.max_length = 200
        """)
    )
    flags = [f"--gin_file={tmp_path / 'spelled.gin'}", f"--gin_file={ROOT / 'gin' / 'quick.gin'}"]
    finished = subprocess.run(
        [sys.executable, "-m", "sentiment_train.tpu_check", f"--cache_dir={cache}", *flags],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert finished.returncode == NotForTpu.exit_code == 7, finished.stderr
    (line,) = [line for line in finished.stderr.splitlines() if line.startswith("error: ")]
    assert "2 of 2 programs cannot run on a v5e:2x2; the first, training [" in line
    assert "AsString of layer 'spelling' has no form for a TPU" in line
    assert "Traceback" not in finished.stderr


def test_the_decisions_are_those_of_a_tpu():
    from sentiment_train.tpu.absent import decisions_for

    decisions = decisions_for(Runtime(strategy="cpu"), 4, "v5e:2x2")
    assert (decisions.precision, decisions.recurrent_loops) == ("bfloat16", "xla")
    assert (decisions.devices.kind, decisions.devices.replicas) == ("tpu", 4)
    lines = dict(decisions.lines)
    assert lines["precision"] == "bfloat16 — what a TPU multiplies in; weights stay float32"
    assert lines["runtime"] == "tpu, 4 replicas — the cores of a v5e:2x2 that is not here"
