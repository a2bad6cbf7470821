#!/bin/sh
# What the container runs (CMD in the Dockerfile): prepare the database, then become the server.

# As process 1 a shell ignores SIGTERM, and while a command runs it does not look: so `docker stop` during init.py would take
# 10 s. `&` and `wait` let the trap act at once. After `exec` there is no shell any more, and the server gets the signal.
trap 'exit 0' TERM
python init.py &
wait $! || exit
exec python manage.py runserver 0.0.0.0:8000
