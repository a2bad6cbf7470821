"""The command line: start (prints the engine's run folder), stop, clean. engine.mk calls it, one call at a time."""

import contextlib
import fcntl
import os
import re
import shutil
import sys

from .commands import die, say
from .daemon import answers, launch, stop, sweep
from .emulation import emulate
from .nodes import launch_nodes
from .packages import require_machine, unpack
from .places import CACHE, PROGRAMS, RUN, node
from .stand_ins import needed, provide


def start(folders, nodes=0):
    """Start the private engine unless it answers, provide the images that the folders need, and print its run folder.

    With nodes, also start a Swarm of that many nodes, and print the run folder of the first node instead.
    """
    named = re.fullmatch(r"unix://(/run/docker-examples-\w+(/node-\d+)?)/docker.sock", os.environ.get("DOCKER_HOST", ""))
    if named and named[1] != str(RUN) and not nodes and answers(f"{named[1]}/docker.sock"):
        print(named[1])  # this shell uses another private engine: leave it as it is
        return
    release, mirror = require_machine()
    with alone():
        # If the cache was emptied, a running engine has no programs and must start again.
        if not (answers() and PROGRAMS.exists()):
            say("No Docker Engine answers: starting a private one (`make engine-down` stops it).")
            say('  To type docker yourself: eval "$(make -s engine)"')
            unpack(release, mirror)
            sweep()
            launch()
        emulate()
        provide(needed(folders), mirror)
        if nodes:
            launch_nodes(nodes)
    print(node(1) if nodes else RUN)


def clean():
    """Stop the private engine and remove everything that it made, including images and containers."""
    if RUN.exists() and not PROGRAMS.exists():
        unpack(*require_machine())  # the cache was emptied, but removing the network needs the programs
    stop()
    shutil.rmtree(CACHE)


@contextlib.contextmanager
def alone():
    """Let one call at a time run the block; others wait."""
    path = RUN.with_suffix(".lock")
    while True:
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # The previous call may have removed the file. Then a later call would lock a new one and not wait for us.
            if path.exists() and path.stat().st_ino == os.fstat(lock.fileno()).st_ino:
                CACHE.mkdir(parents=True, exist_ok=True)
                yield
                return


def main():
    """Run one command. Without `match`, because macOS has Python 3.9, and must get a message about Docker."""
    command, *words = sys.argv[1:] or [""]
    if command == "start" and words[:1] == ["--nodes"]:
        number = "".join(words[1:2])
        start(words[2:], int(number) if re.fullmatch("[1-9]", number) else die(f"NODES={number}: from 1 to 9"))
    elif command == "start":
        start(words)
    elif command in ("stop", "clean"):
        if RUN.exists() or CACHE.exists():
            with alone():
                {"stop": stop, "clean": clean}[command]()
                RUN.with_suffix(".lock").unlink()
    else:
        die("usage: python3 -m engine start [--nodes N] [FOLDER ...] | stop | clean")


try:
    main()
except KeyboardInterrupt:
    sys.exit(130)  # Ctrl-C is not an error: the next start continues here
