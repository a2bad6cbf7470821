#!/bin/sh
# Replaces the database and the uploads with a backup's: sh restore.sh backups/...
# `make restore BACKUP=backups/...` runs it.
set -e
cd "$(dirname "$0")"
if [ ! -f "$1/database.dump" ]; then
  echo "error: $1 is not a backup: make restore BACKUP=backups/..." >&2
  exit 1
fi
trap 'exit 130' INT TERM

# Start the web server again, also after an error
docker compose stop frontend
trap 'docker compose start frontend' EXIT
in_frontend() { docker compose run --rm -T --no-deps --entrypoint sh frontend -ec "$1"; }

# Load everything beside what is there. If that fails, the old database and uploads stay
in_frontend 'rm -rf /media/.new; mkdir /media/.new; tar -C /media/.new -x' < "$1/media.tar"
docker compose exec -T -e PGOPTIONS='-c client_min_messages=warning' backend sh -ec '
  dropdb --if-exists "$APP_DB-new"
  dropdb --if-exists "$APP_DB-old"
  createdb --owner "$APP_USER" "$APP_DB-new"
  pg_restore --no-owner --role "$APP_USER" --single-transaction --dbname "$APP_DB-new"' \
  < "$1/database.dump"

# Replace the old with the new. Both renames happen, or none
docker compose exec -T backend sh -ec '
  psql -qc "ALTER DATABASE \"$APP_DB\" RENAME TO \"$APP_DB-old\";
            ALTER DATABASE \"$APP_DB-new\" RENAME TO \"$APP_DB\""
  dropdb "$APP_DB-old"'
in_frontend 'cd /media
  find . -mindepth 1 -maxdepth 1 ! -name .new -exec rm -rf {} +
  find .new -mindepth 1 -maxdepth 1 -exec mv -t . {} +
  rmdir .new'
docker compose up --detach --wait --no-recreate
echo "Restored $1"
