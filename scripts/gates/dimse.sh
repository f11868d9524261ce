#!/bin/sh
# DIMSE with a real Orthanc: an SR sent by C-STORE and verified by storage commitment (its report
# comes on an association that Orthanc opens to our node), and a prior found by C-FIND and fetched
# by C-MOVE. Needs Debian's orthanc and orthanc-dicomweb, and root for a network namespace of its own.
#
#   PYTHON=... scripts/gates/dimse.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)
export HILUM_GATE_PYTHON="${PYTHON:-python3}"
exec unshare --net -- sh -c 'ip link set lo up && exec "$HILUM_GATE_PYTHON" "$0" "$@"' \
    "$here/dimse.py" "$@"
