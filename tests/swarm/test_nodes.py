"""The private engine's nodes of a Swarm (tests/engine/nodes.py): killed ones start again, and nothing of them is left."""

import contextlib
import os
import subprocess
from pathlib import Path

import pytest
from conftest import sh, until
from test_engine import ENGINE, bare, kill_engine, private, traces

pytestmark = [pytest.mark.slow, private]


def namespaces():
    """Return the network namespaces that processes are in."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/ns/net"):
        with contextlib.suppress(OSError):  # a process that ends meanwhile
            found.add(os.readlink(path))
    return found


def test_the_nodes_of_a_swarm_start_again_and_clean_leaves_nothing_of_them(tmp_path):
    environment, folder, before = bare(tmp_path), tmp_path / "no images", namespaces()
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
        assert f"den{mark}-2" in traces() and len(namespaces() - before) == 2  # it can be seen
        kill_engine(first)
        kill_engine(first.parent / "node-2")
        subprocess.run([*start, "3", str(folder)], env=environment, stdout=subprocess.DEVNULL, check=True)
        until(lambda: sh(states) == "node-1 Ready\nnode-2 Ready\nnode-3 Ready", 60)
    finally:
        subprocess.run([*ENGINE, "clean"], env=environment, check=True)
    assert [line for line in traces() if mark in line] == [] and namespaces() <= before
    assert not list((tmp_path / "a cache").iterdir())
