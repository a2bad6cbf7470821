"""Tests of the base images: replace them, as you would with a mirror, and look for newer versions.

The environment variable PYTHON selects the version of Python. CI sets it.
"""

import os
import re
import warnings

import pytest
import requests
from pages import wait_for
from projects import DJANGO, FLASK
from shell import ROOT, sh

PYTHON = os.environ.get("PYTHON") or "3.14"
IMAGES = {folder: re.search("^ARG PYTHON_IMAGE=(.+)", (ROOT / folder / "Dockerfile").read_text(), re.M)[1] for folder in FLASK}
POSTGRES = re.search(r"^POSTGRES_IMAGE \?= (.+)", (ROOT / DJANGO / "Makefile").read_text(), re.M)[1]
CADDY = re.search(r"CADDY_IMAGE:-(.+)}", (ROOT / DJANGO / "production/docker-compose.yaml").read_text())[1]


def mirror(official, name):
    """Give an official image another name, as a mirror does. Return this name."""
    sh(f"docker image inspect {official} || docker pull {official}")
    sh(f"docker tag {official} {name}:{official.split(':')[0]}")
    return f"{name}:{official.split(':')[0]}"


@pytest.mark.parametrize(("folder", "target"), [(FLASK[0], "run"), (FLASK[1], "production")])
def test_flask_runs_on_another_base_image(folder, target, name, port):
    base = mirror(IMAGES[folder].replace("3.14", PYTHON), name)
    printed = sh(f"make {target} PYTHON_IMAGE={base} CONTAINER={name} IMAGE={name} PORT={port}", cwd=ROOT / folder)
    assert f"FROM docker.io/library/{base}" in printed
    assert "Flask is running" in wait_for(f"http://127.0.0.1:{port}", 20).text
    assert sh(f"docker exec {name} python --version").startswith(f"Python {PYTHON}.")
    sh(f"docker stop {name}")


@pytest.mark.parametrize("kind", ["project", "prod"])
def test_django_runs_on_other_base_images(kind, request, name):
    one = request.getfixturevalue(kind)
    base, postgres = mirror(IMAGES[FLASK[0]].replace("3.14", PYTHON), name), mirror(POSTGRES, name)
    variables = f"PYTHON_IMAGE={base} POSTGRES_IMAGE={postgres}"
    if kind == "prod":
        variables += f" CADDY_IMAGE={mirror(CADDY, name)}"
    assert f"FROM docker.io/library/{base}" in one.sh(f"make up {variables}")
    assert "Log in" in requests.get(f"{one.url}/admin/", timeout=5).text
    for service in set(one.names) - {"frontend"}:
        assert one.container(service)["Config"]["Image"].startswith(f"{name}:")
    assert sh(f"docker exec {one.names['frontend']} python --version").startswith(f"Python {PYTHON}.")
    one.sh("make down")


def test_the_base_images_exist_on_docker_hub_and_newer_versions_give_a_warning():
    """Dependabot does not read an ARG in FROM, so check here. A newer tag gives a warning. A missing tag is a failure."""
    used = sorted({*IMAGES.values(), POSTGRES, CADDY})
    if not sh("docker manifest inspect hello-world:latest", ok=None).startswith("{"):
        pytest.skip(f"Docker Hub is out of reach, so the test cannot look for newer versions of {', '.join(used)}")
    for tag in used:
        sh(f"docker manifest inspect {tag}")
        for number in re.finditer(r"\d+(?=-|$)", tag):
            newer = f"{tag[: number.start()]}{int(number[0]) + 1}{tag[number.end() :]}"
            if sh(f"docker manifest inspect {newer}", ok=None).startswith("{"):
                warnings.warn(f"{tag}: there is {newer}", stacklevel=1)
