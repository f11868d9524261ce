#!/usr/bin/env bash
# The blocks of commands of README and docs, run as they stand on phantoms: files that they name are
# made first (docs_material.py; later pages have README's run), words in capitals (FILE, DIR) are
# filled in below. The short blocks
# run in tests/docs, the five systems in run_systems.sh.
#   HILUM_DATA=... scripts/run_docs.sh [OUT] [PAGE ...]     all pages where none is named
# Trainings take one epoch of 200 images. Ends with the commands that failed, 1 if any did; what ended
# well is not run again.
set -euo pipefail
: "${HILUM_DATA:?the folder of the training sets}"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=${1:-runs/docs}
shift || true
pages=("$@")
if (( ! ${#pages[@]} )); then
  pages=(README.md docs/evaluate.md docs/pipelines.md docs/dicom-results.md docs/training.md)
fi
python=${PYTHON:-python}
hilum() { "$python" -m hilum "$@"; }

# A command with a service behind it that holds one image, of which a reader has said something.
served() {
  local code=0 service
  HILUM_SERVE_FOLDER=$PWD/service hilum serve >log/serve 2>&1 &
  service=$!
  { "$python" "$here/scripts/docs_material.py" --verdict chest.dcm && "$@"; } || code=$?
  kill "$service" && wait "$service" || true
  return "$code"
}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
small="--set train.epochs=1 --set data.sample=200 --set preprocessing.size=64 --set train.precision=fp32"

mkdir -p "$out"
cd "$out"
out=$PWD
export XDG_CONFIG_HOME=$out/config # what hilum bench chooses here is for these pages only

# A document's command with our files for its words in capitals, and one of each list of verbs.
filled() {
  sed -E -e 's/ +#.*$//' \
    -e 's/FILE…/chest.dcm/; s/\bDIR\b/results/g; s/GRID\.yaml/grid.yaml/; s/\bA\.csv/a.csv/; s/\bB\.csv/b.csv/; s/\bstudy\.dcm/chest.dcm/' \
    -e 's/\bC\.csv/fused.csv/; s/--truth T --submission S/--truth truth.csv --submission mine.csv/' \
    -e 's/CATALOG (PREDICTIONS…|findings.json)/catalog.parquet run\/findings.json/' \
    -e 's/^hilum (pipeline|bundle) list\|.*/hilum \1 show default/' \
    -e 's/^hilum serve$/hilum serve --check/; s#\barchive/#studies/#' \
    -e 's/^hilum data ([a-z]+)\|.*/hilum data \1 --help/' \
    -e 's/^hilum feedback/served &/' \
    -e 's/^hilum train default .*/hilum train --help/' \
    -e "s/^hilum (train [a-z]+-.*|data preview .*)/hilum \1 $small/"
}

# What needs more than phantoms: the other challenges' tables, a pneumothorax system's bundles.
ELSEWHERE='siim-(covid|acr)|classifier=c\.zip'

failed=()
for page in "${pages[@]}"; do
  own=$out/$(basename "$page" .md) # each page has files of its own
  mkdir -p "$own"/{done,log}
  cd "$own"
  if [[ ! -e done/material ]]; then
    "$python" "$here/scripts/docs_material.py" .
    touch done/material
  fi
  for made in runs/a a.zip; do # what README's commands made, pages after it take for granted
    if [[ -e $out/README/$made && ! -e $made ]]; then
      mkdir -p "$(dirname "$made")"
      ln -s "$out/README/$made" "$made"
    fi
  done
  while IFS= read -r line <&3; do
    command=$(filled <<<"$line")
    key=$(printf '%s' "$command" | sha256sum | cut -c1-16)
    [[ -e done/$key ]] && continue
    if [[ $command =~ $ELSEWHERE ]]; then
      echo "[$page] in run_systems.sh: $command"
      continue
    fi
    echo "[$page] $command"
    code=0
    (eval "$command") >"log/$key" 2>&1 || code=$?
    if (( code == 0 )) || { (( code == 1 )) && [[ $command =~ ^hilum\ (predict|inspect|report|submit) ]]; }; then
      touch "done/$key"
    else
      tail -n 5 "log/$key"
      failed+=("$page: $command (exit code $code)")
    fi
  done 3< <(awk '/^```/ {on = !on && ($0 == "```" || $0 == "```sh"); next} on' "$here/$page" \
    | sed -e ':a' -e '/\\$/N; s/\\\n *//; ta' | grep '^hilum ')
done
(( ${#failed[@]} )) || { echo "every command ended well"; exit 0; }
printf 'failed: %s\n' "${failed[@]}"
exit 1
