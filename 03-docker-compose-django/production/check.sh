#!/bin/sh
# Runs Django's tests in the production image, in a project that is removed afterwards.
# `make check` runs it.
set -e
cd "$(dirname "$0")"
export COMPOSE_PROJECT_NAME=check-$$ COMPOSE_PROFILES=database
trap 'docker compose down --rmi local --volumes' EXIT
trap 'exit 130' INT TERM
docker compose up --detach --wait backend

# The tests create a database of their own, and their migrations may create extensions
docker compose exec -T backend sh -c 'psql -qc "ALTER ROLE \"$APP_USER\" SUPERUSER"'
docker compose run --rm -T --build --no-deps -e POSTGRES_REMOTE_HOST=backend -e POSTGRES_PORT=5432 \
  -e POSTGRES_SSLMODE=prefer frontend python manage.py test
