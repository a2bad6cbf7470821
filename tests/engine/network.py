"""Set up and remove the private engine's networks: an address range, bridges, and rules in the machine's firewall."""

import ipaddress
import json
import re
import shlex
import shutil
import socket
from pathlib import Path

from .commands import busybox, busybox_path, die, environment, output, say
from .places import CACHE, ID, PROGRAMS, RUN

BRIDGE = f"dex{ID}"
NODES_BRIDGE = f"den{ID}"  # connects the nodes of a Swarm
TABLES = [(program, table) for program in ("iptables", "ip6tables") for table in ("nat", "filter", "raw")]
# The state of the machine's firewall before the first private engine started. The last one restores it.
BEFORE = Path("/run/docker-examples-before.json")
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
POOL = CACHE / "pool"
# The rules of other engines while this one starts. If the start is killed, the stop or the next start gives them back.
OTHERS = RUN / "firewall.json"


def kept_pool():
    """Return the /16 of the last start, or None. In a copied cache, the file has the ID of another cache and does not count."""
    found = re.fullmatch(rf"(\S+)( {ID})?", POOL.read_text()) if POOL.exists() else None
    return ipaddress.ip_network(found[1]) if found else None


def address_pool():
    """Return a /16 for this engine's networks that no route of the machine overlaps. The next start uses the same one."""
    routes = [line.split() for line in Path("/proc/net/route").read_text().splitlines()[1:]]
    taken = [
        ipaddress.ip_network((socket.ntohl(int(route[1], 16)), bin(int(route[7], 16)).count("1")), strict=False)
        for route in routes
        if int(route[7], 16)
    ]
    candidates = [ipaddress.ip_network(f"10.{128 + (int(ID, 16) + n) % 128}.0.0/16") for n in range(128)]
    kept = kept_pool()
    for pool in [kept, *candidates] if kept else candidates:
        if not any(pool.overlaps(network) for network in taken):
            if pool != kept:
                forget_addresses()
            write(POOL, f"{pool} {ID}")
            return pool
    return die("the private engine needs one of 10.128.0.0/16 to 10.255.0.0/16, but this machine has routes to all of them")


def forget_addresses():
    """Remove what knows old addresses: networks, the containers that belong to them, and Swarm nodes. Images and volumes stay.

    Otherwise, Docker gives even its default bridge the old address again, which may now belong to another engine.
    """
    if (CACHE / "data/network").exists():
        say("  engine: its address range changed, so its containers and networks are removed. Images and volumes stay.")
    for folder in [*CACHE.glob("data/network"), *CACHE.glob("data/containers"), *CACHE.glob("node-*")]:
        shutil.rmtree(folder)


def make_bridge(pool):
    """Create the bridge of the engine's default network."""
    busybox("ip", "link", "add", BRIDGE, "type", "bridge")
    busybox("ip", "addr", "add", f"{pool[1]}/24", "dev", BRIDGE)
    busybox("ip", "link", "set", BRIDGE, "up")


def make_nodes_bridge(pool):
    """Create the bridge between the nodes of a Swarm. Remove an old one first, because an earlier start may have been killed."""
    output(busybox_path(), "ip", "link", "del", NODES_BRIDGE)
    remove_rules(lambda words: NODES_BRIDGE in words)
    busybox("ip", "link", "add", NODES_BRIDGE, "type", "bridge")
    busybox("ip", "addr", "add", f"{pool[-2]}/24", "dev", NODES_BRIDGE)
    busybox("ip", "link", "set", NODES_BRIDGE, "up")
    # The machine's engine filters traffic on bridges like routed packets, and drops it unless a rule accepts it.
    iptables("iptables", "filter", "-I", "FORWARD", "-i", NODES_BRIDGE, "-o", NODES_BRIDGE, "-j", "ACCEPT")


def remember_firewall():
    """Save the rules of other engines. If no engine has changed the firewall yet, save what Docker never restores."""
    firewall = {table: rules(*table) for table in TABLES}
    if not firewall["iptables", "filter"]:
        die("the firewall of this machine cannot be changed (is it an unprivileged container?): install Docker instead")
    if "-N DOCKER" not in firewall["iptables", "filter"]:
        policies = {
            program: next((rule.split()[2] for rule in firewall[program, "filter"] if rule.startswith("-P FORWARD")), None)
            for program in ("iptables", "ip6tables")
        }
        write(BEFORE, json.dumps({"policies": policies, "ip_forward": FORWARDING.read_text()}))
    RUN.mkdir(exist_ok=True)
    write(OTHERS, json.dumps([[*table, before] for table, before in firewall.items()]))


def give_back(firewall):
    """Restore the rules of other engines, because an engine that starts empties Docker's chains."""
    for table, before in firewall.items():
        now = rules(*table)
        lost = [rule for rule in before if rule.startswith("-A DOCKER") and rule not in now]
        for rule in reversed(lost):
            iptables(*table, "-I", *shlex.split(rule)[1:])


def give_back_saved():
    """Restore the rules that the last `remember_firewall` saved, unless this was done."""
    if OTHERS.exists():
        give_back({(program, table): before for program, table, before in json.loads(OTHERS.read_text())})
        OTHERS.unlink()


def sweep_network():
    """Remove this engine's bridges and firewall rules. The last engine on the machine also removes Docker's chains."""
    if not PROGRAMS.exists():
        return  # without its programs it created no network
    give_back_saved()
    settings = RUN / "daemon.json"  # not POOL, because the cache may have been emptied while the engine ran
    pools = json.loads(settings.read_text())["default-address-pools"] if settings.exists() else [{"base": "0.0.0.0/32"}]
    pool = ipaddress.ip_network(pools[0]["base"])
    bridges = []
    for name in (entry.parent.name for entry in Path("/sys/class/net").glob("*/bridge")):
        shown = output(busybox_path(), "ip", "-4", "addr", "show", "dev", name)
        addresses = re.findall(r"inet ([\d.]+)", shown)
        if name in (BRIDGE, NODES_BRIDGE) or any(ipaddress.ip_address(address) in pool for address in addresses):
            bridges.append(name)
            busybox("ip", "link", "del", name)
    network = str(pool).removesuffix("0.0/16")
    remove_rules(lambda words: any(word in (BRIDGE, *bridges) or word.startswith(network) for word in words))
    # Only Docker's own chains are left. If they contain no engine's rules, no engine uses them.
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
    """Write a file atomically, because a start may be killed at any moment."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


def iptables(program, table, *words):
    """Change one table of the machine's firewall. Ignore errors, because another engine may have removed the rule already."""
    output(program, "-w", "-t", table, *words, env=environment())


def rules(program, table):
    """Return the rules of one table of the machine's firewall, in the syntax of iptables."""
    return output(program, "-w", "-t", table, "-S", env=environment()).splitlines()


def remove_rules(ours):
    """Remove each firewall rule for which `ours`, called with the rule's words, returns true."""
    for table in TABLES:
        for words in map(shlex.split, rules(*table)):
            if words[0] == "-A" and ours(words):
                iptables(*table, "-D", *words[1:])
