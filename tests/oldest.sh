#!/bin/sh
# Tries the oldest Docker that the README promises, Debian 13's, beside the engine of `make test`: the smoke test, and the tests
# of the three folders. `make test-oldest` runs it, with the engine and the environment for pytest.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")"

# engine COMMAND [FOLDER]: the private engine of Debian 13, which has a cache of its own. No engine that this shell was given.
tests=$PWD
engine() {
  (cd "$tests" && env -u DOCKER_HOST -u DOCKER_CONFIG -u DOCKER_CONTEXT ENGINE_RELEASE=trixie python3 -B -m engine "$@")
}

work=$(mktemp -d)
trap 'engine clean; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

# The images come from the newer engine, which builds the one of PostgreSQL 17, too, where it is a private one. A folder whose
# Dockerfile names none asks for none.
mkdir "$work/none" "$work/old"
touch "$work/none/Dockerfile"
echo "FROM postgres:17" > "$work/old/Dockerfile"
case "${DOCKER_HOST:-}" in (unix:///run/docker-examples-*) python3 -B -m engine start "$work/old" >/dev/null;; esac
run=$(engine start "$work/none")
echo "Loading the images into the oldest engine."
images="hello-world python:3.14-slim-trixie python:3.14-alpine3.24 postgres:18-trixie postgres:17"
for image in $images; do docker image inspect "$image" >/dev/null 2>&1 || docker pull "$image"; done
# shellcheck disable=SC2086 # five words
docker save $images | docker --host "unix://$run/docker.sock" load

export DOCKER_HOST="unix://$run/docker.sock" DOCKER_CONFIG="$run/config" PATH="$run/bin:$PATH"
docker version --format 'Engine {{.Server.Version}}, client {{.Client.Version}}, Compose'
docker compose version --short
docker info --format 'image store: {{.Driver}} {{.DriverStatus}}'
sh smoke.sh
cd ..
.venv/bin/pytest tests/test_flask.py tests/test_flask_prod.py tests/test_alpine.py tests/test_django.py tests/test_django_ops.py \
  tests/test_django_prod.py -m "not slow" -n 4 --dist loadgroup "$@"
