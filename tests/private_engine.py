"""Private engines beside the one that runs the tests: start them, find what they leave on the machine, kill them.

The tests in engine/, faults/ and swarm/ use it.
"""

import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest
from shell import ROOT, sh

ENGINE = [sys.executable, "-B", "-m", "engine"]  # run it in the environment that `bare` returns
SLIM, ALPINE, POSTGRES = "python:3.14-slim-trixie", "python:3.14-alpine3.24", "postgres:18-trixie"
CADDY = "caddy:2.11-alpine"

# Do the tests run on a private engine?
PRIVATE_ENGINE = os.environ.get("DOCKER_HOST", "").startswith("unix:///run/docker-examples-")
private = pytest.mark.skipif(
    not PRIVATE_ENGINE, reason="this machine has a Docker Engine of its own, so the private one is not tested"
)


def bare(tmp_path, **more):
    """Return an environment in which no engine answers, and the cache is empty. The cache's path contains a space."""
    keep = {key: value for key, value in os.environ.items() if not key.startswith(("DOCKER_", "MAKE", "MFLAGS"))}
    keep["PATH"] = ":".join(part for part in keep["PATH"].split(":") if "docker-examples" not in part)
    return {**keep, "XDG_CACHE_HOME": str(tmp_path / "a cache"), "PYTHONPATH": f"{ROOT}/tests", **more}


def traces():
    """Return everything that engines leave on a machine: interfaces, firewall, folders, mounts, control groups, processes."""
    iptables = (
        next(iter(Path(os.environ["DOCKER_CONFIG"]).resolve().glob("cli-plugins"))).resolve().parents[3] / "usr/sbin/iptables"
    )
    program = f"'{iptables}'" if iptables.exists() else "iptables"
    six = program.replace("sbin/iptables", "sbin/ip6tables") if iptables.exists() else "ip6tables"
    return {
        *(path.name for path in Path("/sys/class/net").iterdir() if not path.name.startswith("veth")),
        *sh("; ".join(f"{one} -t {table} -S" for one in (program, six) for table in ("filter", "nat", "raw"))).splitlines(),
        *(path.name for path in Path("/run").iterdir()),
        *sh("cut -d' ' -f2 /proc/self/mounts").splitlines(),
        *(folder for folder, *_ in os.walk("/sys/fs/cgroup") if "/docker-examples-" in folder),
        *sh("ps -eo args | grep [d]ockerd; ps -eo args | grep [c]ontainerd").splitlines(),
    }


def processes(run):
    """Return the pids of the engine with this run folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(run).encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def kill_engine(run):
    """Kill all of an engine's processes at once."""
    for pid in processes(run):
        with contextlib.suppress(ProcessLookupError):  # containerd ends when dockerd does
            os.kill(pid, signal.SIGKILL)
