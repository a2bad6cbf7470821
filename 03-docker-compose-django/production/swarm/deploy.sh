#!/bin/sh
# Deploys an image to a Docker Swarm, or updates it without a pause: sh deploy.sh IMAGE
# Set STACK to name the stack (appname) and PORT to choose the port of each node (80).
# Options after IMAGE go to `docker stack deploy`.
set -e
cd "$(dirname "$0")"
export IMAGE="$1" STACK="${STACK:-appname}"
if [ -z "$IMAGE" ]; then
  echo "error: name an image that each node can pull: sh deploy.sh IMAGE" >&2
  exit 1
fi
if grep -q '^POSTGRES_REMOTE_HOST=backend$' ../.env; then
  echo "error: the Swarm has no service backend: set POSTGRES_REMOTE_HOST in .env" >&2
  exit 1
fi

# A changed secret is an update like a new image. The number of replicas stays
VERSION=$(cat ../secrets/* | cksum | cut -d ' ' -f 1)
format='{{.Spec.Mode.Replicated.Replicas}}'
REPLICAS=$(docker service inspect -f "$format" "${STACK}_frontend" 2>/dev/null) || REPLICAS=2
export VERSION REPLICAS

echo "Ctrl-C ends only the waiting. The log: docker service logs ${STACK}_frontend"
shift
docker stack deploy --detach=false --prune --with-registry-auth \
  -c stack.yaml "$@" "$STACK"

# docker stack deploy also succeeds if the old image came back
format='{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}'
state=$(docker service inspect -f "$format" "${STACK}_frontend")
log="docker service logs ${STACK}_frontend"
case $state in
  rollback_completed)
    echo "error: $IMAGE did not become healthy, so the old one is back: $log" >&2
    exit 1 ;;
  rollback* | paused)
    echo "error: $IMAGE did not become healthy: the update is $state: $log" >&2
    exit 1 ;;
esac
