#!/bin/sh
# From the last byte of a CR to its SR verified in a real Orthanc, one study in two seconds. Needs
# Debian's orthanc and orthanc-dicomweb, and root for a network namespace of its own.
#
#   scripts/gates/archive.sh [--studies 60] [--every 2] [FILE.dcm ...]   # else a phantom
#   PYTHON=... scripts/gates/archive.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)
export HILUM_GATE_PYTHON="${PYTHON:-python3}"
exec unshare --net -- sh -c 'ip link set lo up && exec "$HILUM_GATE_PYTHON" "$0" "$@"' \
    "$here/archive.py" "$@"
