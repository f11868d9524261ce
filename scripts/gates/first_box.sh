#!/bin/sh
# A fresh user: from `pip install` to a box on the screen, in three minutes and three actions. A
# virtual environment and a folder of its own, a network namespace for the service; the seconds of
# each step, a screenshot. Needs root, Debian's chromium, and Playwright for Python in $PYTHON.
#
#   PYTHON=... scripts/gates/first_box.sh [SCREENSHOT.png]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
export HILUM_GATE_PYTHON="${PYTHON:-python3}"
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV
"$HILUM_GATE_PYTHON" "$here/first_box.py" install "$work"
unshare --net -- sh -c 'ip link set lo up && exec "$HILUM_GATE_PYTHON" "$0" "$@"' \
    "$here/first_box.py" look "$work" "${1:-}"
