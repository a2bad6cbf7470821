#!/bin/sh
# Runs the commands of the three folders on a rootless Docker Engine, in a privileged container. `make test-rootless` calls it.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")"
name=test-rootless-$$ base=debian:forky
case "${DOCKER_HOST:-}" in (unix:///run/docker-examples-*) base=docker-examples-debian:forky;; esac
trap 'docker rm --force --volumes $name; docker image rm --force $name' EXIT
trap 'exit 130' INT TERM HUP
docker build --build-arg DEBIAN=$base -t $name .

# The engine's data is in a volume, because it cannot be on the file system of another container.
docker create --name $name --privileged --init -v /home/learner/.local -v "$PWD/../..:/checkout:ro" $name \
  sh -c 'until [ -w /dev/net/tun ]; do sleep 0.1; done; exec dockerd-rootless.sh'
docker start $name
# On a usual system, every user may open this device.
docker exec -u root $name sh -c 'chmod 666 /dev/net/tun && mount --make-rshared /'
for _ in $(seq 60); do ! docker exec $name docker info >/dev/null 2>&1 || break; sleep 1; done
docker save python:3.14-slim-trixie python:3.14-alpine3.24 postgres:18-trixie | docker exec -i $name docker load
docker exec $name sh /checkout/tests/podman/inside.sh
