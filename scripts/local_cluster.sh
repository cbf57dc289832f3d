#!/usr/bin/env bash
# Trains with several workers on this machine, which meet on free ports of the loopback interface;
# makes a virtual environment first if there is none (see environment.sh).
#
#     scripts/local_cluster.sh 2 gin/gru.gin
#     scripts/local_cluster.sh 4 gin/gru.gin --model_dir=runs/four --gin_bindings="…"
#
# Further arguments go to `python -m sentiment_train.main` of every worker. Each line of output begins
# with the number of its worker: [0] is the chief. When one worker fails, all are ended, and the exit
# code is that of the first one that failed. Ctrl-C and SIGTERM save the run and end all of them
# (exit code 75); a second one ends them at once. It is a way to try several workers, and no faster
# than one: they share the cores of this machine.
set -euo pipefail

# shellcheck source=scripts/environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

patience_seconds=30 # for workers to end by themselves when one has failed

usage="scripts/local_cluster.sh <number of workers> <gin file> [flags of sentiment_train.main]"
[[ ${1-} =~ ^[1-9][0-9]?$ ]] || fail "'${1-}' is no number of workers from 1 to 99: $usage"
[[ -n ${2-} && $2 != -* ]] || fail "a gin file is missing: $usage"
count=$1 gin_file=$2
shift 2

prepare_environment samples

# Ports that nobody uses now, below those that the system hands out by itself.
free_ports() {
    "$python" - "$count" <<'END'
import random, socket, sys

found = []
for port in random.sample(range(20000, 32000), 2000):
    try:
        socket.create_server(("", port)).close()
    except OSError:
        continue
    found.append(port)
    if len(found) == int(sys.argv[1]):
        break
print(*found)
END
}

# Puts the number of a worker before each line.
numbered() {
    local line
    while IFS= read -r line || [[ -n $line ]]; do printf '[%s] %s\n' "$1" "$line"; done
}

folder=$(mktemp -d)
trap 'rm -rf -- "$folder"' EXIT
addresses=""
for port in $(free_ports); do addresses+="${addresses:+,}127.0.0.1:$port"; done

pids=() printers=()
start_worker() {
    local i=$1 config
    shift
    config=$("$python" -S "$checkout/cloud/tf_config.py" --hosts="$addresses" --index="$i")
    mkfifo "$folder/$i.out" "$folder/$i.err"
    # They have to print until the last worker has ended, whatever signal comes.
    (trap '' INT TERM && numbered "$i" <"$folder/$i.out") &
    printers+=($!)
    (trap '' INT TERM && numbered "$i" <"$folder/$i.err" >&2) &
    printers+=($!)
    TF_CONFIG=$config "$python" -m sentiment_train.main "--gin_file=$gin_file" "$@" \
        >"$folder/$i.out" 2>"$folder/$i.err" &
    pids+=($!)
}

tell_workers() {
    local pid
    for pid in "${pids[@]}"; do kill "-$1" "$pid" 2>/dev/null || true; done
}

for ((i = 0; i < count; i++)); do start_worker "$i" "$@"; done
# Background jobs of a script begin with SIGINT ignored, so they get SIGTERM in its place.
trap 'tell_workers TERM' INT TERM

code=0 deadline=0 left=$count ended=()
while ((left)); do
    sleep 0.2 || true # a signal ends it, too
    for i in "${!pids[@]}"; do
        if [[ -n ${ended[i]-} ]] || kill -0 "${pids[i]}" 2>/dev/null; then continue; fi
        status=0
        { wait "${pids[i]}" || status=$?; } 2>/dev/null # it would say who was killed, in many words
        ended[i]=$status left=$((left - 1))
        if ((status && !code)); then
            code=$status deadline=$((SECONDS + patience_seconds))
            say "[$i] ended with exit code $status; the others end, too."
        fi
    done
    # They notice by themselves that one has failed, and say so; but nobody waits for that for ever.
    if ((deadline && SECONDS > deadline)); then tell_workers KILL; fi
done
for pid in "${printers[@]}"; do wait "$pid" || true; done
exit "$code"
