#!/usr/bin/env bash
# What an idea is worth that needs no training, on held-out patients: the default pipeline and one
# thing of it changed at a time. Every prediction is kept, so that a stopped run goes on.
#   HILUM_DATA=... scripts/inference_variants.sh [OUT]
set -euo pipefail
: "${HILUM_DATA:?the folder of the training sets}"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=${1:-runs/inference-variants}
hilum=(python -m hilum)
declare -A change=(
  [flip]='models.chest.views=[plain, flip]'
  [two-scales]='models.chest.views=[plain, {scale: 0.8}]'
  [times-class]='boxes.1={use: times-image-score, of: chest.opacity}'
  [sides-90]='boxes.1={use: scale, sides: 0.9}'
  [sides-95]='boxes.1={use: scale, sides: 0.95}'
  [sides-105]='boxes.1={use: scale, sides: 1.05}'
  [inside-lungs]='boxes.1={use: inside-mask, mask: lungs, part: 0.2}'
)
order=(flip two-scales times-class sides-90 sides-95 sides-105 inside-lungs)
for set in siim_covid_256 rsna_128; do
  held=$out/$set
  [[ -e $held/catalog.parquet ]] || "${hilum[@]}" data convert "$HILUM_DATA" --kind "$set" \
    --split "$here/recipes/splits/default.json" --part validation,test --to png --out "$held"
  files=()
  for name in plain "${order[@]}"; do
    run=$out/run/$set/$name
    files+=("$run/findings.json")
    options=(--threshold 0 --write "")
    [[ $name == plain ]] || options+=(--set "${change[$name]}")
    # 1: the gate refused images, which the report counts.
    "${hilum[@]}" predict "$held/images" "${options[@]}" --out "$run" || (($? == 1))
  done
  for part in validation test; do # what is fitted (sides) is chosen on validation
    "${hilum[@]}" evaluate report "$held/catalog.parquet" "${files[@]}" --part "$part" \
      --compare ap50 --compare rsna_score --compare auc --repeats 500 --out "$out/$set-$part.html" \
      --json >"$out/$set-$part.json"
  done
done
