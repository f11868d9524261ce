#!/bin/sh
# Every operation of the REST interface and of DICOMweb, asked many times with what fits and what
# does not: nothing may answer 5xx, undocumented, or in another form (docs/reliability.md).
#
#   scripts/gates/api.sh        # 100 requests an operation and kind; the test asks 6
#   scripts/gates/api.sh 1000
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
cd "$here"
PYTHONPATH="$here/tests${PYTHONPATH:+:$PYTHONPATH}" HILUM_API_EXAMPLES="${1:-100}" \
    exec nice -n 10 "${PYTHON:-python3}" -m pytest -q tests/serve/web/test_schema.py
