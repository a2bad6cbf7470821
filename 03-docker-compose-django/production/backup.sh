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

# .new is what an interrupted restore leaves. If a file changes while tar reads it, tar
# prints a warning, and its exit code is 1
docker compose exec -T frontend sh -c '
  tar -C /media --exclude ./.new -c . || [ $? -eq 1 ]' > "$folder.new/media.tar"
mv "$folder.new" "$folder"
echo "Saved $folder"
