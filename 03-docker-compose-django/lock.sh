#!/bin/sh
# Writes both requirements.txt: exact versions with hashes.
# `make lock` runs it in a container.
set -e
export UV_SYSTEM_CERTS=1 UV_HTTP_RETRIES=9 UV_CUSTOM_COMPILE_COMMAND="make lock"
pip install --quiet uv==0.13.9
lock() { python -m uv pip compile --quiet --generate-hashes "$@"; }

# Production first: if a package cannot be found, both files stay as they are
lock production/requirements.in -o production/requirements.txt
lock requirements.in -c production/requirements.txt -o requirements.txt
echo "Wrote requirements.txt and production/requirements.txt"
