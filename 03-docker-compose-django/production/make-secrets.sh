#!/bin/sh
# Creates .env and secrets/, with a random value in each file. Keeps what exists.
# `make secrets` runs it.
set -e
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
chmod 700 secrets
[ -e .env ] || cp env.example .env

# The names of the secrets are at the end of docker-compose.yaml
sed -n 's|^  \(.*\): {file: secrets/.*|\1|p' docker-compose.yaml | while read -r key; do
  [ ! -e "secrets/$key" ] || continue
  LC_ALL=C tr -dc A-Za-z0-9 < /dev/urandom | head -c 50 > "secrets/$key.new"
  mv "secrets/$key.new" "secrets/$key"
done

# The users in the containers must read the files. On this computer nobody else can,
# because the folder is closed
chmod 644 secrets/*
echo "The settings are in .env."
echo "The superuser's password is in secrets/DJANGO_SUPERUSER_PASSWORD."
