"""What holds for the images of all three folders: two builds make the same files, what is in them, and how they stop."""

import hashlib
import json
import subprocess
import tarfile

import pytest
from conftest import DJANGO, ROOT, exit_code, sh, until
from test_flask import FOLDERS

pytestmark = pytest.mark.parametrize("folder", [*FOLDERS, DJANGO])


def content(image):
    """Return {path: mode, owner and SHA-256 or link} of all that an image holds; dates are left out."""
    container = sh(f"docker create {image}")
    found = {}
    with (
        subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as export,
        tarfile.open(fileobj=export.stdout, mode="r|") as archive,
    ):
        for member in archive:
            data = hashlib.sha256(archive.extractfile(member).read()).hexdigest() if member.isfile() else member.linkname
            found[member.name] = (member.mode, member.uid, member.gid, data)
    sh(f"docker rm {container}")
    return found


@pytest.mark.parametrize("target", ["dev", "prod"])
def test_two_builds_without_a_cache_have_the_same_paths_and_hashes(folder, target, name):
    first, second = [
        sh(f"docker build -q --no-cache --target {target} -t {name}:{tag} .", cwd=ROOT / folder) and content(f"{name}:{tag}")
        for tag in ("first", "second")
    ]
    assert {path for path in first.keys() | second.keys() if first.get(path) != second.get(path)} == set()
    left = [path for path in first if path.startswith(("root/.cache/pip/", "var/lib/apt/lists/deb", "tmp/"))]
    assert "app/requirements.txt" in first and left == []
    compiled = [path for path in first if path.endswith(".pyc") and ("/flask/" in path or "/django/" in path)]
    assert len(compiled) > 10


def test_the_image_says_what_it_is(folder, name):
    sh(f"docker build -q -t {name} .", cwd=ROOT / folder)
    labels = json.loads(sh(f"docker image inspect {name}"))[0]["Config"]["Labels"]
    for key in ("title", "description", "licenses"):
        assert labels[f"org.opencontainers.image.{key}"]


def test_production_stopped_before_granian_listens_ends_with_exit_code_0(folder, name):
    sh(f"docker build -q --target prod -t {name} .", cwd=ROOT / folder)
    program = "import time; print('begun', flush=True); time.sleep(60)"
    sh(f'docker run -d --name {name} {name} python -c "{program}"')
    until(lambda: "begun" in sh(f"docker logs {name}"), 20)
    assert exit_code(name) == "0"
