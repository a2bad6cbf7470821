"""What the tests share: a shell, names and ports of their own, copies of the folders. Run by `make test`."""

import gzip
import json
import os
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

# The tutorial's own secrets.txt, letter by letter.
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

# Words that stand nowhere else, to be searched for where no password belongs.
POSTGRES_CANARY = "canary-of-the-database"
ADMIN_CANARY = "canary-of-the-administrator"
KEY_CANARY = "canary-of-the-secret-key-which-django-wants-to-have-fifty-characters-0123456789"

# The images that a parallel run keeps: (folder, options of `docker build`).
KEEPER = f"test-keeper-{os.getpid()}"
KEPT = [
    *((folder, f"-f {file}") for folder in ("01-docker-flask", "02-docker-flask-alpine") for file in FLASK_FILES),
    *((DJANGO, f"--target {target}") for target in ("dev", "prod", "tests")),
]

# Routes that the fault tests add to a copy of urls.py.
ROUTES = """
import time
from django.db import connection
from django.http import HttpResponse

def hold(request):
    "Ask the database to wait for ten seconds."
    with connection.cursor() as cursor:
        cursor.execute("select pg_sleep(10)")
    return HttpResponse("finished")

def eat(request):
    "Take more memory than the container may have."
    taken = []
    while True:
        taken.append(bytearray(16 * 2**20))

urlpatterns += [path("hold/", hold), path("eat/", eat)]
"""


def sh(command, cwd=ROOT, ok=True, **options):
    """Run a command line as a person would type it, in the folder cwd; return what it printed, both streams together.

    Raises AssertionError, with the output, where it succeeds or fails otherwise than `ok` says (None: either).
    """
    options = {"stdin": subprocess.DEVNULL, "timeout": 230, **options}
    done = subprocess.run(
        command, shell=True, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", **options
    )
    assert ok is None or (done.returncode == 0) == ok, f"$ {command}\n{done.stdout}\nexit code {done.returncode}"
    return done.stdout.strip()


def exit_code(name):
    """Type `docker stop`; return the exit code with which the container ended."""
    sh(f"docker stop {name}")
    return sh(f"docker container inspect -f '{{{{.State.ExitCode}}}}' {name}")


def count_in_image(image, words):
    """Return {word: how often it is in the layers of an image}, by `docker save`; Engine 29's image store compresses layers."""
    found = dict.fromkeys(words, 0)
    with (
        subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as save,
        tarfile.open(fileobj=save.stdout, mode="r|") as archive,
    ):
        for member in archive:
            data = archive.extractfile(member).read() if member.isfile() else b""
            if data.startswith(b"\x1f\x8b"):
                data = gzip.decompress(data)
            for word in words:
                found[word] += data.count(word.encode())
    return found


GIVEN = set()  # the ports that free_port returned: none is for two


def free_port():
    """Return a port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    if port in GIVEN:
        return free_port()
    GIVEN.add(port)
    return port


def copy(folder, into):
    """Copy one example folder out of the checkout, without what git ignores; return where it is."""
    ignored = shutil.ignore_patterns("data", "backups", "__pycache__", "*.new")
    return Path(shutil.copytree(ROOT / folder, Path(into) / folder, ignore=ignored))


FIGURES = []  # what the fault tests measured, one line each


def figure(fault, text):
    """Keep what a test measured: it is shown at the end of the run."""
    FIGURES.append(f"{fault}: {text}")


def pytest_terminal_summary(terminalreporter):
    """Show the figures (pytest calls this)."""
    if FIGURES:
        terminalreporter.section("measured")
        for line in FIGURES:
            terminalreporter.line(line)


def until(condition, limit, pause=0.05):
    """Call `condition` until it returns something true; return the seconds that it took.

    Raises AssertionError after `limit` seconds.
    """
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < limit, f"not within {limit} s"
        time.sleep(pause)
    return time.monotonic() - begun


def kill(pid):
    """Kill a process by SIGKILL; return once it is gone: os.kill returns before, and what it killed may answer meanwhile."""
    assert pid > 0, "it does not run"  # to os.kill, 0 is the tests themselves
    os.kill(pid, signal.SIGKILL)
    until(lambda: not os.path.exists(f"/proc/{pid}"), limit=10, pause=0.001)


def workers(container):
    """Return the pids of Granian's workers in a container, in order, as this machine counts them."""
    lines = [line.split(None, 1) for line in sh(f"docker top {container} -eo pid,args").splitlines()[1:]]
    return sorted(int(pid) for pid, command in lines if "spawn_main" in command)  # how Python 3.14 starts them


def answers(url, limit=5):
    """Return whether a page answers with 200 within `limit` seconds."""
    try:
        return requests.get(url, timeout=limit).status_code == 200
    except requests.RequestException:
        return False


def pytest_sessionstart(session):
    """Before a parallel run, build each image of the examples once, and keep it until the end (pytest calls this).

    Otherwise a test that removes its image takes away layers that another test's build relies on: moby/buildkit#6521.
    """
    if getattr(session.config.option, "numprocesses", None):
        for number, (folder, options) in enumerate(KEPT):
            subprocess.run(
                f"docker build -q {options} -t {KEEPER}:{number} .", shell=True, cwd=ROOT / folder, stdout=subprocess.DEVNULL
            )


def pytest_sessionfinish(session):
    """Remove the images that were kept (pytest calls this)."""
    if getattr(session.config.option, "numprocesses", None):
        kept = " ".join(f"{KEEPER}:{number}" for number in range(len(KEPT)))
        subprocess.run(f"docker image rm {kept}", shell=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at the marks
def pytest_collection_modifyitems(items):
    """Give tests that share something that takes long to start to one worker of pytest-xdist (pytest calls this)."""
    for item in items:
        shared = next((name for name in ("reader", "shop", "running", "tools") if name in item.fixturenames), None)
        if shared:
            place = "" if shared == "running" else f"{item.path.stem}-"
            item.add_marker(pytest.mark.xdist_group(f"{place}{shared}"))


@pytest.fixture(scope="session", autouse=True)
def docker():
    """Give the tests a clean environment; fail at once, with the way out, where no engine answers."""
    for variable in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):  # of the `make test` around us: no concern of the tests' own make
        os.environ.pop(variable, None)
    if subprocess.run(["docker", "version"], capture_output=True).returncode:
        pytest.exit("no Docker Engine answers: run the tests by `make test`", returncode=2)


@pytest.fixture
def name():
    """Yield a name for a container or an image; remove what has it afterwards."""
    word = f"test-{uuid.uuid4().hex[:8]}"
    yield word
    sh(f"docker ps -aq --filter name={word} | xargs -r docker rm -f -v", ok=None)  # one may be on its way out (--rm)
    sh(f"docker image ls --format '{{{{.Repository}}}}:{{{{.Tag}}}}' '{word}*' | xargs -r docker image rm -f")


@pytest.fixture(scope="session")
def postgres_17(tmp_path_factory):
    """Return the name of PostgreSQL 17's image, for data of an older version. A private engine builds a stand-in for it."""
    folder = tmp_path_factory.mktemp("postgres-17")
    (folder / "Dockerfile").write_text("FROM postgres:17\n")
    if os.environ.get("DOCKER_HOST", "").startswith("unix:///run/docker-examples-"):
        sh(f"python3 -B -m engine start '{folder}'", cwd=ROOT / "tests")
    return "postgres:17"


@pytest.fixture
def port():
    """Return a free port."""
    return free_port()


class Project:
    """A copy of the Django folder with names, ports, secrets and data of its own. Its folder's path has a space in it."""

    def __init__(self, base):
        """Make the copy in the folder `base`, with the tutorial's secrets file."""
        self.folder = copy(DJANGO, base / "a clone")
        self.secrets = self.folder.parent / "secrets" / "secrets.txt"
        self.secrets.parent.mkdir()
        self.secrets.write_text(TUTORIAL_SECRETS)
        self.name = f"test-{uuid.uuid4().hex[:8]}"
        self.port, self.db_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.variables = {
            "COMPOSE_PROJECT_NAME": self.name,
            "DJANGO_NAME": f"{self.name}-django",
            "PORT": str(self.port),
            "DB_PORT": str(self.db_port),
        }

    def production(self):
        """Make this a production project: with the two secrets that the tutorial's file lacks, and passwords of its own."""
        text = TUTORIAL_SECRETS.replace("appnameKTh1PjVmECYKnZna", POSTGRES_CANARY)
        text = text.replace("appnameOtwEgXAAPj5ZLmsQ", ADMIN_CANARY)
        self.secrets.write_text(f"{text}DJANGO_SECRET_KEY={KEY_CANARY}\nDJANGO_ALLOWED_HOSTS=localhost,127.0.0.1\n")
        self.variables["LIFECYCLE"] = "prod"

    def sh(self, command, **options):
        """Run a command line in the project's folder, with its names and ports in the environment."""
        return sh(command, cwd=self.folder, env={**os.environ, **self.variables}, **options)

    def sql(self, query):
        """Return what psql prints for a query, without headings; psql runs as the database's superuser, in either lifecycle."""
        inside = 'psql -qAt -U "$POSTGRES_USER" -d appname_db'
        return self.sh(f"docker compose exec -T backend sh -c '{inside}'", input=query, stdin=None)

    def container(self, service):
        """Return what `docker container inspect` says of a service's container."""
        name = f"{self.name}-django" if service == "frontend" else f"{self.name}-backend-1"
        return json.loads(sh(f"docker container inspect {name}"))[0]

    def remove(self):
        """Remove all that the project has, whatever state a test left it in."""
        if self.variables.get("LIFECYCLE") == "prod":
            self.production()
            self.sh("echo yes | make clean", stdin=None)
            del self.variables["LIFECYCLE"]
        self.secrets.write_text(TUTORIAL_SECRETS)
        self.sh("docker compose kill", ok=None)  # one may be on its way out
        self.sh("make clean")


@pytest.fixture
def project(tmp_path):
    """Yield a Django project with the tutorial's secrets, nothing started yet."""
    one = Project(tmp_path)
    yield one
    one.remove()


@pytest.fixture(scope="session")
def running(tmp_path_factory):
    """Yield a Django project that is up, for the tests that only look."""
    one = Project(tmp_path_factory.mktemp("running"))
    one.sh("make up")
    yield one
    one.remove()


@pytest.fixture
def prod(project):
    """Return a production project of the test's own, nothing started yet."""
    project.production()
    return project


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Yield a project that is up in production, for the tests of one file."""
    one = Project(tmp_path_factory.mktemp("production"))
    one.production()
    one.sh("make up")
    yield one
    one.remove()


@pytest.fixture(scope="module")
def site(shop):
    """Return the production project, with the routes above."""
    urls = shop.folder / "codesolid_demo/codesolid_demo/urls.py"
    urls.write_text(urls.read_text() + ROUTES)
    shop.sh("make up")
    return shop


class Clone:
    """A copy of the whole checkout, as `git clone` would make it, with names and ports of its own."""

    def __init__(self, base):
        """Make the copy in the folder `base`; its path has a space in it."""
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
        """Run make with this clone's names and ports; return what it printed."""
        return sh(f"make {target} SUFFIX={self.suffix} {self.variables}", cwd=self.folder, **options)


@pytest.fixture
def clone(tmp_path):
    """Yield a fresh clone; remove what it started."""
    one = Clone(tmp_path)
    yield one
    one.make("clean")
