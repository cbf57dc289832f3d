"""The process of the TPU compiler: what it answers, and what becomes of it when it dies."""

import importlib.util

import pytest

from sentiment_train.errors import ConfigError, UserError
from sentiment_train.tpu.compiler import TpuCompiler
from sentiment_train.tpu.topologies import TOPOLOGIES, check_topology

ADD = """
module @add {
  func.func public @main(%a: tensor<1024x1024xf32>) -> tensor<1024x1024xf32> {
    %0 = stablehlo.add %a, %a : tensor<1024x1024xf32>
    %1 = "mhlo.copy"(%0) : (tensor<1024x1024xf32>) -> tensor<1024x1024xf32>
    return %1 : tensor<1024x1024xf32>
  }
}
"""
TOO_LARGE = ADD.replace("1024x1024", "4194304x1024")  # 16 GiB in, 16 GiB out
ON_THE_HOST = ADD.replace(
    "stablehlo.add %a, %a :",
    "stablehlo.custom_call @of_no_tpu(%a) : (tensor<1024x1024xf32>) ->",
)


def test_the_memory_of_a_program_is_counted(compiler):
    found = compiler.compile(ADD)
    assert found.error is None
    assert (found.arguments, found.outputs) == (2**22, 2**22)
    assert 0 < found.code < found.total < compiler.memory
    assert found.total == found.arguments + found.outputs + found.temporaries + found.code


def test_answers_come_in_the_order_of_the_programs_whatever_becomes_of_them(compiler):
    modules = [ADD, "this is no module", TOO_LARGE, ON_THE_HOST, ADD]
    for module in modules:
        compiler.send(module)
    first, unread, large, host, last = [compiler.receive() for _ in modules]
    assert first.total == last.total
    assert "parse" in unread.error
    assert unread.needed is None
    assert 31 * 2**30 < large.needed == large.total < 33 * 2**30
    assert "of_no_tpu" in host.error


@pytest.mark.parametrize(
    "topology, cores, gib", [("v5e:1x1", 1, 15.75), ("v4:2x2x1", 8, 15.25), ("v6e:2x4", 8, 31.24)]
)
def test_each_kind_of_tpu_has_cores_and_memory(compiler, topology, cores, gib):
    with TpuCompiler(topology) as other:
        assert other.cores == cores
        assert other.memory == pytest.approx(gib * 2**30, rel=1e-3)
        assert other.compile(ADD).error is None


def test_a_compiler_that_dies_is_one_message(compiler):
    with TpuCompiler(compiler.topology) as dying:
        dying._process.kill()
        dying.send(ADD)
        with pytest.raises(UserError, match="TPU compiler has ended in the midst of it: exit"):
            dying.receive()


def test_a_topology_that_libtpu_does_not_know_is_one_message(compiler):
    with pytest.raises(UserError, match=r"does not start: .*v7x"):
        TpuCompiler("v7x:2x2")


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"not installed \(jax and libtpu\).*\[tpu-check\]"):
        TpuCompiler("v5e:2x2")


def test_names_of_topologies_are_checked_before_anything_starts():
    for name in TOPOLOGIES:
        check_topology(name)
    with pytest.raises(ConfigError, match=r"--topology=v5e:2x3 .*Did you mean 'v5e:2x\d'\?"):
        check_topology("v5e:2x3")
    with pytest.raises(ConfigError, match=r"Known are v4:2x2x1, .*; v5e:1x1, .*; v6e:1x1"):
        check_topology("tpu")
