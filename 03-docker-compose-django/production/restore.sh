#!/bin/sh
# Replaces the database and the uploads with a backup's: sh restore.sh backups/...
# `make restore BACKUP=backups/...` runs it.
set -e
cd "$(dirname "$0")"
if [ ! -f "$1/database.dump" ]; then
  echo "error: '$1' is not a backup: make restore BACKUP=backups/..." >&2
  exit 1
fi
in_frontend() {
  docker compose run --rm -T --no-deps --entrypoint sh frontend -ec "$1"
}
quiet='PGOPTIONS=-c client_min_messages=warning'

# Stop all that use the database. The proxy keeps running, so visitors wait
others=$(docker compose ps --services --orphans=false |
  sed '/^proxy$/d; /^frontend$/d; /^backend$/d')
services="frontend $others"

# After an error, Ctrl-C or a lost connection, remove what was loaded, and start the
# services again. A second signal must not end this
finish() {
  set +e

  # Docker Compose would end when it writes to a connection that is lost
  export COMPOSE_PROGRESS=quiet
  docker compose exec -T -e "$quiet" backend sh -c '
    rm -f "$PGDATA/../new.dump"; dropdb --if-exists "$APP_DB-new"'
  echo "$services" | xargs docker compose start

  # Last, because a container whose connection is lost can still be about to create it
  docker compose exec -T frontend rm -rf /media/.new
  [ -z "$renamed" ] || echo "error: uploads are missing: run make restore again" >&2
}
renamed=
trap finish EXIT
trap 'trap "" HUP INT TERM; exit 130' HUP INT TERM
echo "$services" | xargs docker compose stop

# Load everything beside what is there. If that fails, the old database and uploads stay
in_frontend 'cd /media; rm -rf .new
  find /media -type d ! -writable -exec echo error: Django may not write to {} \; |
    grep . >&2 && exit 1
  mkdir .new; tar -C .new -x' < "$1/media.tar"
docker compose exec -T backend sh -c 'cat > "$PGDATA/../new.dump"' < "$1/database.dump"
docker compose exec -T -e "$quiet" backend sh -es <<'EOT'
cd "$PGDATA/.."
dropdb --if-exists "$APP_DB-new"
dropdb --if-exists "$APP_DB-old"

# template0, because template1 can have another collation version than the system
createdb --template template0 --owner "$APP_USER" "$APP_DB-new"

# What is in the dump, in four parts
pg_restore --list new.dump > /tmp/all
kind='^[0-9]+; [0-9]+ [0-9]+'
grep -E "$kind SCHEMA " /tmp/all > /tmp/schemas || true
grep -E "$kind EXTENSION " /tmp/all > /tmp/extensions || true
grep -E "$kind (DEFAULT )?ACL " /tmp/all > /tmp/rights || true
other='SCHEMA|EXTENSION|COMMENT - EXTENSION|ACL|DEFAULT ACL'
grep -vE "$kind ($other) " /tmp/all > /tmp/rest
load() { pg_restore --no-owner --dbname "$APP_DB-new" --use-list "$@" new.dump; }

# The application's user owns everything but the extensions that it may not create
user="--role=$APP_USER"
load /tmp/schemas "$user"
load /tmp/extensions "$user" 2> /dev/null || true
load /tmp/extensions
load /tmp/rest "$user" --single-transaction

# This server can lack a role that has rights in the database
load /tmp/rights "$user" || echo "warning: not all rights were restored"
rm new.dump
EOT

# Replace the old with the new. Both renames happen, or none
docker compose exec -T backend psql -q -v ON_ERROR_STOP=1 -o /dev/null <<'EOT'
\getenv db APP_DB
\set old :db -old
\set new :db -new
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = :'db';
BEGIN;
ALTER DATABASE :"db" RENAME TO :"old";
ALTER DATABASE :"new" RENAME TO :"db";
COMMIT;
EOT
renamed=yes
in_frontend 'cd /media
  find . -mindepth 1 -maxdepth 1 ! -name .new -exec rm -rf {} +
  find .new -mindepth 1 -maxdepth 1 -exec mv -t . {} +
  rmdir .new'
renamed=
docker compose exec -T backend sh -c 'dropdb --force "$APP_DB-old"'
echo "$services" | xargs docker compose up --detach --wait --no-recreate
trap - EXIT
echo "Restored $1"
