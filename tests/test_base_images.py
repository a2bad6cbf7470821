"""The images that the examples stand on: others by build argument, as with a mirror, and whether there are newer ones.

CI gives the version of Python in the environment (PYTHON=3.14).
"""

import os
import re
import warnings

import pytest
import requests
from conftest import DJANGO, ROOT, answers, sh, until
from test_flask import FOLDERS

PYTHON = os.environ.get("PYTHON") or "3.14"
IMAGES = {folder: re.search("^ARG PYTHON_IMAGE=(.+)", (ROOT / folder / "Dockerfile").read_text(), re.M)[1] for folder in FOLDERS}
POSTGRES = re.search(r"^POSTGRES_IMAGE \?= (.+)", (ROOT / DJANGO / "ops.mk").read_text(), re.M)[1]


def mirror(official, name):
    """Make an image that is the official one under another name, and says so in its environment; return its name."""
    sh(f"docker image inspect {official} || docker pull {official}")
    sh(f"printf 'FROM {official}\nENV MIRROR=yes\n' | docker build -t {name}:{official.split(':')[0]} -")
    return f"{name}:{official.split(':')[0]}"


@pytest.mark.parametrize("target", ["run", "production"])
@pytest.mark.parametrize("folder", FOLDERS)
def test_flask_runs_on_another_base_by_build_argument(folder, target, name, port):
    base = mirror(IMAGES[folder].replace("3.14", PYTHON), name)
    sh(f"make {target} PYTHON_IMAGE={base} CONTAINER={name} IMAGE={name} PORT={port}", cwd=ROOT / folder)
    until(lambda: answers(f"http://127.0.0.1:{port}"), 20)
    assert "Flask is running" in requests.get(f"http://127.0.0.1:{port}", timeout=5).text
    assert sh(f"docker exec {name} printenv MIRROR") == "yes"
    assert sh(f"docker exec {name} python --version").startswith(f"Python {PYTHON}.")
    sh(f"docker stop {name}")


@pytest.mark.parametrize("lifecycle", ["dev", "prod"])
def test_django_runs_on_other_bases_by_build_argument(lifecycle, project, name):
    if lifecycle == "prod":
        project.production()
    base, postgres = mirror(IMAGES[FOLDERS[0]].replace("3.14", PYTHON), name), mirror(POSTGRES, name)
    project.sh(f"make up PYTHON_IMAGE={base} POSTGRES_IMAGE={postgres}")
    assert "Log in" in requests.get(f"{project.url}/admin/", timeout=5).text
    for service in ("frontend", "backend"):
        assert "MIRROR=yes" in project.container(service)["Config"]["Env"]
    assert sh(f"docker exec {project.name}-django python --version").startswith(f"Python {PYTHON}.")
    project.sh("make down")


def test_newer_base_images_are_named_where_docker_hub_is_in_reach():
    """Dependabot does not follow an ARG in FROM. A newer tag is a warning, a lost one a failure."""
    used = sorted({*IMAGES.values(), POSTGRES})
    if not sh("docker manifest inspect hello-world:latest", ok=None).startswith("{"):
        pytest.skip(f"Docker Hub is out of reach: whether there is something newer than {', '.join(used)} cannot be asked")
    for tag in used:
        sh(f"docker manifest inspect {tag}")
        for number in re.finditer(r"\d+(?=-|$)", tag):
            newer = f"{tag[: number.start()]}{int(number[0]) + 1}{tag[number.end() :]}"
            if sh(f"docker manifest inspect {newer}", ok=None).startswith("{"):
                warnings.warn(f"{tag}: there is {newer}", stacklevel=1)
