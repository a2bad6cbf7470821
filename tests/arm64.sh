#!/bin/sh
# Runs tests/examples/test_arm64.py with images for linux/arm64, which this machine emulates. `make test-arm64` calls it.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/.."
export DOCKER_DEFAULT_PLATFORM=linux/arm64

# If the usual engine is a private one, start another one for arm64, because both may need stand-ins with the same names.
case "${DOCKER_HOST:-}" in (unix:///run/docker-examples-*)
  engine() { (cd tests && env -u DOCKER_HOST -u DOCKER_CONFIG python3 -B -m engine "$@"); }
  trap 'engine stop' EXIT
  trap 'exit 130' INT TERM HUP
  # Flask on Alpine is not built: compiling Python under emulation takes too long.
  run=$(engine start "$PWD/01-docker-flask" "$PWD/03-docker-compose-django" "$PWD/03-docker-compose-django/production")
  export DOCKER_HOST="unix://$run/docker.sock" DOCKER_CONFIG="$run/config" PATH="$run/bin:$PATH" ;;
esac
.venv/bin/pytest tests/examples/test_arm64.py "$@"
