#!/bin/sh
# Runs the commands of the three folders on another engine, in a privileged container. Usage: run.sh podman|rootless
# `make test-podman` and `make test-rootless` call it.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")"
name=test-$1-$$ base=debian:forky
case "${DOCKER_HOST:-}" in (unix:///run/docker-examples-*) base=docker-examples-debian:forky;; esac
trap 'docker rm --force --volumes "$name"; docker image rm --force "$name"' EXIT
trap 'exit 130' INT TERM HUP
docker build --build-arg DEBIAN=$base -t "$name" -f "$1.Dockerfile" .
docker run -d --name "$name" --privileged --init -v "$PWD/../..:/checkout:ro" "$name"

# As on a usual system: every user may open this device, and mounts are shared.
docker exec -u root "$name" sh -c 'chmod 666 /dev/net/tun && mount --make-rshared /'
for _ in $(seq 60); do ! docker exec "$name" docker info >/dev/null 2>&1 || break; sleep 1; done
docker save python:3.14-slim-trixie python:3.14-alpine3.24 postgres:18-trixie | docker exec -i "$name" docker load
docker exec "$name" sh /checkout/tests/other-engines/inside.sh
