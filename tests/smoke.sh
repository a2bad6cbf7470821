#!/bin/sh
# Builds and runs the three examples and looks at their pages: sh tests/smoke.sh. For those who have no Python: it needs make,
# curl and Docker. Names, ports, data and passwords are its own, so it gets into nobody's way; at its end all of that is gone.
CDPATH='' cd -- "$(dirname -- "$0")/.." || exit
unset MAKEFLAGS  # started by make -n or make -j, the makes below would be told so
command -v curl >/dev/null || { echo "error: there is no curl, which this needs. On Debian: apt-get install curl" >&2; exit 1; }
# The same as in a shell: eval "$(make -s engine)". It prints nothing where an engine answers.
docker version >/dev/null 2>&1 || { engine=$(make -s engine) && eval "$engine"; } || exit
work=$(cd "$(mktemp -d)" && pwd -P) || exit
name=smoke$$ port=$((10000 + $$ % 20000)) passed=0
django="$work/03-docker-compose-django"
export COMPOSE_PROJECT_NAME=$name DJANGO_NAME=$name-django

cleanup() {
  trap '' INT TERM HUP  # a second Ctrl-C must not leave half of it behind
  {
    docker rm -f $name-flask $name-alpine
    make -C "$django" clean
    docker image rm $name-flask $name-alpine
    rm -rf "$work"
  } >/dev/null 2>&1
  [ ! -e "$work" ] || echo "error: could not remove $work: try sudo rm -rf '$work'" >&2
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# promise TEXT COMMAND ...: the text, if the command succeeds; else what the command printed, and the end.
promise() {
  text=$1; shift
  if said=$("$@" 2>&1); then passed=$((passed + 1)); echo "ok  $text"; return; fi
  printf 'no  %s\n    %s\n%s\n%s passed, 1 failed\n' "$text" "$*" "$said" "$passed"
  exit 1
}

fetch() { curl -qfsS --noproxy '*' "$@"; }

# The next port at which nothing listens: there, curl ends with 7.
next_port() {
  while port=$((port + 1)); do
    fetch --max-time 2 -o /dev/null "http://127.0.0.1:$port/" 2>/dev/null
    [ $? -ne 7 ] || return 0
  done
}

page_is() { page=$(fetch "$1") && echo "$page" && [ "$page" = "$2" ]; }
page_has() { page=$(fetch "$1") && echo "$page" && case "$page" in *"$2"*) ;; *) false;; esac; }
answers_200() { code=$(fetch -o /dev/null -w '%{http_code}' "$1") && echo "$code" && [ "$code" = 200 ]; }

# `docker wait` must listen before the end, and then prints the exit code: 137 is a container that had to be killed.
stops_with_0() {
  docker wait "$1" >"$work/code" & sleep 1
  docker stop "$1" && wait $! && echo "exit code:" && cat "$work/code" && grep -qx 0 "$work/code"
}

echo "Building and running the three examples; the first time takes some minutes."

for example in 01-docker-flask:flask 02-docker-flask-alpine:alpine; do
  folder=${example%:*} container=$name-${example#*:}
  next_port
  promise "$folder: make run" make -C "$folder" run NAME="$container" IMAGE="$container" PORT="$port"
  promise "$folder: its page is the tutorial's" page_is "http://127.0.0.1:$port/" \
    "<h1>Flask is running</h1><p>Awesome, that worked.  Now add more code.</p>"
  promise "$folder: docker stop ends it with exit code 0" stops_with_0 "$container"
done

# A copy, because data/ and ../secrets/ lie beside the files. Yours may belong to others, hence --exclude.
tar -cf - --exclude 03-docker-compose-django/data Makefile secrets.example tests/engine 03-docker-compose-django |
  tar -xf - -C "$work"
promise "make secrets" make -C "$work" secrets
next_port; web=$port; next_port
promise "03-docker-compose-django: make up" make -C "$django" up PORT="$web" DB_PORT="$port"
promise "03-docker-compose-django: Django's start page" page_has "http://127.0.0.1:$web/" "The install worked successfully"
promise "03-docker-compose-django: the admin's log-in page" answers_200 "http://127.0.0.1:$web/admin/login/"
promise "03-docker-compose-django: docker stop ends Django with exit code 0" stops_with_0 "$DJANGO_NAME"
promise "03-docker-compose-django: make clean" make -C "$django" clean
promise "03-docker-compose-django: make clean removed the data" test ! -e "$django/data"
echo "$passed passed, 0 failed"
