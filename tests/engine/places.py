"""Where the private engine keeps its files, and from which Debian release it comes. All other modules use this one.

All files are in ${XDG_CACHE_HOME:-~/.cache}/docker-examples and in /run/docker-examples-ID.
"""

import hashlib
import os
from pathlib import Path

# Debian's testing release has the newest engine, Python and PostgreSQL. tests/oldest.sh sets ENGINE_RELEASE=trixie to get the
# oldest engine that the README promises, with a separate cache.
NEWEST, OLDEST = "forky", "trixie"
RELEASE = os.environ.get("ENGINE_RELEASE") or NEWEST

# tests/arm64.sh sets Docker's variable for another processor, linux/arm64. Its images need a separate cache, too.
NATIVE = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine)
PLATFORM = os.environ.get("DOCKER_DEFAULT_PLATFORM", "").removeprefix("linux/")
if PLATFORM == NATIVE:
    PLATFORM = ""

CACHE_NAME = "-".join(["docker-examples", *([] if RELEASE == NEWEST else [RELEASE]), *([PLATFORM] if PLATFORM else [])])
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().resolve() / CACHE_NAME
PROGRAMS = CACHE / "engine"  # the unpacked packages
LOG = CACHE / "engine.log"

# One engine per cache folder. The socket is in /run, because the kernel limits its path to 107 bytes.
ID = hashlib.sha256(bytes(CACHE)).hexdigest()[:8]
RUN = Path(f"/run/docker-examples-{ID}")
SOCKET = RUN / "docker.sock"
CGROUP = f"docker-examples-{ID}"


def node(number):
    """Return the run folder of a Swarm node, counted from 1."""
    return RUN / f"node-{number}"
