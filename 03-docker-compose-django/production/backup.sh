#!/bin/sh
# Saves the database and the uploads in a new folder in backups/. `make backup` runs it.
set -e
cd "$(dirname "$0")"
umask 077
folder=backups/$(date +%Y-%m-%d-%H%M%S)
mkdir -p "$folder.new"

# A backup that fails leaves nothing behind
trap 'rm -rf "$folder.new"' EXIT
trap 'exit 130' INT TERM
docker compose exec -T backend sh -c 'pg_dump --format=custom "$APP_DB"' > "$folder.new/database.dump"

# .new is what an interrupted restore leaves
docker compose exec -T frontend tar -C /media --exclude ./.new -c . > "$folder.new/media.tar"
mv "$folder.new" "$folder"
echo "Saved $folder"
