#!/bin/sh
# `hilum batch` of a query at a real Orthanc with users and passwords, by HTTP and by HTTPS with a
# certificate of our own authority: every instance once, from the bytes that were stored, no secret
# in what is written, nothing without the password or where the authority is not believed. Needs
# Debian's orthanc, orthanc-dicomweb and stunnel4, and root for a network namespace of its own.
#
#   scripts/gates/qido.sh [--workers 2] [FILE.dcm ...]   # else phantoms
#   PYTHON=... scripts/gates/qido.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)
export HILUM_GATE_PYTHON="${PYTHON:-python3}"
export PYTHONPATH="$here/../../tests${PYTHONPATH:+:$PYTHONPATH}"
exec unshare --net -- sh -c 'ip link set lo up && exec "$HILUM_GATE_PYTHON" "$0" "$@"' \
    "$here/qido.py" "$@"
