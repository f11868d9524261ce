#!/bin/sh
# Mutated files through every door of hilum (gate 1 of docs/reliability.md), each in a process with
# limits of time and memory: nothing may crash, hang, leak, or be refused without a type.
#
#   scripts/gates/fuzz.sh                    # 170,000; --count 2000 for a first look
#   scripts/gates/fuzz.sh --door zip --door catalog --seed 7
# Coverage-guided mutation: fuzz_guided.py.
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
cd "$here"
PYTHONPATH="$here/tests${PYTHONPATH:+:$PYTHONPATH}" \
    exec nice -n 10 "${PYTHON:-python3}" scripts/gates/fuzz.py "$@"
