#!/bin/sh
# Draws the pictures in .github/images again. `make pictures` calls it. Arguments go to pytest.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/../.."

# bench.json keeps the chart's numbers, because a test compares them.
[ ! -f tests/bench/results.json ] || cp tests/bench/results.json .github/images/bench.json
if [ ! -f .github/images/bench.json ]; then
  echo "error: no numbers for the chart. Run: make bench" >&2
  exit 1
fi

# The picture of `make up` needs the default names and ports.
names='^/?(flask|flask-alpine|django|03-docker-compose-django-.*)$'
if [ -n "$(docker ps -aq --filter "name=$names")" ]; then
  echo "error: the examples' names are in use. Run: make down" >&2
  exit 1
fi
PICTURES="$PWD/.github/images" .venv/bin/pytest tests/pictures/test_pictures.py "$@"
