"""Wait for the database, migrate it, and create the superuser.

start.sh runs this. In production, serve.py does.
"""

import os
import sys
import time

import django
from codesolid_demo.config import ConfigError, get_config
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

TIMEOUT = 60  # seconds to wait for the database
LOCK = 20220406  # any number, but the same one in each container

# Waiting doesn't fix these two. The README's messages say what to do
HINTS = {
    "password authentication failed": "PostgreSQL keeps the password of its first start.",
    '" does not exist': "PostgreSQL creates it only if the data folder is empty.",
}


def wait_for_database():
    """Return when PostgreSQL accepts a connection. Otherwise exit with its message."""
    address = "{HOST}:{PORT}".format(**connection.settings_dict)
    deadline, last_message = time.monotonic() + TIMEOUT, ""
    while True:
        try:
            return connection.ensure_connection()
        except OperationalError as error:
            message = " ".join(str(error).split())
        hint = next((HINTS[words] for words in HINTS if words in message), None)
        if hint or time.monotonic() > deadline:
            sys.exit(f"error: {message}. {hint or f'Tried {address} for {TIMEOUT} s.'}")
        if message != last_message:
            print(f"waiting for PostgreSQL at {address}: {message}", flush=True)
            last_message = message
        time.sleep(0.1)


def create_superuser():
    """Create the superuser with Django's createsuperuser, unless there is one.

    The command reads environment variables only: DJANGO_SUPERUSER_PASSWORD, and one for
    each field that the user model requires, such as DJANGO_SUPERUSER_USERNAME.
    """
    user = get_user_model()
    if not user.objects.filter(is_superuser=True).exists():
        for key in ("DJANGO_SUPERUSER_EMAIL", "DJANGO_SUPERUSER_PASSWORD"):
            os.environ[key] = get_config(key)
        name = f"DJANGO_SUPERUSER_{user.USERNAME_FIELD.upper()}"
        os.environ.setdefault(name, get_config("DJANGO_SUPERUSER"))
        call_command("createsuperuser", interactive=False)


try:
    django.setup()

    # Name a mistake in your code at once. In production, `make up` has done it
    if settings.DEBUG:
        call_command("check")
    wait_for_database()
    with connection.cursor() as cursor:
        # One container at a time. Ask again and again, because a statement that waits
        # for the lock would block CREATE INDEX CONCURRENTLY in a migration
        while True:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
            if cursor.fetchone()[0]:
                break
            time.sleep(0.2)
        call_command("migrate", interactive=False)
        create_superuser()
except (CommandError, ConfigError) as error:
    sys.exit(f"error: {error.args[0]}")
