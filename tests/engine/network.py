"""The private engine's networks and the machine's firewall: an address range, bridges, rules, and their removal."""

import ipaddress
import json
import re
import shlex
import shutil
import socket
from pathlib import Path

from .commands import busybox, busybox_path, die, environment, output
from .places import CACHE, ID, PROGRAMS

BRIDGE = f"dex{ID}"
NODES_BRIDGE = f"den{ID}"  # what joins the nodes of a Swarm
TABLES = [(program, table) for program in ("iptables", "ip6tables") for table in ("nat", "filter", "raw")]
# What Docker changes in the machine's firewall, as it was before the first private engine; the last one puts it back.
BEFORE = Path("/run/docker-examples-before.json")
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


def address_pool():
    """Return the /16 of this engine's networks: one that no route of the machine overlaps, kept for the next start."""
    routes = [line.split() for line in Path("/proc/net/route").read_text().splitlines()[1:]]
    taken = [
        ipaddress.ip_network((socket.ntohl(int(route[1], 16)), bin(int(route[7], 16)).count("1")), strict=False)
        for route in routes
        if int(route[7], 16)
    ]
    kept = CACHE / "pool"
    candidates = [ipaddress.ip_network(f"10.{128 + (int(ID, 16) + n) % 128}.0.0/16") for n in range(128)]
    if kept.exists():
        candidates.insert(0, ipaddress.ip_network(kept.read_text()))
    for pool in candidates:
        if not any(pool.overlaps(network) for network in taken):
            if not kept.exists() or kept.read_text() != str(pool):
                write(kept, str(pool))
                for data in CACHE.glob("node-*"):
                    shutil.rmtree(data)  # these nodes know each other by addresses of the old pool
            return pool
    return die("every network 10.128.0.0/16 to 10.255.0.0/16 has a route on this machine: the private engine needs one of them")


def make_bridge(pool):
    """Make the bridge of the engine's default network."""
    busybox("ip", "link", "add", BRIDGE, "type", "bridge")
    busybox("ip", "addr", "add", f"{pool[1]}/24", "dev", BRIDGE)
    busybox("ip", "link", "set", BRIDGE, "up")


def make_nodes_bridge(pool):
    """Make the bridge between the nodes of a Swarm anew: an earlier start may have been killed between these steps."""
    output(busybox_path(), "ip", "link", "del", NODES_BRIDGE)
    remove_rules(lambda words: NODES_BRIDGE in words)
    busybox("ip", "link", "add", NODES_BRIDGE, "type", "bridge")
    busybox("ip", "addr", "add", f"{pool[-2]}/24", "dev", NODES_BRIDGE)
    busybox("ip", "link", "set", NODES_BRIDGE, "up")
    # The engine outside has frames on a bridge filtered like routed packets, and forwards none that it does not know.
    iptables("iptables", "filter", "-I", "FORWARD", "-i", NODES_BRIDGE, "-o", NODES_BRIDGE, "-j", "ACCEPT")


def remember_firewall():
    """Return all tables of the firewall as they are; keep what an engine changes for good, unless one did already."""
    firewall = {table: rules(*table) for table in TABLES}
    if not firewall["iptables", "filter"]:
        die("this machine lets nobody change its firewall (is it an unprivileged container?): install Docker instead")
    if "-N DOCKER" not in firewall["iptables", "filter"]:
        policies = {
            program: next((rule.split()[2] for rule in firewall[program, "filter"] if rule.startswith("-P FORWARD")), None)
            for program in ("iptables", "ip6tables")
        }
        write(BEFORE, json.dumps({"policies": policies, "ip_forward": FORWARDING.read_text()}))
    return firewall


def give_back(firewall):
    """Put rules of other engines back: an engine that starts empties Docker's chains, in which they have theirs."""
    for table, before in firewall.items():
        now = rules(*table)
        lost = [rule for rule in before if rule.startswith("-A DOCKER") and rule not in now]
        for rule in reversed(lost):
            iptables(*table, "-I", *shlex.split(rule)[1:])


def sweep_network():
    """Remove this engine's bridges and firewall rules; the last engine on the machine also takes Docker's chains along."""
    if not PROGRAMS.exists():
        return  # without its programs it made none
    kept = CACHE / "pool"
    pool = ipaddress.ip_network(kept.read_text()) if kept.exists() else ipaddress.ip_network("0.0.0.0/32")
    bridges = []
    for name in (entry.parent.name for entry in Path("/sys/class/net").glob("*/bridge")):
        shown = output(busybox_path(), "ip", "-4", "addr", "show", "dev", name)
        addresses = re.findall(r"inet ([\d.]+)", shown)
        if name in (BRIDGE, NODES_BRIDGE) or any(ipaddress.ip_address(address) in pool for address in addresses):
            bridges.append(name)
            busybox("ip", "link", "del", name)
    network = str(pool).removesuffix("0.0/16")
    remove_rules(lambda words: any(word in (BRIDGE, *bridges) or word.startswith(network) for word in words))
    # Docker's own frame is left, and nobody's rules in it: then no engine uses it any more.
    frame = [rule for table in TABLES for rule in rules(*table) if "DOCKER" in rule and rule.startswith("-A")]
    if BEFORE.exists() and not any(re.search(r" -[io] | --dport | -j (?!DOCKER|RETURN)", rule) for rule in frame):
        before = json.loads(BEFORE.read_text())
        remove_rules(lambda words: any(word.startswith("DOCKER") for word in words))
        for table in TABLES:
            for chain in re.findall(r"^-N (DOCKER\S*)", "\n".join(rules(*table)), re.MULTILINE):
                iptables(*table, "-X", chain)
        for program, policy in before.get("policies", {}).items():
            if policy:
                iptables(program, "filter", "-P", "FORWARD", policy)
        FORWARDING.write_text(before["ip_forward"])
        BEFORE.unlink()


def write(path, text):
    """Write a file that a killed start must not leave half-written."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


def iptables(program, table, *words):
    """Change one table of the machine's firewall. Another engine may change it too: what is gone already is no error."""
    output(program, "-w", "-t", table, *words, env=environment())


def rules(program, table):
    """Return the lines of one table of the machine's firewall, each as the program would take it."""
    return output(program, "-w", "-t", table, "-S", env=environment()).splitlines()


def remove_rules(ours):
    """Remove the firewall rules for whose words the function `ours` returns true."""
    for table in TABLES:
        for words in map(shlex.split, rules(*table)):
            if words[0] == "-A" and ours(words):
                iptables(*table, "-D", *words[1:])
