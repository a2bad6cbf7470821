"""Helpers and fixtures of all tests: a shell, free names and ports, and copies of the folders."""

import contextlib
import gzip
import itertools
import json
import os
import pty
import random
import re
import shutil
import signal
import socket
import subprocess
import tarfile
import time
import uuid
from pathlib import Path

import pytest
import requests

ROOT = Path(__file__).resolve().parent.parent
DJANGO = "03-docker-compose-django"
FLASK_FILES = ("Dockerfile", "production.Dockerfile")

# The tutorial's secrets.txt, unchanged.
TUTORIAL_SECRETS = """\
POSTGRES_USER=appname
POSTGRES_PASSWORD=appnameKTh1PjVmECYKnZna
POSTGRES_DB=appname_db
PGDATA=/var/lib/postgresql/data/pgdata
POSTGRES_HOST_AUTH_METHOD=md5
POSTGRES_PORT=5432
POSTGRES_REMOTE_HOST=backend
DJANGO_SETTINGS_MODULE=codesolid_demo.settings
DJANGO_SUPERUSER=appname_admin
DJANGO_SUPERUSER_EMAIL=your_email@example.com
DJANGO_SUPERUSER_PASSWORD=appnameOtwEgXAAPj5ZLmsQ
LIFECYCLE=dev
"""

# Unique values for the secrets. The tests search for them in places that must not contain a secret.
POSTGRES_CANARY = "canary-of-the-database"
ADMIN_CANARY = "canary-of-the-administrator"
KEY_CANARY = "canary-of-the-secret-key-which-django-wants-to-have-fifty-characters-0123456789"
SECRET_CANARIES = {
    "POSTGRES_PASSWORD": POSTGRES_CANARY, "DJANGO_SUPERUSER_PASSWORD": ADMIN_CANARY, "DJANGO_SECRET_KEY": KEY_CANARY
}  # fmt: skip

# The images that are built before a parallel run: (folder, options of `docker build`).
PREBUILT = f"test-keeper-{os.getpid()}"
EXAMPLE_IMAGES = [
    *((folder, f"-f {file}") for folder in ("01-docker-flask", "02-docker-flask-alpine") for file in FLASK_FILES),
    *((DJANGO, f"-f {file}") for file in ("Dockerfile", "production/Dockerfile")),
]

# The fixture `site` adds these routes to a copy of urls.py.
ROUTES = """
import os
import time
from django.db import connection
from django.http import HttpResponse

def hold(request):
    "Ask the database to wait for ten seconds."
    with connection.cursor() as cursor:
        cursor.execute("select pg_sleep(10)")
    return HttpResponse("finished")

def limit(request):
    "Return how long a query may take."
    with connection.cursor() as cursor:
        cursor.execute("show statement_timeout")
        return HttpResponse(cursor.fetchone()[0])

def eat(request):
    "Take more memory than the container may have."
    taken = []
    while True:
        taken.append(bytearray(16 * 2**20))

def slow(request):
    "Take longer than the ten seconds after which Docker kills a container by default."
    print("begun", flush=True)
    time.sleep(12)
    return HttpResponse("finished")

def inherited(request):
    "Show the names of the environment variables."
    return HttpResponse(" ".join(os.environ))

urlpatterns += [
    path("hold/", hold), path("limit/", limit), path("eat/", eat), path("slow/", slow), path("inherited/", inherited),
]
"""


def sh(command, cwd=ROOT, ok=True, **options):
    """Run a shell command in the folder `cwd`. Return its output, stdout and stderr together.

    `ok` is the expected result: True for success, False for failure, None for either.
    Raise AssertionError with the output if the result differs.
    """
    options = {"stdin": subprocess.DEVNULL, "timeout": 230, **options}
    done = subprocess.run(
        command, shell=True, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", **options
    )
    assert ok is None or (done.returncode == 0) == ok, f"$ {command}\n{done.stdout}\nexit code {done.returncode}"
    return done.stdout.strip()


def exit_code(name):
    """Run `docker stop`. Return the exit code of the container."""
    sh(f"docker stop {name}")
    return sh(f"docker container inspect -f '{{{{.State.ExitCode}}}}' {name}")


def count_in_image(image, words):
    """Count how often each word occurs in the layers of an image. Return {word: count}."""
    found = dict.fromkeys(words, 0)
    with (
        subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as save,
        tarfile.open(fileobj=save.stdout, mode="r|") as archive,
    ):
        for member in archive:
            data = archive.extractfile(member).read() if member.isfile() else b""
            # Docker Engine 29 saves compressed layers.
            if data.startswith(b"\x1f\x8b"):
                data = gzip.decompress(data)
            for word in words:
                found[word] += data.count(word.encode())
    return found


# Each worker of pytest-xdist has 1000 ports of its own, below those that Linux takes for outgoing connections. It uses them
# one after the other, from a random one on, because another clone's tests may use the same ports.
FIRST_PORT = 20000 + 1000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
PORTS = itertools.islice(itertools.cycle(range(FIRST_PORT, FIRST_PORT + 1000)), random.randrange(1000), None)


def free_port():
    """Return a port on 127.0.0.1 that is not in use."""
    while True:
        port = next(PORTS)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port


def copy(folder, into):
    """Copy an example folder into the folder `into`, without the files that git ignores. Return the path of the copy."""
    ignored = shutil.ignore_patterns("data*", "backups", "secrets", ".env", "__pycache__", "*.new")
    return Path(shutil.copytree(ROOT / folder, Path(into) / folder, ignore=ignored))


def at_a_terminal(command, place, word, keys=("echo $((6 * 7))-$(whoami); exit\n",), env=None):
    """Run a command in a terminal, type `keys`, and check that the terminal shows `word`.

    `env` holds additional environment variables. Raise AssertionError if the command fails.
    Raise OSError if the command ends without showing the word.
    """
    keyboard, terminal = pty.openpty()
    streams = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
    with subprocess.Popen(["sh", "-c", command], cwd=place, env={**os.environ, **(env or {})}, **streams) as session:
        for line in keys:
            # A password prompt discards everything that was typed before it appeared.
            if len(keys) > 1:
                time.sleep(1)
            os.write(keyboard, line.encode())
        assert session.wait(timeout=60) == 0
    os.close(terminal)
    seen = b""
    while word not in seen:
        seen += os.read(keyboard, 1024)
    os.close(keyboard)


# Measurements of the fault tests, one line each.
FIGURES = []


def figure(fault, text):
    """Record a measurement. pytest prints all of them at the end of the run."""
    FIGURES.append(f"{fault}: {text}")


def pytest_terminal_summary(terminalreporter):
    """Print the measurements (pytest hook)."""
    if FIGURES:
        terminalreporter.section("measured")
        for line in FIGURES:
            terminalreporter.line(line)


# In a parallel run, asking often would slow down the tests beside it. The tests that measure a time run alone.
PAUSE = 0.3 if "PYTEST_XDIST_WORKER" in os.environ else 0.05


def until(condition, limit, pause=PAUSE):
    """Call `condition` every `pause` seconds until it returns a true value. Return how many seconds that took.

    Raise AssertionError after `limit` seconds.
    """
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < limit, f"not within {limit} s"
        time.sleep(pause)
    return time.monotonic() - begun


def kill(pid):
    """Kill a process with SIGKILL and wait until it is gone.

    os.kill returns earlier, when the process may still answer requests.
    """
    # os.kill(0, ...) would also kill the tests.
    assert pid > 0, "it does not run"
    os.kill(pid, signal.SIGKILL)
    until(lambda: not os.path.exists(f"/proc/{pid}"), limit=10, pause=0.001)


def workers(container):
    """Return the process IDs of Granian's workers in a container, sorted, as the host sees them."""
    lines = [line.split(None, 2) for line in sh(f"docker top {container} -eo pid,ppid,args").splitlines()[1:]]
    commands = {pid: command for pid, _, command in lines}
    # A worker is a call of spawn_main, or a fork, which has the command of its parent.
    return sorted(int(pid) for pid, parent, command in lines if "spawn_main" in command or command == commands.get(parent))


def answers(url, limit=5):
    """Return whether a page answers with status 200 within `limit` seconds."""
    try:
        return requests.get(url, timeout=limit).status_code == 200
    except requests.RequestException:
        return False


def submit(browser, url, fields, files=None, limit=5):
    """Load a page of the admin, fill in its form and send it, as a browser does. Return the answer.

    `browser` is a requests.Session. Each of the two answers may take `limit` seconds.
    """
    form = browser.get(url, timeout=limit)
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form.text)[1]
    fields = {**fields, "csrfmiddlewaretoken": token}
    return browser.post(form.url, data=fields, files=files, headers={"Referer": form.url}, timeout=limit)


def pytest_sessionstart(session):
    """Build each image of the examples before a parallel run (pytest hook).

    The images stay until the end of the run. Without them, a test that removes its image would also remove layers that
    the build of another test needs: moby/buildkit#6521.
    """
    if getattr(session.config.option, "numprocesses", None):
        for number, (folder, options) in enumerate(EXAMPLE_IMAGES):
            subprocess.run(
                f"docker build -q {options} -t {PREBUILT}:{number} .", shell=True, cwd=ROOT / folder, stdout=subprocess.DEVNULL
            )


# Patterns for the images of finished tests. Each removal makes the engine search all of its images, so do it once, at the end.
USED_IMAGES = []


def pytest_sessionfinish(session):
    """Remove the images of all tests, and those that pytest_sessionstart built (pytest hook)."""
    for number in range(0, len(USED_IMAGES), 50):
        filters = " ".join(f"--filter 'reference={pattern}'" for pattern in USED_IMAGES[number : number + 50])
        sh(f"docker image ls --format '{{{{.Repository}}}}:{{{{.Tag}}}}' {filters} | xargs -r docker image rm -f", ok=None)
    if getattr(session.config.option, "numprocesses", None):
        kept = " ".join(f"{PREBUILT}:{number}" for number in range(len(EXAMPLE_IMAGES)))
        subprocess.run(f"docker image rm {kept}", shell=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


# tryfirst: pytest-xdist must see these marks.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Run tests that share a slow fixture on the same worker of pytest-xdist (pytest hook)."""
    for item in items:
        shared = next(
            (name for name in ("reader", "mine", "shop", "secure", "running", "tools") if name in item.fixturenames), None
        )
        if shared:
            item.add_marker(pytest.mark.xdist_group(shared))
    # The longest tests start first, so that no worker has to wait for them at the end.
    items.sort(key=lambda item: not {"reader", "mine", "postgres_17"} & set(item.fixturenames))


@pytest.fixture(scope="session", autouse=True)
def docker(tmp_path_factory):
    """Clean the environment, and stop the run if no Docker Engine answers."""
    # `make test` sets these. They must not reach the make commands of the tests.
    for variable in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
        os.environ.pop(variable, None)
    # BuildKit keeps one copy of a build context for all folders of the same name that the same buildx ID sends. Two builds at
    # once use this copy alternately, and then one of them repeats a COPY although nothing changed. The ID is in this folder.
    os.environ["BUILDX_CONFIG"] = str(tmp_path_factory.mktemp("buildx"))
    if subprocess.run(["docker", "version"], capture_output=True).returncode:
        pytest.exit("no Docker Engine answers: run the tests with `make test`", returncode=2)


@pytest.fixture
def name():
    """Yield an unused name. Afterwards, remove the containers and images whose names begin with it."""
    word = f"test-{uuid.uuid4().hex[:8]}"
    yield word
    # ok=None: Docker may already be removing a container that was started with --rm.
    sh(f"docker ps -aq --filter name={word} | xargs -r docker rm -f -v", ok=None)
    USED_IMAGES.append(f"{word}*")


@pytest.fixture(scope="session")
def postgres_17(tmp_path_factory):
    """Return the name of the PostgreSQL 17 image, for tests with data of an older version.

    With the private engine, build a stand-in for the image first.
    """
    folder = tmp_path_factory.mktemp("postgres-17")
    (folder / "Dockerfile").write_text("FROM postgres:17\n")
    if os.environ.get("DOCKER_HOST", "").startswith("unix:///run/docker-examples-"):
        sh(f"python3 -B -m engine start '{folder}'", cwd=ROOT / "tests")
    return "postgres:17"


@pytest.fixture(scope="session")
def tools():
    """Yield the image with the browser and the drawing tools. Docker's build cache makes the next build fast."""
    tag = f"test-pictures-{uuid.uuid4().hex[:8]}"
    sh(f"docker build -q -t {tag} -f pictures/Dockerfile .", cwd=ROOT / "tests", timeout=1100)
    yield tag
    sh(f"docker image rm {tag}")


@pytest.fixture
def port():
    """Return a free port."""
    return free_port()


class Project:
    """A copy of the Django folder with its own names, ports, secrets and data. Its path contains a space."""

    def __init__(self, base):
        """Create the copy in the folder `base`, with the tutorial's secrets file."""
        self.folder = copy(DJANGO, base / "a clone")
        self.secrets = self.folder.parent / "secrets" / "secrets.txt"
        self.secrets.parent.mkdir()
        self.secrets.write_text(TUTORIAL_SECRETS)
        self.name = f"test-{uuid.uuid4().hex[:8]}"
        self.port, self.db_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.names = {"frontend": f"{self.name}-django", "backend": f"{self.name}-backend-1"}
        self.variables = {
            "COMPOSE_PROJECT_NAME": self.name,
            "DJANGO_NAME": f"{self.name}-django",
            "PORT": str(self.port),
            "DB_PORT": str(self.db_port),
        }

    def sh(self, command, **options):
        """Run a shell command in the project's folder, with its names and ports as environment variables."""
        return sh(command, cwd=self.folder, env={**os.environ, **self.variables}, **options)

    def sql(self, query):
        """Run a query with psql. Return its output without headings."""
        inside = 'psql -qAt -U "$POSTGRES_USER" -d appname_db'
        return self.sh(f"docker compose exec -T backend sh -c '{inside}'", input=query, stdin=None)

    def container(self, service):
        """Return what `docker container inspect` says of a service's container."""
        return json.loads(sh(f"docker container inspect {self.names[service]}"))[0]

    def remove(self):
        """Remove everything that belongs to the project, in whatever state a test left it."""
        self.secrets.write_text(TUTORIAL_SECRETS)
        self.sh("docker compose down --timeout 0 --volumes --remove-orphans")
        USED_IMAGES.append(f"{self.name}-*")
        if (self.folder / "data").exists():
            sh(f"docker run --rm -v '{self.folder}:/folder' postgres:18-trixie rm -rf /folder/data")


class Production:
    """A copy of the Django folder, for its folder production/, with its own name, ports, settings and secrets.

    Caddy serves plain HTTP, because most tests need no certificate. test_production.py also tests TLS.
    """

    def __init__(self, base, example=None):
        """Create the copy in the folder `base`, or use an existing one. Its path contains a space."""
        self.example = example or copy(DJANGO, base / "a clone")
        self.folder = self.example / "production"
        self.name = f"test-{uuid.uuid4().hex[:8]}"
        self.port, self.https_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.names = {service: f"{self.name}-{service}-1" for service in ("proxy", "frontend", "backend")}
        self.write_settings()

    def write_settings(self):
        """Write .env and the secrets. Their values are words that the tests can search for."""
        sh("sh make-secrets.sh", cwd=self.folder)
        (self.folder / ".env").write_text((self.folder / "env.example").read_text())
        self.set(COMPOSE_PROJECT_NAME=self.name, HTTP_PORT=self.port, HTTPS_PORT=self.https_port)
        self.set(SITE_ADDRESS="http://", DJANGO_ALLOWED_HOSTS="localhost,127.0.0.1")
        for key, word in SECRET_CANARIES.items():
            self.secret(key).write_text(word)

    def secret(self, key):
        """Return the path of a secret's file."""
        return self.folder / "secrets" / key

    def set(self, **values):
        """Change or add keys in .env."""
        text = (self.folder / ".env").read_text()
        for key, value in values.items():
            text, found = re.subn(f"^{key}=.*", f"{key}={value}", text, flags=re.MULTILINE)
            text += "" if found else f"{key}={value}\n"
        (self.folder / ".env").write_text(text)

    def sh(self, command, **options):
        """Run a shell command in the folder production/."""
        return sh(command, cwd=self.folder, **options)

    def sql(self, query):
        """Run a query with psql, as the superuser of the database. Return its output without headings."""
        return self.sh("docker compose exec -T backend psql -qAt -d appname_db", input=query, stdin=None)

    def container(self, service):
        """Return what `docker container inspect` says of a service's container."""
        return json.loads(sh(f"docker container inspect {self.names[service]}"))[0]

    def remove(self):
        """Remove everything that belongs to the project, in whatever state a test left it."""
        self.write_settings()
        self.sh("docker compose down --timeout 0 --volumes --remove-orphans")
        USED_IMAGES.append(f"{self.name}-*")


@pytest.fixture
def project(tmp_path):
    """Yield a Django project with the tutorial's secrets. Nothing is started yet."""
    one = Project(tmp_path)
    yield one
    one.remove()


@pytest.fixture(scope="session")
def running(tmp_path_factory):
    """Yield a running Django project. All tests share it, so they must not change it."""
    one = Project(tmp_path_factory.mktemp("running"))
    one.sh("make up")
    yield one
    one.remove()


@pytest.fixture
def prod(tmp_path):
    """Yield a production project for one test. Nothing is started yet."""
    one = Production(tmp_path)
    yield one
    one.remove()


@pytest.fixture(scope="session")
def shop(tmp_path_factory):
    """Yield a running production project. All tests of a file share it."""
    one = Production(tmp_path_factory.mktemp("production"))
    one.sh("make up")
    yield one
    one.remove()


@pytest.fixture(scope="session")
def site(shop):
    """Return the shared production project with the routes of ROUTES added."""
    urls = shop.example / "codesolid_demo/codesolid_demo/urls.py"
    urls.write_text(urls.read_text() + ROUTES)
    shop.sh("make up")
    return shop


class Clone:
    """A copy of the whole checkout with its own names and ports, like a fresh `git clone`."""

    def __init__(self, base):
        """Create the copy in the folder `base`. Its path contains a space."""
        self.folder = base / "a clone"
        self.folder.mkdir(parents=True)
        files = sh("git ls-files --cached --others --exclude-standard").splitlines()
        for file in files:
            if (ROOT / file).exists():
                (self.folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / file, self.folder / file)
        sh("git init -q && git add -A && git -c user.name=test -c user.email=test@example.com commit -qm clone", cwd=self.folder)
        self.suffix = f"-test-{uuid.uuid4().hex[:8]}"
        self.ports = [free_port() for _ in range(4)]
        names = ["FLASK_PORT", "ALPINE_PORT", "DJANGO_PORT", "DB_PORT"]
        self.variables = " ".join(f"{name}={port}" for name, port in zip(names, self.ports, strict=True))

    def make(self, target, **options):
        """Run make with the names and ports of this clone. Return its output."""
        return sh(f"make {target} SUFFIX={self.suffix} {self.variables}", cwd=self.folder, **options)


@pytest.fixture
def clone(tmp_path):
    """Yield a fresh clone. Afterwards, remove everything that it started."""
    one = Clone(tmp_path)
    yield one
    if sh(f"docker ps -aq --filter name={one.suffix}; docker image ls -q '*{one.suffix}*'"):
        one.make("clean")
