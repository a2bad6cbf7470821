"""01-docker-flask and 02-docker-flask-alpine: what the tutorial promises of them, and what `make help` lists."""

import os
import pty
import shutil
import subprocess

import pytest
import requests
from conftest import ROOT, copy, exit_code, free_port, sh

PAGE = "<h1>Flask is running</h1><p>Awesome, that worked.  Now add more code.</p>"
FOLDERS = ["01-docker-flask", "02-docker-flask-alpine"]
pytestmark = pytest.mark.parametrize("folder", FOLDERS)


@pytest.fixture
def place(folder):
    """Return the folder's full path."""
    return ROOT / folder


def health(name):
    """Return what Docker's health check says of a container."""
    return sh(f"docker container inspect -f '{{{{.State.Health.Status}}}}' {name}")


def test_the_tutorials_two_commands_serve_its_page(place, name, port):
    sh(f"docker build -t {name}:latest .", cwd=place)
    sh(f"docker run --name {name} --rm -d -p {port}:8080 {name}:latest", cwd=place)
    assert sh(f"curl -s --retry 20 --retry-all-errors --retry-delay 1 http://localhost:{port}") == PAGE


def test_make_run_returns_when_the_page_answers(place, name, port):
    printed = sh(f"make run NAME={name} PORT={port} IMAGE={name}", cwd=place)
    assert f"Flask answers: http://localhost:{port}" in printed
    assert requests.get(f"http://127.0.0.1:{port}", timeout=5).text == PAGE
    assert health(name) == "healthy"


def test_make_run_replaces_its_own_earlier_container(place, name, port):
    sh(f"make run NAME={name} PORT={port} IMAGE={name}", cwd=place)
    first = sh(f"docker container inspect -f '{{{{.Id}}}}' {name}")
    sh(f"make run NAME={name} PORT={port} IMAGE={name}", cwd=place)
    assert sh(f"docker container inspect -f '{{{{.Id}}}}' {name}") != first
    assert requests.get(f"http://127.0.0.1:{port}", timeout=5).text == PAGE


def test_make_run_leaves_another_checkouts_container_alone(place, name, port, folder, tmp_path):
    other = copy(folder, tmp_path / "another clone")
    sh(f"make run NAME={name} PORT={port} IMAGE={name}", cwd=other)
    first = sh(f"docker container inspect -f '{{{{.Id}}}}' {name}")
    for target in ("run", "kill"):
        printed = sh(f"make {target} NAME={name} PORT={free_port()} IMAGE={name}", cwd=place, ok=False)
        assert f"belongs to {other}" in printed and f"make {target} NAME={name}2" in printed
    assert sh(f"docker container inspect -f '{{{{.Id}}}}' {name}") == first
    sh(f"make kill NAME={name} IMAGE={name}", cwd=other)


def test_make_run_leaves_a_strangers_container_alone(place, name, port, folder):
    stranger = sh(f"docker run -d --name {name} python:3.14-slim-trixie python -c 'input()' < /dev/null")
    printed = sh(f"make run NAME={name} PORT={port} IMAGE={name}-image", cwd=place, ok=False)
    assert "belongs to python:3.14-slim-trixie" in printed
    assert sh(f"docker container inspect -f '{{{{.Id}}}}' {name}") == stranger


def test_stops_by_its_signal_with_exit_code_0(place, name):
    sh(f"docker build -t {name} .", cwd=place)
    sh(f"docker run -d --name {name} {name}")
    ask = "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080')"
    sh(f'until docker exec {name} python -c "{ask}"; do sleep 0.1; done')
    assert exit_code(name) == "0"


def test_is_not_root_and_owns_none_of_the_code(place, name):
    sh(f"docker build -t {name} .", cwd=place)
    assert sh(f"docker run --rm {name} id -un") == "myuser"
    assert "flaskapp.py" in sh(f"docker run --rm {name} ls /app")
    assert sh(f"docker run --rm {name} find /app -user myuser") == ""
    assert "Permission denied" in sh(f"docker run --rm {name} touch /app/flaskapp.py", ok=False)


@pytest.mark.alone  # beside a build with --no-cache of the same folder, BuildKit runs pip
def test_an_edit_of_the_code_rebuilds_without_pip(place, folder, name, port, tmp_path):
    mine = copy(folder, tmp_path)
    sh(f"docker build -t {name} .", cwd=mine)
    source = mine / "flaskapp.py"
    source.write_text(source.read_text().replace("Awesome", f"Edited {name}"))
    printed = sh(f"docker build --progress=plain -t {name} .", cwd=mine)
    pip = next(line.split()[0] for line in printed.splitlines() if "pip install" in line)
    assert f"{pip} CACHED" in printed and "Collecting" not in printed, printed
    sh(f"make run NAME={name} PORT={port} IMAGE={name}", cwd=mine)
    assert f"Edited {name}" in requests.get(f"http://127.0.0.1:{port}", timeout=5).text


def test_a_changed_hash_stops_the_build(folder, name, tmp_path):
    mine = copy(folder, tmp_path)
    lock = mine / "requirements.txt"
    lines = [line for line in lock.read_text().splitlines() if "# via" not in line]
    flask = next(i for i, line in enumerate(lines) if line.startswith("flask=="))
    del lines[flask + 1 : flask + 3]
    lines[flask] = f"{lines[flask].split()[0]} --hash=sha256:{'0' * 64}"
    lock.write_text("\n".join(lines))
    assert "DO NOT MATCH THE HASHES" in sh(f"docker build --progress=plain -t {name} .", cwd=mine, ok=False)


def test_the_folder_works_alone_copied_out(folder, name, port, tmp_path):
    alone = copy(folder, tmp_path / "a project of mine")
    sh(f"make run NAME={name} PORT={port} IMAGE={name}", cwd=alone)
    assert requests.get(f"http://127.0.0.1:{port}", timeout=5).text == PAGE


def test_only_the_named_files_go_into_the_image(folder, name, tmp_path):
    mine = copy(folder, tmp_path)
    (mine / ".env").write_text("PASSWORD=canary-in-the-build-context")
    (mine / "notes.txt").write_text("canary-in-the-build-context")
    sh(f"docker build -t {name} .", cwd=mine)
    assert sh(f"docker run --rm {name} ls -A /app").split() == ["flaskapp.py", "requirements.txt"]


def test_a_port_that_is_taken_is_named_with_the_way_out(place, name, port):
    with subprocess.Popen(["python3", "-m", "http.server", "--bind", "127.0.0.1", str(port)], stderr=subprocess.DEVNULL) as web:
        try:
            sh(f"curl -s -o /dev/null --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1:{port}")
            printed = sh(f"make run NAME={name} PORT={port} IMAGE={name}", cwd=place, ok=False)
        finally:
            web.terminate()
    assert f"port {port} is taken" in printed and "make run PORT=" in printed
    assert sh(f"docker ps -aq --filter name={name}") == ""


def test_make_connect_opens_a_shell_in_the_running_container_or_in_a_new_one(place, name, port):
    sh(f"make build IMAGE={name}", cwd=place)
    assert "myuser" in sh(f"echo whoami | make connect NAME={name} IMAGE={name}", cwd=place, stdin=None)
    sh(f"make run NAME={name} PORT={port} IMAGE={name}", cwd=place)
    hostname = sh(f"docker container inspect -f '{{{{.Config.Hostname}}}}' {name}")
    assert hostname in sh(f"echo hostname | make connect NAME={name} IMAGE={name}", cwd=place, stdin=None)


def test_the_tutorials_interactive_shell_opens_on_a_terminal(place, name, folder):
    sh(f"docker build -t {name} .", cwd=place)
    shell = "/bin/bash" if folder.startswith("01") else "/bin/sh"
    keyboard, terminal = pty.openpty()
    with subprocess.Popen(["docker", "run", "--rm", "-it", name, shell], stdin=terminal, stdout=terminal) as session:
        os.write(keyboard, b"echo $((6 * 7))-$(whoami); exit\n")
        assert session.wait(timeout=60) == 0
    os.close(terminal)
    seen = b""
    while b"42-myuser" not in seen:
        seen += os.read(keyboard, 1024)  # raises at the end of what the terminal showed
    os.close(keyboard)


def test_make_logs_and_kill(place, name, port):
    sh(f"make run NAME={name} PORT={port} IMAGE={name}", cwd=place)
    assert "Running on http://127.0.0.1:8080" in sh(f"make logs NAME={name}", cwd=place)
    sh(f"make kill NAME={name} IMAGE={name}", cwd=place)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port}", timeout=5)


def test_make_browse_calls_the_systems_opener(place, port, tmp_path):
    opener = tmp_path / "xdg-open"
    opener.write_text("#!/bin/sh\necho opening $1\n")
    opener.chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    assert sh(f"make browse PORT={port}", cwd=place, env={**os.environ, "PATH": path}) == f"opening http://localhost:{port}"
    opener.unlink()
    if not shutil.which("xdg-open") and not shutil.which("open"):
        assert f"http://localhost:{port}" in sh(f"make browse PORT={port}", cwd=place)


def test_make_help_is_the_default_and_names_every_target(place):
    printed = sh("make", cwd=place)
    for target in ("build", "run", "connect", "browse", "kill", "logs", "lock"):
        assert f"make {target} " in printed


def test_make_lock_writes_hashes_and_no_index_into_files_of_the_callers(folder, tmp_path):
    mine = copy(folder, tmp_path)
    locks = {mine / "requirements.txt": "flask==", mine / "requirements-prod.txt": "granian=="}
    for lock in locks:
        lock.unlink()
    sh("make lock", cwd=mine)
    for lock, word in locks.items():
        text = lock.read_text()
        assert word in text and "werkzeug==" in text and text.count("--hash=sha256:") > 10
        assert "://" not in text and "index-url" not in text and lock.stat().st_uid == os.getuid()
    assert not list(mine.glob("*.new"))


def test_make_lock_keeps_the_old_files_where_it_fails(folder, tmp_path):
    for file in ("requirements.in", "requirements-prod.in"):
        mine = copy(folder, tmp_path / file)
        before = [(mine / lock).read_text() for lock in ("requirements.txt", "requirements-prod.txt")]
        (mine / file).write_text("flask==0.0.0.404\n")
        sh("make lock", cwd=mine, ok=False)
        assert [(mine / lock).read_text() for lock in ("requirements.txt", "requirements-prod.txt")] == before
        assert not list(mine.glob("*.new"))
