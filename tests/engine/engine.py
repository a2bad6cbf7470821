#!/usr/bin/env python3
"""A private Docker Engine with stand-ins for the official images, for machines that have neither Docker nor Docker Hub.

Called by engine.mk: `engine.py start [--nodes N] [FOLDER ...]` (prints its run folder), `engine.py stop`, `engine.py clean`.
With --nodes it also starts N engines, each with a network namespace of its own, joined in one Swarm. Everything lies in
${XDG_CACHE_HOME:-~/.cache}/docker-examples and /run/docker-examples-ID; nothing is installed.
"""

import contextlib
import fcntl
import hashlib
import http.client
import ipaddress
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().resolve() / "docker-examples"
# One engine per cache folder. /run keeps the socket's path below the kernel's limit of 107 bytes, however long the cache's is.
ID = hashlib.sha256(bytes(CACHE)).hexdigest()[:8]
RUN = Path(f"/run/docker-examples-{ID}")
SOCKET = RUN / "docker.sock"
BRIDGE = f"dex{ID}"
CGROUP = f"docker-examples-{ID}"
NODES_BRIDGE = f"den{ID}"  # what joins the nodes of a Swarm
HEARTBEAT = 2 * 10**9  # nanoseconds; Swarm's own 5 s find out later that a node is dead
# What Docker changes in the machine's firewall, as it was before the first private engine; the last one puts it back.
BEFORE = Path("/run/docker-examples-before.json")
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
ROOT = CACHE / "engine"  # the unpacked packages
LOG = CACHE / "engine.log"
IMAGES = Path(__file__).resolve().parent / "images"
LABEL = "docker-examples.stand-in"
# Folders in /run that an engine takes without asking; a private one sees empty ones of its own there.
SHARED_RUN = [Path("/run") / name for name in ("containerd", "docker", "runc")]

RELEASE = "trixie"  # the first Debian whose docker.io is new enough (25) for health checks with a start interval
# These need only a libc that Debian 12 has too; runc and iptables must come from the machine's own release.
ENGINE_PACKAGES = "docker.io docker-cli docker-compose docker-buildx containerd tini".split()
OWN_PACKAGES = (
    "runc libseccomp2 busybox-static mmdebstrap iptables libxtables12 libip4tc2 libip6tc2 libnftnl11 libmnl0"
    " libnetfilter-conntrack3 libnfnetlink0"
).split()

# Official name -> folder under images/, in the order in which they are built.
STAND_INS = {
    "python:3.13-slim-trixie": "python-slim",
    "postgres:17-trixie": "postgres",
    "hello-world:latest": "hello-world",
    "python:3.13-alpine3.23": "python-alpine",
}
DEBIAN = f"docker-examples-debian:{RELEASE}"  # what the stand-ins are built from


def say(text):
    """Tell the person what happens, on stderr: stdout is for make."""
    print(text, file=sys.stderr, flush=True)


def die(text):
    """End with one line that says what is wrong and what mends it."""
    sys.exit(f"error: {text}")


def run(*command, **options):
    """Run a command, its output into the log.

    Raises SystemExit with the log's place where the command fails.
    """
    with LOG.open("a") as log:
        done = subprocess.run(command, **{"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, **options})
    if done.returncode:
        die(f"`{' '.join(map(str, command[:2]))} ...` failed: the end of {LOG} says why; then run the same command again")
    return done


def output(*command, **options):
    """Return what a command prints, or '' where it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **options)
    return done.stdout if done.returncode == 0 else ""


def environment():
    """Return the environment in which the engine and its client run: the unpacked programs come first."""
    programs = f"{ROOT}/usr/sbin:{ROOT}/usr/bin:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    unset = ("DOCKER_CONTEXT", "DOCKER_API_VERSION", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
    rest = {key: value for key, value in os.environ.items() if key not in unset}
    return {**rest, "PATH": programs, "DOCKER_HOST": f"unix://{SOCKET}", "DOCKER_CONFIG": f"{RUN}/config"}


def node(number):
    """Return the run folder of a node of the Swarm; its first is number 1."""
    return RUN / f"node-{number}"


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


def require_machine():
    """End with a clear line where a private engine cannot run; return (release, mirror) of this Debian."""
    get_docker = "install Docker instead (https://docs.docker.com/get-docker/), start it, and run the same command again"
    if sys.platform != "linux" or not shutil.which("apt-get"):
        die(f"no Docker Engine answers, and the private one needs Debian 12 or 13: {get_docker}")
    if os.geteuid() != 0:
        die(f"no Docker Engine answers, and the private one needs root (you are uid {os.geteuid()}): use sudo, or {get_docker}")
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        named = os.environ.get(name)
        if named and named != f"unix://{SOCKET}" and not named.startswith("unix:///run/docker-examples-"):
            die(f"{name}={named} does not answer: start that engine, or `unset {name}` to use a private one")
    # What apt would fetch, asked without fetching: it knows the machine's mirror, this file need not.
    for uri in re.findall(r"'(\S+)'", output("apt-get", "update", "--print-uris")):
        if found := re.fullmatch(r"(.*/debian/)dists/(bookworm|trixie)/InRelease", uri):
            return found[2], found[1]
    return die(f"no Docker Engine answers, and the private one finds no Debian 12 or 13 in APT's sources: {get_docker}")


def unpack(own_release, mirror):
    """Download the engine's packages and unpack them into ROOT, with an APT state of our own."""
    if ROOT.exists():
        return
    say("  engine: downloading and unpacking Docker Engine from Debian's packages (90 MB)")
    apt, fresh = CACHE / "apt", CACHE / "engine.new"
    for folder in (apt, fresh):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in ("lists/partial", "cache/archives/partial", "debs"):
        (apt / folder).mkdir(parents=True)
    keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
    releases = sorted({RELEASE, own_release})
    (apt / "sources.list").write_text("".join(f"deb [signed-by={keys}] {mirror} {name} main\n" for name in releases))
    options = {
        "Dir::State": apt,
        "Dir::State::Lists": apt / "lists",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": apt / "cache",
        "Dir::Etc::SourceList": apt / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "APT::Sandbox::User": "root",
    }
    get = ["apt-get", "-q", *(word for key, value in options.items() for word in ("-o", f"{key}={value}"))]
    run(*get, "update")
    wanted = [f"{name}/{RELEASE}" for name in ENGINE_PACKAGES] + [f"{name}/{own_release}" for name in OWN_PACKAGES]
    run(*get, "download", *wanted, cwd=apt / "debs")
    for package in sorted((apt / "debs").iterdir()):
        run("dpkg-deb", "-x", package, fresh)
    if not shutil.which("iptables"):
        for name in ("iptables", "ip6tables"):
            wrapper = fresh / "usr/sbin" / name
            libraries = shlex.quote(f"{ROOT}/usr/lib/{os.uname().machine}-linux-gnu")
            wrapper.write_text(
                f"#!/bin/sh\nLD_LIBRARY_PATH={libraries} XTABLES_LIBDIR={libraries}/xtables"
                f' exec {shlex.quote(str(ROOT))}/usr/sbin/xtables-nft-multi {name} "$@"\n'
            )
            wrapper.chmod(0o755)
    shutil.rmtree(apt)
    fresh.rename(ROOT)  # last, so that an interrupted run leaves nothing that looks finished


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
                kept.write_text(str(pool))
                for data in CACHE.glob("node-*"):
                    shutil.rmtree(data)  # these nodes know each other by addresses of the old pool
            return pool
    return die("every network 10.128.0.0/16 to 10.255.0.0/16 has a route on this machine: the private engine needs one of them")


def launch():
    """Start the engine and wait until it answers."""
    pool = address_pool()
    firewall = {table: rules(table) for table in ("nat", "filter")}
    if "-N DOCKER" not in firewall["filter"]:
        policy = next(rule.split()[2] for rule in firewall["filter"] if rule.startswith("-P FORWARD"))
        BEFORE.write_text(json.dumps({"forward": policy, "ip_forward": FORWARDING.read_text()}))
    busybox("ip", "link", "add", BRIDGE, "type", "bridge")
    busybox("ip", "addr", "add", f"{pool[1]}/24", "dev", BRIDGE)
    busybox("ip", "link", "set", BRIDGE, "up")
    own = {"bridge": BRIDGE, "default-address-pools": [{"base": str(pool), "size": 24}], "cgroup-parent": f"/{CGROUP}"}
    serve(RUN, CACHE / "data", own)
    # An engine that starts empties Docker's chains, in which other engines on this machine have rules: give them theirs back.
    for table, before in firewall.items():
        now = rules(table)
        lost = [rule for rule in before if rule.startswith("-A DOCKER") and rule not in now]
        for rule in reversed(lost):
            iptables(table, "-I", *shlex.split(rule)[1:])


def serve(folder, data, own, first="true", namespaces=()):
    """Start an engine with its run folder, its data and settings of its own; return once it answers.

    `first` is what the shell that becomes the engine does before, in mount and other namespaces of its own.
    """
    for path in (folder / "bin", folder / "config", data, *SHARED_RUN):
        path.mkdir(parents=True, exist_ok=True)
    for link, target in (
        (folder / "bin/docker", ROOT / "usr/bin/docker"),
        (folder / "bin/docker-compose", ROOT / "usr/bin/docker-compose"),
        (folder / "config/cli-plugins", ROOT / "usr/libexec/docker/cli-plugins"),
    ):
        link.symlink_to(target)
    settings = {
        "hosts": [f"unix://{folder}/docker.sock"],
        "data-root": str(data),
        "exec-root": f"{folder}/exec",
        "pidfile": f"{folder}/docker.pid",
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
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


def launch_nodes(number):
    """Start the nodes of the Swarm that do not answer, and join them; all are managers, so that any one of them may fail.

    They are machines to each other: each has a network namespace with one cable to a common bridge, and no other way out.
    """
    pool = ipaddress.ip_network((CACHE / "pool").read_text())
    if not any(answers(node(place) / "docker.sock") for place in range(1, number + 1)):
        # Anew, because an earlier start may have been killed between these steps.
        output(ROOT / "bin/busybox", "ip", "link", "del", NODES_BRIDGE)
        remove_rules(lambda words: NODES_BRIDGE in words)
        busybox("ip", "link", "add", NODES_BRIDGE, "type", "bridge")
        busybox("ip", "addr", "add", f"{pool[-2]}/24", "dev", NODES_BRIDGE)
        busybox("ip", "link", "set", NODES_BRIDGE, "up")
        # The engine outside has frames on a bridge filtered like routed packets, and forwards none that it does not know.
        iptables("filter", "-I", "FORWARD", "-i", NODES_BRIDGE, "-o", NODES_BRIDGE, "-j", "ACCEPT")
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
        ip = f"{shlex.quote(str(ROOT))}/bin/busybox ip"
        commands = (
            f"hostname node-{place}", f"mkdir {node(place)}/cgroup", f"mount --rbind /sys/fs/cgroup {node(place)}/cgroup",
            "mount -t sysfs sysfs /sys", f"mount --rbind {node(place)}/cgroup /sys/fs/cgroup",
            f"{ip} link set lo up", f"{ip} link add eth0 type veth", f"{ip} link set veth0 name {cable}",
            f"{ip} link set {cable} netns {os.getpid()}", f"{ip} addr add {address}/24 dev eth0", f"{ip} link set eth0 up",
        )  # fmt: skip
        output(ROOT / "bin/busybox", "ip", "link", "del", cable)  # a killed node's is there for a moment longer than the node
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


def busybox(*command):
    """Run one of the unpacked busybox's tools (ip, umount)."""
    run(ROOT / "bin/busybox", *command)


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


def sweep():
    """Remove what an engine leaves behind outside its cache, in whatever state it was killed."""
    kill(RUN, CGROUP)
    for folder in reversed(control_groups(CGROUP)):
        with contextlib.suppress(OSError):
            os.rmdir(folder)
    sweep_network()
    for line in Path("/proc/self/mounts").read_text().splitlines():
        if line.split()[1].startswith(f"{RUN}/"):
            busybox("umount", line.split()[1])
    shutil.rmtree(RUN, ignore_errors=True)
    # While another private engine runs they stay: to remove a folder unmounts what anybody has mounted there.
    for folder in SHARED_RUN if not any(Path("/run").glob("docker-examples-*/")) else ():
        with contextlib.suppress(OSError):  # not empty: the machine's own
            folder.rmdir()


def sweep_network():
    """Remove this engine's bridges and firewall rules; the last engine on the machine also takes Docker's chains along."""
    if not ROOT.exists():
        return  # without its programs it made none
    kept = CACHE / "pool"
    pool = ipaddress.ip_network(kept.read_text()) if kept.exists() else ipaddress.ip_network("0.0.0.0/32")
    bridges = []
    for name in (entry.parent.name for entry in Path("/sys/class/net").glob("*/bridge")):
        shown = output(ROOT / "bin/busybox", "ip", "-4", "addr", "show", "dev", name)
        addresses = re.findall(r"inet ([\d.]+)", shown)
        if name in (BRIDGE, NODES_BRIDGE) or any(ipaddress.ip_address(address) in pool for address in addresses):
            bridges.append(name)
            busybox("ip", "link", "del", name)
    network = str(pool).removesuffix("0.0/16")
    remove_rules(lambda words: any(word in (BRIDGE, *bridges) or word.startswith(network) for word in words))
    # Docker's own frame is left, and nobody's rules in it: then no engine uses it any more.
    frame = [rule for table in ("nat", "filter") for rule in rules(table) if "DOCKER" in rule and rule.startswith("-A")]
    if BEFORE.exists() and not any(re.search(r" -[io] | --dport | -j (?!DOCKER|RETURN)", rule) for rule in frame):
        before = json.loads(BEFORE.read_text())
        remove_rules(lambda words: any(word.startswith("DOCKER") for word in words))
        for table in ("nat", "filter"):
            for chain in re.findall(r"^-N (DOCKER\S*)", "\n".join(rules(table)), re.MULTILINE):
                iptables(table, "-X", chain)
        iptables("filter", "-P", "FORWARD", before["forward"])
        FORWARDING.write_text(before["ip_forward"])
        BEFORE.unlink()


def iptables(table, *words):
    """Change one table of the machine's firewall. Another engine may change it too: what is gone already is no error."""
    output("iptables", "-w", "-t", table, *words, env=environment())


def rules(table):
    """Return the lines of one table of the machine's firewall, each as iptables would take it."""
    return output("iptables", "-w", "-t", table, "-S", env=environment()).splitlines()


def remove_rules(ours):
    """Remove the firewall rules for whose words the function `ours` returns true."""
    for table in ("nat", "filter"):
        for words in map(shlex.split, rules(table)):
            if words[0] == "-A" and ours(words):
                iptables(table, "-D", *words[1:])


def needed(folders):
    """Return the official images that an example folder's files name; all of them for any other folder, and for none."""
    if not folders or not all((Path(folder) / "Dockerfile").exists() for folder in folders):
        return list(STAND_INS)
    texts = [path.read_text(errors="ignore") for folder in folders for path in Path(folder).glob("*") if path.is_file()]
    return [name for name in STAND_INS if any(name in text for text in texts)]


def docker(*command, **options):
    """Run the unpacked docker client against the private engine, its output into the log."""
    return run("docker", *command, env=environment(), **options)


def recipe(folder):
    """Return what a stand-in is made of, as a short hash: it is built again when that changes."""
    parts = [path.read_bytes() for path in sorted((IMAGES / folder).iterdir())]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


def provide(names, mirror):
    """See to it that the engine has these images: the official ones where Docker Hub is in reach, else stand-ins."""
    query = '{{index .Config.Labels "' + LABEL + '"}}'
    hub = None
    for name in names:
        folder = STAND_INS[name]
        found = output("docker", "image", "inspect", "--format", query, name, env=environment())
        if found.strip() == recipe(folder) or found == "\n":  # "\n": an image without the label is an official one
            continue
        if hub is None:
            hub = hub_in_reach()
        if hub:
            say(f"  engine: pulling {name}")
            docker("pull", name)
            continue
        if not output("docker", "image", "inspect", DEBIAN, env=environment()):
            make_debian(mirror)
        say(f"  engine: Docker Hub is out of reach: building a stand-in for {name} from Debian's packages")
        build(name, folder)


def hub_in_reach():
    """Return whether the engine can pull from Docker Hub, asked by pulling its smallest image."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        asked = ["docker", "pull", "--quiet", "hello-world:latest"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.run(asked, env=environment(), timeout=20, **quiet).returncode == 0
    return False


def make_debian(mirror):
    """Make the Debian that the stand-ins are built from, with this machine's CA certificates (a proxy may have its own)."""
    say(f"  engine: bootstrapping Debian {RELEASE}")
    # The official images leave out documentation and translations; so their sizes can be compared.
    without = [f"path-exclude=/usr/share/{kind}/*" for kind in ("man", "info", "locale", "doc")]
    options = [f"--dpkgopt={line}" for line in [*without, "path-include=/usr/share/doc/*/copyright"]]
    certificates = os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt"
    if os.path.exists(certificates):
        options.append(f"--customize-hook=upload {shlex.quote(certificates)} /etc/ssl/certs/ca-certificates.crt")
    tree = CACHE / "debian.tar"
    include = "--include=ca-certificates,netbase,tzdata,openssl"
    run("mmdebstrap", "--variant=minbase", include, *options, RELEASE, tree, mirror, env=environment())
    docker("import", tree, DEBIAN)
    tree.unlink()


def build(name, folder):
    """Build a stand-in and show each step's first words: some take minutes."""
    label = f"{LABEL}={recipe(folder)}"
    command = ["docker", "build", "--progress=plain", "--label", label, "-t", name, str(IMAGES / folder)]
    with LOG.open("a") as log:
        building = subprocess.Popen(
            command, env=environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        told = set()  # BuildKit says a step's name again whenever it turns back to it
        for line in building.stdout:
            log.write(line)
            step = re.match(r"#\d+ (\[.*\] RUN .{0,60})", line)
            if step and step[1] not in told:
                say(f"    {step[1]}")
                told.add(step[1])
    if building.wait():
        die(f"the stand-in for {name} could not be built: the end of {LOG} says why; then run the same command again")


def start(folders, nodes=0):
    """Start the private engine unless it answers, with the images these folders need; print its run folder.

    With nodes: a Swarm of so many besides, and the run folder of its first one.
    """
    named = re.fullmatch(r"unix://(/run/docker-examples-\w+(/node-\d+)?)/docker.sock", os.environ.get("DOCKER_HOST", ""))
    if named and named[1] != str(RUN) and not nodes and answers(f"{named[1]}/docker.sock"):
        print(named[1])  # another engine, which this shell was given: take it as it is
        return
    release, mirror = require_machine()
    with alone():
        # Without its programs (somebody emptied the cache) a running engine is of no use.
        if not (answers() and ROOT.exists()):
            say("No Docker Engine answers: starting a private one (`make engine-down` stops it).")
            say('  To type docker yourself: eval "$(make -s engine)"')
            unpack(release, mirror)
            sweep()
            launch()
        provide(needed(folders), mirror)
        if nodes:
            launch_nodes(nodes)
    print(node(1) if nodes else RUN)


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


def clean():
    """Stop the private engine and remove all that it left, images and containers included."""
    if RUN.exists() and not ROOT.exists():
        unpack(*require_machine())  # somebody emptied the cache: without its programs its network could not be removed
    stop()
    shutil.rmtree(CACHE)


@contextlib.contextmanager
def alone():
    """Let one call at a time do what stands inside; the next one waits."""
    path = RUN.with_suffix(".lock")
    while True:
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Whoever had it may have removed the file: then a later call would not wait for us.
            if path.exists() and path.stat().st_ino == os.fstat(lock.fileno()).st_ino:
                CACHE.mkdir(parents=True, exist_ok=True)
                yield
                return


def main():
    """Run one command."""
    match sys.argv[1:]:
        case ["start", "--nodes", number, *folders]:
            start(folders, int(number) if re.fullmatch("[1-9]", number) else die(f"NODES={number}: from 1 to 9"))
        case ["start", *folders]:
            start(folders)
        case [("stop" | "clean") as command]:
            if RUN.exists() or CACHE.exists():
                with alone():
                    {"stop": stop, "clean": clean}[command]()
                    RUN.with_suffix(".lock").unlink()
        case _:
            die("usage: engine.py start [--nodes N] [FOLDER ...] | stop | clean")


if __name__ == "__main__":
    main()
