"""Prepare the database, then run Granian. CMD in the Dockerfile runs this.

Granian's workers are forks: copies of this process. Django is imported before they are
made, so they start at once, and share the memory that none of them changes.
"""

import multiprocessing
import os
import runpy
import signal
import sys
from importlib import import_module

from django.conf import settings
from django.db import connections
from granian.cli import entrypoint

STOP = [signal.SIGTERM]


def begin_worker():
    """Let the stop signal end a new worker, until the worker has its own handler."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP)


if __name__ == "__main__":
    # Without this, each worker is a new Python, which imports Django again
    multiprocessing.set_start_method("fork")

    # Hold a stop signal back during a fork, or the new worker can lose it
    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, STOP),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP),
        after_in_child=begin_worker,
    )

    # As in development: wait for PostgreSQL, migrate, create the superuser. For the
    # last one, init.py copies a secret to the environment
    runpy.run_path("init.py")
    os.environ.pop("DJANGO_SUPERUSER_PASSWORD", None)

    # Import what Django otherwise imports at the first request: the application, which
    # CMD names as module:variable, and the URLs with their views
    import_module(sys.argv[1].partition(":")[0])
    import_module(settings.ROOT_URLCONF)

    # Each worker opens its own connections. In these, PostgreSQL cancels a query after
    # 15 seconds. Migrations, and other commands in this image, have no limit
    connections.close_all()
    os.environ["PGOPTIONS"] = "-c statement_timeout=15s"

    # The command granian, with the arguments in CMD and the options GRANIAN_... in the
    # Dockerfile
    entrypoint()
