"""Tests of the base images: their names in the examples, images with the same names from elsewhere, and Docker Hub."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import requests
from projects import FLASK
from recipes import commands
from shell import ROOT, sh

FILES = {path: (ROOT / path).read_text() for path in sh("git ls-files 0* README.md").splitlines() if not path.endswith(".png")}
IMAGES = sorted({image for text in FILES.values() for image in re.findall(r"^(?:FROM| +image:) ([^$\s]+)$", text, re.MULTILINE)})

# Runs in an image: shows the mark of the mirror, and the certificates that Python trusts.
SHOW = """
import os, ssl
print(os.environ["MIRROR"], ssl.create_default_context(cafile="/etc/ssl/certs/ca-certificates.crt").get_ca_certs())
"""


def test_the_examples_name_one_version_of_each_image_in_plain_words():
    assert [image.split(":")[0] for image in IMAGES] == ["caddy", "postgres", "python", "python"]
    # Two are the tutorial's, and one is an example of a newer version.
    old = {"python:3.10.4-slim-buster", "postgres:11.15-bullseye", "postgres:19-trixie"}
    for path, text in FILES.items():
        assert set(re.findall(r"\b(?:caddy|postgres|python):\d[\w.-]*\w", text)) - old <= set(IMAGES), path
        if path.endswith("Dockerfile"):
            assert re.search(r"^[A-Z].*", text, re.MULTILINE)[0].startswith("FROM "), path


@pytest.fixture
def official(name):
    """Keep this engine's official images under other names while a test replaces them."""
    for number, image in enumerate(IMAGES):
        sh(f"docker image inspect {image} > /dev/null || docker pull {image}")
        sh(f"docker tag {image} {name}:{number}")
    yield
    for number, image in enumerate(IMAGES):
        sh(f"docker tag {name}:{number} {image}")


# `make test-faults` and `make test-oldest` run it, because it replaces images that other tests use.
@pytest.mark.slow
def test_builds_use_a_mirrors_image_and_a_certificate_that_the_readme_puts_under_the_official_names(
    official, project, name, tmp_path
):
    mirror, certificate = commands(ROOT / "README.md", "A mirror, or a certificate of your network")
    for image in IMAGES:
        sh(f"docker build -q -t mirror.example.com/{image} -", input=f"FROM {image}\nENV MIRROR={name}\n", stdin=None)
    request = f"openssl req -x509 -newkey rsa:2048 -nodes -subj /CN={name} -keyout /dev/null"
    made = sh(f"docker run --rm {IMAGES[-1]} {request} 2> /dev/null")
    # Behind a proxy with its own CA, pip needs the certificates of this machine, too.
    machines = Path(os.environ.get("SSL_CERT_FILE") or requests.certs.where()).read_text()
    (tmp_path / "ca.crt").write_text(f"{made}\n{machines}")
    try:
        # There is no mirror here: its images are on this engine already.
        assert "docker pull mirror" in mirror
        sh(mirror.replace("docker pull", "docker image inspect"), cwd=tmp_path)
        sh(certificate, cwd=tmp_path)
        sh(f"docker build -q -t {name} .", cwd=ROOT / FLASK[0])
        project.sh("docker compose build")
        for image in (IMAGES[-2], name, f"{project.name}-frontend"):
            shown = sh(f"docker run --rm -i {image} python -", input=SHOW, stdin=None)
            assert shown.startswith(name) and f"(('commonName', '{name}'),)" in shown, image
        project.sh("docker compose create backend")
        assert f"MIRROR={name}" in project.container("backend")["Config"]["Env"]
    finally:
        subprocess.run(["docker", "image", "rm", *(f"mirror.example.com/{image}" for image in IMAGES)], capture_output=True)


def test_the_base_images_exist_on_docker_hub():
    if not sh("docker manifest inspect hello-world:latest", ok=None).startswith("{"):
        pytest.skip(f"Docker Hub is out of reach, so the test cannot look for {', '.join(IMAGES)}")
    for image in IMAGES:
        sh(f"docker manifest inspect {image}")
