#!/bin/sh
# What the container runs: prepare the database, then become the server that the Dockerfile's CMD names behind this script.

# As process 1 a shell ignores SIGTERM, and while a command runs it does not look: so `docker stop` during init.py would take
# 10 s. `&` and `wait` let the trap act at once. After `exec` there is no shell any more, and the server gets the signal.
trap 'exit 0' TERM
python init.py &
wait $! || exit
exec "$@"
