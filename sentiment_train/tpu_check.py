"""Says without a TPU whether an experiment could run on one: compiles it by the TPU's compiler.

python -m sentiment_train.tpu_check --gin_file=gin/bilstm.gin --topology=v5e:2x2

For every bucket the real training step and evaluation step are lowered for one core of the
topology, with the sums over all cores, and compiled by libtpu; bfloat16 as on a TPU. Nothing is
trained or executed. Exit code 0: all compile and fit; 7: one does not; 2: the experiment cannot be
for a TPU, or a flag is wrong; 1: the extra `tpu-check` is missing. More in docs/tpu.md.
"""

from __future__ import annotations

import os
import sys

from absl import app, flags

from sentiment_train import command_line


def _define_flags() -> None:
    flags.DEFINE_multi_string("gin_file", [], "As for sentiment_train.main.")
    flags.DEFINE_multi_string("gin_bindings", [], "As for sentiment_train.main.")
    flags.DEFINE_string(
        "cache_dir",
        os.environ.get("SENTIMENT_TRAIN_CACHE", "~/.cache/sentiment_train"),
        "Local directory of encoded data sets, shared by all runs.",
    )
    flags.DEFINE_string(
        "topology", "v5e:2x2", "The TPU as kind:chips, e.g. v4:2x2x1, v5e:2x2, v6e:1x1."
    )
    flags.DEFINE_list(
        "buckets", ["all"], "Which: all, or some of shortest, longest and lengths, by commas."
    )
    flags.DEFINE_enum(
        "largest_batch",
        "estimated",
        ["off", "estimated", "verified"],
        "What to say of the largest batch that fits: estimated takes one more compilation for each"
        " bucket, verified compiles that batch, too, which may take minutes.",
    )


def _run() -> None:
    """parse → make → compiler → check."""
    from sentiment_train import config, quiet
    from sentiment_train.errors import ConfigError
    from sentiment_train.experiment import Experiment
    from sentiment_train.tpu.compiler import TpuCompiler
    from sentiment_train.tpu.topologies import check_topology

    given = flags.FLAGS
    check_topology(given.topology)
    if not given.gin_file:
        raise ConfigError("--gin_file=… is needed, e.g. --gin_file=gin/bilstm.gin")
    files = [os.path.expanduser(name) for name in given.gin_file]
    experiment = config.make(Experiment, config.parse(files, given.gin_bindings))
    with TpuCompiler(given.topology) as compiler:
        quiet.import_tensorflow()
        from sentiment_train.tpu.check import Check

        cache = os.path.expanduser(given.cache_dir)
        Check(experiment, cache, compiler, given.largest_batch).run(given.buckets)


def main(argv) -> int:
    return command_line.exit_code(argv, _run)


def run() -> None:
    """Entry point, also of the console script."""
    _define_flags()
    for flag in flags.FLAGS.get_flags_for_module(__name__):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    app.run(main)


if __name__ == "__main__":
    run()
