"""Measure the examples beside the tutorial's own way and the usual alternative; `make bench` calls it: bench.py [ROUNDS].

Rounds are interleaved, so that a machine's moods hit all alike. Prints a table of medians (least to greatest) and writes
results.json beside this file. Everything it makes is named bench-... and removed at the end.
"""

import contextlib
import http.client
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tabulate import tabulate

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent.parent
FLASK, ALPINE, DJANGO = ROOT / "01-docker-flask", ROOT / "02-docker-flask-alpine", ROOT / "03-docker-compose-django"
SWARM = ROOT / "tests/swarm"
BASE = "python:3.14-slim-trixie"
TITLES = {"flask": "Flask", "alpine": "Flask on Alpine"}
# What is measured beside the examples, and its Django settings: the tutorial's way, and the usual alternative.
OTHERS = {"tutorial": "codesolid_demo.settings", "gunicorn": "codesolid_demo.settings_whitenoise"}
LOAD = "-t 2 -c 16 -d 4s"  # wrk: two threads, sixteen connections, four seconds
QUIET = {"shell": True, "capture_output": True, "text": True}
WORD = "a-word-for-the-benchmark-only-that-nobody-keeps-0123456789"
SECRETS = f"""\
POSTGRES_USER=appname
POSTGRES_PASSWORD={WORD}
POSTGRES_DB=appname_db
PGDATA=/var/lib/postgresql/data/pgdata
POSTGRES_REMOTE_HOST=backend
POSTGRES_PORT=5432
DJANGO_SETTINGS_MODULE=codesolid_demo.settings
DJANGO_SUPERUSER=appname_admin
DJANGO_SUPERUSER_EMAIL=your_email@example.com
DJANGO_SUPERUSER_PASSWORD={WORD}
DJANGO_SECRET_KEY={WORD}
DJANGO_ALLOWED_HOSTS=bench-target,localhost,127.0.0.1
"""
# What takes five seconds to answer, for a stop while it is under way: a copy of flaskapp.py and of urls.py gets it.
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
    """Run a command line; return what it printed. Raises CalledProcessError, after showing the output, where it fails."""
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
    """Wait until a page of 127.0.0.1 answers with 200. Raises TimeoutError after `limit` seconds."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, urllib.error.URLError), urllib.request.urlopen(url, timeout=5) as answer:
            if answer.status == 200:
                return
        time.sleep(0.02)
    raise TimeoutError(f"{url} did not answer with 200 within {limit} s")


class Stack:
    """A copy of the Django folder that runs as a Compose project of its own: one of the OTHERS, or ours in dev or prod."""

    def __init__(self, kind, folder, port):
        """Make the copy in `folder`; kind is tutorial, gunicorn, dev or prod."""
        self.kind, self.port = kind, port
        self.folder = Path(shutil.copytree(DJANGO, folder / kind / "django", ignore=shutil.ignore_patterns("data", "backups")))
        secrets = folder / kind / "secrets"
        secrets.mkdir()
        (secrets / "secrets.txt").write_text(SECRETS)
        urls = self.folder / "codesolid_demo/codesolid_demo/urls.py"
        urls.write_text(urls.read_text() + SLOW_DJANGO)
        self.variables = {
            "COMPOSE_PROJECT_NAME": f"bench-{kind}",
            "DJANGO_NAME": f"bench-{kind}",
            "PORT": str(port),
            "DB_PORT": "0",
        }
        if kind in OTHERS:
            shutil.copy(BENCH / "others-compose.yaml", self.folder / "docker-compose.yaml")
            self.variables["BENCH_IMAGE"] = f"bench-django-{kind}"
            (secrets / "secrets.txt").write_text(SECRETS.replace("codesolid_demo.settings\n", f"{OTHERS[kind]}\n"))
        elif kind == "prod":
            (secrets / "prod").mkdir()
            for key in ("POSTGRES_PASSWORD", "DJANGO_SUPERUSER_PASSWORD", "DJANGO_SECRET_KEY"):
                (secrets / "prod" / key).write_text(WORD)
            self.variables |= {
                "COMPOSE_FILE": "docker-compose.yaml:docker-compose.prod.yaml",
                "COMPOSE_ENV_FILES": "../secrets/secrets.txt",
                "COMPOSE_PROFILES": "database",
            }
        if kind not in OTHERS:
            self.compose("build")

    @property
    def frontend(self):
        """The name of the container that serves Django."""
        return f"bench-{self.kind}-frontend-1" if self.kind in OTHERS else f"bench-{self.kind}"

    def compose(self, words):
        """Run docker compose in this project."""
        return sh(f"docker compose {words}", cwd=self.folder, **self.variables)

    def up(self):
        """Return the seconds from `docker compose up -d` to the first 200."""

        def start():
            self.compose("up -d")
            first_200(f"http://127.0.0.1:{self.port}/admin/login/")

        return seconds(start)

    def down(self):
        """Return the seconds that `docker compose down` takes; the data stays."""
        return seconds(lambda: self.compose("down"))

    def empty(self):
        """Remove the data."""
        self.compose("down --volumes")
        sh(f"docker run --rm -v '{self.folder}:/folder' postgres:18-trixie rm -rf /folder/data")


def environment_file(folder, **changes):
    """Write what a container of Django or PostgreSQL wants to know into a new file; return docker's option for it.

    A file, because whoever lists the processes sees a command line.
    """
    pairs = dict(line.split("=", 1) for line in SECRETS.splitlines()) | changes
    del pairs["PGDATA"]
    with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".env", delete=False) as file:
        file.write("".join(f"{key}={value}\n" for key, value in pairs.items()))
    return f"--env-file '{file.name}'"


def floor(folder):
    """Return the least an empty start can take: PostgreSQL to its first TCP answer, and init.py with the server, no containers.

    Both run inside containers that are there already, one after the other.
    """
    sh("docker network create bench-floor")
    try:
        run = f"docker run -d --init --network bench-floor {environment_file(folder)}"
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


def measured(path):
    """Return the requests a second that wrk gets from bench-target, a name in the network bench-load.

    Raises TimeoutError where it does not answer within 60 s, ValueError where it answers with errors under the load.
    """
    wrk = "docker run --rm --network bench-load bench-wrk"
    deadline = time.monotonic() + 60
    while not clean(said := subprocess.run(f"{wrk} -t 1 -c 1 -d 1s http://bench-target{path}", **QUIET).stdout):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path} does not answer: {said}")
    if not clean(said := sh(f"{wrk} {LOAD} http://bench-target{path}")):
        raise ValueError(f"{path}: {said}")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])


def clean(said):
    """Return whether wrk says that every request was answered well."""
    return "Requests/sec" in said and "Non-2xx" not in said and "Socket errors" not in said


def load(image, path, options=""):
    """Return the requests a second that wrk gets from a container of the image."""
    sh(f"docker run -d --rm --name bench-target --network bench-load {options} {image}")
    try:
        return measured(path)
    finally:
        sh("docker rm -f bench-target")


def replicas(options):
    """Yield the number of production's Django containers behind a proxy, the CPUs of each (0: all), and their requests a second.

    The proxy is that of tests/swarm; it finds them by Docker's DNS, as on a Swarm.
    """
    names = [f"bench-replica-{number}" for number in range(4)]
    sh("docker run -d --name bench-proxy --network bench-load --network-alias bench-target bench-proxy")
    try:
        running = 0
        for number in (1, 2, 4):
            for name in names[running:number]:
                sh(f"docker run -d --name {name} --network bench-load --network-alias tasks.frontend {options} bench-django-prod")
            for name in names[running:number]:
                health = f"docker container inspect -f '{{{{.State.Health.Status}}}}' {name}"
                while (state := sh(health)) != "healthy":
                    if state == "unhealthy":
                        raise ValueError(f"{name} is unhealthy: {sh(f'docker logs {name} 2>&1')}")
                    time.sleep(0.1)
            running = number
            yield number, 0, measured(":8000/admin/login/")
        sh(f"docker update --cpus 0.25 {' '.join(names)}")
        for number in (4, 2, 1):
            if number < running:
                sh(f"docker rm -f {' '.join(names[number:running])}")
            running = number
            yield number, 0.25, measured(":8000/admin/login/")
    finally:
        sh(f"docker rm -f bench-proxy {' '.join(names)}")


def stop(container):
    """Return the seconds that `docker stop` takes, and the exit code of the container's server."""
    taken = seconds(lambda: sh(f"docker stop {container}"))
    return taken, sh(f"docker container inspect -f '{{{{.State.ExitCode}}}}' {container}")


@contextlib.contextmanager
def flask(image, options=""):
    """Run a Flask image as the container bench-stop; yield its port of 127.0.0.1 once the page answers."""
    sh(f"docker run -d --name bench-stop -p 127.0.0.1::8080 {options} {image}")
    try:
        port = sh("docker port bench-stop 8080").split(":")[-1]
        first_200(f"http://127.0.0.1:{port}/")
        yield port
    finally:
        sh("docker rm -f bench-stop")


def stop_in_flight(container, port):
    """Return the seconds that `docker stop` takes one second into a request of five, what came of that, and the exit code."""

    def ask():
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=30)
        connection.request("GET", "/slow/", headers={"Host": "localhost"})
        return connection.getresponse().status

    with ThreadPoolExecutor() as pool:
        answer = pool.submit(ask)
        time.sleep(1)  # so that the request is under way
        taken, code = stop(container)
        return taken, "cut off" if answer.exception() else answer.result(), code


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
    """Return the bytes that an image adds to its base, as `docker image inspect` counts them, in MB (10^6 bytes)."""
    size = "docker image inspect -f '{{.Size}}' "
    return (int(sh(size + image)) - int(sh(size + BASE))) / 1e6


def build():
    """Build every image that is measured."""
    print("building the images", file=sys.stderr, flush=True)
    sh(f"docker image inspect {BASE} > /dev/null || docker pull {BASE}")
    for tag, folder, file, more in (
        ("flask-dev", FLASK, "Dockerfile", ""),
        ("flask-prod", FLASK, "production.Dockerfile", ""),
        ("flask-tutorial", FLASK, BENCH / "tutorial-flask.Dockerfile", ""),
        ("flask-gunicorn", FLASK, BENCH / "gunicorn-flask.Dockerfile", ""),
        ("alpine-dev", ALPINE, "Dockerfile", ""),
        ("alpine-prod", ALPINE, "production.Dockerfile", ""),
        ("django-dev", DJANGO, "Dockerfile", ""),
        ("django-prod", DJANGO, "Dockerfile", "--target prod"),
        ("django-tutorial", DJANGO, BENCH / "tutorial-django.Dockerfile", ""),
        ("django-gunicorn", DJANGO, BENCH / "gunicorn-django.Dockerfile", ""),
        ("wrk", BENCH, BENCH / "wrk.Dockerfile", ""),
        ("proxy", SWARM, SWARM / "proxy.Dockerfile", ""),
    ):
        sh(f"docker build -q -t bench-{tag} -f '{file}' {more} .", cwd=folder)


def rounds(number, folder):
    """Measure everything `number` times, in turn; return {measure: {variant: [value, ...]}}."""
    found, stacks = {}, {kind: Stack(kind, folder, 18800 + n) for n, kind in enumerate((*OTHERS, "dev", "prod"))}

    def keep(measure, variant, value):
        found.setdefault(measure, {}).setdefault(variant, []).append(value)
        print(f"  {measure}: {variant}: {value:.2f}", file=sys.stderr, flush=True)

    def keep_in_flight(what, variant, taken, answer, code):
        keep(f"docker stop, {what}, 5 s request in flight, s (answer: {answer}, exit code {code})", variant, taken)

    sh("docker network create bench-load")
    words = environment_file(folder, POSTGRES_REMOTE_HOST="bench-database", DJANGO_SETTINGS_MODULE="codesolid_demo.settings_prod")
    sh(f"docker run -d --name bench-database --network bench-load {words} postgres:18-trixie")
    try:
        for turn in range(number):
            print(f"round {turn + 1} of {number}", file=sys.stderr, flush=True)
            for kind in ("prod", "gunicorn", "tutorial"):
                keep("Flask, requests/s", kind, load(f"bench-flask-{kind}", ":8080/"))
            keep("Django /admin/login/, requests/s", "prod", load("bench-django-prod", ":8000/admin/login/", words))
            whitenoise = f"{words} -e DJANGO_SETTINGS_MODULE=codesolid_demo.settings_whitenoise"
            keep("Django /admin/login/, requests/s", "gunicorn", load("bench-django-gunicorn", ":8000/admin/login/", whitenoise))
            for containers, cpus, rate in replicas(words):
                each = f"{cpus} CPU each" if cpus else f"sharing {os.cpu_count()} cores"
                keep(f"Django /admin/login/ behind a proxy, replicas: {containers}, {each}, requests/s", "prod", rate)
            keep("empty database to the first 200, s", "floor", floor(folder))
            for kind, stack in stacks.items():
                stack.empty()
                keep("empty database to the first 200, s", kind, stack.up())
                keep("docker compose down, s", kind, stack.down())
                keep("database there, to the first 200, s", kind, stack.up())
                taken, code = stop(stack.frontend)
                keep(f"docker stop, Django, s (exit code {code})", kind, taken)
                stack.down()
            for name, kind in (*(("flask", kind) for kind in stacks), ("alpine", "dev"), ("alpine", "prod")):
                with flask(f"bench-{name}-{kind}"):
                    taken, code = stop("bench-stop")
                keep(f"docker stop, {TITLES[name]}, s (exit code {code})", kind, taken)
            for kind in (*OTHERS, "dev"):
                rebuild(kind, folder) if turn == 0 else None
                keep("edit of flaskapp.py to the new image, s", kind, rebuild(kind, folder))
        slow = folder / "flaskapp.py"
        slow.write_text((FLASK / "flaskapp.py").read_text() + SLOW_FLASK)
        for name, kind in (("flask", "tutorial"), ("flask", "gunicorn"), ("flask", "prod"), ("alpine", "prod")):
            place = "/home/myuser" if kind == "tutorial" else "/app"
            with flask(f"bench-{name}-{kind}", f"-v '{slow}:{place}/flaskapp.py:ro'") as port:
                keep_in_flight(TITLES[name], kind, *stop_in_flight("bench-stop", port))
        stacks["prod"].up()
        keep_in_flight("Django", "prod", *stop_in_flight(stacks["prod"].frontend, stacks["prod"].port))
    finally:
        sh("docker rm -f -v bench-database; docker network rm bench-load")
        for stack in stacks.values():
            stack.empty()
            stack.compose("down --rmi local")
    for kind in (*OTHERS, "dev", "prod"):
        keep("MB added to the base: Flask", kind, added(f"bench-flask-{kind}"))
        keep("MB added to the base: Django", kind, added(f"bench-django-{kind}"))
    return found


def cell(values):
    """Return a table's cell for the values of one variant: their median, and the least and the greatest."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})" if values else ""


def main():
    """Run the benchmark, print its table, write its JSON."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        try:
            build()
            found = rounds(number, Path(folder))
        finally:
            # By their names: the same image may have another name, which is yours.
            sh("docker image ls --format '{{.Repository}}:{{.Tag}}' 'bench-*' | xargs -r docker image rm")
    columns = ["tutorial", "gunicorn", "dev", "prod", "floor"]
    rows = [[measure, *(cell(values.get(column)) for column in columns)] for measure, values in found.items()]
    engine = sh("docker version -f '{{.Server.Version}}'")
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Docker Engine {engine}"
    print(f"{machine}, {number} rounds: median (least-greatest)\n")
    print(tabulate(rows, headers=["", *columns], tablefmt="github"))
    (BENCH / "results.json").write_text(json.dumps({"machine": machine, "rounds": number, "results": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
