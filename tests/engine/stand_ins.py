"""Provide the images that an example needs: pull them from Docker Hub, or build stand-ins from images/ if it is out of reach."""

import contextlib
import hashlib
import os
import re
import shlex
import subprocess
from pathlib import Path

from .commands import die, docker, environment, output, run, say
from .packages import VALID_UNTIL
from .places import CACHE, LOG, NEWEST, PLATFORM

IMAGES = Path(__file__).resolve().parent / "images"
LABEL = "docker-examples.stand-in"
# Official name -> folder in images/, in build order.
STAND_INS = {
    "python:3.14-slim-trixie": "python-slim",
    "postgres:18-trixie": "postgres",
    "caddy:2.11-alpine": "caddy",
    "hello-world:latest": "hello-world",
    "python:3.14-alpine3.24": "python-alpine",
}
DEBIAN = f"docker-examples-debian:{NEWEST}"  # the stand-ins' base image
# APT's messages for a package that the release does not have.
NO_PACKAGE = re.compile(
    r"E: (?:Unable to locate package|Package|Unable to find a source package for) '?([\w.+-]+?)'?(?:$| has no )"
)


def needed(folders):
    """Return the official images that the folders' files name, or all if a folder has no Dockerfile or no folder is given.

    A README may name more images than the folder needs.
    """
    if not folders or not all((Path(folder) / "Dockerfile").exists() for folder in folders):
        return list(STAND_INS)
    files = [path for folder in folders for path in Path(folder).glob("*") if path.is_file() and path.suffix != ".md"]
    texts = [path.read_text(errors="ignore") for path in files]
    return [name for name in STAND_INS if any(name in text for text in texts)]


def recipe(folder):
    """Return a short hash of a stand-in's files. A new hash means a new build."""
    parts = [path.read_bytes() for path in sorted(folder.iterdir())]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


def provide(names, mirror):
    """Pull these images, or build stand-ins if Docker Hub is out of reach. Skip those that the engine has."""
    query = '{{index .Config.Labels "' + LABEL + '"}}'
    hub = None
    for name in names:
        folder = IMAGES / STAND_INS[name]
        found = output("docker", "image", "inspect", "--format", query, name, env=environment())
        if found.strip() == recipe(folder) or found == "\n":  # "\n": an official image has no label
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
    """Return whether the engine can pull from Docker Hub. The test is to pull a very small image."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        asked = ["docker", "pull", "--quiet", "hello-world:latest"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.run(asked, env=environment(), timeout=20, **quiet).returncode == 0
    return False


def make_debian(mirror, name=DEBIAN, platform=PLATFORM):
    """Make the stand-ins' base image. It gets this machine's CA certificates, because a proxy may have its own."""
    say(f"  engine: bootstrapping Debian {NEWEST}")
    # Leave out documentation and translations, like the official images. Then the sizes can be compared.
    without = [f"path-exclude=/usr/share/{kind}/*" for kind in ("man", "info", "locale", "doc")]
    # force-unsafe-io: don't wait for the disk after each file. The official Debian images set it, too.
    options = [f"--dpkgopt={line}" for line in [*without, "path-include=/usr/share/doc/*/copyright", "force-unsafe-io"]]
    options.append(f"--aptopt={VALID_UNTIL}")
    certificates = os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt"
    if os.path.exists(certificates):
        options.append(f"--customize-hook=upload {shlex.quote(certificates)} /etc/ssl/certs/ca-certificates.crt")
    if platform:
        # Without the check, mmdebstrap would look for a program of its own that tests the emulation.
        options += [f"--architectures={platform}", "--skip=check/qemu"]
    tree = CACHE / f"debian{platform}.tar"
    include = "--include=ca-certificates,netbase,tzdata,openssl"
    run("mmdebstrap", "--variant=minbase", include, *options, NEWEST, tree, mirror, env=environment())
    docker("import", *(["--platform", f"linux/{platform}"] if platform else []), tree, name)
    tree.unlink()


def build(name, folder):
    """Build a stand-in from its folder. Print the start of each step, because some steps take minutes."""
    command = ["docker", "build", "--progress=plain", "--label", f"{LABEL}={recipe(folder)}", "-t", name, str(folder)]
    missing = None
    with LOG.open("a") as log:
        building = subprocess.Popen(
            command, env=environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        told = set()  # BuildKit repeats a step's name when it returns to that step
        for line in building.stdout:
            log.write(line)
            missing = missing or NO_PACKAGE.search(line.rstrip())
            step = re.match(r"#\d+ (\[.*\] RUN .{0,60})", line)
            if step and step[1] not in told:
                say(f"    {step[1]}")
                told.add(step[1])
    if building.wait() and missing:
        way = f"set another version in {folder}/Dockerfile"
        die(f"Debian {NEWEST} has no package {missing[1]}, or its mirror is out of reach: {way}")
    if building.returncode:
        die(f"the stand-in for {name} could not be built. See the end of {LOG}, then run the same command again")
