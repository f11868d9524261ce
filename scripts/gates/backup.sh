#!/bin/sh
# A service is copied as docs/service.md says while images come, killed, and restored from the copy:
# SQLite, then PostgreSQL. Needs Debian's postgresql and rsync, and root for a network namespace and
# a cluster of its own.
#
#   scripts/gates/backup.sh [--images 30]
#   PYTHON=... scripts/gates/backup.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)
export HILUM_GATE_PYTHON="${PYTHON:-python3}"
export PYTHONPATH="$here/../../tests${PYTHONPATH:+:$PYTHONPATH}"
exec unshare --net -- sh -c 'ip link set lo up && exec "$HILUM_GATE_PYTHON" "$0" "$@"' \
    "$here/backup.py" "$@"
