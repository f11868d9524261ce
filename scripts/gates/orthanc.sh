#!/bin/sh
# Every DICOM object that hilum writes: dciodvfy finds no error, a real Orthanc takes it by STOW-RS
# and by C-STORE and gives it back bit by bit. Needs Debian's dicom3tools, dcmtk, orthanc,
# orthanc-dicomweb, and root: Orthanc binds every address it finds, so it gets a network namespace
# with a loopback device and nothing else.
#
#   scripts/gates/orthanc.sh [FILE.dcm ...]     # in addition to phantoms and pydicom's samples
#   PYTHON=... scripts/gates/orthanc.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)
export HILUM_GATE_PYTHON="${PYTHON:-python3}"
exec unshare --net -- sh -c 'ip link set lo up && exec "$HILUM_GATE_PYTHON" "$0" "$@"' \
    "$here/orthanc.py" "$@"
