#!/bin/sh
# The examples' own commands, for the engine that `docker` talks to. In podman.Dockerfile's container, `docker` is Podman.
# run.sh runs this.
set -eu
export PODMAN_COMPOSE_WARNING_LOGS=false PODMAN_IGNORE_CGROUPSV1_WARNING=1
docker version --format 'client {{.Client.Version}}'

work=$(mktemp -d)
cd /checkout
cp -R Makefile secrets.example 01-docker-flask 02-docker-flask-alpine "$work"
mkdir "$work/03-docker-compose-django"
cd 03-docker-compose-django
cp -R .dockerignore Dockerfile Makefile ./*.sh ./*.py ./*.yaml ./*.txt codesolid_demo "$work/03-docker-compose-django"
cd "$work"

# has URL WORDS: waits up to a minute until the page contains the words.
has() {
  for _ in $(seq 60); do
    if curl -fsS "$1" 2>/dev/null | grep -q "$2"; then echo "ok  $1 contains '$2'"; return; fi
    sleep 1
  done
  echo "error: $1 does not contain '$2'" >&2
  exit 1
}

for folder in 01-docker-flask 02-docker-flask-alpine; do
  for target in run production; do
    make -C $folder $target PORT=8090
    has http://localhost:8090 "Flask is running"
    make -C $folder kill
  done
done

sh 03-docker-compose-django/make-secrets.sh
cd 03-docker-compose-django
export PORT=8090
if command -v podman >/dev/null; then
  # Docker's Compose talks to Podman's socket. Without --wait, because Podman runs health checks with systemd, which this
  # container doesn't have.
  mkdir -p /run/podman
  podman system service --time 0 unix:///run/podman/podman.sock &
  until [ -S /run/podman/podman.sock ]; do sleep 0.1; done
  export DOCKER_HOST=unix:///run/podman/podman.sock
  docker compose up --build --detach
else
  make up
fi
has http://localhost:8090 "The install worked successfully"
docker compose stop
docker inspect --format '{{.State.ExitCode}}' django | grep -qx 0
echo "ok  docker compose stop ends Django with exit code 0"
make down
