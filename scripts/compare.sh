#!/usr/bin/env bash
# Runs experiments one after the other and writes comparison.md and comparison.html; makes a virtual
# environment first if there is none (see environment.sh).
#
#     scripts/compare.sh                                   all experiments of gin/: hours
#     scripts/compare.sh --quick                           the same as smoke tests: minutes
#     scripts/compare.sh --gin_file=gin/gru.gin --seeds=0,1,2
#     scripts/compare.sh --only_table                      writes the tables of what was run before
#
# All arguments go to `python -m sentiment_train.compare` (--help lists them). The working directory
# stays the caller's. What is done is not run again: call it again after an interruption.
set -euo pipefail

# shellcheck source=scripts/environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

prepare_environment samples
exec "$python" -m sentiment_train.compare "$@"
