# Sourced by train.sh and test.sh: a virtual environment that is made once and then only used.
#
#     prepare_environment EXTRA      EXTRA is an extra of setup.py; sets $python to use
#
# What was installed is recorded in a stamp inside the environment. While setup.py, constraints.txt
# and the Python are the same, a second call installs nothing. What the user may set:
#
#     SENTIMENT_TRAIN_VENV     where the environment is (default: .venv in the checkout)
#     SENTIMENT_TRAIN_PYTHON   the Python it is made with (default: the newest suitable one)
#
# shellcheck shell=bash

checkout=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." >/dev/null && pwd -P)
venv=${SENTIMENT_TRAIN_VENV:-$checkout/.venv}
[[ $venv == /* ]] || venv=$PWD/$venv
python=$venv/bin/python

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "error: $*"
    exit 1
}

prepare_environment() {
    local extra=$1
    is_installed "$extra" && return
    mkdir -p -- "$(dirname -- "$venv")"
    {
        # The second of two simultaneous calls waits here, and then finds the work done.
        if command -v flock >/dev/null && ! flock --nonblock 9; then
            say "Waiting for another installation into $venv ..."
            flock 9
        fi
        if ! is_installed "$extra"; then
            make_venv
            install_package "$extra" 9>&-
        fi
    } 9>"$venv.lock"
}

# The tools of `dev` include everything that any other script needs.
is_installed() {
    local stamp=$venv/sentiment_train.stamp digest extras
    [[ -f $stamp ]] || return 1
    { read -r digest && read -r extras; } <"$stamp" || return 1
    [[ $extras == "$1" || $extras == dev ]] || return 1
    [[ $digest == "$(digest_of "$extras")" ]]
}

# Of all that decides what is installed, and where.
digest_of() {
    {
        cat -- "$checkout/setup.py" "$checkout/constraints.txt"
        printf '%s\n' "$checkout" "$1"
        "$python" -S -c 'import sys; print(sys.version)' 2>/dev/null || echo broken
    } | checksum
}

checksum() {
    if command -v sha256sum >/dev/null; then
        sha256sum | cut -d' ' -f1
    elif command -v shasum >/dev/null; then
        shasum -a 256 | cut -d' ' -f1
    else
        cksum | tr ' ' '-'
    fi
}

# A python3.12 may be there and still not run (a pyenv shim of an inactive version): try each.
is_suitable() {
    "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

find_python() {
    local candidate
    if [[ -n ${SENTIMENT_TRAIN_PYTHON:-} ]]; then
        is_suitable "$SENTIMENT_TRAIN_PYTHON" ||
            fail "SENTIMENT_TRAIN_PYTHON=$SENTIMENT_TRAIN_PYTHON is not a Python 3.10 to 3.13."
        echo "$SENTIMENT_TRAIN_PYTHON"
        return
    fi
    for candidate in python3.13 python3.12 python3.11 python3.10 python3 python; do
        if is_suitable "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "found no Python 3.10, 3.11, 3.12 or 3.13 (TensorFlow has no packages for others)." \
        "Install one, or name it: SENTIMENT_TRAIN_PYTHON=/path/to/python3.12"
}

make_venv() {
    local base version log=$venv.log
    is_suitable "$python" && return
    ! "$python" -c '' >/dev/null 2>&1 ||
        fail "the environment in $venv has a Python that is not one of 3.10 to 3.13. Remove it," \
            "or name another place: SENTIMENT_TRAIN_VENV=/path/to/venv"
    [[ ! -e $venv || -e $venv/pyvenv.cfg || -z $(ls -A -- "$venv") ]] ||
        fail "$venv is in the way: not empty, and not a virtual environment. Move it away."
    base=$(find_python) || exit 1
    version=$("$base" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    "$base" -c 'import ensurepip, venv' >/dev/null 2>&1 ||
        fail "Python $version cannot make virtual environments: its module venv or ensurepip is" \
            "missing. On Debian or Ubuntu: sudo apt-get install python$version-venv"
    say "Making a virtual environment with Python $version in $venv"
    "$base" -m venv --clear "$venv" >"$log" 2>&1 || {
        tail -n 5 -- "$log" >&2
        fail "could not make $venv; the reason is above."
    }
    rm -f -- "$log"
}

install_package() {
    local extra=$1 stamp=$venv/sentiment_train.stamp log=$venv/install.log digest
    # Who had the tools keeps them.
    if [[ -f $stamp && $(sed -n 2p -- "$stamp") == dev ]]; then extra=dev; fi
    rm -f -- "$stamp"
    digest=$(digest_of "$extra")
    say "Installing sentiment_train[$extra] into $venv: the first time, this takes some minutes and" \
        "3 GB; again only when setup.py, constraints.txt or Python changes."
    if ! pip_install "$extra" 2>&1 | show_progress "$log"; then
        grep -i '^ *error' -- "$log" | tail -n 5 >&2 || tail -n 5 -- "$log" >&2
        fail "the installation failed (all of its output: $log). Check the network and the free" \
            "disk space and start this script again, or remove $venv first to start afresh."
    fi
    printf '%s\n' "$digest" "$extra" >"$stamp.part"
    mv -f -- "$stamp.part" "$stamp"
    say "Installed."
}

pip_install() (
    cd -- "$checkout" || exit 1
    # An environment that was interrupted while it was made has no pip yet.
    "$python" -m pip --version >/dev/null 2>&1 || "$python" -m ensurepip
    PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 \
        "$python" -m pip install --no-input --constraint constraints.txt --editable ".[$1]"
)

# Copies its input to a log and, on a terminal, shows the latest line of it in place.
show_progress() {
    local line width=79
    [[ -t 2 ]] || {
        cat >"$1"
        return
    }
    while IFS= read -r line; do
        printf '%s\n' "$line" >&3
        printf '\r\033[K%s' "${line:0:width}" >&2
    done 3>"$1"
    printf '\r\033[K' >&2
}
