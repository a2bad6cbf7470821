#!/bin/sh
# Saves the database and the uploads in a new folder in backups/. `make backup` runs it.
# sh backup.sh 7 keeps only the newest 7 backups. sh backup.sh 7 user@host:folder also
# copies them to another computer, and keeps 7 there.
set -e
case $1 in
  0* | *[!0-9]*)
    echo "error: keep $1 backups? sh backup.sh 7 user@host:folder" >&2
    exit 1 ;;
esac
case $2 in
  '' | [!:]*:[!~]*) ;;
  *)
    # A ~ would be a folder of that name
    echo "error: copy to $2? sh backup.sh 7 user@host:folder" >&2
    exit 1 ;;
esac
cd "$(dirname "$0")"
umask 077
failed=
name() { date -u +backups/%Y-%m-%d-%H%M%S; }
folder=$(name)
while [ -e "$folder" ]; do sleep 1; folder=$(name); done
mkdir -p backups
mkdir "$folder.new"

# A backup that fails leaves nothing behind
trap 'rm -rf "$folder.new"' EXIT
trap 'trap "" HUP INT TERM; exit 130' HUP INT TERM
docker compose exec -T backend sh -c '
  pg_dump --format=custom "$APP_DB"' > "$folder.new/database.dump"

# .new is what an interrupted restore leaves. If a file changes while tar reads it, tar
# prints a warning, and its exit code is 1. `run` also works if Django doesn't start
docker compose --progress quiet run --rm -T --no-deps frontend sh -c '
  tar -C /media --exclude ./.new -c . || [ $? -eq 1 ]' > "$folder.new/media.tar"

# A power cut must not leave empty files under the final name
sync
mv "$folder.new" "$folder"
echo "Saved $folder"
[ -n "$1" ] || exit 0

# The time (UTC) is in the name, so the newest backups come first
old="ls -r | grep -xE '20[0-9-]{15}' | tail -n +$(($1 + 1)) | xargs rm -rf"
copy_to() {
  rsync -a --timeout=300 --exclude '*.new' backups/ "$1/" &&
    echo "cd '${1#*:}' && $old" | ssh "${1%%:*}" sh
}

# Also copies those that an earlier run could not copy, so the old ones go afterwards
[ -z "$2" ] || copy_to "$2" || failed=yes
(cd backups && sh -c "$old")
if [ -n "$failed" ]; then
  echo "error: $folder is on this computer only: the copy to $2 failed" >&2
  exit 1
fi
