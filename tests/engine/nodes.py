"""The nodes of a Swarm: engines that act as machines. Each has its own network namespace and a veth cable to one bridge."""

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
from .network import NODES_BRIDGE, kept_pool, make_nodes_bridge
from .places import CACHE, CGROUP, LOG, node

HEARTBEAT = 2 * 10**9  # nanoseconds; Swarm's default of 5 s detects a dead node later


def launch_nodes(number):
    """Start the nodes of the Swarm that do not answer, and join them. All are managers, because then any one may fail.

    The nodes reach each other over the bridge, and no other network.
    """
    pool = kept_pool()
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
        # Mount /sys again, because overlay networks look there for the namespace's interfaces. Keep the machine's control groups.
        ip = f"{shlex.quote(str(busybox_path()))} ip"
        commands = (
            f"hostname node-{place}", f"mkdir {node(place)}/cgroup", f"mount --rbind /sys/fs/cgroup {node(place)}/cgroup",
            "mount -t sysfs sysfs /sys", f"mount --rbind {node(place)}/cgroup /sys/fs/cgroup",
            f"{ip} link set lo up", f"{ip} link add eth0 type veth", f"{ip} link set veth0 name {cable}",
            f"{ip} link set {cable} netns {os.getpid()}", f"{ip} addr add {address}/24 dev eth0", f"{ip} link set eth0 up",
        )  # fmt: skip
        output(busybox_path(), "ip", "link", "del", cable)  # the cable of a killed node disappears a moment later
        attach = threading.Thread(target=connect, args=[cable])
        attach.start()
        own = {"cgroup-parent": f"/{CGROUP}/node-{place}"}
        serve(node(place), CACHE / f"node-{place}", own, " && ".join(commands), ["--net", "--uts"])
        attach.join()
        if not plugged.exists():
            die(f"node {place} has no network. See the end of {LOG}, then run the same command again")
    first = f"{ipaddress.ip_address(network + 1)}:2377"
    for place in range(1, number + 1):
        mine = {"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": str(ipaddress.ip_address(network + place))}
        with contextlib.suppress(OSError):  # if this fails, the message below shows the node's state
            if swarm(place)["LocalNodeState"] == "inactive" and place == 1:
                api(node(1), "POST", "/swarm/init", {**mine, "Spec": {"Dispatcher": {"HeartbeatPeriod": HEARTBEAT}}})
            elif swarm(place)["LocalNodeState"] == "inactive":
                token = api(node(1), "GET", "/swarm")["JoinTokens"]["Manager"]
                api(node(place), "POST", "/swarm/join", {**mine, "RemoteAddrs": [first], "JoinToken": token})
        # Nodes that start together elect a leader first. That takes 10 to 20 s.
        deadline = time.monotonic() + 60
        while not swarm(place).get("Managers"):
            if time.monotonic() > deadline:
                die(f"node {place} of the Swarm says {swarm(place)}. Run `make engine-clean` to start over")
            time.sleep(0.2)


def swarm(place):
    """Return the state of the Swarm as a node sees it."""
    return api(node(place), "GET", "/info")["Swarm"]


def connect(cable):
    """Wait until a node has created its cable, then connect the cable to the bridge."""
    deadline = time.monotonic() + 30
    while not Path(f"/sys/class/net/{cable}").exists():
        if time.monotonic() > deadline:
            return  # then the engine does not start either, and serve() says so
        time.sleep(0.02)
    busybox("brctl", "addif", NODES_BRIDGE, cable)
    busybox("ip", "link", "set", cable, "up")
