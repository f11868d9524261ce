#!/usr/bin/env bash
# Builds the page: viewer/ -> src/hilum/serve/static. Needs node >= 20 and npm.
#
# sources.sha256 tells which sources the built files were made of; tests/serve/page/test_build.py
# compares, so that a forgotten build fails without npm.
set -euo pipefail
cd "$(dirname "$0")/../viewer"
export LC_ALL=C
[ -d node_modules ] || npm ci
npm run build
find . -path ./node_modules -prune -o -type f -print | sed 's#^\./##' | sort | xargs sha256sum > ../src/hilum/serve/static/sources.sha256
du -sh ../src/hilum/serve/static
