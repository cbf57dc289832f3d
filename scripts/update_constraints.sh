#!/usr/bin/env bash
# Writes constraints.txt anew: the newest releases that fit setup.py and each other on Python 3.10
# to 3.13, for everything but the extra `tpu`. Try the result with scripts/test.sh before it is
# committed. Needs a network and Python; the resolver is installed into a temporary environment.
#
#     scripts/update_constraints.sh            with TensorFlow $tensorflow, as below
#     scripts/update_constraints.sh 2.20.*     with another one
set -euo pipefail

tensorflow=${1:-2.21.0}

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." >/dev/null && pwd)
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet uv

cat >"$work/constraints.txt" <<'HEADER'
# The set of packages that is tested, for Python 3.10 to 3.13:
#     pip install -c constraints.txt -e '.[dev]'
# Written by scripts/update_constraints.sh from setup.py: change that, or run it again.
HEADER

printf 'tensorflow==%s\n' "$tensorflow" >"$work/tensorflow.txt"
cd -- "$root"
"$work/venv/bin/python" -m uv --quiet --no-python-downloads pip compile \
    --universal --python-version 3.10 \
    --extra samples --extra tfds --extra hub --extra use --extra dev \
    --constraint "$work/tensorflow.txt" \
    --no-header --no-annotate \
    setup.py >>"$work/constraints.txt"

if cmp -s "$work/constraints.txt" constraints.txt; then
    echo "constraints.txt: nothing newer"
else
    cat "$work/constraints.txt" >constraints.txt
    echo "constraints.txt: written; now run scripts/test.sh"
fi
