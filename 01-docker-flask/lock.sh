#!/bin/sh
# Writes requirements*.txt: exact versions with hashes. `make lock` runs this.
set -e
export UV_SYSTEM_CERTS=1 UV_HTTP_RETRIES=9 UV_CUSTOM_COMPILE_COMMAND="make lock"
pip install --quiet uv==0.13.9
lock() { python -m uv pip compile --quiet --generate-hashes "$@"; }

# Production first: if a package cannot be found, both files stay as they are
lock requirements-production.in -o requirements-production.txt
lock requirements.in -c requirements-production.txt -o requirements.txt
