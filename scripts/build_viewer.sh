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
# Its package has the licence in its README alone, where the bundler does not look.
{
  printf '\n## seedrandom: the licence of its README\n\n'
  sed -n '/^Copyright 2019 David Bau/,$p' node_modules/seedrandom/README.md
} >> ../src/hilum/serve/static/third-party.md
# Some licences come with the line ends of another system.
sed -i 's/\r$//' ../src/hilum/serve/static/third-party.md
find . -path ./node_modules -prune -o -type f -print | sed 's#^\./##' | sort | xargs sha256sum > ../src/hilum/serve/static/sources.sha256
du -sh ../src/hilum/serve/static
