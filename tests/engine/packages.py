"""Download Docker Engine from Debian's packages, and unpack it into the cache. __main__.py uses this module."""

import os
import re
import shutil
import subprocess
import sys

from .commands import die, output, run, say
from .places import CACHE, OLDEST, PLATFORM, PROGRAMS, RELEASE, SOCKET

# These run with Debian 12's libc. OWN_PACKAGES, such as runc and iptables, must come from the machine's own release.
ENGINE_PACKAGES = [
    *"docker.io docker-cli docker-compose docker-buildx containerd".split(),
    "tini" if RELEASE == OLDEST else "tini-static",  # contains docker-init for `docker run --init`
]
OWN_PACKAGES = (
    "runc libseccomp2 busybox-static mmdebstrap iptables libxtables12 libip4tc2 libip6tc2 libnftnl11 libmnl0"
    " libnetfilter-conntrack3 libnfnetlink0"
).split() + (["qemu-user-static"] if PLATFORM else [])
# A mirror of the testing release may be older than its list allows. APT still checks the signature.
VALID_UNTIL = 'Acquire::Check-Valid-Until "false";'


def docker_error():
    """Return the last line of Docker's own message, such as `permission denied ...`, or '' if Docker is not installed."""
    if not shutil.which("docker"):
        return ""
    done = subprocess.run(["docker", "version"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    return done.stderr.strip().rpartition("\n")[2]


def require_machine():
    """Return (release, mirror) of this Debian, or exit with a message if a private engine cannot run here."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        named = os.environ.get(name)
        if named and named != f"unix://{SOCKET}" and not named.startswith("unix:///run/docker-examples-"):
            die(f"{name}={named} does not answer: start that engine, or `unset {name}` to use a private one")
    here = sys.platform == "linux" and shutil.which("apt-get")
    if not (here and os.geteuid() == 0) and (said := docker_error()):
        die(said)
    get_docker = "install Docker instead (https://docs.docker.com/get-docker/), start it, and run the same command again"
    if not here:
        die(f"no Docker Engine answers, and the private one needs Debian 12 or 13: {get_docker}")
    if os.geteuid() != 0:
        die(f"no Docker Engine answers, and the private one needs root (you are uid {os.geteuid()}): use sudo, or {get_docker}")
    # Ask apt which files it would fetch. They name the machine's mirror.
    for uri in re.findall(r"'(\S+)'", output("apt-get", "update", "--print-uris")):
        if found := re.fullmatch(r"(.*/debian/)dists/(bookworm|trixie)/InRelease", uri):
            return found[2], found[1]
    return die(f"no Docker Engine answers, and the private one finds no Debian 12 or 13 in APT's sources: {get_docker}")


def choose(madison):
    """Return [(package, release)] for the engine, from the lines of `apt-cache madison`.

    If the testing release lacks a package at the moment, take the one of the oldest engine's release, which works too.
    """
    there = {tuple(re.split(r"[ |]+", line.strip())[i] for i in (0, 3)) for line in madison.splitlines() if line.count("|") == 2}
    chosen = []
    for name in ENGINE_PACKAGES:
        release = RELEASE if (name, f"{RELEASE}/main") in there else OLDEST
        if release != RELEASE:
            say(f"  engine: Debian {RELEASE} has no {name} now: taking the one of {release}")
        chosen.append((name, release))
    return chosen


def unpack(own_release, mirror):
    """Download the engine's packages and unpack them into PROGRAMS. APT's state is our own, not the machine's."""
    if PROGRAMS.exists():
        return
    say("  engine: downloading and unpacking Docker Engine from Debian's packages (90 MB)")
    apt, fresh = CACHE / "apt", CACHE / "engine.new"
    for folder in (apt, fresh):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in ("lists/partial", "cache/archives/partial", "debs"):
        (apt / folder).mkdir(parents=True)
    keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
    releases = sorted({RELEASE, OLDEST, own_release})
    (apt / "sources.list").write_text("".join(f"deb [signed-by={keys}] {mirror} {name} main\n" for name in releases))
    (apt / "apt.conf").write_text(VALID_UNTIL)
    places = {
        "Dir::State": apt,
        "Dir::State::Lists": apt / "lists",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": apt / "cache",
        "Dir::Etc::SourceList": apt / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "APT::Sandbox::User": "root",
    }
    options = ["-c", apt / "apt.conf", *(word for key, value in places.items() for word in ("-o", f"{key}={value}"))]
    run("apt-get", "-q", *options, "update")
    wanted = choose(output("apt-cache", *options, "madison", *ENGINE_PACKAGES))
    wanted += [(name, own_release) for name in OWN_PACKAGES]
    run("apt-get", "-q", *options, "download", *(f"{name}/{release}" for name, release in wanted), cwd=apt / "debs")
    for package in sorted((apt / "debs").iterdir()):
        run("dpkg-deb", "-x", package, fresh)
    if not shutil.which("iptables"):
        for name in ("iptables", "ip6tables"):
            wrapper = fresh / "usr/sbin" / name
            libraries = f"$usr/lib/{os.uname().machine}-linux-gnu"
            wrapper.write_text(
                # Relative to the script, because the cache may be moved or copied.
                f"#!/bin/sh\nusr=${{0%/sbin/*}}\nLD_LIBRARY_PATH={libraries} XTABLES_LIBDIR={libraries}/xtables"
                f' exec "$usr/sbin/xtables-nft-multi" {name} "$@"\n'
            )
            wrapper.chmod(0o755)
    shutil.rmtree(apt)
    fresh.rename(PROGRAMS)  # last, because an interrupted run must not look finished
