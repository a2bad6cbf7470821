"""Tests of the top Makefile: all three examples, the secrets, and the doctor."""

import os
import re
import socket
import stat

import requests
from projects import Clone, copy
from shell import ROOT, sh


def test_make_up_in_a_fresh_clone_starts_all_examples_and_prints_their_addresses(clone, tmp_path):
    printed = clone.make("up")
    for port in clone.ports[:3]:
        assert f"http://localhost:{port}" in printed
    assert "Log in with DJANGO_SUPERUSER" in printed
    texts = ["Flask is running", "Flask is running", "The install worked successfully"]
    for port, text in zip(clone.ports[:3], texts, strict=True):
        assert text in requests.get(f"http://127.0.0.1:{port}", timeout=5).text
    passwords = re.findall(r"^(?:POSTGRES|DJANGO_SUPERUSER)_PASSWORD=(.*)", secrets(clone).read_text(), re.MULTILINE)
    assert len(passwords) == 2 and not any(password in printed for password in passwords)

    listed = clone.make("ps")
    assert f"flask{clone.suffix}" in listed and f"django{clone.suffix}" in listed

    # `make up` in another clone fails, because the container names are in use.
    second = Clone(tmp_path / "second")
    second.suffix = clone.suffix
    said = second.make("up", ok=False)
    assert f'The container name "/flask{clone.suffix}" is already in use' in said

    clone.make("down")
    # Running it again is not an error.
    clone.make("down")
    assert sh(f"docker ps -aq --filter name={clone.suffix}") == ""
    data = clone.folder / f"03-docker-compose-django/data{clone.suffix}"
    assert (data / "postgres/data/pgdata").is_dir()
    clone.make("clean")
    assert not data.exists()
    assert sh(f"docker image ls -q --filter reference='*{clone.suffix}*'") == ""
    assert secrets(clone).exists()


def secrets(clone):
    """Return the path of a clone's secrets file."""
    return clone.folder / "secrets" / "secrets.txt"


def test_make_secrets_creates_random_passwords_that_only_the_owner_can_read(clone):
    printed = clone.make("secrets")
    text = secrets(clone).read_text()
    assert stat.S_IMODE(secrets(clone).stat().st_mode) == 0o600
    assert stat.S_IMODE(secrets(clone).parent.stat().st_mode) == 0o700
    keys = re.compile(r"^(\w+)=(.*)$", re.MULTILINE)
    made, example = dict(keys.findall(text)), dict(keys.findall((ROOT / "secrets.example").read_text()))
    assert made.keys() == example.keys() and "=change-me" not in text
    random = [key for key, value in example.items() if value == "change-me"]
    assert random == ["POSTGRES_PASSWORD", "DJANGO_SUPERUSER_PASSWORD"]
    assert all(re.fullmatch(r"[A-Za-z0-9]{50}", made[key]) for key in random)
    assert len({made[key] for key in random}) == 2 and not any(made[key] in printed for key in random)
    assert all(made[key] == example[key] for key in made.keys() - set(random))

    secrets(clone).write_text("mine=1\n")
    clone.make("secrets")
    assert secrets(clone).read_text() == "mine=1\n"
    secrets(clone).unlink()


def test_git_ignores_the_secrets_and_the_data():
    for path in (
        "secrets/secrets.txt",
        "03-docker-compose-django/data/postgres/data/pgdata/PG_VERSION",
        "03-docker-compose-django/data2/x",
    ):
        assert sh(f"git check-ignore {path}") == path


def test_start_sh_keeps_linux_line_endings_on_windows():
    assert "eol: lf" in sh("git check-attr eol -- 03-docker-compose-django/start.sh")


def test_make_without_a_target_lists_every_target():
    printed = sh("make")
    for target in "up down ps clean secrets doctor test bench pictures lint engine engine-down engine-clean".split():
        assert f"make {target} " in printed


def test_doctor_reports_no_problem_if_everything_works(clone):
    clone.make("secrets")
    printed = clone.make("doctor")
    assert "Hello from Docker!" in printed.splitlines()[-1]


def test_doctor_names_a_port_that_is_in_use(clone):
    port = clone.ports[2]
    with socket.create_server(("127.0.0.1", port)):
        printed = clone.make("doctor", ok=False)
    assert re.search(rf"{port}.*taken", printed)


def test_doctor_says_what_to_type_if_another_clone_has_a_port(clone, name):
    label = "--label com.docker.compose.project.working_dir=/elsewhere/03-docker-compose-django"
    sh(f"docker run -d --name {name} {label} -p 127.0.0.1:{clone.ports[2]}:80 python:3.14-slim-trixie sleep 600")
    printed = clone.make("doctor", ok=False)
    assert f"taken by {name}, the container of another clone" in printed
    (row,) = re.findall(
        r'^\| `The container name "/flask".*`(make up SUFFIX=2 .*?)`', (ROOT / "README.md").read_text(), re.MULTILINE
    )
    assert row in printed


def test_doctor_names_missing_and_empty_keys(clone):
    clone.make("secrets")
    text = secrets(clone).read_text()
    secrets(clone).write_text(re.sub("^POSTGRES_DB=.*", "POSTGRES_DB=", text, flags=re.MULTILINE).replace("LIFECYCLE=dev\n", ""))
    printed = clone.make("doctor", ok=False)
    assert "POSTGRES_DB" in printed and "LIFECYCLE" in printed
    secrets(clone).write_text(text)


def test_doctor_names_a_proxy_and_a_file_system_that_are_in_the_way(clone):
    tools = clone.folder / "tools"
    tools.mkdir()
    # On a Windows drive in WSL, chmod succeeds but changes nothing.
    (tools / "chmod").write_text("#!/bin/sh\n")
    (tools / "chmod").chmod(0o755)
    environment = {key: value for key, value in os.environ.items() if key.lower() != "no_proxy"}
    environment |= {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "http_proxy": "http://192.0.2.1:3128",
        "DOCKER_HOST": "unix:///nowhere",
    }
    printed = clone.make("doctor", ok=False, env=environment)
    assert "chmod has no effect here" in printed and "export no_proxy=localhost,127.0.0.1" in printed, printed


def test_doctor_names_an_engine_that_does_not_answer(clone):
    environment = {**os.environ, "DOCKER_HOST": "unix:///nowhere/docker.sock"}
    printed = clone.make("doctor", ok=False, env=environment)
    assert "unix:///nowhere/docker.sock" in printed


def test_make_lock_keeps_the_old_files_if_it_fails(tmp_path):
    for file in ("requirements.in", "requirements-production.in"):
        mine = copy("01-docker-flask", tmp_path / file)
        before = [(mine / lock).read_text() for lock in ("requirements.txt", "requirements-production.txt")]
        (mine / file).write_text("flask==0.0.0.404\n")
        sh("make lock", cwd=mine, ok=False)
        assert [(mine / lock).read_text() for lock in ("requirements.txt", "requirements-production.txt")] == before
