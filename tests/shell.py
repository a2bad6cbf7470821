"""What all tests need of this machine: run a command, wait, type at a terminal, find a free port, kill a process."""

import contextlib
import itertools
import os
import pty
import random
import re
import signal
import socket
import subprocess
import termios
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# A bug of BuildKit before March 2026, moby/buildkit#6521: a build fails if containerd removes an unused layer at the same moment.
# The same command works when it is repeated, as the README says. pytest prints each repetition as a warning.
LOST_SNAPSHOT = re.compile("parent snapshot sha256:[0-9a-f]+ does not exist")


def sh(command, cwd=ROOT, ok=True, **options):
    """Run a shell command in the folder `cwd`. Return its output, stdout and stderr together.

    `ok` is the expected result: True for success, False for failure, None for either.
    Raise AssertionError with the output if the result differs.
    """
    options = {"stdin": subprocess.DEVNULL, "timeout": 230, **options}
    for attempt in (1, 2):
        done = subprocess.run(
            command, shell=True, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", **options
        )
        if not (done.returncode and attempt == 1 and LOST_SNAPSHOT.search(done.stdout)):
            break
        warnings.warn(f"repeated, because of moby/buildkit#6521: {command.splitlines()[-1]}", stacklevel=2)
    assert ok is None or (done.returncode == 0) == ok, f"$ {command}\n{done.stdout}\nexit code {done.returncode}"
    return done.stdout.strip()


# In a parallel run, asking often would slow down the tests beside it. The tests that measure a time run alone.
PAUSE = 0.3 if "PYTEST_XDIST_WORKER" in os.environ else 0.05


def until(condition, limit, pause=PAUSE):
    """Call `condition` every `pause` seconds until it returns a true value. Return how many seconds that took.

    Raise AssertionError after `limit` seconds.
    """
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < limit, f"not within {limit} s"
        time.sleep(pause)
    return time.monotonic() - begun


def at_a_terminal(command, place, word, keys=("echo $((6 * 7))-$(whoami); exit\n",), env=None):
    """Run a command in a terminal, type `keys`, and check that the terminal shows `word`.

    `env` holds additional environment variables. Raise AssertionError if the command fails.
    Raise OSError if the command ends without showing the word.
    """
    keyboard, terminal = pty.openpty()
    # Without a size, psql shows each answer with a pager.
    termios.tcsetwinsize(terminal, (24, 80))
    streams = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
    with subprocess.Popen(["sh", "-c", command], cwd=place, env={**os.environ, **(env or {})}, **streams) as session:
        for line in keys:
            # A password prompt discards everything that was typed before it appeared.
            if len(keys) > 1:
                time.sleep(1)
            os.write(keyboard, line.encode())
        assert session.wait(timeout=60) == 0
    os.close(terminal)
    seen = b""
    while word not in seen:
        seen += os.read(keyboard, 1024)
    os.close(keyboard)


# Each worker of pytest-xdist has 1000 ports of its own, below those that Linux takes for outgoing connections. It uses them
# one after the other, from a random one on, because another clone's tests may use the same ports.
FIRST_PORT = 20000 + 1000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
PORTS = itertools.islice(itertools.cycle(range(FIRST_PORT, FIRST_PORT + 1000)), random.randrange(1000), None)


def free_port():
    """Return a port on 127.0.0.1 that is not in use."""
    while True:
        port = next(PORTS)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port


def kill(pid):
    """Kill a process with SIGKILL and wait until it is gone.

    os.kill returns earlier, when the process may still answer requests.
    """
    # os.kill(0, ...) would also kill the tests.
    assert pid > 0, "it does not run"
    try:
        os.kill(pid, signal.SIGKILL)
    except PermissionError:
        # The process is a container's, and these tests don't run as root.
        sh(f"docker run --rm --pid host --privileged python:3.14-slim-trixie sh -c 'kill -9 {pid}'")
    until(lambda: not os.path.exists(f"/proc/{pid}"), limit=10, pause=0.001)


def close_files(folder):
    """Let only the owner read a folder's files, as git creates them with umask 077.

    The locks, which root reads in the build, keep their mode. Otherwise the build would run pip again.
    """
    sh("chmod -R go= . && find . -name 'requirements*.txt' -exec chmod go=r {} +", cwd=folder)
