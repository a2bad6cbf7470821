#!/bin/sh
# Writes ../secrets/secrets.txt: secrets.example with a random value for each change-me.
# To choose a value: POSTGRES_PASSWORD=... sh make-secrets.sh
set -e
cd "$(dirname "$0")/.."
file=secrets/secrets.txt
[ ! -e $file ] || { echo "$file exists already."; exit; }
umask 077
mkdir -p secrets
trap 'rm -f $file.new' EXIT
trap 'trap "" HUP INT TERM; exit 130' HUP INT TERM
export LC_ALL=C

while IFS= read -r line || [ -n "$line" ]; do
  key=${line%%=*}
  case $line in
    \#*) ;;
    *=change-me)
      value=$(printenv "$key") || true
      [ -n "$value" ] || value=$(tr -dc A-Za-z0-9 < /dev/urandom | head -c 50)
      # Compose and `docker run --env-file` read these characters in different ways
      case $value in
        *[!!-~]* | *[\$\"\'\\\`#]*)
          echo "error: choose another $key: it contains a space, \$, \", ', \\, \`, #" \
            "or a character outside ASCII" >&2
          exit 1 ;;
      esac
      line=$key=$value ;;
  esac
  printf '%s\n' "$line"
done < secrets.example > $file.new
mv $file.new $file
echo "Created $file with random passwords."
