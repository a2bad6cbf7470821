#!/bin/sh
# Deploys an image to a Docker Swarm, or updates it without a pause: sh deploy.sh IMAGE
# Set STACK to name the stack (django) and PORT to choose the port of each node (80).
# Options after IMAGE go to `docker stack deploy`.
set -e
cd "$(dirname "$0")"
export IMAGE="$1" STACK="${STACK:-django}"
[ -n "$IMAGE" ] || { echo "error: name an image that each node can pull: sh deploy.sh IMAGE" >&2; exit 1; }
if grep -q '^POSTGRES_REMOTE_HOST=backend$' ../.env; then
  echo "error: the Swarm has no service backend: set POSTGRES_REMOTE_HOST in ../.env to your database" >&2
  exit 1
fi

# A changed secret is an update like a new image. The number of replicas stays
VERSION=$(cat ../secrets/* | cksum | cut -d ' ' -f 1)
REPLICAS=$(docker service inspect -f '{{.Spec.Mode.Replicated.Replicas}}' "${STACK}_frontend" 2>/dev/null) || REPLICAS=2
export VERSION REPLICAS

echo "Ctrl-C only ends the waiting. To see the log: docker service logs ${STACK}_frontend"
shift
docker stack deploy --detach=false --prune --with-registry-auth -c stack.yaml "$@" "$STACK"

# docker stack deploy also succeeds if the old image came back
state=$(docker service inspect -f '{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}' "${STACK}_frontend")
case $state in
  rollback_completed) echo "error: $IMAGE did not become healthy, so the old one is back: docker service logs ${STACK}_frontend" >&2; exit 1 ;;
  rollback* | paused) echo "error: $IMAGE did not become healthy: the update is $state: docker service logs ${STACK}_frontend" >&2; exit 1 ;;
esac
