"""The Compose projects that bench.py measures: how each of them starts, stops, and gets new code.

Their names begin with bench-. None of the peer's files are in this repository: they come from its public address, or from a
checkout of it that the environment variable PEER names.
"""

import contextlib
import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent.parent
DJANGO = ROOT / "03-docker-compose-django"
OTHERS = ("tutorial", "gunicorn")
# All variants of Django get production's settings, changed to plain HTTP and to the host names that the load uses.
EXAMPLE = dict(re.findall(r"^(\w+)=(.*)", (DJANGO / "production/env.example").read_text(), re.MULTILINE))
HOSTS = "localhost,127.0.0.1,bench-load-prod,bench-load-gunicorn,bench-load-peer,bench-proxy,bench-caddy"
SETTINGS = EXAMPLE | {"DJANGO_ALLOWED_HOSTS": HOSTS, "SITE_ADDRESS": "http://", "LIFECYCLE": "prod"}
WORD = "a-word-for-the-benchmark-only-that-nobody-keeps-0123456789"
SECRETS = dict.fromkeys(("POSTGRES_PASSWORD", "DJANGO_SUPERUSER_PASSWORD", "DJANGO_SECRET_KEY"), WORD)
# Only dev and the tutorial need this in secrets.txt. The other images set it themselves.
DEVELOPMENT = {"DJANGO_SETTINGS_MODULE": "codesolid_demo.settings", "LIFECYCLE": "dev"}
# Two pages, added to each copy of urls.py: one that takes five seconds, to measure a stop during a request, and one that an
# edit changes.
PAGES = """
import time
from django.http import HttpResponse
urlpatterns.append(path("slow/", lambda request: time.sleep(5) or HttpResponse("finished")))
urlpatterns.append(path("edited/", lambda request: HttpResponse("edit 0")))
"""
# docker-compose.override.yaml of some projects. In production it publishes Django's own port, to measure without the proxy. In
# development, a template mounts its code.
PORTS = 'ports: ["127.0.0.1:${PORT}:8000"]'
OVERRIDES = {
    "runserver": "command: python manage.py runserver 0.0.0.0:8000, "
    "volumes: [./codesolid_demo/codesolid_demo:/app/codesolid_demo]",
    "prod": PORTS,
    "granian": f"command: ./start.sh granian codesolid_demo.wsgi:application, {PORTS}",
}

PEER = "https://github.com/nickjj/docker-django-example"
PEER_COMMIT = "25de410956b80fe4e3388296a58106c03b5b3647"
# What it takes to build the peer from PyPI, Debian and the two images that this repository uses, too: patterns, and new texts.
PEER_CHANGES = {
    "Dockerfile": {
        "python:3.14.5-slim-trixie": "python:3.14-slim-trixie",
        # The same version of uv, from PyPI. It must trust the certificates that pip trusts.
        "COPY --from=.*/uv:0.8.17 /uv /uvx /usr/local/bin/": "ENV UV_NATIVE_TLS=1\nRUN pip install uv==0.8.17",
        # Without Node, nothing compiles the CSS of its home page. The admin needs none of it.
        "--from=assets /app/public /public": "assets/static /public",
    },
    "compose.yaml": {"postgres:18.4-trixie": "postgres:18-trixie"},
}


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


def text(url, limit=5):
    """Return the text of a page, or None if it doesn't answer with 200 within `limit` seconds."""
    with contextlib.suppress(OSError, urllib.error.URLError, http.client.HTTPException):
        with urllib.request.urlopen(url, timeout=limit) as answer:
            return answer.read().decode() if answer.status == 200 else None


def wait_for(condition, what, limit=120):
    """Wait until a call returns something true. Raise TimeoutError after `limit` seconds."""
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come within {limit} s")
        time.sleep(0.02)


def first_200(url, limit=120):
    """Wait until a page answers with 200. Raise TimeoutError after `limit` seconds."""
    wait_for(lambda: text(url) is not None, f"a 200 from {url}", limit)


def write(file, values):
    """Write the values to an env file; return docker's option for it. A file hides them from `ps`, which shows command lines."""
    file.write_text("".join(f"{key}={value}\n" for key, value in values.items()))
    return f"--env-file '{file}'"


class Stack:
    """A Compose project with Django and PostgreSQL. The subclasses make its folder, which they set, and its settings."""

    services, urls = "frontend backend", "codesolid_demo/codesolid_demo/urls.py"

    def __init__(self, kind, port):
        """Django's own port is `port`, and a proxy's `port` + 20."""
        self.kind, self.port, self.edits = kind, port, 0
        self.variables = {"COMPOSE_PROJECT_NAME": f"bench-{kind}"}

    @property
    def frontend(self):
        """The name of the container that serves Django."""
        return f"bench-{self.kind}-{self.services.split()[0]}-1"

    @property
    def url(self):
        """The address of the site, where its visitors find it."""
        return f"http://127.0.0.1:{self.port + (20 if self.kind in ('prod', 'gunicorn') else 0)}"

    def run(self, command):
        """Run a command line in this project's folder."""
        return sh(command, cwd=self.folder, **self.variables)

    def compose(self, words):
        """Run docker compose in this project."""
        return self.run(f"docker compose {words}")

    def add_pages(self):
        """Add PAGES to urls.py."""
        self.source.write_text(self.source.read_text() + PAGES)

    def up(self):
        """Return the seconds from `docker compose up -d` to the first 200, without production's proxy."""

        def start():
            self.compose(f"up -d {self.services}")
            first_200(f"http://127.0.0.1:{self.port}/admin/login/")

        return seconds(start)

    def down(self):
        """Return the seconds that `docker compose down` takes; the data stays."""
        return seconds(lambda: self.compose("down"))

    def empty(self):
        """Remove the data."""
        self.compose("down --volumes")
        sh(f"docker run --rm -v '{self.folder}:/folder' postgres:18-trixie rm -rf /folder/data")

    def bring(self):
        """Bring the code in the folder into production, as its users do."""
        self.run("make up" if self.kind == "prod" else "docker compose up --detach --build")

    def edit(self):
        """Save another text for the page /edited/. Return the text."""
        new = f"edit {self.edits + 1}"
        self.source.write_text(self.source.read_text().replace(f'"edit {self.edits}"', f'"{new}"'))
        self.edits += 1
        return new

    @contextlib.contextmanager
    def serving_files(self):
        """Start development as its users do, so that it serves what is saved. Only in dev is this another command than `up`."""
        if self.kind != "dev":
            self.up()
            yield
            return
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        environment = {**os.environ, **self.variables}
        listed = "docker ps -q --filter name=bench-dev-frontend-run"
        with subprocess.Popen(["make", "watch"], cwd=self.folder, env=environment, start_new_session=True, **options) as make:
            try:
                wait_for(lambda: sh(listed), "the container of make watch")
                yield
            finally:
                # As Ctrl-C does. make would pass a SIGTERM on, and after a second one Compose leaves the container running.
                os.killpg(make.pid, signal.SIGINT)
        try:
            wait_for(lambda: not sh(listed), "the end of make watch", limit=30)
        except TimeoutError:
            # Seen once: Compose left the container running, as after a second Ctrl-C.
            sh(f"{listed} | xargs docker rm -f")


class Example(Stack):
    """A copy of the Django folder: tutorial, gunicorn, runserver, dev, prod or granian (prod without serve.py)."""

    def __init__(self, kind, folder, port):
        """Make the copy in `folder`, and its images."""
        super().__init__(kind, port)
        ignored = shutil.ignore_patterns("data*", "backups", "secrets", ".env")
        self.folder = Path(shutil.copytree(DJANGO, folder / kind / "django", ignore=ignored))
        self.source = self.folder / self.urls
        self.add_pages()
        self.variables |= {"DJANGO_NAME": f"bench-{kind}", "PORT": str(port), "PROXY_PORT": str(port + 20), "DB_PORT": "0"}
        if kind in ("prod", "granian"):
            self.folder /= "production"
            write(self.folder / ".env", SETTINGS | {"HTTP_PORT": port + 20, "HTTPS_PORT": port + 40})
            sh("sh make-secrets.sh && chmod a+r Caddyfile create_app_user.sql", cwd=self.folder)
        else:
            secrets = folder / kind / "secrets"
            secrets.mkdir()
            values = SETTINGS | SECRETS | {"PGDATA": "/var/lib/postgresql/data/pgdata"}
            write(secrets / "secrets.txt", values if kind == "gunicorn" else values | DEVELOPMENT)
        if kind in (*OTHERS, "runserver"):
            name = "tutorial" if kind == "tutorial" else "gunicorn"
            shutil.copy(BENCH / f"{name}-compose.yaml", self.folder / "docker-compose.yaml")
            shutil.copy(BENCH / f"{name}-django.Dockerfile", self.folder)
        if kind in OVERRIDES:
            override = f"services: {{frontend: {{{OVERRIDES[kind]}}}}}\n"
            (self.folder / "docker-compose.override.yaml").write_text(override)
        self.compose("build")

    @property
    def frontend(self):
        """The name of the container that serves Django."""
        return "bench-dev" if self.kind == "dev" else super().frontend


class Peer(Stack):
    """A copy of the peer: peer (production), or peer_dev, with its own settings for development. Without Redis and Celery."""

    services, urls = "web postgres", "src/config/urls.py"

    def __init__(self, kind, checkout, port):
        """Copy `checkout`, apply PEER_CHANGES, and make the image."""
        super().__init__(kind, port)
        self.folder = Path(shutil.copytree(checkout, checkout.with_name(kind)))
        self.source = self.folder / self.urls
        self.add_pages()
        for name, changes in PEER_CHANGES.items():
            file = self.folder / name
            for old, new in changes.items():
                changed, found = re.subn(old, new, file.read_text())
                if not found:
                    raise ValueError(f"{file} lacks {old}")
                file.write_text(changed)
        # The file for production has only what has no default. The later of two lines counts.
        values = {"SECRET_KEY": WORD, "POSTGRES_USER": "hello", "POSTGRES_PASSWORD": WORD, "ALLOWED_HOSTS": HOSTS}
        write(self.folder / ".env", values)
        if kind == "peer_dev":
            shutil.copy(self.folder / ".env.example", self.folder / ".env")
        with (self.folder / ".env").open("a") as file:
            file.write(f"COMPOSE_PROFILES=postgres,web\nDOCKER_WEB_PORT_FORWARD=127.0.0.1:{port}\n")
        # The user in its containers must be able to write to the folders that they mount.
        self.run("chmod -R a+rwX .")
        self.compose("build web")
        self.migrated = False

    def up(self):
        """Return the seconds as for the others. With an empty database, add those of the command that its README says to type."""
        taken = super().up()
        if not self.migrated:
            migrate = "exec -T web timeout 60 sh -c 'until python3 manage.py migrate; do sleep 0.1; done'"
            taken += seconds(lambda: self.compose(migrate))
            self.migrated = True
        return taken

    def empty(self):
        """Remove the data."""
        self.compose("down --volumes")
        self.migrated = False


def peers(folder, port):
    """Return the peer's two projects, or none, with one line that says why, if its files cannot be had."""
    source, checkout = os.environ.get("PEER") or PEER, folder / "checkout"
    clone = f"git clone -q --no-checkout '{source}' '{checkout}' && git -C '{checkout}' checkout -q {PEER_COMMIT}"
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    with contextlib.suppress(subprocess.TimeoutExpired):
        if not subprocess.run(clone, shell=True, env=environment, capture_output=True, timeout=120).returncode:
            return [Peer(kind, checkout, port + number) for number, kind in enumerate(("peer", "peer_dev"))]
    print(f"not measured: the peer, because {source} has no commit {PEER_COMMIT[:7]}", file=sys.stderr, flush=True)
    return []
