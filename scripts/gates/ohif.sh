#!/bin/sh
# The boxes of a structured report lie in OHIF where findings.json says, and masks on their image.
# Needs what orthanc.sh needs, Playwright for Python, Chromium, and OHIF's ready build:
#   npm pack @ohif/app@3.13.2 && tar xzf ohif-app-3.13.2.tgz
#
#   scripts/gates/ohif.sh package/dist [FOLDER FOR SCREENSHOTS]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
export HILUM_GATE_PYTHON="${PYTHON:-python3}"
exec unshare --net -- sh -c 'ip link set lo up && exec "$HILUM_GATE_PYTHON" "$0" "$@"' \
    "$here/ohif.py" "$@"
