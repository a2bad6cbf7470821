#!/bin/sh
# Checks that Docker, the ports and the secrets are ready, and says how to fix what is not. ok: fine, no: a problem, --: a note.
# `make doctor` calls it: sh tests/doctor.sh FLASK_PORT ALPINE_PORT DJANGO_PORT DB_PORT
[ $# -eq 4 ] || { echo "usage: sh tests/doctor.sh FLASK_PORT ALPINE_PORT DJANGO_PORT DB_PORT (or: make doctor)" >&2; exit 2; }
CDPATH='' cd -- "$(dirname -- "$0")/.." || exit
failed=0 engine=no hub=no

# line ok|no|-- TOPIC TEXT [REMEDY ...]
line() {
  printf '%-3s %-11s %s\n' "$1" "$2" "$3"
  [ "$1" != no ] || failed=1
  shift 3; for remedy in "$@"; do printf '%15s -> %s\n' '' "$remedy"; done
}

# verdict STATUS TOPIC GOOD BAD REMEDY
verdict() { if [ "$1" -eq 0 ]; then line ok "$2" "$3"; else line no "$2" "$4" "$5"; fi; }

# within SECONDS COMMAND ...: runs the command with a time limit, because macOS has no `timeout`.
# The trap kills the command, because Ctrl-C may not reach a background process.
within() {
  trap 'kill -9 $!; exit 130' INT TERM
  left=$(($1 * 10)); shift
  "$@" & while kill -0 $! 2>/dev/null; do
    [ $((left -= 1)) -gt 0 ] || { kill -9 $!; echo "no answer in time"; break; }
    sleep 0.1
  done
  wait $! 2>/dev/null
}

last_line() { printf '%s\n' "$1" | grep . | tail -n 1; }

# at_least VERSION MAJOR MINOR PATCH: VERSION may look like v2.26.1-4
at_least() { echo "${1#v}" | awk -F . -v need="$((($2 * 1000 + $3) * 1000 + $4))" '{ exit ($1 * 1000 + $2) * 1000 + $3 < need }'; }

# The conditions of tests/engine: if they are met, make up starts a private engine.
private_possible() {
  case "$DOCKER_HOST$DOCKER_CONTEXT" in ''|unix:///run/docker-examples-*) ;; *) return 1;; esac
  [ "$(id -u)" -eq 0 ] && command -v python3 >/dev/null && grep -qE '^VERSION_CODENAME=(bookworm|trixie)' /etc/os-release
} 2>/dev/null

# Check a running private engine like any other. make doctor must not start one, so make does not set these variables here.
use_private() {
  run=$(PYTHONPATH=tests python3 -B -c "from engine.places import RUN; print(RUN)")
  export DOCKER_HOST="unix://$run/docker.sock" DOCKER_CONFIG="$run/config" PATH="$run/bin:$PATH"
}

ask_engine() { said=$(within 10 docker version --format '{{.Server.Version}}' 2>&1) && engine=yes; }

how_to_start() {
  context=$(docker context show 2>/dev/null)
  if [ -n "$DOCKER_HOST" ]; then echo "DOCKER_HOST is $DOCKER_HOST: start that engine, or run: unset DOCKER_HOST"
  elif [ -n "$DOCKER_CONTEXT" ]; then echo "DOCKER_CONTEXT is $DOCKER_CONTEXT: start that engine, or run: unset DOCKER_CONTEXT"
  elif [ "$(uname)" = Darwin ]; then echo "start Docker Desktop: open -a Docker"
  elif uname -r | grep -qi microsoft; then
    echo "start Docker Desktop, and turn on Settings > Resources > WSL integration for this distribution"
  elif [ "${context:-default}" = default ]; then echo "sudo systemctl start docker, or start Docker Desktop"
  else echo "the context is $context: start that engine (Docker Desktop?), or run: docker context use default"; fi
}

check_engine() {
  if ! ask_engine && private_possible && use_private && ! ask_engine; then
    engine=private
    line -- engine "none answers, but make up starts a private one" "to use it in this shell: eval \"\$(make -s engine)\""
    return
  fi
  docker=$(command -v docker)
  verdict $? docker "$docker" "there is no docker command" \
    "https://docs.docker.com/get-docker/ (or, as root on Debian 12 or 13: eval \"\$(make -s engine)\")"
  case "$engine$said" in
    yes*) version=$(last_line "$said"); at_least "$version" 26 1 0; verdict $? engine "version $version" \
      "version $version is too old: you need 26.1 or later" "https://docs.docker.com/engine/install/";;
    *"permission denied while"*|*"connect: permission denied"*) line no engine "permission denied on the engine's socket" \
      "sudo usermod -aG docker $(id -un) && newgrp docker" "https://docs.docker.com/engine/install/linux-postinstall/";;
    *) [ -z "$docker" ] || line no engine "$(last_line "$said")" "$(how_to_start)";;
  esac
}

# Compose and buildx are separate programs. The private engine has its own.
check_plugins() {
  if [ $engine = private ] || [ -z "$docker" ]; then
    line -- plugins "Compose and buildx not checked: they come with Docker"; return
  fi
  compose=$(docker compose version --short 2>/dev/null)
  at_least "$compose" 2 26 0; verdict $? compose "version $compose" \
    "docker compose is ${compose:-missing}: you need 2.26 or later, and docker-compose with a hyphen does not count" \
    "https://docs.docker.com/compose/install/"
  version=$(docker buildx version 2>/dev/null | awk '{ print $2 }'); [ -n "$version" ]
  verdict $? buildx "version $version" "docker buildx is missing: RUN --mount needs it" \
    "install docker-buildx-plugin from Docker's own packages, or docker-buildx from your system's"
  at_least "$compose" 5 0 0 && ! at_least "$version" 0 17 0 && line no buildx \
    "Compose $compose needs buildx 0.17 or later, and $version is older" "update docker-buildx-plugin"
  [ "$DOCKER_BUILDKIT" != 0 ] || line no buildx "DOCKER_BUILDKIT=0 turns buildx off" "unset DOCKER_BUILDKIT"
}

check_hub() {
  if [ $engine != yes ]; then line -- "Docker Hub" "not checked: no engine answers"; return; fi
  # Pull a tag that does not exist. This uses the engine's own proxy, mirror and login, and changes no image.
  said=$(within 20 docker pull -q hello-world:no-such-tag 2>&1)
  case "$said" in *"manifest unknown"*|*"not found"*) hub=yes; line ok "Docker Hub" "reachable"; return;; esac
  case "$DOCKER_HOST" in unix:///run/docker-examples-*)
    line -- "Docker Hub" "out of reach, but not needed: the private engine builds stand-ins"; return;; esac
  images=$(sed -n -e 's/^FROM //p' -e 's/^ *image: //p' 0*/Dockerfile 03*/docker-compose.yaml | sort -u) missing=''
  for image in $images; do
    case "$image" in *.*/*|*:*/*) continue;; esac  # from another registry
    docker image inspect "$image" >/dev/null 2>&1 || missing="$missing $image"
  done
  case "$missing:$said" in
    :*) line -- "Docker Hub" "out of reach, but not needed: the engine has the examples' images";;
    *toomanyrequests*|*"rate limit"*) line no "Docker Hub" "the pull limit is reached" "docker login (or wait a few hours)";;
    *) line no "Docker Hub" "$(last_line "$said")" "missing images:$missing" \
      "behind a proxy: https://docs.docker.com/engine/daemon/proxy/ and https://docs.docker.com/engine/network/ca-certs/" \
      "from another registry: docker pull REGISTRY/IMAGE, then: docker tag REGISTRY/IMAGE IMAGE";;
  esac
}

# check_port no|-- PORT REMEDY
check_port() {
  holder=$([ $engine != yes ] || docker ps --filter "publish=$2" \
    --format '{{.Names}} {{.Image}} {{.Label "com.docker.compose.project.working_dir"}}' | head -n 1)
  name=${holder%% *} folder=${holder#* * }
  case "$holder" in "flask"*" flask-example"*) own=yes;; *) own=$([ "$(cd "${folder:-/}/.." && pwd -P)" = "$(pwd -P)" ] && echo yes);; esac
  if [ -n "$name" ] && [ "$own" = yes ]; then
    line ok "port $2" "used by the examples' container $name"; return
  elif [ "${folder##*/}" = 03-docker-compose-django ]; then
    line "$1" "port $2" "taken by $name, the container of another clone" \
      "make up SUFFIX=2 FLASK_PORT=9081 ALPINE_PORT=9082 DJANGO_PORT=9083 DB_PORT=9084"; return
  elif [ -n "$name" ]; then line "$1" "port $2" "taken by the container $name" "docker stop $name" "or $3"; return; fi
  curl -qs --noproxy '*' --max-time 2 -o /dev/null "http://127.0.0.1:$2/"
  case $? in
    7) line ok "port $2" "free";;  # nothing listens
    3) line no "port $2" "not a port: use a number up to 65535" "$3";;
    127) line -- "port $2" "not checked: curl is missing";;
    *) line "$1" "port $2" "taken by another program" "$3";;
  esac
} 2>/dev/null

check_secrets() {
  file=secrets/secrets.txt missing='' unchanged='' odd=''
  if [ ! -e $file ]; then line -- secrets "$file does not exist yet: make up creates it" "or run: make secrets"; return; fi
  if [ ! -r $file ]; then line no secrets "you cannot read $file" "sudo chown $(id -un) secrets $file"; return; fi
  keys=$(sed -n 's/^\([A-Z_]*\)=.*/\1/p' secrets.example)
  for key in $keys; do
    case "$(sed -n "s/^$key=//p" $file | tr -d '\r')" in '') missing="$missing $key";; change-me) unchanged="$unchanged $key";; esac
  done
  # Find lines that Compose and `docker run --env-file` read differently. Print the line's number and key, but never its value.
  odd=$(LC_ALL=C awk '
    function say(what) { print "line " NR ", " (key ~ /^[A-Za-z_]+$/ ? key : "no key") ": " what }
    { sub(/\r$/, "") } NR == 1 && sub(/^\357\273\277/, "") { key = ""; say("remove the byte order mark") }
    /^[ \t]*(#|$)/ { next }
    { key = $0; sub(/=.*/, "", key); value = substr($0, length(key) + 2) }
    !/=/ { say("it has no ="); next }
    sub(/^[ \t]*export[ \t]+/, "", key) { say("remove export") }
    key ~ /[ \t]/ { gsub(/[ \t]/, "", key); say("remove the space around the key"); next }
    key in seen { say("the key is there twice, and the last one counts") } { seen[key] = 1 }
    match(value, /[\001-\040$"\\#`\047]/) { odd = substr(value, RSTART, 1); say("holds " (odd > " " ? "the character " odd : "a space")) }
    ' $file; iconv -f UTF-8 -t UTF-8 $file >/dev/null 2>&1 || echo "a byte that is not UTF-8")
  [ -z "$missing" ] || line no secrets "missing or empty:$missing" "copy these lines from secrets.example to $file"
  [ -z "$unchanged" ] || line no secrets "still change-me:$unchanged" "write your own password into $file"
  case "$(ls -l $file)" in ????------*) ;; *) line -- secrets "others can read $file" "chmod 600 $file";; esac
  [ -z "$odd" ] || printf '%s\n' "$odd" | {
    while read -r one; do line no secrets "$file, $one"; done
    line -- secrets "Compose and docker run read these lines differently" "write KEY=value, without quotes, spaces, \$, \\ and #"
  }
  [ -z "$odd" ] || failed=1  # the pipe above runs in a subshell
  [ -n "$missing$unchanged$odd" ] || line ok secrets "$file has every key"
}

check_proxy() {
  [ -n "${http_proxy:-}" ] || return
  case ",${no_proxy:-}," in
    *,localhost,*|*,\*,*) line ok proxy "http_proxy is set, and no_proxy excludes localhost";;
    *) line -- proxy "http_proxy is set, and no_proxy lacks localhost: curl cannot reach the examples" \
      "export no_proxy=localhost,127.0.0.1";;
  esac
}

# PostgreSQL needs a file system with owners and modes for its data. A Windows drive in WSL has none.
check_files() {
  probe=$(mktemp 03-docker-compose-django/doctor.XXXXXX) || { line no files "you cannot write to this checkout" "sudo chown -R $(id -un) ."; return; }
  chmod 600 "$probe"; private=$(ls -l "$probe"); chmod 644 "$probe"; open=$(ls -l "$probe"); rm -f "$probe"
  case "$private$open" in -rw-------*-rw-r--r--*) true;; *) false;; esac
  verdict $? files "file modes work, umask $(umask)" \
    "chmod has no effect here, so PostgreSQL cannot store its data" "move this checkout, for example to your home folder in WSL"
}

check_hello() {
  if [ $engine != yes ]; then line -- hello-world "not run: no engine answers"; return; fi
  if [ $hub = no ] && ! docker image inspect hello-world >/dev/null 2>&1; then
    line -- hello-world "not run: its image is missing, and Docker Hub is out of reach"; return
  fi
  said=$(within 120 docker run --rm hello-world 2>&1)
  hello=$(printf '%s\n' "$said" | grep 'Hello from Docker!')
  verdict $? hello-world "$hello" "$(last_line "$said")" "to see its full output: docker run --rm hello-world"
}

check_engine
check_plugins
check_hub
check_port no "$1" "make up FLASK_PORT=9081 (or another)"
check_port no "$2" "make up ALPINE_PORT=9082 (or another)"
check_port no "$3" "make up DJANGO_PORT=9083 (or another)"
check_port no "$4" "make up DB_PORT=9084 (or another)"
# An example that you start in its own folder uses these two by default. make up does not.
check_port -- 80 "make -C 01-docker-flask run PORT=8090 (or another)"
check_port -- 5432 "make -C 03-docker-compose-django up DB_PORT=5433 (or another)"
check_secrets
check_files
check_proxy
check_hello
exit $failed
