"""The engine's processes: start dockerd, ask it, end all that belongs to it. __main__.py and nodes.py call it."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from . import network
from .commands import busybox, die, environment
from .places import CACHE, CGROUP, LOG, NEWEST, PROGRAMS, RELEASE, RUN, SOCKET

# Folders in /run that an engine takes without asking; a private one sees empty ones of its own there.
SHARED_RUN = [Path("/run") / name for name in ("containerd", "docker", "runc")]


def api(run_folder, method, path, body=None):
    """Return what an engine answers, from JSON. No token stands on a command line this way. Raises OSError with what it says."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(60)
    connection.sock.connect(f"{run_folder}/docker.sock")
    connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read().decode()
    if answer.status >= 400:
        raise OSError(text)
    return json.loads(text) if text else None


def answers(path=SOCKET):
    """Return whether an engine answers on the socket of this path."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as link:
        link.settimeout(5)
        link.connect(str(path))
        link.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
        return b" 200 " in link.recv(64)
    return False


def launch():
    """Start the engine and wait until it answers."""
    pool = network.address_pool()
    firewall = network.remember_firewall()
    network.make_bridge(pool)
    pools = [{"base": str(pool), "size": 24}]
    try:
        serve(RUN, CACHE / "data", {"bridge": network.BRIDGE, "default-address-pools": pools, "cgroup-parent": f"/{CGROUP}"})
    finally:
        network.give_back(firewall)


def serve(folder, data, own, first="true", namespaces=()):
    """Start an engine with its run folder, its data and settings of its own; return once it answers.

    `first` is what the shell that becomes the engine does before, in mount and other namespaces of its own.
    """
    for path in (folder / "bin", folder / "config", data, *SHARED_RUN):
        path.mkdir(parents=True, exist_ok=True)
    for link, target in (
        (folder / "bin/docker", PROGRAMS / "usr/bin/docker"),
        (folder / "bin/docker-compose", PROGRAMS / "usr/bin/docker-compose"),
        (folder / "config/cli-plugins", PROGRAMS / "usr/libexec/docker/cli-plugins"),
    ):
        link.symlink_to(target)
    settings = {
        "hosts": [f"unix://{folder}/docker.sock"],
        "data-root": str(data),
        "exec-root": f"{folder}/exec",
        "pidfile": f"{folder}/docker.pid",
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        # The image store that Engine 29 uses by default; the oldest engine keeps the classic one.
        "features": {"containerd-snapshotter": RELEASE == NEWEST},
        "log-level": "warn",
    }
    (folder / "daemon.json").write_text(json.dumps(settings | own, indent=2))
    # A mount namespace of its own: its mounts end with it, and the machine's own containerd is out of its sight.
    hide = " && ".join(f"mount -t tmpfs tmpfs {path}" for path in SHARED_RUN)
    inside = f'{hide} && {first} && exec dockerd --config-file "$0"'
    with LOG.open("a") as log:
        engine = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "slave", *namespaces, "sh", "-c", inside, f"{folder}/daemon.json"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(), start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + 60
    while not answers(folder / "docker.sock"):
        if engine.poll() is not None or time.monotonic() > deadline:
            die(f"the private engine did not start: the end of {LOG} says why; `make engine-clean` begins anew")
        time.sleep(0.05)


def control_groups(group):
    """Return the folders of a control group and of those within, of every controller; each one stands behind its parent.

    By os.walk, because glob fails where a folder goes away meanwhile.
    """
    return [folder for folder, *_ in os.walk("/sys/fs/cgroup") if f"/{group}/" in f"{folder}/"]


def leftovers(folder=RUN, group=CGROUP):
    """Return the pids of this engine's processes: those that name its run folder, and all in its control groups.

    With a node's folder and group: those of the node.
    """
    pids = set()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            # argv[0] tells an engine's process from an editor or a shell that has the path in its command line.
            engine = os.path.basename(words[0] if words else b"").startswith((b"dockerd", b"containerd"))
            if engine and any(word.startswith(bytes(folder) + b"/") for word in words):
                pids.add(int(entry.name))
    for inner in control_groups(group):
        with contextlib.suppress(OSError):
            pids.update(map(int, Path(inner, "cgroup.procs").read_text().split()))
    return pids - {0}


def kill(folder, group):
    """End all processes of an engine or of a node, by its run folder and its control group."""
    for _ in range(200):
        pids = leftovers(folder, group)
        if not pids:
            break
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def stop():
    """Stop the private engine and its containers, and remove what it left outside its cache."""
    running = [folder for folder in (RUN, *RUN.glob("node-*")) if answers(folder / "docker.sock")]
    pids = {int((folder / "docker.pid").read_text()) for folder in running}
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 60
    while pids & leftovers() and time.monotonic() < deadline:
        time.sleep(0.05)
    sweep()


def sweep():
    """Remove what an engine leaves behind outside its cache, in whatever state it was killed."""
    kill(RUN, CGROUP)
    for folder in reversed(control_groups(CGROUP)):
        with contextlib.suppress(OSError):
            os.rmdir(folder)
    network.sweep_network()
    for line in Path("/proc/self/mounts").read_text().splitlines():
        if line.split()[1].startswith(f"{RUN}/"):
            busybox("umount", line.split()[1])
    shutil.rmtree(RUN, ignore_errors=True)
    # While another private engine runs they stay: to remove a folder unmounts what anybody has mounted there.
    for folder in SHARED_RUN if not any(Path("/run").glob("docker-examples-*/")) else ():
        with contextlib.suppress(OSError):  # not empty: the machine's own
            folder.rmdir()
