"""Copies of the examples for the tests, with their own names, ports and secrets.

`copy` copies one folder. Project is 03, Production is its folder production/, and Clone is the whole repository.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import uuid
from pathlib import Path

from shell import ROOT, free_port, sh

FLASK = ["01-docker-flask", "02-docker-flask-alpine"]
DJANGO = "03-docker-compose-django"

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
# The password of its superuser.
PASSWORD = "appnameOtwEgXAAPj5ZLmsQ"

# Unique values for the secrets. The tests search for them in places that must not contain a secret.
POSTGRES_CANARY = "canary-of-the-database"
ADMIN_CANARY = "canary-of-the-administrator"
KEY_CANARY = "canary-of-the-secret-key-which-django-wants-to-have-fifty-characters-0123456789"
SECRET_CANARIES = {
    "POSTGRES_PASSWORD": POSTGRES_CANARY, "DJANGO_SUPERUSER_PASSWORD": ADMIN_CANARY, "DJANGO_SECRET_KEY": KEY_CANARY
}  # fmt: skip

# Patterns for the images of finished tests. Each removal makes the engine search all of its images, so do it once, at the end.
USED_IMAGES = []


def copy(folder, into):
    """Copy an example folder into the folder `into`, without the files that git ignores. Return the path of the copy."""
    ignored = shutil.ignore_patterns("data*", "backups", "secrets", ".env", "__pycache__", "*.new")
    return Path(shutil.copytree(ROOT / folder, Path(into) / folder, ignore=ignored))


def commit_all(folder):
    """Make a git repository out of a folder, with one commit."""
    sh("git init -q && git add -A && git -c user.name=test -c user.email=test@example.com commit -qm copied", cwd=folder)


class Begun(subprocess.Popen):
    """A command that `with` stops if the test fails. pytest then shows what it printed."""

    def __exit__(self, kind, error, trace):
        """Stop the command after an error."""
        if kind:
            if self.poll() is None:
                os.killpg(self.pid, signal.SIGINT)
            if self.stdout and not self.stdout.closed:
                print(self.communicate(timeout=30)[0])
        super().__exit__(kind, error, trace)


class ComposeProject:
    """What Project and Production share: `folder`, `variables` for its commands, and the container of each service in `names`."""

    def sh(self, command, **options):
        """Run a shell command in the project's folder, with its names and ports as environment variables."""
        return sh(command, cwd=self.folder, env={**os.environ, **self.variables}, **options)

    def begin(self, command, **streams):
        """Start a command like `sh`, but don't wait for it. Return the Popen; `stdout` has the whole output.

        It has a process group of its own, which os.killpg stops as Ctrl-C does. `streams` replaces Popen's streams.
        """
        environment, pipes = {**os.environ, **self.variables}, {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        options = {"stdin": subprocess.DEVNULL, "text": True, "start_new_session": True, **pipes, **streams}
        return Begun(command.split(), cwd=self.folder, env=environment, **options)

    def container(self, service):
        """Return what `docker container inspect` says of a service's container."""
        return json.loads(sh(f"docker container inspect {self.names[service]}"))[0]


class Project(ComposeProject):
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

    def sql(self, query):
        """Run a query with psql. Return its output without headings."""
        inside = 'psql -qAt -U "$POSTGRES_USER" -d appname_db'
        return self.sh(f"docker compose exec -T backend sh -c '{inside}'", input=query, stdin=None)

    def remove(self):
        """Remove everything that belongs to the project, in whatever state a test left it."""
        self.secrets.write_text(TUTORIAL_SECRETS)
        self.sh("docker compose down --timeout 0 --volumes --remove-orphans")
        USED_IMAGES.append(f"{self.name}-*")
        if (self.folder / "data").exists():
            sh(f"docker run --rm -v '{self.folder}:/folder' postgres:18-trixie rm -rf /folder/data")


class Production(ComposeProject):
    """A copy of the Django folder, for its folder production/, with its own name, ports, settings and secrets.

    Caddy serves plain HTTP, because most tests need no certificate. test_production.py also tests TLS.
    """

    def __init__(self, base, example=None):
        """Create the copy in the folder `base`, or use an existing one. Its path contains a space."""
        self.example = example or copy(DJANGO, base / "a clone")
        self.folder, self.variables = self.example / "production", {}
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

    def sql(self, query):
        """Run a query with psql, as the superuser of the database. Return its output without headings."""
        return self.sh("docker compose exec -T backend psql -qAt -d appname_db", input=query, stdin=None)

    def remove(self):
        """Remove everything that belongs to the project, in whatever state a test left it."""
        self.write_settings()
        self.sh("docker compose down --timeout 0 --volumes --remove-orphans")
        USED_IMAGES.append(f"{self.name}-*")


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
        commit_all(self.folder)
        self.suffix = f"-test-{uuid.uuid4().hex[:8]}"
        self.ports = [free_port() for _ in range(4)]
        names = ["FLASK_PORT", "ALPINE_PORT", "DJANGO_PORT", "DB_PORT"]
        self.variables = " ".join(f"{name}={port}" for name, port in zip(names, self.ports, strict=True))

    def make(self, target, **options):
        """Run make with the names and ports of this clone. Return its output."""
        return sh(f"make {target} SUFFIX={self.suffix} {self.variables}", cwd=self.folder, **options)
