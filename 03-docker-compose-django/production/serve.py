"""Prepare the database, then run Granian. CMD in the Dockerfile runs this.

Granian's workers are forks: copies of this process, which imports Django, but not your
code. They start fast, and each opens its own connections when it imports your code.
"""

import multiprocessing
import os
import runpy
import signal
import sys
from importlib import import_module

from granian.cli import entrypoint

# Modules that need no settings, and import most others of Django and psycopg
LIBRARIES = (
    "django.contrib.admin",
    "django.contrib.auth.hashers",
    "django.contrib.auth.password_validation",
    "django.contrib.messages.storage.fallback",
    "django.contrib.sessions.backends.db",
    "django.contrib.staticfiles.storage",
    "django.core.handlers.wsgi",
    "django.core.management",
    "django.db.backends.postgresql.base",
    "django.db.migrations.executor",
)
STOP = [signal.SIGTERM]


def begin_worker():
    """Let the stop signal end a new worker, until the worker has its own handler."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP)


if __name__ == "__main__":
    # Without this, each worker is a new Python, which imports Django again
    multiprocessing.set_start_method("fork")
    for name in LIBRARIES:
        import_module(name)

    # As in development: wait for PostgreSQL, migrate, create the superuser. Another
    # process does this and ends, because it imports your code
    init = multiprocessing.Process(target=runpy.run_path, args=["init.py"])
    init.start()
    init.join()
    if init.exitcode:
        sys.exit(init.exitcode)

    # Hold a stop signal back during a fork, or the new worker can lose it
    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, STOP),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP),
        after_in_child=begin_worker,
    )

    # In the connections of the workers, PostgreSQL cancels a query after 15 seconds.
    # Migrations, and other commands in this image, have no limit
    os.environ["PGOPTIONS"] = "-c statement_timeout=15s"

    # The command granian, with the arguments in CMD and the options GRANIAN_... in the
    # Dockerfile
    entrypoint()
