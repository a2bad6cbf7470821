"""Where the private engine keeps its files, and the release of Debian that it is made of. All other modules use it.

Everything lies in ${XDG_CACHE_HOME:-~/.cache}/docker-examples and in /run/docker-examples-ID.
"""

import hashlib
import os
from pathlib import Path

# Debian's testing release has the newest engine, Python and PostgreSQL. ENGINE_RELEASE=trixie gives the oldest engine that the
# README promises (tests/oldest.sh); it has a cache of its own.
NEWEST, OLDEST = "forky", "trixie"
RELEASE = os.environ.get("ENGINE_RELEASE") or NEWEST

CACHE_NAME = "docker-examples" if RELEASE == NEWEST else f"docker-examples-{RELEASE}"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().resolve() / CACHE_NAME
PROGRAMS = CACHE / "engine"  # the unpacked packages
LOG = CACHE / "engine.log"

# One engine per cache folder. /run keeps the socket's path below the kernel's limit of 107 bytes, however long the cache's is.
ID = hashlib.sha256(bytes(CACHE)).hexdigest()[:8]
RUN = Path(f"/run/docker-examples-{ID}")
SOCKET = RUN / "docker.sock"
CGROUP = f"docker-examples-{ID}"


def node(number):
    """Return the run folder of a node of the Swarm; the first node is number 1."""
    return RUN / f"node-{number}"
