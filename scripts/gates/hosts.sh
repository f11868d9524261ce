#!/bin/sh
# Two services, each as if on a host of its own, on one PostgreSQL and one folder; one of them is
# killed in the middle. Then the tables go one version down and up again. Needs Debian's postgresql,
# and root for a network namespace and a cluster of its own.
#
#   scripts/gates/hosts.sh [--images 60]
#   PYTHON=... scripts/gates/hosts.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)
export HILUM_GATE_PYTHON="${PYTHON:-python3}"
export PYTHONPATH="$here/../../tests${PYTHONPATH:+:$PYTHONPATH}"
exec unshare --net -- sh -c 'ip link set lo up && exec "$HILUM_GATE_PYTHON" "$0" "$@"' \
    "$here/hosts.py" "$@"
