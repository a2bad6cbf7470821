"""The images that an example needs: pulled where Docker Hub is in reach, else built as stand-ins from images/."""

import contextlib
import hashlib
import os
import re
import shlex
import subprocess
from pathlib import Path

from .commands import die, docker, environment, output, run, say
from .packages import VALID_UNTIL
from .places import CACHE, LOG, NEWEST, OLDEST

IMAGES = Path(__file__).resolve().parent / "images"
LABEL = "docker-examples.stand-in"
# Official name -> folder under images/, in the order in which they are built.
STAND_INS = {
    "python:3.14-slim-trixie": "python-slim",
    "postgres:18-trixie": "postgres",
    "hello-world:latest": "hello-world",
    "python:3.14-alpine3.24": "python-alpine",
}
# PostgreSQL 17 is for one test, in whose folder it is named: data of an older major version.
ALL_STAND_INS = STAND_INS | {"postgres:17": "postgres"}
OLD_PLACE = "/var/lib/postgresql/data"
BUILD_ARGS = {"postgres:17": {"DEBIAN": OLDEST, "PG_MAJOR": "17", "PGDATA": OLD_PLACE, "VOLUME": OLD_PLACE}}
DEBIAN = "docker-examples-debian"  # what the stand-ins are built from; its tag is the release
# How APT says that the release has no such package.
NO_PACKAGE = re.compile(
    r"E: (?:Unable to locate package|Package|Unable to find a source package for) '?([\w.+-]+?)'?(?:$| has no )"
)


def needed(folders):
    """Return the official images that an example folder's files name; all of them for any other folder, and for none."""
    if not folders or not all((Path(folder) / "Dockerfile").exists() for folder in folders):
        return list(STAND_INS)
    texts = [path.read_text(errors="ignore") for folder in folders for path in Path(folder).glob("*") if path.is_file()]
    return [name for name in ALL_STAND_INS if any(name in text for text in texts)]


def recipe(folder, arguments):
    """Return what a stand-in is made of, as a short hash: it is built again when that changes."""
    parts = [path.read_bytes() for path in sorted((IMAGES / folder).iterdir())] + [repr(arguments).encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


def provide(names, mirror):
    """See to it that the engine has these images: the official ones where Docker Hub is in reach, else stand-ins."""
    query = '{{index .Config.Labels "' + LABEL + '"}}'
    hub = None
    for name in names:
        folder, arguments = ALL_STAND_INS[name], BUILD_ARGS.get(name, {})
        found = output("docker", "image", "inspect", "--format", query, name, env=environment())
        if found.strip() == recipe(folder, arguments) or found == "\n":  # "\n": an image without the label is an official one
            continue
        if hub is None:
            hub = hub_in_reach()
        if hub:
            say(f"  engine: pulling {name}")
            docker("pull", name)
            continue
        release = arguments.get("DEBIAN", NEWEST)
        if not output("docker", "image", "inspect", f"{DEBIAN}:{release}", env=environment()):
            make_debian(release, mirror)
        say(f"  engine: Docker Hub is out of reach: building a stand-in for {name} from Debian's packages")
        build(name, IMAGES / folder, arguments)


def hub_in_reach():
    """Return whether the engine can pull from Docker Hub, asked by pulling its smallest image."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        asked = ["docker", "pull", "--quiet", "hello-world:latest"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.run(asked, env=environment(), timeout=20, **quiet).returncode == 0
    return False


def make_debian(release, mirror):
    """Make the Debian that the stand-ins are built from, with this machine's CA certificates (a proxy may have its own)."""
    say(f"  engine: bootstrapping Debian {release}")
    # The official images leave out documentation and translations; so their sizes can be compared.
    without = [f"path-exclude=/usr/share/{kind}/*" for kind in ("man", "info", "locale", "doc")]
    # force-unsafe-io: no waiting for the disk after each file, as in the official Debian images.
    options = [f"--dpkgopt={line}" for line in [*without, "path-include=/usr/share/doc/*/copyright", "force-unsafe-io"]]
    options.append(f"--aptopt={VALID_UNTIL}")
    certificates = os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt"
    if os.path.exists(certificates):
        options.append(f"--customize-hook=upload {shlex.quote(certificates)} /etc/ssl/certs/ca-certificates.crt")
    tree = CACHE / "debian.tar"
    include = "--include=ca-certificates,netbase,tzdata,openssl"
    run("mmdebstrap", "--variant=minbase", include, *options, release, tree, mirror, env=environment())
    docker("import", tree, f"{DEBIAN}:{release}")
    tree.unlink()


def build(name, folder, arguments):
    """Build a stand-in from its folder and show each step's first words: some take minutes."""
    words = [f"--build-arg={key}={value}" for key, value in arguments.items()]
    words += ["--label", f"{LABEL}={recipe(folder, arguments)}", "-t", name]
    command = ["docker", "build", "--progress=plain", *words, str(folder)]
    missing = None
    with LOG.open("a") as log:
        building = subprocess.Popen(
            command, env=environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        told = set()  # BuildKit says a step's name again whenever it turns back to it
        for line in building.stdout:
            log.write(line)
            missing = missing or NO_PACKAGE.search(line.rstrip())
            step = re.match(r"#\d+ (\[.*\] RUN .{0,60})", line)
            if step and step[1] not in told:
                say(f"    {step[1]}")
                told.add(step[1])
    if building.wait() and missing:
        release = arguments.get("DEBIAN", NEWEST)
        way = f"set another version in {folder}/Dockerfile"
        die(f"Debian {release} has no package {missing[1]}, or its mirror is out of reach: {way}")
    if building.returncode:
        die(f"the stand-in for {name} could not be built: the end of {LOG} says why; then run the same command again")
