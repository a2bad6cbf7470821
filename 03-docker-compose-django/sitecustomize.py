"""Production's image runs this at the start of every Python program: stage `prod` of the Dockerfile, PYTHONPATH.

Without it `docker stop` took 10 s, with exit code 137, while Granian or its workers were starting.
"""

import os
import signal
import sys

# As process 1, Python ignores a signal that it has no handler for. Granian has one once it is up, instead of this.
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
# A worker is a copy of Granian, with its handler, which does nothing there until the application is loaded.
os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
