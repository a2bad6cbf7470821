"""Tests on linux/arm64 under emulation, which is slow: `make test-arm64` runs them."""

import json
import os
import re
import subprocess
import sys

import pytest
import requests
from pages import PAGE, START_PAGE, log_in, wait_for
from projects import ADMIN_CANARY, copy
from shell import ROOT, sh

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
BUILD = {"timeout": 1500}


def processor(container):
    """Return the processor that a container sees. Its image must be for the same one."""
    image = sh(f"docker container inspect -f '{{{{.Image}}}}' {container}")
    assert json.loads(sh(f"docker image inspect {image}"))[0]["Architecture"] == "arm64"
    return sh(f"docker exec {container} uname -m")


@pytest.mark.parametrize("target", ["run", "production"])
def test_flask_answers(target, name, port, tmp_path):
    mine = copy("01-docker-flask", tmp_path)
    # The emulator of each process needs memory, too: with 256 MB, Linux killed the server beside a health check.
    makefile = mine / "Makefile"
    makefile.write_text(makefile.read_text().replace("--memory 256m", "--memory 1g"))
    sh(f"make {target} CONTAINER={name} PORT={port} IMAGE={name}", cwd=mine, **BUILD)
    assert wait_for(f"http://127.0.0.1:{port}", 120).text == PAGE
    assert processor(name) == "aarch64"


def be_patient(folder):
    """Give the health checks of a copy of 03 more time, because the limits are meant for a real processor."""
    compose = folder / "docker-compose.yaml"
    compose.write_text(re.sub("(start_period|timeout): [0-9]+s", r"\1: 900s", compose.read_text()))


def test_django_answers_and_its_superuser_can_log_in(project):
    be_patient(project.folder)
    project.sh("make up", **BUILD)
    assert START_PAGE in requests.get(project.url, timeout=30).text
    assert "Site administration" in log_in(project.url, limit=60)
    assert {processor(container) for container in project.names.values()} == {"aarch64"}


def test_production_answers_and_its_superuser_can_log_in(prod):
    be_patient(prod.folder)
    prod.sh("make up", **BUILD)
    assert "Site administration" in log_in(prod.url, ADMIN_CANARY, limit=60)
    assert {processor(container) for container in prod.names.values()} == {"aarch64"}


PLATFORMS = {
    "slim": [f"manylinux_2_{minor}_aarch64" for minor in range(17, 42)] + ["manylinux2014_aarch64"],
    "alpine": ["musllinux_1_1_aarch64", "musllinux_1_2_aarch64"],
}


@pytest.mark.parametrize("lock", sorted(ROOT.glob("0*/**/requirements*.txt")), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_locked_package_has_a_wheel(lock, tmp_path):
    # pip takes the highest version of Python from the Dockerfile, and the platform of the image.
    version = re.search(r"python:(3\.\d+)", (ROOT / lock.relative_to(ROOT).parts[0] / "Dockerfile").read_text())[1]
    base = "alpine" if "alpine" in str(lock.relative_to(ROOT)) else "slim"
    words = [word for platform in PLATFORMS[base] for word in ("--platform", platform)]
    options = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--python-version", version, "--dest", str(tmp_path)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", *options, *words]
    done = subprocess.run([*command, "-r", str(lock)], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    wheels = sorted(path.name for path in tmp_path.iterdir())
    assert wheels and all(name.endswith(("aarch64.whl", "-any.whl")) for name in wheels)
