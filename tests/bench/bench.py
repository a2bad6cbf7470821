"""Compare the examples with the tutorial, the usual alternative and a peer. `make bench` runs it.

Usage: bench.py [ROUNDS [PART...]]. The parts of a round are requests, starts, updates, edits and flask. If you name some,
nothing else runs, and no file is written.

In each round the variants take turns, so a slow moment of the machine doesn't affect only one of them. Prints a table of medians
with the minimum and maximum, and writes results.json next to this file: the values of each variant, by the keys of MEASURES.
The names of all images, containers and networks begin with bench-. They are removed at the end.

The variants are tutorial, gunicorn (the usual alternative), runserver (the same for development), dev and prod (the examples,
prod without its proxy), proxy (production behind its proxy), granian (production without serve.py), peer (an example that we did
not write, see stacks.py), and floor (the shortest possible start).
"""

import contextlib
import functools
import gzip
import http.client
import itertools
import json
import os
import platform
import random
import re
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stacks import (
    BENCH,
    DEVELOPMENT,
    DJANGO,
    OTHERS,
    ROOT,
    SECRETS,
    SETTINGS,
    Example,
    first_200,
    peers,
    seconds,
    sh,
    text,
    wait_for,
    write,
)
from tabulate import tabulate

FLASK, ALPINE = ROOT / "01-docker-flask", ROOT / "02-docker-flask-alpine"
SWARM = ROOT / "tests/swarm"
BASE = "python:3.14-slim-trixie"
TITLES = {"flask": "Flask", "django": "Django", "alpine": "Flask on Alpine"}
PROXIED, IN_FLIGHT = "Django /admin/login/ behind a proxy, replicas", "docker stop, 5 s request in flight"
# The measures. Each one has a key in results.json, and a title and a unit in the printed table.
MEASURES = {
    **{f"{name}_from_nothing": (f"make up from nothing: {title}", "s") for name, title in TITLES.items()},
    "flask_requests": ("Flask", "requests/s"),
    "django_login_requests": ("Django /admin/login/", "requests/s"),
    "django_admin_requests": ("Django /admin/ after login", "requests/s"),
    **{f"replicas_{n}_sharing": (f"{PROXIED}: {n}, sharing {os.cpu_count()} cores", "requests/s") for n in (1, 2, 4)},
    **{f"replicas_{n}_limited": (f"{PROXIED}: {n}, 0.25 CPU each", "requests/s") for n in (4, 2, 1)},
    "django_first_start": ("empty database to the first 200", "s"),
    "django_start": ("database there, to the first 200", "s"),
    "django_down": ("docker compose down", "s"),
    "django_memory": ("memory of all containers after the load", "MiB"),
    "update_failed": ("new code in production: requests that failed", "requests"),
    "update_requests": ("new code in production: all requests", "requests"),
    "update_longest": ("new code in production: the longest request", "s"),
    "update": ("new code in production: to the new page", "s"),
    "edit": ("a file saved in development, to the new page", "s"),
    **{f"{name}_stop": (f"docker stop, {title}", "s") for name, title in TITLES.items()},
    **{f"{name}_exit_code": (f"docker stop, {title}", "exit code") for name, title in TITLES.items()},
    "flask_rebuild": ("edit of flaskapp.py to the new image", "s"),
    **{f"{name}_stop_in_flight": (f"{IN_FLIGHT}, {title}", "s") for name, title in TITLES.items()},
    **{f"{name}_answer_in_flight": (f"{IN_FLIGHT}, {title}", "answer") for name, title in TITLES.items()},
    **{f"{name}_exit_code_in_flight": (f"{IN_FLIGHT}, {title}", "exit code") for name, title in TITLES.items()},
    "flask_added": ("added to the base: Flask", "MB"),
    "django_added": ("added to the base: Django", "MB"),
}
LOAD = "-t 2 -c 16 -d 3s --timeout 10s"  # wrk: two threads, sixteen connections, three seconds
KINDS = (*OTHERS, "dev", "prod")
TURNS = 3  # how often a round measures the requests per second of a page
CLIENTS, PAUSE = 4, 0.05  # how many visitors an update has, and the shortest time from one request of a visitor to the next
EDITS = 4  # how often a round saves a file
QUIET = {"shell": True, "capture_output": True, "text": True}
MIB = {"B": 2**-20, "KiB": 2**-10, "MiB": 1, "GiB": 2**10}  # the units of `docker stats`
# Runs in a Django container: logs in a superuser and prints the session key. It also checks that the key works, because wrk
# counts a redirect to the login page as a success.
LOG_IN = """
import http.client
from django.contrib.auth.models import User
from django.test import Client
client = Client()
client.force_login(User.objects.get_or_create(username="bench", is_staff=True, is_superuser=True)[0])
session = client.cookies["sessionid"].value
connection = http.client.HTTPConnection("127.0.0.1", 8000, timeout=30)
connection.request("GET", "/admin/", headers={"Cookie": f"sessionid={session}"})
assert connection.getresponse().status == 200
print(session)
"""
# A page that takes five seconds, to measure a stop during a request. It is added to a copy of flaskapp.py.
SLOW_FLASK = """
@app.route("/slow/")
def slow():
    import time
    time.sleep(5)
    return "finished"
"""


def memory(stack, container, port):
    """Load the admin's first page at a port inside a container; return the memory of the whole project afterwards, in MiB."""
    measured(f"http://127.0.0.1:{port}/admin/", log_in(stack.frontend), f"container:{container}")
    names = stack.compose("ps -q").split()
    lines = sh(f"docker stats --no-stream --format '{{{{.MemUsage}}}}' {' '.join(names)}").splitlines()
    used = [re.match(r"([\d.]+)(\w+)", line).groups() for line in lines]
    return sum(float(number) * MIB[unit] for number, unit in used)


def starts(stack):
    """Yield (measure, variant, value) for two starts and two stops. Keep the data, remove the containers."""
    stack.empty()
    for measure in ("django_first_start", "django_start"):
        yield measure, stack.kind, stack.up()
        yield "django_down", stack.kind, stack.down()


def stop_and_memory(stack):
    """Yield (measure, variant, value) for a stop of Django and the memory. Keep the data, remove the containers."""
    stack.up()
    for what, value in stop(stack.frontend).items():
        yield f"django_{what}", stack.kind, value
    if stack.kind != "tutorial":
        stack.up()
        yield "django_memory", stack.kind, memory(stack, stack.frontend, 8000)
    if stack.kind == "prod":
        stack.compose("up -d")
        yield "django_memory", "proxy", memory(stack, "bench-prod-proxy-1", 80)
    stack.down()


def projects(stacks):
    """Yield (measure, variant, value) for each measure of each Compose project.

    The starts take turns, twice, because what the disk still has to write makes the next start slower.
    """
    for turn in range(2):
        for stack in stacks:
            # The tutorial's start takes 27 s, so once is enough.
            if turn == 0 or stack.kind != "tutorial":
                yield from starts(stack)
    for stack in stacks:
        yield from stop_and_memory(stack)


def visit(url, answers, stopped):
    """Load a page again and again. Add (when it began, its text or None, when it ended) to `answers` until `stopped` is set."""
    while not stopped.is_set():
        begun = time.monotonic()
        answers.append((begun, text(url, 40), time.monotonic()))
        stopped.wait(max(0, begun + PAUSE - time.monotonic()))


def update(stack):
    """Yield (measure, variant, value) for new code in production, while visitors load the page that it changes."""
    url, answers, stopped = f"{stack.url}/edited/", [], threading.Event()
    stack.bring()
    first_200(url)
    with ThreadPoolExecutor() as pool:
        clients = [pool.submit(visit, url, answers, stopped) for _ in range(CLIENTS)]
        try:
            time.sleep(1)
            new, begun = stack.edit(), time.monotonic()
            stack.bring()
            wait_for(lambda: any(said == new for _, said, _ in answers), f'"{new}" from {url}')
            time.sleep(1)
        finally:
            stopped.set()
    for client in clients:
        client.result()
    stack.down()
    # prod is behind its proxy here.
    variant = "proxy" if stack.kind == "prod" else stack.kind
    yield "update_failed", variant, sum(said is None for _, said, _ in answers)
    yield "update_requests", variant, len(answers)
    yield "update_longest", variant, max(end - start for start, _, end in answers)
    yield "update", variant, min(end for _, said, end in answers if said == new) - begun


def edits(stack):
    """Yield (measure, variant, seconds) from a saved file to the new page, in development."""
    url = f"http://127.0.0.1:{stack.port}/edited/"

    def edit():
        new = stack.edit()
        # Twenty times in a row, because a server with several processes restarts one after the other.
        wait_for(lambda: all(text(url) == new for _ in range(20)), f'"{new}" from {url}')

    with stack.serving_files():
        edit()
        for _ in range(EDITS):
            # The server looks for new files once a second, so an edit comes at any moment of that second.
            time.sleep(random.uniform(1, 2))
            yield "edit", stack.kind.removesuffix("_dev"), seconds(edit)
    stack.down()


def from_nothing(folder):
    """Yield (measure, "dev", seconds) from `make up` to each page, in a new clone with an empty cache and without Docker.

    Only where the private engine can run. The new engine is a second one, and is removed at the end.
    """
    if not os.environ.get("DOCKER_HOST", "").startswith("unix:///run/docker-examples-"):
        print("not measured: the time from nothing, because this machine has its own Docker", file=sys.stderr, flush=True)
        return
    sh(f"git clone -q '{ROOT}' '{folder}/clone'")
    environment = {key: value for key, value in os.environ.items() if key not in ("DOCKER_HOST", "DOCKER_CONFIG")}
    environment["XDG_CACHE_HOME"] = f"{folder}/cache"
    run = {"cwd": folder / "clone", "env": environment, "stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    pages = {"flask": "FLASK_PORT=18861", "django": "DJANGO_PORT=18862", "alpine": "ALPINE_PORT=18863"}
    up = ["make", "up", "SUFFIX=-bench", "DB_PORT=18864", *pages.values()]
    try:
        with subprocess.Popen(up, stderr=subprocess.DEVNULL, **run) as started, ThreadPoolExecutor() as pool:
            waits = {
                page: pool.submit(seconds, functools.partial(first_200, f"http://127.0.0.1:{port.split('=')[1]}", 900))
                for page, port in pages.items()
            }
            for page, wait in waits.items():
                yield f"{page}_from_nothing", "dev", wait.result()
        if started.returncode:
            raise subprocess.CalledProcessError(started.returncode, up)
    finally:
        subprocess.run(["make", "engine-clean"], check=True, **run)


def floor(folder):
    """Yield ("django_first_start", "floor", seconds) of the shortest possible start.

    It is PostgreSQL until it answers over TCP, then init.py and the server. Both run inside containers that already exist.
    """
    sh("docker network create bench-floor")
    try:
        options = write(folder / "floor.env", SETTINGS | SECRETS | DEVELOPMENT)
        run = f"docker run -d --init --network bench-floor {options}"
        sh(f"{run} --name bench-floor-db --network-alias backend --entrypoint sleep postgres:18-trixie 300")
        sh(f"{run} --name bench-floor-web -p 127.0.0.1::8000 bench-django-dev sleep 300")
        port = sh("docker port bench-floor-web 8000").split(":")[-1]
        inside = "until pg_isready -q -h 127.0.0.1; do sleep 0.02; done"

        def database():
            sh("docker exec -d bench-floor-db docker-entrypoint.sh postgres")
            sh(f"docker exec bench-floor-db sh -c '{inside}'")

        def server():
            sh("docker exec -d bench-floor-web ./start.sh python manage.py runserver 0.0.0.0:8000")
            first_200(f"http://127.0.0.1:{port}/admin/login/")

        yield "django_first_start", "floor", seconds(database) + seconds(server)
    finally:
        sh("docker rm -f -v bench-floor-db bench-floor-web; docker network rm bench-floor")


def log_in(container):
    """Log in inside a Django container; return wrk's option with the session's cookie."""
    session = sh(f"docker exec {container} python manage.py shell -v 0 -c {shlex.quote(LOG_IN)}")
    return f"-H 'Cookie: sessionid={session}'"


def measured(url, cookie="", network="bench-load"):
    """Return the requests per second that wrk measures for a URL.

    Raise TimeoutError if the URL doesn't answer without errors within 60 s, and ValueError if there are errors under load.
    """
    ready(url, cookie, network)
    if not clean(said := sh(f"docker run --rm --network {network} bench-wrk {cookie} {LOAD} {url}")):
        raise ValueError(f"{url}: {said}")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])


def ready(url, cookie="", network="bench-load"):
    """Wait until a URL answers for a second without errors. Raise TimeoutError after 60 s."""
    wrk = f"docker run --rm --network {network} bench-wrk {cookie} -t 1 -c 1 -d 1s {url}"
    deadline = time.monotonic() + 60
    while not clean(said := subprocess.run(wrk, **QUIET).stdout):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{url} does not answer: {said}")


def clean(said):
    """Return whether wrk reports no errors."""
    return "Requests/sec" in said and "Non-2xx" not in said and "Socket errors" not in said


@contextlib.contextmanager
def server(image, url, options=""):
    """Run an image in the network bench-load, and wait for its page. The host in the URL becomes the container's name."""
    name = urllib.parse.urlsplit(url).hostname
    sh(f"docker run -d --name {name} --network bench-load {options} {image}")
    try:
        ready(url)
        yield
    finally:
        sh(f"docker rm -f {name}")


def flask_requests():
    """Yield (measure, variant, requests per second) for Flask's page. The servers run side by side and take turns."""
    urls = {kind: f"http://bench-load-{kind}:8080/" for kind in ("prod", "gunicorn", "tutorial")}
    with contextlib.ExitStack() as servers:
        for kind, url in urls.items():
            servers.enter_context(server(f"bench-flask-{kind}", url))
        for kind, url in list(urls.items()) * TURNS:
            yield "flask_requests", kind, measured(url)


def django_requests(options, peer):
    """Yield (measure, variant, requests per second) for Django's login page and the admin's first page, taking turns, too.

    The login page needs no database. The variants are prod, gunicorn, proxy (prod behind bench-caddy), and the peer in its own
    project, if there is one.
    """
    urls = {kind: f"http://bench-load-{kind}:8000/admin/" for kind in ("prod", "gunicorn")}
    containers = {kind: f"bench-load-{kind}" for kind in urls}
    with contextlib.ExitStack() as servers:
        for kind, url in urls.items():
            # bench-caddy finds Django by the alias frontend.
            alias = "--network-alias frontend" if kind == "prod" else ""
            servers.enter_context(server(f"bench-django-{kind}", f"{url}login/", f"{alias} {options}"))
        if peer:
            servers.callback(peer.down)
            peer.up()
            sh(f"docker network connect --alias bench-load-peer bench-load {peer.frontend}")
            urls["peer"], containers["peer"] = "http://bench-load-peer:8000/admin/", peer.frontend
        cookies = {kind: log_in(container) for kind, container in containers.items()}
        urls["proxy"], cookies["proxy"] = "http://bench-caddy/admin/", cookies["prod"]
        for variant, url in list(urls.items()) * TURNS:
            yield "django_login_requests", variant, measured(f"{url}login/")
            yield "django_admin_requests", variant, measured(url, cookies[variant])


def healthy(container):
    """Wait until a container's own health check succeeds. Raises TimeoutError with the container's log after 60 s."""
    deadline = time.monotonic() + 60
    while subprocess.run(f"docker exec {container} python health.py", **QUIET).returncode:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{container} is not healthy: {sh(f'docker logs {container} 2>&1')}")
        time.sleep(0.1)


def replicas(options):
    """Yield (measure, variant, requests per second) for 1, 2 and 4 containers of production's Django behind one proxy.

    The proxy is the one from tests/swarm. It finds the containers with Docker's DNS, as on a Swarm.
    """
    url, names = "http://bench-proxy:8000/admin/login/", [f"bench-replica-{number}" for number in range(4)]
    sh("docker run -d --name bench-proxy --network bench-load bench-proxy")
    try:
        running = 0
        for number in (1, 2, 4):
            for name in names[running:number]:
                sh(f"docker run -d --name {name} --network bench-load --network-alias tasks.frontend {options} bench-django-prod")
            for name in names[running:number]:
                healthy(name)
            running = number
            yield f"replicas_{number}_sharing", "prod", measured(url)
        sh(f"docker update --cpus 0.25 {' '.join(names)}")
        for number in (4, 2, 1):
            if number < running:
                sh(f"docker rm -f {' '.join(names[number:running])}")
            running = number
            yield f"replicas_{number}_limited", "prod", measured(url)
    finally:
        sh(f"docker rm -f bench-proxy {' '.join(names)}")


def stop(container):
    """Stop a container. Return {"stop": the seconds that it takes, "exit_code": the container's exit code}."""
    taken = seconds(lambda: sh(f"docker stop {container}"))
    return {"stop": taken, "exit_code": int(sh(f"docker container inspect -f '{{{{.State.ExitCode}}}}' {container}"))}


@contextlib.contextmanager
def flask(image, options=""):
    """Run a Flask image as the container bench-stop; yield its port on 127.0.0.1 once the page answers."""
    sh(f"docker run -d --name bench-stop -p 127.0.0.1::8080 {options} {image}")
    try:
        port = sh("docker port bench-stop 8080").split(":")[-1]
        first_200(f"http://127.0.0.1:{port}/")
        yield port
    finally:
        sh("docker rm -f bench-stop")


def stop_in_flight(container, port):
    """Stop a container during a request. Return what `stop` returns, and "answer": the answer's status or "cut off".

    The names end in "_in_flight".
    """

    def ask():
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=30)
        connection.request("GET", "/slow/", headers={"Host": "localhost"})
        return connection.getresponse().status

    with ThreadPoolExecutor() as pool:
        answer = pool.submit(ask)
        # Give the server time to accept the request.
        time.sleep(1)
        found = {**stop(container), "answer": "cut off" if answer.exception() else answer.result()}
        return {f"{what}_in_flight": value for what, value in found.items()}


def rebuild(kind, folder):
    """Return the seconds from an edit of flaskapp.py to the new image."""
    place = folder / f"edit-{kind}"
    file = f"{kind}-flask.Dockerfile" if kind in OTHERS else "Dockerfile"
    build = functools.partial(sh, f"docker build -q -f {file} -t bench-edit-{kind} .", cwd=place)
    if not place.exists():
        shutil.copytree(FLASK, place)
        for other in OTHERS:
            shutil.copy(BENCH / f"{other}-flask.Dockerfile", place)
        build()
    source = place / "flaskapp.py"
    source.write_text(f"{source.read_text()}\n# {time.time()}\n")
    return seconds(build)


def added(image):
    """Return the size of the layers that an image adds to its base image, uncompressed, in MB (10^6 bytes)."""
    digests = "docker image inspect -f '{{json .RootFS.Layers}}' "
    base, own = json.loads(sh(digests + BASE)), json.loads(sh(digests + image))
    size = 0
    with tempfile.TemporaryFile() as file:
        subprocess.run(["docker", "save", image], stdout=file, check=True)
        file.seek(0)
        with tarfile.open(fileobj=file) as archive:
            names = json.load(archive.extractfile("manifest.json"))[0]["Layers"]
            for digest, name in zip(own, names, strict=True):
                if digest not in base:
                    layer = archive.extractfile(name).read()
                    size += len(gzip.decompress(layer) if layer.startswith(b"\x1f\x8b") else layer)
    return size / 1e6


def build():
    """Build all images."""
    print("building the images", file=sys.stderr, flush=True)
    sh(f"docker image inspect {BASE} > /dev/null || docker pull {BASE}")
    for tag, folder, file in (
        ("flask-dev", FLASK, "Dockerfile"),
        ("flask-prod", FLASK, "production.Dockerfile"),
        ("flask-tutorial", FLASK, BENCH / "tutorial-flask.Dockerfile"),
        ("flask-gunicorn", FLASK, BENCH / "gunicorn-flask.Dockerfile"),
        ("alpine-dev", ALPINE, "Dockerfile"),
        ("alpine-prod", ALPINE, "production.Dockerfile"),
        ("django-dev", DJANGO, "Dockerfile"),
        ("django-prod", DJANGO, "production/Dockerfile"),
        ("django-tutorial", DJANGO, BENCH / "tutorial-django.Dockerfile"),
        ("django-gunicorn", DJANGO, BENCH / "gunicorn-django.Dockerfile"),
        ("wrk", BENCH, BENCH / "wrk.Dockerfile"),
        ("proxy", SWARM, SWARM / "proxy.Dockerfile"),
    ):
        sh(f"docker build -q -t bench-{tag} -f '{file}' .", cwd=folder)


def flask_stops_and_rebuilds(folder):
    """Yield (measure, variant, value) for the stops of both Flask examples, and for an edit of flaskapp.py."""
    for name, kind in (*(("flask", kind) for kind in KINDS), ("alpine", "dev"), ("alpine", "prod")):
        with flask(f"bench-{name}-{kind}"):
            for what, value in stop("bench-stop").items():
                yield f"{name}_{what}", kind, value
    for kind in (*OTHERS, "dev") * EDITS:
        yield "flask_rebuild", kind, rebuild(kind, folder)


def stops_in_flight(folder, prod):
    """Yield (measure, variant, value) for stops during a request."""
    slow = folder / "flaskapp.py"
    slow.write_text((FLASK / "flaskapp.py").read_text() + SLOW_FLASK)
    for name, kind in (("flask", "tutorial"), ("flask", "gunicorn"), ("flask", "prod"), ("alpine", "prod")):
        place = "/home/myuser" if kind == "tutorial" else "/app"
        with flask(f"bench-{name}-{kind}", f"-v '{slow}:{place}/flaskapp.py:ro'") as port:
            for what, value in stop_in_flight("bench-stop", port).items():
                yield f"{name}_{what}", kind, value
    prod.up()
    for what, value in stop_in_flight(prod.frontend, prod.port).items():
        yield f"django_{what}", "prod", value


def sizes(stacks):
    """Yield (measure, variant, MB) for what each image adds to its base image."""
    for kind in KINDS:
        yield "flask_added", kind, added(f"bench-flask-{kind}")
        yield "django_added", kind, added(f"bench-django-{kind}")
    if "peer" in stacks:
        yield "django_added", "peer", added("bench-peer-web")


def parts(stacks, folder, options):
    """Return the parts of a round: functions without arguments that yield (measure, variant, value)."""
    peer = stacks.get("peer")

    def of(measure, kinds):
        return itertools.chain.from_iterable(measure(stacks[kind]) for kind in kinds if kind in stacks)

    return {
        "requests": lambda: itertools.chain(flask_requests(), django_requests(options, peer), replicas(options)),
        "starts": lambda: itertools.chain(projects([stacks[kind] for kind in stacks if kind != "peer_dev"]), floor(folder)),
        "updates": lambda: of(update, ("gunicorn", "prod", "peer")),
        "edits": lambda: of(edits, ("runserver", "dev", "peer_dev")),
        "flask": lambda: flask_stops_and_rebuilds(folder),
    }


def rounds(number, chosen, folder):
    """Run `number` rounds, with the chosen parts or with everything; return {measure: {variant: [value, ...]}}."""
    kinds, found = (*KINDS, "runserver", "granian"), {}
    stacks = {kind: Example(kind, folder, 18800 + n) for n, kind in enumerate(kinds)}
    stacks |= {peer.kind: peer for peer in peers(folder, 18800 + len(kinds))}
    options = write(folder / "load.env", SETTINGS | SECRETS | {"POSTGRES_REMOTE_HOST": "bench-database"})
    caddyfile = f"-v '{DJANGO}/production/Caddyfile:/etc/caddy/Caddyfile:ro'"

    def keep(values):
        for measure, variant, value in values:
            found.setdefault(measure, {}).setdefault(variant, []).append(value)
            shown = f"{value:.2f}" if isinstance(value, float) else value
            print(f"  {', '.join(MEASURES[measure])}: {variant}: {shown}", file=sys.stderr, flush=True)

    sh("docker network create bench-load")
    try:
        keep([] if chosen else from_nothing(folder))
        sh(f"docker run -d --name bench-database --network bench-load {options} postgres:18-trixie")
        sh(f"docker run -d --name bench-caddy --network bench-load {options} {caddyfile} caddy:2.11-alpine")
        for turn in range(number):
            print(f"round {turn + 1} of {number}", file=sys.stderr, flush=True)
            for name, part in parts(stacks, folder, options).items():
                keep(part() if not chosen or name in chosen else [])
        keep([] if chosen else itertools.chain(stops_in_flight(folder, stacks["prod"]), sizes(stacks)))
    finally:
        sh("docker rm -f -v bench-database bench-caddy; docker network rm bench-load")
        for stack in stacks.values():
            stack.empty()
            stack.compose("down --rmi local")
    return found


def cell(values):
    """Return a table cell: the median, minimum and maximum of measured values, or the different exit codes or answers."""
    if values and isinstance(values[0], float):
        return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"
    return ", ".join(sorted({str(value) for value in values or []}))


def main():
    """Run the benchmark, print the table and write results.json."""
    # A shell that starts this in the background ignores Ctrl-C, and so would `make watch`.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    number, chosen = int(sys.argv[1]) if len(sys.argv) > 1 else 3, sys.argv[2:]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        try:
            build()
            found = rounds(number, chosen, Path(folder))
        finally:
            # Remove the images by name, not by id, because you may have given the same image another name.
            sh("docker image ls --format '{{.Repository}}:{{.Tag}}' 'bench-*' | xargs -r docker image rm")
    columns = ["tutorial", "gunicorn", "runserver", "dev", "granian", "prod", "proxy", "peer", "floor"]
    rows = [[", ".join(MEASURES[key]), *(cell(values.get(column)) for column in columns)] for key, values in found.items()]
    engine = sh("docker version -f '{{.Server.Version}}'")
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Docker Engine {engine}"
    print(f"{machine}, {number} rounds: median (minimum-maximum)\n")
    print(tabulate(rows, headers=["", *columns], tablefmt="github"))
    if not chosen:
        (BENCH / "results.json").write_text(json.dumps({"machine": machine, "rounds": number, "results": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
