#!/bin/sh
# What the container runs. CMD in the Dockerfile passes the server's command to it.
set -e
python init.py

# Replace this shell with the server, so that the server receives the stop signal
exec "$@"
