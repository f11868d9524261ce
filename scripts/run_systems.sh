#!/usr/bin/env bash
# The commands of docs/systems/*.md, small, on the sets of $HILUM_DATA: what stands in the documents is
# what runs. A command that ended well is not run again, unless it or one before it has changed.
#   HILUM_DATA=... scripts/run_systems.sh [OUT] [a b c d e]
# Ends with the submissions scored and the variants compared, with CPU minutes, in OUT/table.md. Tiny
# models: whether the chain runs whole is shown, never how good a system is.
set -euo pipefail
: "${HILUM_DATA:?the folder of the training sets}"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=${1:-runs/systems}
shift || true
systems=("$@")
(( ${#systems[@]} )) || systems=(a b c d e)
python=${PYTHON:-python}
hilum() { "$python" -m hilum "$@"; }
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

blocks() { # those of a document fenced as "sh" (second word: $2)
  awk -v kind="\`\`\`sh${2:+ $2}" '$0 == kind {on = 1; next} /^```/ {on = 0} on' "$1"
}

# Runs one command with its CPU seconds noted; 1 means that something was refused, and was told. What
# it was and all that came before it name its log.
step() {
  local command=$1 code=0
  key=$(printf '%s' "$key $command" | sha256sum | cut -c1-16)
  [[ -e done/$key ]] && return
  echo "[$system] $command"
  TIMEFORMAT='%U %S'
  { time { (eval "$command") >"log/$key" 2>"log/$key.err"; }; } 2>"log/$key.cpu" || code=$?
  echo "$(awk '{print $1 + $2}' "log/$key.cpu") $command" >>cpu_seconds
  if (( code )) && ! { (( code == 1 )) && [[ $command =~ ^hilum\ (predict|submit|data\ (check|convert)) ]]; }; then
    echo "[$system] exit code $code: $command" >&2
    tail -n 20 "log/$key" "log/$key.err" >&2
    return "$code"
  fi
  if [[ $command == *"evaluate challenge"*submission.csv* ]]; then cp "log/$key" score.json; fi
  echo "$command" >"done/$key"
}

mkdir -p "$out"
out=$(cd "$out" && pwd)
for system in "${systems[@]}"; do
  document=$here/docs/systems/$system.md
  (
    mkdir -p "$out/$system/done" "$out/$system/log"
    cd "$out/$system"
    small=$(blocks "$document" small)
    eval "$small"
    key=$small
    while IFS= read -r line <&3; do
      [[ -z $line || $line == \#* ]] || step "$line" || exit 1
    done 3< <(blocks "$document")
  ) || echo "system $system did not end; if its commands or their settings changed, begin it anew without $out/$system" >&2
done
"$python" "$here/scripts/systems_table.py" "$out" | tee "$out/table.md"
