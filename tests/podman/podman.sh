#!/bin/sh
# Runs the commands of the three folders with Podman as root, in a privileged container. `make test-podman` calls it.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")"
name=test-podman-$$ base=debian:forky
case "${DOCKER_HOST:-}" in (unix:///run/docker-examples-*) base=docker-examples-debian:forky;; esac
trap 'docker rm --force --volumes $name; docker image rm --force $name' EXIT
trap 'exit 130' INT TERM HUP
docker build --build-arg DEBIAN=$base -t $name .

# Podman's storage is in a volume, because it cannot be on the file system of another container.
docker run -d --name $name --privileged --init -v /var/lib/containers -v "$PWD/../..:/checkout:ro" $name
docker save python:3.14-slim-trixie python:3.14-alpine3.24 postgres:18-trixie | docker exec -i $name podman load
docker exec $name sh /checkout/tests/podman/inside.sh
