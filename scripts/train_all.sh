#!/usr/bin/env bash
# Rebuilds every model that ships, from $HILUM_DATA: runs and bundles below OUT.
#   HILUM_DATA=... scripts/train_all.sh [OUT] [default nih-pretraining siim-covid pneumothorax gate]
# Resumable: a finished run is not trained again, a killed one goes on where it was, and a bundle that
# is there is not written again. Two cores need about three hours in all; recipes name the steps.
set -euo pipefail
: "${HILUM_DATA:?the folder of the training sets}"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=${1:-runs/shipped}
shift || true
parts=("$@")
(( ${#parts[@]} )) || parts=(default nih-pretraining siim-covid pneumothorax gate)
python=${PYTHON:-python}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
held=$here/recipes/splits/default.json
mkdir -p "$out/bundles"
cd "$out"

train() { # recipe, name of the run, further options
  local recipe=$1 run=$2
  shift 2
  [[ -e runs/$run/weights.safetensors ]] ||
    "$python" -m hilum train "$here/recipes/$recipe.yaml" --data "$HILUM_DATA" --out "runs/$run" "$@"
}

export_bundle() { # run, further options
  local run=$1
  shift
  [[ -e bundles/$run.zip ]] || "$python" -m hilum export "runs/$run" --out "bundles/$run.zip" "$@"
}

for part in "${parts[@]}"; do
  case $part in
  default)
    train default default --split "$held"
    export_bundle default --precision int8
    ;;
  nih-pretraining) train nih-pretraining nih-pretraining ;;
  siim-covid) # needs default
    for member in covid-fasterrcnn covid-yolo covid-study; do
      train "$member" "$member" --split "$held"
      export_bundle "$member"
    done
    ;;
  pneumothorax) # needs nih-pretraining
    for fold in 0 1 2 3 4; do
      for model in pneumothorax-classifier pneumothorax-segmenter; do
        train "$model" "$model-$fold" --set "fold=$fold"
      done
    done
    "$python" "$here/scripts/pneumothorax_folds.py" runs --data "$HILUM_DATA" --out pneumothorax.md
    for model in pneumothorax-classifier pneumothorax-segmenter; do # fold 0 ships
      export_bundle "$model-0" --no-fp32
    done
    ;;
  gate) [[ -e bundles/gate ]] || "$python" "$here/scripts/train_gate.py" "$HILUM_DATA" bundles/gate ;;
  *)
    echo "unknown part: $part" >&2
    exit 2
    ;;
  esac
done
