#!/bin/sh
# Runs the smoke test, and the tests of the three folders, production and the base images, on the oldest Docker
# that the README promises, the one of Debian 13. `make test-oldest` calls it, and provides the usual engine and pytest.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")"

# engine COMMAND [FOLDER]: runs tests/engine for Debian 13's engine, with its own cache. Ignores the engine of this shell.
tests=$PWD
engine() {
  (cd "$tests" && env -u DOCKER_HOST -u DOCKER_CONFIG -u DOCKER_CONTEXT ENGINE_RELEASE=trixie python3 -B -m engine "$@")
}

work=$(mktemp -d)
trap 'engine clean; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

# Start the oldest engine with an empty Dockerfile, because that asks for no images. Copy them from the usual engine.
touch "$work/Dockerfile"
run=$(engine start "$work")
echo "Loading the images into the oldest engine."
images="hello-world python:3.14-slim-trixie python:3.14-alpine3.24 postgres:18-trixie caddy:2.11-alpine"
for image in $images; do docker image inspect "$image" >/dev/null 2>&1 || docker pull "$image"; done
# shellcheck disable=SC2086 # words
docker save $images | docker --host "unix://$run/docker.sock" load

export DOCKER_HOST="unix://$run/docker.sock" DOCKER_CONFIG="$run/config" PATH="$run/bin:$PATH"
docker version --format 'Engine {{.Server.Version}}, client {{.Client.Version}}, Compose'
docker compose version --short
docker info --format 'image store: {{.Driver}} {{.DriverStatus}}'
sh smoke.sh
cd ..
files="test_flask.py test_flask_production.py test_alpine.py test_django.py test_operations.py test_production.py"
cd tests/examples
# shellcheck disable=SC2086 # words
../../.venv/bin/pytest $files -m "not slow and not alone" -n 4 --dist loadgroup "$@"
# shellcheck disable=SC2086 # words
../../.venv/bin/pytest $files -m "not slow and alone" "$@"
../../.venv/bin/pytest test_base_images.py "$@"
