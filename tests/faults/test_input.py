"""Odd values in secrets.txt and in KEY_FILE: they arrive as they are, or are refused and named."""

import json
import os
import subprocess

import pytest
from conftest import ADMIN_CANARY, ROOT, sh
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from test_django import PASSWORD, log_in
from test_django_prod import get_config  # noqa: F401

IMAGE = "python:3.14-slim-trixie"
READ = "import json, os, sys; json.dump({key: value for key, value in os.environ.items() if key.startswith('K_')}, sys.stdout)"
# Whatever a terminal can type without what the writer refuses.
ACCEPTED = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="$\"'\\#`"), min_size=1, max_size=80)
ANY = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), min_size=1, max_size=80)


@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(ANY)
@example(" p$w 'd\" #@:/\\ ")
@example("\N{BYTE ORDER MARK}word")
@example("\x85\u2028")
@example("x" * 100_000)
def test_every_string_comes_through_key_file(get_config, tmp_path, monkeypatch, value):  # noqa: F811
    (tmp_path / "key").write_bytes(value.encode() + b"\r\n")
    monkeypatch.setenv("KEY_FILE", str(tmp_path / "key"))
    # What ends in CR before the line's end cannot be told from a Windows line end; such strings are not among these.
    assert get_config("KEY") == value


@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(ACCEPTED, min_size=50, max_size=50))
def test_what_the_writer_accepts_comes_through_compose_and_docker_run(tmp_path, values):
    file = tmp_path / "values.env"
    file.write_text("".join(f"K_{number}={value}\n" for number, value in enumerate(values)))
    expected = {f"K_{number}": value for number, value in enumerate(values)}
    assert json.loads(sh(f"docker run --rm --env-file '{file}' {IMAGE} python -c \"{READ}\"")) == expected
    compose = {"services": {"one": {"image": IMAGE, "env_file": "values.env"}}}
    (tmp_path / "compose.yaml").write_text(json.dumps(compose))
    shown = json.loads(sh("docker compose -f compose.yaml config --format json", cwd=tmp_path))
    assert {key: value.replace("$$", "$") for key, value in shown["services"]["one"]["environment"].items()} == expected


def write(tmp_path, password):
    """Run the writer of `make secrets` with a password from the environment; return the done process."""
    for name in ("Makefile", "secrets.example", "tests", "02-docker-flask-alpine"):
        (tmp_path / name).exists() or (tmp_path / name).symlink_to(ROOT / name)
    environment = {**os.environ, "POSTGRES_PASSWORD": password}
    return subprocess.run(["make", "secrets"], cwd=tmp_path, env=environment, capture_output=True, text=True)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(ACCEPTED)
def test_the_writer_takes_a_password_from_the_environment(tmp_path, password):
    (tmp_path / "secrets/secrets.txt").unlink(missing_ok=True)
    done = write(tmp_path, password)
    assert done.returncode == 0 and (len(password) < 8 or password not in done.stdout + done.stderr)
    assert f"\nPOSTGRES_PASSWORD={password}\n" in (tmp_path / "secrets/secrets.txt").read_text()


@pytest.mark.parametrize("password", ["p$w", "it's", '"', "a#b", "a\\b", "`id`", "a b", "ü", "a\nb"])
def test_the_writer_refuses_what_is_not_read_alike_and_names_it(tmp_path, password):
    done = write(tmp_path, password)
    odd = next(letter for letter in password if letter in "$'\"#\\` " or not "!" <= letter <= "~")
    named = "a space" if odd == " " else f"the character {odd}" if "!" <= odd <= "~" else "outside of printable ASCII"
    assert done.returncode != 0 and "error: POSTGRES_PASSWORD holds " in done.stderr and named in done.stderr
    assert not list((tmp_path / "secrets").iterdir())


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (b"POSTGRES_PASSWORD=p$w", "POSTGRES_PASSWORD: holds the character $"),
        (b"POSTGRES_DB='a'", "POSTGRES_DB: holds the character '"),
        (b"K=a\\b", "K: holds the character \\"),
        (b"POSTGRES_DB=a # why", "POSTGRES_DB: holds a space"),
        (b"export POSTGRES_DB=a", "POSTGRES_DB: export stands before it"),
        (b"POSTGRES_DB = a", "POSTGRES_DB: a space stands around the key"),
        (b"POSTGRES_DB=b", "POSTGRES_DB: it stands there twice"),
        (b"POSTGRES_DB=\xfc", "a byte that is not UTF-8"),
        (b"POSTGRES_DB", "it has no ="),
    ],
)
def test_doctor_names_a_line_that_is_not_read_alike(tmp_path, line, named):
    write(tmp_path, "word")
    with (tmp_path / "secrets/secrets.txt").open("ab") as file:
        file.write(line + b"\n")
    assert named in sh("make doctor", cwd=tmp_path, ok=False)


@pytest.mark.parametrize("lifecycle", ["dev", "prod"])
def test_windows_line_ends_and_a_byte_order_mark_do_no_harm(project, lifecycle):
    if lifecycle == "prod":
        project.production()
    text = project.secrets.read_text().replace("\n", "\r\n")
    project.secrets.write_bytes(f"\N{BYTE ORDER MARK}{text}".encode())
    project.sh("make up")
    assert "Site administration" in log_in(project.url, PASSWORD if lifecycle == "dev" else ADMIN_CANARY)
