"""Prepare the database, then run Granian. CMD in the Dockerfile runs this.

Granian's workers are forks of this process. Django is imported only once, before them, so
they start at once and share its memory.
"""

import multiprocessing
import os
import runpy
import signal
import sys
from importlib import import_module

from django.conf import settings
from django.db import connections
from granian.cli import cli

# The same as in development. A worker must not share this process's connection
runpy.run_path("init.py")
connections.close_all()

# PostgreSQL cancels a query of the web server after 15 seconds. Other commands in this
# image, for example manage.py, have no limit
os.environ["PGOPTIONS"] = "-c statement_timeout=15s"

# Import what the workers need. The argument is the application: module:variable
import_module(sys.argv[1].partition(":")[0])
import_module(settings.ROOT_URLCONF)

# A stop that comes before a worker can handle it must end the worker, too
os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
multiprocessing.set_start_method("fork")
cli(auto_envvar_prefix="GRANIAN")
