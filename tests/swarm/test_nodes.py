"""The Swarm nodes of the private engine (tests/engine/nodes.py): killed nodes start again, and `clean` removes them all."""

import contextlib
import os
import subprocess
from pathlib import Path

import pytest
from private_engine import ENGINE, bare, kill_engine, private, traces
from shell import sh, until

pytestmark = [pytest.mark.slow, private]


def namespaces(mark):
    """Return the network namespaces of an engine's processes: those with its ID in their environment or their control group."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        # A process may end before its files are read.
        with contextlib.suppress(OSError):
            if mark in (process / "environ").read_text(errors="ignore") + (process / "cgroup").read_text():
                found.add(os.readlink(process / "ns/net"))
    return found


def test_killed_swarm_nodes_start_again_and_clean_removes_everything(tmp_path):
    environment, folder = bare(tmp_path), tmp_path / "no images"
    folder.mkdir()
    (folder / "Dockerfile").touch()
    start = [*ENGINE, "start", "--nodes"]
    try:
        first = Path(
            subprocess.run(
                [*start, "2", str(folder)], env=environment, stdout=subprocess.PIPE, text=True, check=True
            ).stdout.strip()
        )
        docker = f"DOCKER_HOST=unix://{first}/docker.sock {first}/bin/docker"
        states = f"{docker} node ls --format '{{{{.Hostname}}}} {{{{.Status}}}}'"
        until(lambda: sh(states) == "node-1 Ready\nnode-2 Ready", 30)
        mark = first.parent.name.removeprefix("docker-examples-")
        # Check that both searches find the nodes. Otherwise the assertions at the end would prove nothing.
        # The third namespace is the machine's own, in which the usual private engine runs.
        assert f"den{mark}-2" in traces() and len(namespaces(mark)) == 3
        kill_engine(first)
        kill_engine(first.parent / "node-2")
        subprocess.run([*start, "3", str(folder)], env=environment, stdout=subprocess.DEVNULL, check=True)
        until(lambda: sh(states) == "node-1 Ready\nnode-2 Ready\nnode-3 Ready", 60)
    finally:
        subprocess.run([*ENGINE, "clean"], env=environment, check=True)
    assert [line for line in traces() if mark in line] == [] and namespaces(mark) == set()
    assert not list((tmp_path / "a cache").iterdir())
