"""Start dockerd, call its API, and stop all its processes. __main__.py and nodes.py use this module."""

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

from . import emulation, network
from .commands import busybox, die, environment
from .places import CACHE, CGROUP, LOG, NEWEST, PROGRAMS, RELEASE, RUN, SOCKET

# Every engine uses these folders in /run. A private engine gets its own empty ones.
SHARED_RUN = [Path("/run") / name for name in ("containerd", "docker", "runc")]


def api(run_folder, method, path, body=None):
    """Call an engine's API and return its JSON answer. On a command line, other users could read the Swarm's token.

    Raises OSError, with the engine's message, if the call fails.
    """
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
    """Return whether an engine answers on this socket."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as link:
        link.settimeout(5)
        link.connect(str(path))
        link.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
        return b" 200 " in link.recv(64)
    return False


def launch():
    """Start the engine and wait until it answers."""
    pool = network.address_pool()
    network.remember_firewall()
    network.make_bridge(pool)
    pools = [{"base": str(pool), "size": 24}]
    try:
        serve(RUN, CACHE / "data", {"bridge": network.BRIDGE, "default-address-pools": pools, "cgroup-parent": f"/{CGROUP}"})
    finally:
        network.give_back_saved()


def serve(folder, data, own, first="true", namespaces=()):
    """Start an engine with a run folder, a data folder and extra settings (`own`). Return when it answers.

    Before dockerd starts, the shell runs the commands of `first` in the engine's own mount and other namespaces.
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
        # Use the image store that is the default in Engine 29. The oldest engine keeps the classic one.
        "features": {"containerd-snapshotter": RELEASE == NEWEST},
        "log-level": "warn",
    }
    network.write(folder / "daemon.json", json.dumps(settings | own, indent=2))
    # In its own mount namespace, the engine's mounts end with it, and it cannot find the machine's containerd.
    hide = " && ".join(f"mount -t tmpfs tmpfs {path}" for path in SHARED_RUN)
    # The engine leaves its user's folders, because they may be removed while it runs: the clone, and the session's folders for
    # temporary files. In a removed folder, the shell script iptables prints an error, and no port can be published.
    leave = "cd / && unset TMPDIR XDG_RUNTIME_DIR"
    inside = f'{hide} && {first} && {leave} && exec dockerd --config-file "$0"'
    with LOG.open("a") as log:
        engine = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "slave", *namespaces, "sh", "-c", inside, f"{folder}/daemon.json"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(), start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + 60
    while not answers(folder / "docker.sock"):
        if engine.poll() is not None or time.monotonic() > deadline:
            die(f"the private engine did not start. See the end of {LOG}, or run `make engine-clean` to start over")
        time.sleep(0.05)


def control_groups(group):
    """Return the folders of a control group and its subgroups, for every controller. Each one follows its parent.

    Uses os.walk, because glob fails if a folder disappears during the search.
    """
    return [folder for folder, *_ in os.walk("/sys/fs/cgroup") if f"/{group}/" in f"{folder}/"]


def leftovers(folder=RUN, group=CGROUP):
    """Return the pids of this engine's processes: those that name its run folder, and all in its control groups.

    For a node, pass its folder and group.
    """
    pids = set()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            # Check argv[0], because an editor or a shell may have the path in its command line, too.
            engine = os.path.basename(words[0] if words else b"").startswith((b"dockerd", b"containerd"))
            if engine and any(word.startswith(bytes(folder) + b"/") for word in words):
                pids.add(int(entry.name))
    for inner in control_groups(group):
        with contextlib.suppress(OSError):
            pids.update(map(int, Path(inner, "cgroup.procs").read_text().split()))
    return pids - {0}


def kill(folder, group):
    """Kill all processes of an engine or a node, found by its run folder and its control group."""
    for _ in range(200):
        pids = leftovers(folder, group)
        if not pids:
            break
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def stop():
    """Stop the private engine and its containers, and remove everything that it made outside its cache."""
    running = [folder for folder in (RUN, *RUN.glob("node-*")) if answers(folder / "docker.sock")]
    pids = {int((folder / "docker.pid").read_text()) for folder in running}
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 60
    while pids & leftovers() and time.monotonic() < deadline:
        time.sleep(0.05)
    sweep()


def sweep():
    """Remove everything that an engine made outside its cache, even if it was killed."""
    kill(RUN, CGROUP)
    emulation.end()
    for folder in reversed(control_groups(CGROUP)):
        with contextlib.suppress(OSError):
            os.rmdir(folder)
    network.sweep_network()
    for line in Path("/proc/self/mounts").read_text().splitlines():
        if line.split()[1].startswith(f"{RUN}/"):
            busybox("umount", line.split()[1])
    shutil.rmtree(RUN, ignore_errors=True)
    # Keep them while another private engine runs, because removing a folder unmounts what other engines mounted there.
    for folder in SHARED_RUN if not any(Path("/run").glob("docker-examples-*/")) else ():
        with contextlib.suppress(OSError):  # not empty: it belongs to the machine
            folder.rmdir()
