#!/usr/bin/env bash
# Makes .venv with the packages of requirements.txt and flowatlas itself (editable).
# Does nothing when they are what requirements.txt and pyproject.toml say.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv
ready=$venv/.ready
wanted=$(cat requirements.txt pyproject.toml tools/setup.sh | cksum)

if [ -x $venv/bin/flowatlas ] && [ "$(cat $ready 2>/dev/null)" = "$wanted $PWD" ] && $venv/bin/python -c '' 2>/dev/null; then
    exit 0
fi

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    local name
    for name in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if is_new_enough "$name"; then echo "$name"; return; fi
    done
    cat >&2 <<'MESSAGE'
flowatlas needs Python 3.11 or later, and none was found.
Install it (Debian, Ubuntu: apt-get install python3 python3-venv; macOS: brew install python@3.12),
or name one: make setup PYTHON=/path/to/python3.12
MESSAGE
    return 1
}

# uv from the PATH, else a private one inside .venv.
find_uv() {
    if uv --version >/dev/null 2>&1; then echo uv; return; fi
    local private=$venv/bootstrap
    if ! $private/bin/uv --version >/dev/null 2>&1; then
        echo "uv is not installed: putting one into $private" >&2
        "$1" -m venv $private >&2 || {
            echo "Python's venv module does not work. Install it (Debian, Ubuntu: apt-get install python3-venv)." >&2
            return 1
        }
        $private/bin/pip install --quiet uv >&2 || {
            echo "uv could not be installed. Install it by hand (https://docs.astral.sh/uv/) and start again." >&2
            return 1
        }
    fi
    echo $private/bin/uv
}

python=$(find_python)
is_new_enough $venv/bin/python || rm -rf $venv
uv=$(find_uv "$python")
rm -f $ready
is_new_enough $venv/bin/python || "$uv" venv --quiet --allow-existing --python "$(command -v "$python")" $venv
echo "Installing the packages of requirements.txt into $venv" >&2
"$uv" pip sync --quiet --python $venv/bin/python requirements.txt
# hatchling is among the packages: no isolated build, so nothing is looked up anywhere.
"$uv" pip install --quiet --python $venv/bin/python --no-deps --no-build-isolation --editable .
echo "$wanted $PWD" >$ready
