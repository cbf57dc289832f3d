#!/usr/bin/env bash
# Starts tf.data service on this machine, for gin files with Shards.service: a dispatcher and data
# workers, which read, encode and batch shards. Makes a virtual environment first if there is none
# (see environment.sh). Ctrl-C ends all of them.
#
#     scripts/data_service.sh                  one data worker, dispatcher at 127.0.0.1:5050
#     scripts/data_service.sh 2                two data workers
#     scripts/data_service.sh 4 6000 10.0.0.7  four, port 6000; other machines reach it as 10.0.0.7
#
# When all are there, it prints the binding that trainers need. A dispatcher and data workers on
# several machines are started one by one: see `python -m sentiment_train.data_service --help`.
set -euo pipefail

# shellcheck source=scripts/environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

for number in "${1:-1}" "${2:-5050}"; do
    [[ $number =~ ^[1-9][0-9]{0,4}$ ]] || fail "'$number' is no number: scripts/data_service.sh [workers] [port] [host]"
done

prepare_environment samples
exec "$python" -m sentiment_train.data_service \
    "--workers=${1:-1}" "--port=${2:-5050}" "--host=${3:-127.0.0.1}"
