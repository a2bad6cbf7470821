"""Tests of 03-docker-compose-django: the steps of the tutorial, the fixes of its flaws, errors, and the targets of make."""

import http.client
import json
import os
import re
import runpy
import socket
import subprocess

import pytest
import requests
from containers import count_in_image, exit_code
from pages import START_PAGE, log_in, wait_for
from projects import DJANGO, PASSWORD, TUTORIAL_SECRETS
from shell import ROOT, at_a_terminal, sh, until

# The steps of the tutorial


# The fixture `running` types the tutorial's `docker compose --env-file ../secrets/secrets.txt up -d`.
def test_the_start_page_is_the_one_of_django(running):
    assert START_PAGE in requests.get(running.url, timeout=5).text


def test_the_superuser_from_the_secrets_file_can_log_in(running):
    assert "Site administration" in log_in(running.url)
    assert "Please enter the correct" in log_in(running.url, "another password")


def test_the_md5_setting_of_the_tutorial_works_with_scram_passwords(running):
    assert "host all all all md5" in running.sql("select pg_read_file('pg_hba.conf')")
    assert running.sql("select rolpassword like 'SCRAM-SHA-256$%' from pg_authid where rolname = 'appname'") == "t"
    # Connect from another container, because PostgreSQL needs no password inside its own container.
    ask = "import os, psycopg2; psycopg2.connect(host='backend', user='appname', dbname='appname_db', password=os.environ['P'])"
    running.sh(f'docker compose exec -T -e P=appnameKTh1PjVmECYKnZna frontend python -c "{ask}"')
    said = running.sh(f'docker compose exec -T -e P=wrong frontend python -c "{ask}"', ok=False)
    assert "password authentication failed" in said


def test_all_migrations_have_run(running):
    assert "[ ]" not in running.sh("docker compose exec -T frontend python manage.py showmigrations")


def test_names_ports_and_folders_are_those_of_the_tutorial(project):
    environment = {key: value for key, value in os.environ.items() if key not in project.variables}
    # Many computers have a DATA for something else.
    environment["DATA"] = "/elsewhere"
    config = json.loads(sh("docker compose config --format json", cwd=project.folder, env=environment))
    frontend, backend = config["services"]["frontend"], config["services"]["backend"]
    assert (frontend["container_name"], backend["image"]) == ("django", "postgres:18-trixie")
    ports = [(port["host_ip"], port["published"], port["target"]) for port in frontend["ports"] + backend["ports"]]
    assert ports == [("127.0.0.1", "80", 8000), ("127.0.0.1", "5432", 5432)]
    mounts = [(mount["source"], mount["target"]) for mount in backend["volumes"]]
    assert mounts == [(f"{project.folder}/data/postgres", "/var/lib/postgresql")]


def test_bind_address_opens_the_ports_to_the_network(project):
    project.variables["BIND_ADDRESS"] = "0.0.0.0"
    assert "0.0.0.0" in project.sh("docker compose config")


# Fixes of the tutorial's flaws


def test_frontend_waits_for_the_database_and_both_services_stop_with_exit_code_0(project):
    project.sh("docker compose up -d --no-deps --build frontend")
    until(lambda: "waiting for PostgreSQL at backend:5432" in project.sh("docker compose logs frontend"), 20)
    project.sh("docker compose up -d --wait backend")
    assert START_PAGE in wait_for(project.url).text
    assert sh(f"docker container inspect -f '{{{{.RestartCount}}}}' {project.name}-django") == "0"
    project.sh("docker compose up -d --wait")
    shown = project.sh("docker compose ps --format '{{.Service}} {{.Health}}'")
    assert sorted(shown.splitlines()) == ["backend healthy", "frontend healthy"]
    project.sh("docker compose stop")
    assert [project.container(service)["State"]["ExitCode"] for service in project.names] == [0, 0]


def test_frontend_does_not_run_as_root_and_cannot_change_its_code(running):
    assert running.sh("docker compose exec -T frontend id -un") == "myuser"
    assert running.sh("docker compose exec -T frontend find /app -user myuser") == ""
    assert "Permission denied" in running.sh("docker compose exec -T frontend touch /app/init.py", ok=False)


def test_process_1_is_docker_init_and_no_shell_keeps_running(running):
    listed = sh(f"docker top {running.names['frontend']} -eo pid,args").splitlines()[1:]
    processes = dict(line.split(None, 1) for line in listed)
    first = processes.pop(str(running.container("frontend")["State"]["Pid"]))
    assert first.startswith("/sbin/docker-init --")
    assert processes and all("python manage.py runserver" in line for line in processes.values())


def test_make_up_keeps_the_container_and_shows_an_edit_without_pip_and_the_data_survives_make_down(project):
    project.sh("make up")
    project.sql("create table kept (word text); insert into kept values ('still here')")
    assert (project.folder / "data/postgres/data/pgdata").is_dir()
    before = project.container("frontend")["Id"]
    project.sh("make up")
    assert project.container("frontend")["Id"] == before
    project.sh("make down")
    urls = project.folder / "codesolid_demo/codesolid_demo/urls.py"
    urls.write_text(urls.read_text() + "\nadmin.site.index_title = 'Edited'\n")
    printed = project.sh("make up")
    pip = next(line.split()[0] for line in printed.splitlines() if "pip install" in line)
    assert f"{pip} CACHED" in printed
    assert "Edited" in log_in(project.url)
    assert project.sql("select word from kept") == "still here"
    assert project.sql("select count(*) from auth_user") == "1"
    # There is no anonymous volume.
    assert [mount["Type"] for mount in project.container("backend")["Mounts"]] == ["bind"]
    project.sh("make kill")
    assert project.sh("docker compose ps -q") == "" and len(project.sh("docker compose ps -aq").split()) == 2


def test_backend_is_unhealthy_while_the_database_is_missing(project):
    project.sh("docker compose up -d --wait backend")
    backend = project.sh("docker compose ps -q backend")
    check = sh(f"docker container inspect -f '{{{{index .Config.Healthcheck.Test 1}}}}' {backend}")
    assert subprocess.run(["docker", "exec", backend, "sh", "-c", check], capture_output=True).returncode == 0
    # `kill -9` during the first start leaves this state: PostgreSQL answers, but the application's database is missing.
    project.sh('docker compose exec -T backend psql -qU appname postgres -c "drop database appname_db"')
    project.sh("docker compose exec -T backend pg_isready -q")
    assert subprocess.run(["docker", "exec", backend, "sh", "-c", check], capture_output=True).returncode != 0


def test_docker_stop_works_without_sigkill_while_frontend_waits_for_the_database(project):
    project.sh("docker compose build")
    container = project.sh("docker compose run -d --no-deps frontend").splitlines()[-1]
    until(lambda: "waiting for PostgreSQL at backend:5432: could not translate host name" in sh(f"docker logs {container}"), 20)
    code = exit_code(container)
    sh(f"docker rm {container}")
    # 143 means ended by SIGTERM. 137 would mean that Docker sent SIGKILL after ten seconds.
    assert code == "143"


def test_the_image_contains_no_password(running):
    running.sh("docker compose build")
    image = f"{running.name}-frontend"
    words = [PASSWORD, "appnameKTh1PjVmECYKnZna"]
    history = sh(f"docker history --no-trunc {image}") + sh(f"docker image inspect {image}")
    # Check that the search finds a word that is there.
    assert "codesolid_demo" in history
    assert not any(word in history for word in words)
    found = count_in_image(image, ["django-insecure", *words])
    assert found.pop("django-insecure") > 0
    assert set(found.values()) == {0}


# Errors


def test_the_error_names_a_missing_secrets_file(project):
    project.secrets.unlink()
    assert re.search(r"env file .*/secrets/secrets.txt not found", project.sh("make up", ok=False))


@pytest.mark.parametrize("line", ["", "POSTGRES_DB="], ids=["missing", "empty"])
def test_the_error_names_a_missing_or_empty_key(project, line):
    project.secrets.write_text(re.sub("^POSTGRES_DB=.*", line, TUTORIAL_SECRETS, flags=re.MULTILINE))
    said = project.sh("docker compose run --rm --build --no-deps frontend", ok=False)
    assert "error: POSTGRES_DB is missing or empty. Set it in secrets/secrets.txt" in said and "Traceback" not in said


def test_the_log_of_postgresql_names_a_missing_password(project):
    project.secrets.write_text(re.sub("^POSTGRES_PASSWORD=.*\n", "", TUTORIAL_SECRETS, flags=re.MULTILINE))
    printed = project.sh("docker compose up -d --wait backend", ok=False)
    assert f"container {project.name}-backend-1 exited (1)" in printed
    assert "POSTGRES_PASSWORD" in project.sh("docker compose logs backend")


def test_a_changed_password_gives_a_clear_error_and_the_steps_of_the_readme_solve_it(project):
    project.sh("make up")
    project.sql("create table kept (word text); insert into kept values ('still here')")
    project.secrets.write_text(TUTORIAL_SECRETS.replace("appnameKTh1PjVmECYKnZna", "changed-later"))
    said = project.sh("make up", ok=False)
    assert 'password authentication failed for user "appname". PostgreSQL keeps the password of its first start.' in said
    assert "changed-later" not in said
    # \password needs a terminal and asks for the new password twice.
    at_a_terminal("make connect_db", project.folder, b"ALTER-DONE", keys=[
        "\\password\n", "changed-later\n", "changed-later\n", "\\echo ALTER-DONE\n", "\\q\n"
    ], env=project.variables)  # fmt: skip
    project.sh("make up")
    assert project.sql("select word from kept") == "still here"


def test_the_timeout_error_names_the_host_and_contains_the_message_of_postgresql(project):
    init = project.folder / "init.py"
    init.write_text(init.read_text().replace("TIMEOUT = 60", "TIMEOUT = 1"))
    project.sh("docker compose build")
    words = {"nobody": "could not translate host name", "localhost": "Connection refused"}
    for host, said in words.items():
        printed = project.sh(f"docker compose run --rm --no-deps -T -e POSTGRES_REMOTE_HOST={host} frontend", ok=False)
        assert re.search(f"error: .*{said}.* Tried {host}:5432 for 1 s.", printed), printed


def test_the_error_names_a_port_that_is_in_use(project):
    port = project.variables["PORT"]
    with socket.create_server(("127.0.0.1", int(port))):
        printed = project.sh("make up", ok=False)
    assert f"127.0.0.1:{port}" in printed and "address already in use" in printed


def test_docker_refuses_a_container_name_that_is_in_use(project):
    sh(f"docker create --name {project.name}-django python:3.14-slim-trixie")
    try:
        assert f'container name "/{project.name}-django" is already in use' in project.sh("make up", ok=False)
    finally:
        sh(f"docker rm {project.name}-django")


def test_make_up_shows_a_mistake_in_your_code_and_does_not_wait(project):
    urls = project.folder / "codesolid_demo/codesolid_demo/urls.py"
    urls.write_text(urls.read_text() + "\nimport nowhere\n")
    said = project.sh("make up", ok=False)
    assert f"container {project.name}-django exited (1)" in said
    assert "No module named 'nowhere'" in said.partition("exited (1)")[2]


def test_a_key_error_in_your_own_code_keeps_its_traceback(project):
    settings = project.folder / "codesolid_demo/codesolid_demo/settings.py"
    settings.write_text(settings.read_text() + "\n{}['a key of yours']\n")
    said = project.sh("docker compose run --rm --build --no-deps frontend python init.py", ok=False)
    assert "settings.py" in said and "KeyError: 'a key of yours'" in said


# Unit tests of health.py


@pytest.mark.parametrize("status", [200, 302, 404, 500])
def test_the_health_check_takes_a_page_or_a_redirect_and_sends_what_the_proxy_sends(monkeypatch, status):
    sent = {}

    class Connection:
        def __init__(self, *_, **__):
            self.status = status

        def request(self, _, path, headers):
            sent.update(headers, path=path)

        def getresponse(self):
            return self

    monkeypatch.setattr(http.client, "HTTPConnection", Connection)
    monkeypatch.setenv("DJANGO_ALLOWED_HOSTS", " .example.org,other")
    if status < 400:
        runpy.run_path(str(ROOT / DJANGO / "health.py"))
    else:
        with pytest.raises(SystemExit, match=f"/admin/login/ answers with {status}"):
            runpy.run_path(str(ROOT / DJANGO / "health.py"))
    assert sent == {"Host": "example.org", "X-Forwarded-Proto": "https", "path": "/admin/login/"}


# The targets of make


def test_make_without_a_target_lists_every_target(project):
    printed = project.sh("make")
    for target in ["up", "down", "run", "connect", "connect_db", "browse", "kill", "logs", "ps", "manage", "lock", "clean"]:
        assert re.search(rf"make {target}\t", printed)


def test_make_n_prints_the_commands_without_running_them(project):
    assert "docker compose up" in project.sh("make -n up")
    assert project.sh("docker compose ps -aq") == ""


def test_make_run_stays_in_the_foreground_until_ctrl_c_also_with_umask_077_and_what_only_compose_can_read_in_dot_env(project):
    del project.variables["PORT"]
    (project.folder / ".env").write_text(f"PORT={project.port}\nNOTE='a $b # c\nand another line'\n")
    sh("chmod -R go= .", cwd=project.folder)
    with project.begin("make run") as make:
        assert START_PAGE in wait_for(project.url, 120).text
        said = project.sh("BROWSER='/bin/echo opening %s' make browse")
        assert f"opening http://localhost:{project.port}" in said
        os.killpg(make.pid, 2)
        make.communicate(timeout=30)
    assert project.sh("docker compose ps -q") == ""


def test_make_connect_connect_db_ps_and_logs_work(running):
    at_a_terminal("make connect", running.folder, b"42-myuser", env=running.variables)
    keys = ["select 6 * 7 as answer, current_user;\n", "\\q\n"]
    at_a_terminal("make connect_db", running.folder, b"42 | appname", keys=keys, env=running.variables)
    assert "healthy" in running.sh("make ps")
    assert "development server at" in running.sh("make logs")


def test_you_own_the_files_that_make_manage_creates(project):
    # Neither root nor the user of the image.
    uid = 1234 if os.geteuid() == 0 else os.getuid()
    sh(f"chown -R {uid} '{project.folder.parent}'")
    demo = project.folder / "codesolid_demo"
    # make gets your user ID from `id`. The tests run as root, so put another `id` first on the PATH.
    (project.folder.parent / "id").write_text(f"#!/bin/sh\necho {uid}\n")
    (project.folder.parent / "id").chmod(0o755)
    project.variables["PATH"] = f"{project.folder.parent}:{os.environ['PATH']}"
    project.sh('make manage ARGS="startapp blog"')
    assert (demo / "blog/apps.py").stat().st_uid == uid
    assert not list(demo.rglob("__pycache__"))


def test_make_clean_removes_this_example_and_nothing_else(project, name):
    image = "python:3.14-slim-trixie"
    sh(f"docker tag {image} {name}-image")
    sh(f"docker volume create {name}-volume && docker network create {name}-network")
    sh(f"docker run -d --name {name} -v {name}-volume:/v --network {name}-network {image} sleep 600")
    stopped = sh(f"docker create --name {name}-stopped {image}")
    project.sh("make up")
    try:
        project.sh("make clean")
        assert not (project.folder / "data").exists()
        for kind in ("container ls -aq", "image ls -q", "volume ls -q", "network ls -q"):
            assert project.sh(f"docker {kind} --filter label=com.docker.compose.project={project.name}") == ""
        assert sh(f"docker image ls -q {project.name}-frontend") == ""
        assert sh(f"docker container inspect -f '{{{{.State.Status}}}}' {name} {stopped}").split() == ["running", "created"]
        sh(f"docker image inspect {name}-image && docker volume inspect {name}-volume && docker network inspect {name}-network")
    finally:
        sh(f"docker rm -f {name} {stopped}; docker volume rm {name}-volume; docker network rm {name}-network")
    # Running it again is not an error. An empty DATA_FOLDER means what it means to Compose, and the files in the folder stay.
    project.sh("make clean")
    sh("make clean", cwd=project.folder, env={**os.environ, **project.variables, "DATA_FOLDER": ""})
    assert (project.folder / "Makefile").exists()
