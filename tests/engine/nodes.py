"""The nodes of a Swarm: engines that are machines to each other, each with a network namespace and one cable to a bridge."""

import contextlib
import ipaddress
import os
import shlex
import shutil
import threading
import time
from pathlib import Path

from .commands import busybox, busybox_path, die, output, say
from .daemon import answers, api, kill, serve
from .network import NODES_BRIDGE, make_nodes_bridge
from .places import CACHE, CGROUP, LOG, node

HEARTBEAT = 2 * 10**9  # nanoseconds; Swarm's own 5 s find out later that a node is dead


def launch_nodes(number):
    """Start the nodes of the Swarm that do not answer, and join them; all are managers, so that any one of them may fail.

    The bridge is their only way out.
    """
    pool = ipaddress.ip_network((CACHE / "pool").read_text())
    if not any(answers(node(place) / "docker.sock") for place in range(1, number + 1)):
        make_nodes_bridge(pool)
    network = int(pool[-256])
    for place in range(1, number + 1):
        address, cable = str(ipaddress.ip_address(network + place)), f"{NODES_BRIDGE}-{place}"
        plugged = Path(f"/sys/class/net/{cable}/brport")
        if answers(node(place) / "docker.sock") and plugged.exists():
            continue
        say(f"  engine: starting node {place} of {number}")
        kill(node(place), f"{CGROUP}/node-{place}")
        shutil.rmtree(node(place), ignore_errors=True)
        node(place).mkdir(parents=True)
        # Overlay networks look into /sys for the interfaces of their own namespace; the control groups are the machine's.
        ip = f"{shlex.quote(str(busybox_path()))} ip"
        commands = (
            f"hostname node-{place}", f"mkdir {node(place)}/cgroup", f"mount --rbind /sys/fs/cgroup {node(place)}/cgroup",
            "mount -t sysfs sysfs /sys", f"mount --rbind {node(place)}/cgroup /sys/fs/cgroup",
            f"{ip} link set lo up", f"{ip} link add eth0 type veth", f"{ip} link set veth0 name {cable}",
            f"{ip} link set {cable} netns {os.getpid()}", f"{ip} addr add {address}/24 dev eth0", f"{ip} link set eth0 up",
        )  # fmt: skip
        output(busybox_path(), "ip", "link", "del", cable)  # a killed node's is there for a moment longer
        attach = threading.Thread(target=connect, args=[cable])
        attach.start()
        own = {"cgroup-parent": f"/{CGROUP}/node-{place}"}
        serve(node(place), CACHE / f"node-{place}", own, " && ".join(commands), ["--net", "--uts"])
        attach.join()
        if not plugged.exists():
            die(f"node {place} has no network: the end of {LOG} says why; then run the same command again")
    first = f"{ipaddress.ip_address(network + 1)}:2377"
    for place in range(1, number + 1):
        mine = {"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": str(ipaddress.ip_address(network + place))}
        with contextlib.suppress(OSError):  # what went wrong, the node says below
            if swarm(place)["LocalNodeState"] == "inactive" and place == 1:
                api(node(1), "POST", "/swarm/init", {**mine, "Spec": {"Dispatcher": {"HeartbeatPeriod": HEARTBEAT}}})
            elif swarm(place)["LocalNodeState"] == "inactive":
                token = api(node(1), "GET", "/swarm")["JoinTokens"]["Manager"]
                api(node(place), "POST", "/swarm/join", {**mine, "RemoteAddrs": [first], "JoinToken": token})
        # Nodes that start together first elect a leader, and know nothing before: 10 to 20 s.
        deadline = time.monotonic() + 60
        while not swarm(place).get("Managers"):
            if time.monotonic() > deadline:
                die(f"node {place} of the Swarm says {swarm(place)}: `make engine-clean` begins anew")
            time.sleep(0.2)


def swarm(place):
    """Return what a node knows of the Swarm and of its place in it."""
    return api(node(place), "GET", "/info")["Swarm"]


def connect(cable):
    """Plug a node's cable into the bridge, once the node has laid it."""
    deadline = time.monotonic() + 30
    while not Path(f"/sys/class/net/{cable}").exists():
        if time.monotonic() > deadline:
            return  # the engine does not start either, and that is said
        time.sleep(0.02)
    busybox("brctl", "addif", NODES_BRIDGE, cable)
    busybox("ip", "link", "set", cable, "up")
