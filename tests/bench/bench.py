"""Compare the examples with the tutorial and the usual alternative. `make bench` runs it. Usage: bench.py [ROUNDS].

In each round the variants take turns, so a slow moment of the machine doesn't affect only one of them. Prints a table of medians
with the minimum and maximum, and writes results.json next to this file: the values of each variant, by the keys of MEASURES.
The names of all images, containers and networks begin with bench-. They are removed at the end.

The variants are tutorial, gunicorn (the usual alternative), runserver (the same for development), dev and prod (the examples,
prod without its proxy), proxy (production behind its proxy), and floor (the shortest possible start).
"""

import contextlib
import functools
import gzip
import http.client
import itertools
import json
import os
import platform
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tabulate import tabulate

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent.parent
FLASK, ALPINE, DJANGO = ROOT / "01-docker-flask", ROOT / "02-docker-flask-alpine", ROOT / "03-docker-compose-django"
SWARM = ROOT / "tests/swarm"
BASE = "python:3.14-slim-trixie"
TITLES = {"flask": "Flask", "django": "Django", "alpine": "Flask on Alpine"}
PROXIED, IN_FLIGHT = "Django /admin/login/ behind a proxy, replicas", "docker stop, 5 s request in flight"
# The measures. Each one has a key in results.json, and a title and a unit in the printed table.
MEASURES = {
    **{f"{name}_from_nothing": (f"make up from nothing: {title}", "s") for name, title in TITLES.items()},
    "flask_requests": ("Flask", "requests/s"),
    "django_login_requests": ("Django /admin/login/", "requests/s"),
    "django_admin_requests": ("Django /admin/ after log-in", "requests/s"),
    **{f"replicas_{n}_sharing": (f"{PROXIED}: {n}, sharing {os.cpu_count()} cores", "requests/s") for n in (1, 2, 4)},
    **{f"replicas_{n}_limited": (f"{PROXIED}: {n}, 0.25 CPU each", "requests/s") for n in (4, 2, 1)},
    "django_first_start": ("empty database to the first 200", "s"),
    "django_start": ("database there, to the first 200", "s"),
    "django_down": ("docker compose down", "s"),
    "django_memory": ("memory of the whole stack", "MiB"),
    **{f"{name}_stop": (f"docker stop, {title}", "s") for name, title in TITLES.items()},
    **{f"{name}_exit_code": (f"docker stop, {title}", "exit code") for name, title in TITLES.items()},
    "flask_rebuild": ("edit of flaskapp.py to the new image", "s"),
    **{f"{name}_stop_in_flight": (f"{IN_FLIGHT}, {title}", "s") for name, title in TITLES.items()},
    **{f"{name}_answer_in_flight": (f"{IN_FLIGHT}, {title}", "answer") for name, title in TITLES.items()},
    **{f"{name}_exit_code_in_flight": (f"{IN_FLIGHT}, {title}", "exit code") for name, title in TITLES.items()},
    "flask_added": ("added to the base: Flask", "MB"),
    "django_added": ("added to the base: Django", "MB"),
}
OTHERS = ("tutorial", "gunicorn")
LOAD = "-t 2 -c 16 -d 3s"  # wrk: two threads, sixteen connections, three seconds
TURNS = 4  # how often a round measures the requests per second of a page
QUIET = {"shell": True, "capture_output": True, "text": True}
MIB = {"B": 2**-20, "KiB": 2**-10, "MiB": 1, "GiB": 2**10}  # the units of `docker stats`
# All variants of Django get production's settings, changed to plain HTTP and to the host names that the load uses.
EXAMPLE = dict(re.findall(r"^(\w+)=(.*)", (DJANGO / "production/env.example").read_text(), re.MULTILINE))
SETTINGS = EXAMPLE | {
    "DJANGO_ALLOWED_HOSTS": "localhost,127.0.0.1,bench-load-prod,bench-load-gunicorn,bench-proxy,bench-caddy",
    "SITE_ADDRESS": "http://",
    "HTTP_PORT": "18880",
    "HTTPS_PORT": "18881",
    "LIFECYCLE": "prod",
}
WORD = "a-word-for-the-benchmark-only-that-nobody-keeps-0123456789"
SECRETS = dict.fromkeys(("POSTGRES_PASSWORD", "DJANGO_SUPERUSER_PASSWORD", "DJANGO_SECRET_KEY"), WORD)
# Only dev and the tutorial need this in secrets.txt. The other images set it themselves.
DEVELOPMENT = {"DJANGO_SETTINGS_MODULE": "codesolid_demo.settings", "LIFECYCLE": "dev"}
# Runs in a Django container: logs in a superuser and prints the session key. It also checks that the key works, because wrk
# counts a redirect to the log-in page as a success.
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
# A page that takes five seconds, to measure a stop during a request. It is added to copies of flaskapp.py and urls.py.
SLOW_FLASK = """
@app.route("/slow/")
def slow():
    import time
    time.sleep(5)
    return "finished"
"""
SLOW_DJANGO = """
import time
from django.http import HttpResponse
urlpatterns.append(path("slow/", lambda request: time.sleep(5) or HttpResponse("finished")))
"""


def sh(command, cwd=ROOT, **more):
    """Run a command line; return what it printed. If it fails, show the output and raise CalledProcessError."""
    done = subprocess.run(
        command, shell=True, cwd=cwd, env={**os.environ, **more}, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
    done.check_returncode()
    return done.stdout.strip()


def seconds(action):
    """Return how long a call takes, in seconds."""
    begun = time.monotonic()
    action()
    return time.monotonic() - begun


def first_200(url, limit=120):
    """Wait until a page answers with 200. Raise TimeoutError after `limit` seconds."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, urllib.error.URLError), urllib.request.urlopen(url, timeout=5) as answer:
            if answer.status == 200:
                return
        time.sleep(0.02)
    raise TimeoutError(f"{url} did not answer with 200 within {limit} s")


def write(file, values):
    """Write the values to an env file; return docker's option for it. A file hides them from `ps`, which shows command lines."""
    file.write_text("".join(f"{key}={value}\n" for key, value in values.items()))
    return f"--env-file '{file}'"


class Stack:
    """A copy of the Django folder that runs as a separate Compose project: tutorial, gunicorn, runserver, dev or prod."""

    def __init__(self, kind, folder, port):
        """Make the copy in `folder`; kind is tutorial, gunicorn, runserver, dev or prod."""
        self.kind, self.port = kind, port
        ignored = shutil.ignore_patterns("data*", "backups", "secrets", ".env")
        self.folder = Path(shutil.copytree(DJANGO, folder / kind / "django", ignore=ignored))
        urls = self.folder / "codesolid_demo/codesolid_demo/urls.py"
        urls.write_text(urls.read_text() + SLOW_DJANGO)
        self.variables = {
            "COMPOSE_PROJECT_NAME": f"bench-{kind}",
            "DJANGO_NAME": f"bench-{kind}",
            "PORT": str(port),
            "DB_PORT": "0",
        }
        if kind == "prod":
            self.folder /= "production"
            shutil.copy(BENCH / "prod-override.yaml", self.folder / "docker-compose.override.yaml")
            write(self.folder / ".env", SETTINGS)
            sh("sh make-secrets.sh && chmod a+r Caddyfile create_app_user.sql", cwd=self.folder)
        else:
            secrets = folder / kind / "secrets"
            secrets.mkdir()
            values = SETTINGS | SECRETS | {"PGDATA": "/var/lib/postgresql/data/pgdata"}
            write(secrets / "secrets.txt", values if kind == "gunicorn" else values | DEVELOPMENT)
        if kind in (*OTHERS, "runserver"):
            file = "tutorial-compose.yaml" if kind == "tutorial" else "gunicorn-compose.yaml"
            shutil.copy(BENCH / file, self.folder / "docker-compose.yaml")
        if kind == "runserver":
            command = "python manage.py runserver 0.0.0.0:8000"
            (self.folder / "docker-compose.override.yaml").write_text(f"services: {{frontend: {{command: {command}}}}}\n")
        if kind in ("dev", "prod"):
            self.compose("build")

    @property
    def frontend(self):
        """The name of the container that serves Django."""
        return "bench-dev" if self.kind == "dev" else f"bench-{self.kind}-frontend-1"

    def compose(self, words):
        """Run docker compose in this project."""
        return sh(f"docker compose {words}", cwd=self.folder, **self.variables)

    def up(self):
        """Return the seconds from `docker compose up -d` to the first 200, without production's proxy."""

        def start():
            self.compose("up -d frontend backend")
            first_200(f"http://127.0.0.1:{self.port}/admin/login/")

        return seconds(start)

    def down(self):
        """Return the seconds that `docker compose down` takes; the data stays."""
        return seconds(lambda: self.compose("down"))

    def empty(self):
        """Remove the data."""
        self.compose("down --volumes")
        sh(f"docker run --rm -v '{self.folder}:/folder' postgres:18-trixie rm -rf /folder/data")

    def memory(self, container, port):
        """Load the admin's first page at a port inside a container; return the memory of the whole project, in MiB."""
        measured(f"http://127.0.0.1:{port}/admin/", log_in(self.frontend), f"container:{container}")
        names = self.compose("ps -q").split()
        lines = sh(f"docker stats --no-stream --format '{{{{.MemUsage}}}}' {' '.join(names)}").splitlines()
        used = [re.match(r"([\d.]+)(\w+)", line).groups() for line in lines]
        return sum(float(number) * MIB[unit] for number, unit in used)

    def starts(self):
        """Yield (measure, variant, value) for two starts and two stops. Keep the data, remove the containers."""
        self.empty()
        for measure in ("django_first_start", "django_start"):
            yield measure, self.kind, self.up()
            yield "django_down", self.kind, self.down()

    def stop_and_memory(self):
        """Yield (measure, variant, value) for a stop of Django and the memory. Keep the data, remove the containers."""
        self.up()
        for what, value in stop(self.frontend).items():
            yield f"django_{what}", self.kind, value
        if self.kind != "tutorial":
            self.up()
            yield "django_memory", self.kind, self.memory(self.frontend, 8000)
        if self.kind == "prod":
            self.compose("up -d")
            yield "django_memory", "proxy", self.memory("bench-prod-proxy-1", 80)
        self.down()


def projects(stacks):
    """Yield (measure, variant, value) for each measure of each Compose project.

    The starts take turns, three times, because what the disk still has to write makes the next start slower.
    """
    for turn in range(3):
        for stack in stacks:
            # The tutorial's start takes 27 s, so once is enough.
            if turn == 0 or stack.kind != "tutorial":
                yield from stack.starts()
    for stack in stacks:
        yield from stack.stop_and_memory()


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
    """Return the seconds of the shortest possible start: PostgreSQL until it answers over TCP, then init.py and the server.

    Both run inside containers that already exist.
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

        return seconds(database) + seconds(server)
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


def django_requests(options):
    """Yield (measure, variant, requests per second) for Django's log-in page and the admin's first page, taking turns, too.

    The log-in page needs no database. The variants are prod, gunicorn and proxy, which is prod behind bench-caddy.
    """
    urls = {kind: f"http://bench-load-{kind}:8000/admin/" for kind in ("prod", "gunicorn")}
    with contextlib.ExitStack() as servers:
        for kind, url in urls.items():
            # bench-caddy finds Django by the alias frontend.
            alias = "--network-alias frontend" if kind == "prod" else ""
            servers.enter_context(server(f"bench-django-{kind}", f"{url}login/", f"{alias} {options}"))
        cookies = {kind: log_in(f"bench-load-{kind}") for kind in urls}
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
    if not place.exists():
        shutil.copytree(FLASK, place)
        for other in OTHERS:
            shutil.copy(BENCH / f"{other}-flask.Dockerfile", place)
    source = place / "flaskapp.py"
    source.write_text(f"{source.read_text()}\n# {time.time()}\n")
    file = f"{kind}-flask.Dockerfile" if kind in OTHERS else "Dockerfile"
    return seconds(lambda: sh(f"docker build -q -f {file} -t bench-edit-{kind} .", cwd=place))


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


def rounds(number, folder):
    """Run all measurements in `number` rounds; return {measure: {variant: [value, ...]}}."""
    kinds = (*OTHERS, "dev", "prod")
    found, stacks = {}, {kind: Stack(kind, folder, 18800 + n) for n, kind in enumerate((*kinds, "runserver"))}

    def keep(measure, variant, value):
        found.setdefault(measure, {}).setdefault(variant, []).append(value)
        shown = f"{value:.2f}" if isinstance(value, float) else value
        print(f"  {', '.join(MEASURES[measure])}: {variant}: {shown}", file=sys.stderr, flush=True)

    def keep_stop(example, variant, values):
        for what, value in values.items():
            keep(f"{example}_{what}", variant, value)

    for measure in from_nothing(folder):
        keep(*measure)
    sh("docker network create bench-load")
    options = write(folder / "load.env", SETTINGS | SECRETS | {"POSTGRES_REMOTE_HOST": "bench-database"})
    caddyfile = f"-v '{DJANGO}/production/Caddyfile:/etc/caddy/Caddyfile:ro'"
    try:
        sh(f"docker run -d --name bench-database --network bench-load {options} postgres:18-trixie")
        sh(f"docker run -d --name bench-caddy --network bench-load {options} {caddyfile} caddy:2.11-alpine")
        for turn in range(number):
            print(f"round {turn + 1} of {number}", file=sys.stderr, flush=True)
            for measure in itertools.chain(
                flask_requests(), django_requests(options), replicas(options), projects(stacks.values())
            ):
                keep(*measure)
            keep("django_first_start", "floor", floor(folder))
            for name, kind in (*(("flask", kind) for kind in kinds), ("alpine", "dev"), ("alpine", "prod")):
                with flask(f"bench-{name}-{kind}"):
                    keep_stop(name, kind, stop("bench-stop"))
            for kind in (*OTHERS, "dev"):
                rebuild(kind, folder) if turn == 0 else None
                keep("flask_rebuild", kind, rebuild(kind, folder))
        slow = folder / "flaskapp.py"
        slow.write_text((FLASK / "flaskapp.py").read_text() + SLOW_FLASK)
        for name, kind in (("flask", "tutorial"), ("flask", "gunicorn"), ("flask", "prod"), ("alpine", "prod")):
            place = "/home/myuser" if kind == "tutorial" else "/app"
            with flask(f"bench-{name}-{kind}", f"-v '{slow}:{place}/flaskapp.py:ro'") as port:
                keep_stop(name, kind, stop_in_flight("bench-stop", port))
        stacks["prod"].up()
        keep_stop("django", "prod", stop_in_flight(stacks["prod"].frontend, stacks["prod"].port))
    finally:
        sh("docker rm -f -v bench-database bench-caddy; docker network rm bench-load")
        for stack in stacks.values():
            stack.empty()
            stack.compose("down --rmi local")
    for kind in kinds:
        keep("flask_added", kind, added(f"bench-flask-{kind}"))
        keep("django_added", kind, added(f"bench-django-{kind}"))
    return found


def cell(values):
    """Return a table cell: the median, minimum and maximum of measured values, or the different exit codes or answers."""
    if values and isinstance(values[0], float):
        return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"
    return ", ".join(sorted({str(value) for value in values or []}))


def main():
    """Run the benchmark, print the table and write results.json."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        try:
            build()
            found = rounds(number, Path(folder))
        finally:
            # Remove the images by name, not by id, because you may have given the same image another name.
            sh("docker image ls --format '{{.Repository}}:{{.Tag}}' 'bench-*' | xargs -r docker image rm")
    columns = ["tutorial", "gunicorn", "runserver", "dev", "prod", "proxy", "floor"]
    rows = [[", ".join(MEASURES[key]), *(cell(values.get(column)) for column in columns)] for key, values in found.items()]
    engine = sh("docker version -f '{{.Server.Version}}'")
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Docker Engine {engine}"
    print(f"{machine}, {number} rounds: median (minimum-maximum)\n")
    print(tabulate(rows, headers=["", *columns], tablefmt="github"))
    (BENCH / "results.json").write_text(json.dumps({"machine": machine, "rounds": number, "results": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
