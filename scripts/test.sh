#!/usr/bin/env bash
# Checks everything: style, format, the direction of imports, tests. Stops at the first failure.
# Makes a virtual environment first if there is none (see environment.sh).
#
#     scripts/test.sh                              all checks
#     scripts/test.sh tests/data -k bucket -x      only pytest, with these arguments
#
# Works from any directory; paths in the arguments are relative to the checkout.
set -euo pipefail

# shellcheck source=scripts/environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

stage() {
    local name=$1
    shift
    say ""
    say "== $name"
    "$@" || fail "$name failed; the reason is above."
}

prepare_environment dev
cd -- "$checkout"
# 2: errors only. TensorFlow else greets every process with its build options.
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-2}

if ((!$#)); then
    stage "ruff check" "$python" -m ruff check .
    stage "ruff format --check" "$python" -m ruff format --check .
    stage "lint-imports" "$python" -c \
        "from importlinter.cli import lint_imports_command as main; main()" --no-logo
    say ""
    say "== pytest"
    # A process for each core, up to four, with the files of tests divided among them in the order of
    # tests/conftest.py. Most tests use one core, so the kernels of each process may as well have one
    # thread.
    export TF_NUM_INTRAOP_THREADS=${TF_NUM_INTRAOP_THREADS:-1}
    set -- -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
fi
exec "$python" -m pytest "$@"
