"""Unusual values in secrets.txt and in secret files: they are read unchanged, or an error message names them."""

import json
import os
import re
import shutil
import subprocess

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from projects import DJANGO, TUTORIAL_SECRETS
from shell import ROOT, sh

IMAGE = "python:3.14-slim-trixie"
READ = "import json, os, sys; json.dump({key: value for key, value in os.environ.items() if key.startswith('K_')}, sys.stdout)"
# All printable ASCII characters except those that `make secrets` refuses.
ACCEPTED = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="$\"'\\#`"), min_size=1, max_size=80)
ANY = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), min_size=1, max_size=80)


@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(ANY)
@example(" p$w 'd\" #@:/\\ ")
@example("\N{BYTE ORDER MARK}word")
@example("\x85\u2028")
@example("x" * 100_000)
def test_every_value_in_a_secret_file_is_read_unchanged(config, value):
    # ANY has no CR, because a CR at the end of a value looks like part of a Windows line ending.
    (config.SECRETS / "KEY").write_bytes(value.encode() + b"\r\n")
    assert config.get_config("KEY") == value


@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(ACCEPTED, min_size=50, max_size=50))
def test_compose_and_docker_run_read_every_accepted_password_unchanged(tmp_path, values):
    file = tmp_path / "values.env"
    file.write_text("".join(f"K_{number}={value}\n" for number, value in enumerate(values)))
    expected = {f"K_{number}": value for number, value in enumerate(values)}
    assert json.loads(sh(f"docker run --rm --env-file '{file}' {IMAGE} python -c \"{READ}\"")) == expected
    compose = {"services": {"one": {"image": IMAGE, "env_file": "values.env"}}}
    (tmp_path / "compose.yaml").write_text(json.dumps(compose))
    shown = json.loads(sh("docker compose -f compose.yaml config --format json", cwd=tmp_path))
    assert {key: value.replace("$$", "$") for key, value in shown["services"]["one"]["environment"].items()} == expected


def write(tmp_path, password):
    """Run `make secrets` with POSTGRES_PASSWORD in the environment; return the completed process."""
    for name in ("Makefile", "secrets.example", "tests", "02-docker-flask-alpine"):
        (tmp_path / name).exists() or (tmp_path / name).symlink_to(ROOT / name)
    # Copy the script, because it changes to the folder that it is in.
    (tmp_path / DJANGO).mkdir(exist_ok=True)
    shutil.copy(ROOT / DJANGO / "make-secrets.sh", tmp_path / DJANGO)
    environment = {**os.environ, "POSTGRES_PASSWORD": password}
    return subprocess.run(["make", "secrets"], cwd=tmp_path, env=environment, capture_output=True, text=True)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(ACCEPTED)
def test_make_secrets_takes_the_password_from_the_environment(tmp_path, password):
    (tmp_path / "secrets/secrets.txt").unlink(missing_ok=True)
    done = write(tmp_path, password)
    assert done.returncode == 0 and (len(password) < 8 or password not in done.stdout + done.stderr)
    assert f"\nPOSTGRES_PASSWORD={password}\n" in (tmp_path / "secrets/secrets.txt").read_text()


def test_make_secrets_replaces_an_empty_password_of_the_environment(tmp_path):
    assert write(tmp_path, "").returncode == 0
    assert re.search(r"^POSTGRES_PASSWORD=\w{50}$", (tmp_path / "secrets/secrets.txt").read_text(), re.MULTILINE)


def test_make_secrets_reads_a_last_line_without_a_line_break(tmp_path):
    (tmp_path / "secrets.example").write_text("FIRST=1\nAPI_KEY=change-me")
    assert write(tmp_path, "").returncode == 0
    assert re.fullmatch(r"FIRST=1\nAPI_KEY=\w{50}\n", (tmp_path / "secrets/secrets.txt").read_text())


@pytest.mark.parametrize("password", ["p$w", "it's", 'a"b', "a#b", "a\\b", "`id`", "a b", "ü", "a\nb"])
def test_make_secrets_refuses_a_password_that_tools_read_differently(tmp_path, password):
    done = write(tmp_path, password)
    assert done.returncode != 0 and "error: choose another POSTGRES_PASSWORD" in done.stderr and password not in done.stderr
    assert not list((tmp_path / "secrets").iterdir())


ODD_LINES = {
    b"POSTGRES_PASSWORD=p$w": "POSTGRES_PASSWORD: holds the character $",
    b"POSTGRES_DB='a'": "POSTGRES_DB: holds the character '",
    b"K=a\\b": "K: holds the character \\",
    b"POSTGRES_DB=a # why": "POSTGRES_DB: holds a space",
    b"export POSTGRES_DB=a": "POSTGRES_DB: remove export",
    b"POSTGRES_DB = a": "POSTGRES_DB: remove the space around the key",
    b"POSTGRES_DB=b": "POSTGRES_DB: the key is there twice",
    b"POSTGRES_DB": "it has no =",
    b"POSTGRES_DB=\xfc": "a byte that is not UTF-8",
}


def test_make_doctor_names_each_line_that_tools_read_differently(tmp_path):
    write(tmp_path, "word")
    file = tmp_path / "secrets/secrets.txt"
    first = len(file.read_bytes().splitlines()) + 1
    with file.open("ab") as end:
        end.write(b"\n".join(ODD_LINES) + b"\n")
    printed = sh("make doctor", cwd=tmp_path, ok=False)
    for number, (line, named) in enumerate(ODD_LINES.items(), first):
        assert (named if b"\xfc" in line else f"line {number}, ") in printed and named in printed, line


def test_windows_line_endings_and_a_byte_order_mark_are_accepted(project):
    text = project.secrets.read_text().replace("\n", "\r\n")
    project.secrets.write_bytes(f"\N{BYTE ORDER MARK}{text}".encode())
    shown = json.loads(project.sh("docker compose config --format json"))["services"]
    expected = dict(line.split("=", 1) for line in TUTORIAL_SECRETS.splitlines())
    assert shown["frontend"]["environment"] == shown["backend"]["environment"] == expected
