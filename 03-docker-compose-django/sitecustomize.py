"""Lets production hear `docker stop` from its first moment. Python imports a module of this name by itself, before any program.

Without it a stop took 10 s, with exit code 137, while Granian or its workers were starting. Only the stage `prod` has it.
"""

import os
import signal
import sys

# As process 1, Python ignores a signal that it has no handler for. Granian later puts its own in the place of this one.
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
# A worker is a fork of Granian, whose handler does nothing in there until the application is loaded: the default ends it.
os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
