#!/bin/sh
# Runs the tests of 01 and 03 in a copy of the repository, with Python 3.15 and the newest version of each package, such as
# Django 6. `make test-newest` calls it, and provides an engine and pytest. It leaves out Flask on Alpine and PostgreSQL 19:
# where Docker Hub is out of reach, compiling Python 3.15 for Alpine takes minutes, and Debian has no PostgreSQL 19 yet.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/.."
pytest=$PWD/.venv/bin/pytest
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

# The tests ask git which files there are.
git ls-files -z --cached --others --exclude-standard | tar -c --null --files-from=- | tar -x -C "$work"
cd "$work"
git init -q && git add -A
git grep -lz 'python:3\.14-slim' | xargs -0 perl -pi -e 's/python:3\.14-slim/python:3.15-slim/g'
perl -pi -e 's/^django>.*/django/' 03-*/requirements.in
# Where Docker Hub is out of reach, the copy builds a stand-in for the new name from Debian's package of Python 3.15.
perl -pi -e 's/3\.14/3.15/g' tests/engine/images/python-slim/Dockerfile
make -s engine >/dev/null

rm 01-*/requirements*.txt 03-*/requirements.txt 03-*/production/requirements.txt
make -s -C 01-docker-flask lock
make -s -C 03-docker-compose-django lock
docker run --rm python:3.15-slim-trixie python --version
grep -h '^[a-z].*==' 01-*/*.txt 03-*/*.txt 03-*/production/*.txt | sort -u
cd tests/examples
files="test_flask.py test_flask_production.py test_django.py test_operations.py test_production.py"
# shellcheck disable=SC2086 # words
"$pytest" $files -k "not alpine" -m "not slow and not alone" -n 4 --dist loadgroup "$@"
# shellcheck disable=SC2086 # words
"$pytest" $files -k "not alpine" -m "not slow and alone" "$@"
