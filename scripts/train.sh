#!/usr/bin/env bash
# Trains a model; makes a virtual environment first if there is none (see environment.sh).
#
#     scripts/train.sh                                    trains gin/bilstm.gin
#     scripts/train.sh --gin_file=gin/other.gin           trains another experiment
#     scripts/train.sh --model_dir=runs/x --mode=export   goes on with the configuration of a run
#
# All arguments go to `python -m sentiment_train.main` (--help lists them). The working directory
# stays the caller's: relative paths, also the folder of the runs, mean what they mean in the shell.
set -euo pipefail

# shellcheck source=scripts/environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

# Whether the arguments already say what to do: a gin file, a file of flags, or a finished run.
names_an_experiment() {
    local flag value run="" mode=""
    while (($#)); do
        [[ $1 != -- ]] || break
        flag=${1/#--/-}
        value=${2-}
        if [[ $flag == *=* ]]; then
            value=${flag#*=}
            flag=${flag%%=*}
        fi
        case $flag in
            -gin_file | -flagfile | -help | -helpshort | -helpfull) return 0 ;;
            -model_dir) run=$value ;;
            -mode) mode=$value ;;
        esac
        shift
    done
    [[ -n $run && ($mode == evaluate || $mode == export) ]]
}

prepare_environment samples

if ! names_an_experiment "$@"; then
    experiment=$checkout/gin/bilstm.gin
    [[ ! . -ef $checkout ]] || experiment=gin/bilstm.gin
    set -- "--gin_file=$experiment" "$@"
fi
exec "$python" -m sentiment_train.main "$@"
