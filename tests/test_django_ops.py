"""The rarer operations of 03-docker-compose-django (ops.mk): check, watch, backup, restore."""

import os
import stat
import subprocess

import pytest
import requests
from conftest import ADMIN_CANARY, KEY_CANARY, POSTGRES_CANARY, sh, until
from test_django import PASSWORD, log_in


@pytest.fixture(params=["dev", "prod"])
def either(request, project):
    """Return a project, once in development and once in production, that is up."""
    if request.param == "prod":
        project.production()
    project.sh("make up")
    return project


def test_make_restore_brings_back_what_make_backup_kept(either):
    either.sql("create table kept (word text); insert into kept values ('still here'); alter table kept owner to appname")
    file = either.sh("make backup").split()[-1]
    assert stat.S_IMODE((either.folder / file).stat().st_mode) == 0o600
    either.sql("drop table kept; create table newer (word text); update auth_user set username = 'somebody'")
    either.sh(f"make restore FILE={file}")
    assert either.sql("select word from kept") == "still here"
    assert either.sql("select count(*) from pg_tables where tablename = 'newer'") == "0"
    assert either.sql("select tableowner from pg_tables where tablename = 'kept'") == "appname"
    either.sh("docker compose up -d --wait")
    password = PASSWORD if "LIFECYCLE" not in either.variables else ADMIN_CANARY
    assert "Site administration" in log_in(either.url, password)


def test_a_restore_that_fails_keeps_the_old_database(project):
    project.sh("make up")
    project.sql("create table kept as select 42 as answer")
    (project.folder / "half.dump").write_bytes(b"PGDMP and then nothing")
    project.sh("make restore FILE=half.dump", ok=False)
    assert project.sql("select answer from kept") == "42"
    project.sh("docker compose up -d --wait")
    assert "FILE=nowhere.dump is not there" in project.sh("make restore FILE=nowhere.dump", ok=False)


def test_a_backup_that_fails_leaves_no_file(project):
    project.sh("docker compose up -d --wait backend")
    project.sh('docker compose exec -T backend psql -qU appname postgres -c "drop database appname_db"')
    project.sh("make backup", ok=False)
    assert list((project.folder / "backups").iterdir()) == []


def test_git_ignores_backups():
    assert sh("git check-ignore 03-docker-compose-django/backups/one.dump")


def test_make_check_runs_djangos_tests_in_productions_image(project):
    assert "Ran 2 tests" in project.sh("make check")
    tests = project.folder / "codesolid_demo/codesolid_demo/tests.py"
    tests.write_text(tests.read_text().replace("'Site administration'", "'something that is not there'"))
    printed = project.sh("make check", ok=False)
    assert "FAILED (failures=1)" in printed
    assert sh("docker ps -aq --filter name=check-") == sh("docker image ls -q 'check-*'") == ""


def test_make_watch_shows_an_edit_without_a_rebuild(project):
    project.sh("docker compose build")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "start_new_session": True}
    environment = {**os.environ, **project.variables}
    with subprocess.Popen(["make", "watch"], cwd=project.folder, env=environment, **pipes) as watch:
        said = ""
        while "Watch enabled" not in said and "watching" not in said:
            said += watch.stdout.readline()
        urls = project.folder / "codesolid_demo/codesolid_demo/urls.py"
        urls.write_text(urls.read_text() + "\nadmin.site.site_header = 'Edited'\n")
        until(lambda: "Edited" in page(f"{project.url}/admin/login/"), 30)
        os.killpg(watch.pid, 2)
        watch.communicate(timeout=30)


def page(url):
    """Return a page's text, or '' while nothing answers."""
    try:
        return requests.get(url, timeout=5).text
    except requests.RequestException:
        return ""


def test_what_a_swarm_is_given_is_read_from_the_secrets_file_and_what_is_missing_is_named(prod):
    assert "IMAGE is empty" in prod.sh("make stack-up", ok=False)
    assert "POSTGRES_REMOTE_HOST=backend is not in the Swarm" in prod.sh("make stack-up IMAGE=shop:1", ok=False)
    assert "N is empty" in prod.sh("make scale", ok=False)
    # The file as it is; tests/swarm deploys it with the routing mesh's port taken out.
    values = {"IMAGE": "shop:1", "STACK": "shop", "VERSION": "1", "DJANGO_ALLOWED_HOSTS": "localhost"}
    variables = dict(line.split("=", 1) for line in prod.secrets.read_text().splitlines()) | values
    seen = sh("docker stack config -c stack.yaml", cwd=prod.folder, env={**os.environ, **variables})
    for line in ("mode: ingress", "target: 8000", "published: 80", "order: start-first", "failure_action: rollback"):
        assert f" {line}\n" in seen
    for word in (POSTGRES_CANARY, ADMIN_CANARY, KEY_CANARY):
        assert word not in seen


def test_of_a_key_that_stands_twice_the_last_line_is_read_as_compose_does(prod):
    prod.secrets.write_text(f"{prod.secrets.read_text()} POSTGRES_REMOTE_HOST=database.example.org\r\n")
    assert "database.example.org" in prod.sh("docker compose --env-file ../secrets/secrets.txt config")
    assert "is not backend, so the database is elsewhere" in prod.sh("make backup", ok=False)
    assert "this engine is no manager of a Swarm" in prod.sh("make stack-up IMAGE=shop:1", ok=False)
