#!/bin/sh
# Builds and runs the three examples and checks their pages, without Python: sh tests/smoke.sh. It needs make, curl and Docker.
# It uses its own names, ports, data and passwords, and removes everything at the end.
CDPATH='' cd -- "$(dirname -- "$0")/.." || exit
unset MAKEFLAGS  # if make started this script, its options (-n, -j) must not reach the makes below
command -v curl >/dev/null || { echo "error: curl is missing. On Debian, run: apt-get install curl" >&2; exit 1; }
# Use the private engine if no other answers.
docker version >/dev/null 2>&1 || { engine=$(make -s engine) && eval "$engine"; } || exit
work=$(mktemp -d) || exit
name=smoke$$ passed=0
django="$work/03-docker-compose-django"
export COMPOSE_PROJECT_NAME=$name DJANGO_NAME=$name-django

# Clean up twice, because docker reacts to a second Ctrl-C even if the shell ignores it.
cleanup() {
  trap '' INT TERM HUP
  for _ in 1 2; do
    docker rm -f $name-flask $name-alpine
    make -C "$django" clean
    docker image rm $name-flask $name-alpine
  done >/dev/null 2>&1
  rm -rf "$work" || echo "error: could not remove all of $work. Run: sudo rm -rf '$work'" >&2
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# promise TEXT COMMAND ...: prints the text if the command succeeds. Otherwise prints the command's output and exits.
promise() {
  text=$1; shift
  if said=$("$@" 2>&1); then passed=$((passed + 1)); echo "ok  $text"; return; fi
  printf 'no  %s\n    %s\n%s\n%s passed, 1 failed\n' "$text" "$*" "$said" "$passed"
  exit 1
}

# fetch CONTAINER PATH [OPTION ...]: PORT=0, below, lets Docker choose a free port. `docker port` prints it.
fetch() {
  url=http://$(docker port "$1" | sed -n '1s/.* //p')$2 && shift 2 && curl -qfsS --noproxy '*' "$url" "$@"
}

# Flask may need a second to start.
page_is() { for _ in 1 2 3 4 5 6 7 8 9; do page=$(fetch "$1" /) && break; sleep 1; done; echo "$page"; [ "$page" = "$2" ]; }
page_has() { page=$(fetch "$1" /) && echo "$page" && case "$page" in *"$2"*) ;; *) false;; esac; }
answers_200() { code=$(fetch "$1" "$2" -o /dev/null -w '%{http_code}') && echo "$code" && [ "$code" = 200 ]; }

# Start `docker wait` before the stop. It prints the exit code, which is 137 if Docker had to kill the container.
# It ignores Ctrl-C, so it writes to a file: `promise` would wait for it until it closes the output.
stops_with_0() {
  docker wait "$1" >"$work/code" 2>&1 & sleep 2
  docker stop "$1" && wait $! && echo "exit code:" && cat "$work/code" && grep -qx 0 "$work/code"
}

echo "Building and running the three examples. The first time takes a few minutes."

for example in 01-docker-flask:flask 02-docker-flask-alpine:alpine; do
  folder=${example%:*} container=$name-${example#*:}
  promise "$folder: make run" make -C "$folder" run CONTAINER="$container" IMAGE="$container" PORT=0
  promise "$folder: its page is the tutorial's" page_is "$container" \
    "<h1>Flask is running</h1><p>Awesome, that worked.  Now add more code.</p>"
  promise "$folder: docker stop ends it with exit code 0" stops_with_0 "$container"
done

# Run Django in a copy, because it uses data/ and ../secrets/. Don't copy your data/, which only PostgreSQL can read.
mkdir "$work/tests" "$django" && cp -Rp Makefile secrets.example "$work" && cp -Rp tests/engine "$work/tests" || exit
for file in 03-docker-compose-django/.dockerignore 03-docker-compose-django/*; do
  case "${file##*/}" in data*|production) ;; *) cp -Rp "$file" "$django" || exit;; esac
done
promise "make secrets" make -C "$work" secrets
promise "03-docker-compose-django: make up" make -C "$django" up PORT=0 DB_PORT=0
promise "03-docker-compose-django: Django's start page" page_has "$DJANGO_NAME" "The install worked successfully"
promise "03-docker-compose-django: the admin's login page" answers_200 "$DJANGO_NAME" /admin/login/
promise "03-docker-compose-django: docker stop ends Django with exit code 0" stops_with_0 "$DJANGO_NAME"
promise "03-docker-compose-django: make clean" make -C "$django" clean
promise "03-docker-compose-django: make clean removed the data" test ! -e "$django/data"
echo "$passed passed, 0 failed"
