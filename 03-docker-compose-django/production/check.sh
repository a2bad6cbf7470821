#!/bin/sh
# Tries the code or a backup in a project of its own, which is removed afterwards:
# sh check.sh            runs Django's tests in the production image: make check
# sh check.sh backups    loads the newest backup, and starts Django: make verify
# The backups can be on another computer: sh check.sh user@host:folder
set -e
cd "$(dirname "$0")"

# The user in the container of backend must be able to read it
chmod a+r create_app_user.sql

# Django would start on the other database, and migrate it
if [ $# != 0 ] && ! grep -qx POSTGRES_REMOTE_HOST=backend .env; then
  echo "error: POSTGRES_REMOTE_HOST in .env is not backend: a backup can be loaded only" \
    "into this project's own database" >&2
  exit 1
fi
export COMPOSE_PROJECT_NAME=check-$$ COMPOSE_PROFILES=database
copy=backups/$COMPOSE_PROJECT_NAME.new
trap 'rm -rf "$copy"; docker compose --progress quiet down --rmi local --volumes' EXIT
trap 'trap "" HUP INT TERM; exit 130' HUP INT TERM

if [ $# = 0 ]; then
  docker compose up --detach --wait backend

  # The tests create a database of their own, and their migrations may create extensions
  docker compose exec -T backend sh -c 'psql -qc "ALTER ROLE \"$APP_USER\" SUPERUSER"'
  docker compose run --rm -T --build --no-deps -e POSTGRES_REMOTE_HOST=backend \
    -e POSTGRES_PORT=5432 -e POSTGRES_SSLMODE=prefer frontend python manage.py test
  exit
fi

# cron mails what this prints: one line, or the errors
export COMPOSE_PROGRESS=quiet
newest="cd '${1#*:}' && ls | grep -xE '20[0-9-]{15}' | tail -n 1"
case $1 in
  *:*)
    backup=$copy name=$(echo "$newest" | ssh "${1%%:*}" sh)
    (umask 077 && mkdir -p "$copy" && rsync -a --timeout=300 "$1/$name/" "$copy") ;;
  *)
    name=$(sh -c "$newest")
    backup=$1/$name ;;
esac
docker compose build --quiet frontend
docker compose up --detach --wait backend
if ! sh restore.sh "$backup" > /dev/null; then
  echo "error: $1/$name cannot be loaded" >&2
  exit 1
fi
found=$(docker compose exec -T backend sh -c 'psql -qAtF " tables, " "$APP_DB"' << 'END'
SELECT count(*), sum(n_live_tup) FROM pg_stat_user_tables
END
)
files=$(docker compose exec -T frontend find /media -type f | wc -l)
echo "Loaded $1/$name: $found rows, $files uploaded files"
