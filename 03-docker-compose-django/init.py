"""Prepare the database: wait until it answers, migrate it, create the superuser. start.sh runs this before the server."""

import hashlib
import os
import sys
import time

import django
from codesolid_demo.config import ConfigError, get_config
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import OperationalError, connection

MAKE = "make LIFECYCLE=prod" if os.getenv("LIFECYCLE") == "prod" else "make"
DEADLINE = 60  # seconds to wait for the database
LOCK = 20220406  # any number, but the same one in every container

# What the PostgreSQL client says, and what it means for the person who reads the log: WAIT passes with time, FAIL does not.
WAIT = {
    "could not translate host name": "there is no host of this name (POSTGRES_REMOTE_HOST)",
    "Connection refused": "the host refuses the connection: PostgreSQL is not up yet, or POSTGRES_PORT is wrong",
    "timeout expired": "the host does not answer",
    "the database system is": "PostgreSQL is starting up or shutting down",
}
FAIL = {
    "password authentication failed": "it refuses POSTGRES_USER with POSTGRES_PASSWORD. If you changed the password after the"
    " first start of backend: its data folder keeps the one that it was made with, until"
    f" `{MAKE} db-password` sets the new one",
    "does not exist": "it has no database POSTGRES_DB. If you changed the name after the first start of backend: its data"
    " folder keeps the one that it was made with",
    "does not support SSL": "it has no TLS, which POSTGRES_SSLMODE asks for",
}

# The passwords that everybody knows: secrets.example's, and the tutorial's two, as SHA-256, so that no image holds them.
PUBLISHED = {
    hashlib.sha256(b"change-me").hexdigest(),
    "11285fa9380b0a09d90b5375c64802164773f61fee67299aa01646a8498e0a75",
    "f91eba1bfe2941831dafe39ef367da9dafbf10ed87968130868e1acedf4704d4",
}


def refuse_published_passwords():
    """Raise ConfigError, naming the key, where a password of the examples came along into production."""
    for key in ("POSTGRES_PASSWORD", "DJANGO_SUPERUSER_PASSWORD", "DJANGO_SECRET_KEY"):
        # A password may hold a comma, and the secret key may be several with commas between.
        for value in (get_config(key), *get_config(key).split(",")):
            if hashlib.sha256(value.encode()).hexdigest() in PUBLISHED:
                raise ConfigError(f"{key} is the published one of the examples: choose your own in secrets/secrets.txt")


def wait_for_database():
    """Return once the database takes connections; exit with one line where it refuses us, or at the deadline.

    Both containers start at the same time, also when the engine itself starts again.
    """
    place = "PostgreSQL at {HOST}:{PORT}".format(**settings.DATABASES["default"])
    deadline, told = time.monotonic() + DEADLINE, ""
    while True:
        try:
            return connection.ensure_connection()
        except OperationalError as error:
            said = str(error).strip()
        for text, meaning in FAIL.items():
            if text in said:
                sys.exit(f"error: {place}: {meaning}")
        reason = next((meaning for text, meaning in WAIT.items() if text in said), said.splitlines()[-1])
        if time.monotonic() > deadline:
            sys.exit(f"error: {place} did not answer within {DEADLINE} s: {reason}")
        if reason != told:
            print(f"waiting for {place}: {reason}", flush=True)
            told = reason
        time.sleep(0.1)


def create_superuser():
    """Create the superuser of secrets.txt, if there is no superuser yet."""
    users = get_user_model().objects
    if not users.filter(is_superuser=True).exists():
        name, email = get_config("DJANGO_SUPERUSER"), get_config("DJANGO_SUPERUSER_EMAIL")
        users.create_superuser(name, email, get_config("DJANGO_SUPERUSER_PASSWORD"))
        print(f"created the superuser {name}", flush=True)


def main():
    """Prepare the database."""
    try:
        if os.getenv("LIFECYCLE") == "prod":
            refuse_published_passwords()
        django.setup()
        wait_for_database()
        # Several containers may start at once. The lock lets one of them at the tables; PostgreSQL frees it should that one die.
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")  # waiting for the lock, and a migration, may take their time
            cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK])
            call_command("migrate", interactive=False)
            create_superuser()
            cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
    except ConfigError as error:
        sys.exit(f"error: {error.args[0]}")


if __name__ == "__main__":
    main()
