"""03-docker-compose-django: what the tutorial promises of it, what is safe about it, and what `make help` lists."""

import json
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from conftest import DJANGO, TUTORIAL_SECRETS, answers, copy, count_in_image, exit_code, sh, until

START_PAGE = "The install worked successfully! Congratulations!"
PASSWORD = "appnameOtwEgXAAPj5ZLmsQ"


def wait_for(url):
    """Return the first page that answers with 200 within a minute."""
    until(lambda: answers(url), 60)
    return requests.get(url, timeout=5)


def log_in(url, password=PASSWORD):
    """Return the page that /admin shows after the log-in form was sent."""
    with requests.Session() as browser:
        form = browser.get(f"{url}/admin/", timeout=5)
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form.text)[1]
        fields = {"username": "appname_admin", "password": password, "csrfmiddlewaretoken": token}
        return browser.post(form.url, data=fields, timeout=5).text


# What the tutorial shows


def test_the_start_page_is_djangos(running):
    assert START_PAGE in requests.get(running.url, timeout=5).text


def test_the_superuser_of_the_secrets_file_logs_in(running):
    assert "Site administration" in log_in(running.url)
    assert "Please enter the correct" in log_in(running.url, "another password")


def test_the_tutorials_command_with_env_file_works(project):
    project.sh("docker compose --env-file ../secrets/secrets.txt up -d")
    assert START_PAGE in wait_for(project.url).text
    assert "Site administration" in log_in(project.url)
    project.sh("docker compose --env-file ../secrets/secrets.txt down")


def test_docker_compose_up_in_the_foreground_works_and_ctrl_c_stops_it(project):
    environment = {**os.environ, **project.variables}
    with subprocess.Popen(
        ["docker", "compose", "up"], cwd=project.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as compose:
        assert START_PAGE in wait_for(project.url).text
        compose.send_signal(2)
        printed = compose.communicate(timeout=30)[0].decode()
    assert "Starting development server" in printed
    assert project.sh("docker compose ps -q") == ""


def test_the_tutorials_md5_secrets_work_over_scram(running):
    assert "host all all all md5" in running.sql("select pg_read_file('pg_hba.conf')")
    assert running.sql("select rolpassword like 'SCRAM-SHA-256$%' from pg_authid where rolname = 'appname'") == "t"
    # From another address the password is asked for, and checked.
    ask = "import os, psycopg2; psycopg2.connect(host='backend', user='appname', dbname='appname_db', password=os.environ['P'])"
    running.sh(f'docker compose exec -T -e P=appnameKTh1PjVmECYKnZna frontend python -c "{ask}"')
    said = running.sh(f'docker compose exec -T -e P=wrong frontend python -c "{ask}"', ok=False)
    assert "password authentication failed" in said


def test_the_migrations_have_run(running):
    assert "[ ]" not in running.sh("docker compose exec -T frontend python manage.py showmigrations")


def test_the_tutorials_names_and_ports(project):
    environment = {key: value for key, value in os.environ.items() if key not in project.variables}
    config = json.loads(sh("docker compose config --format json", cwd=project.folder, env=environment))
    frontend, backend = config["services"]["frontend"], config["services"]["backend"]
    assert (frontend["container_name"], backend["image"]) == ("django", "postgres:18-trixie")
    ports = [(port["host_ip"], port["published"], port["target"]) for port in frontend["ports"] + backend["ports"]]
    assert ports == [("127.0.0.1", "80", 8000), ("127.0.0.1", "5432", 5432)]
    assert backend["volumes"][0]["source"] == f"{project.folder}/data/postgres"
    assert backend["volumes"][0]["target"] == "/var/lib/postgresql/data"


def test_bind_address_lets_the_network_in(project):
    project.variables["BIND_ADDRESS"] = "0.0.0.0"
    assert "0.0.0.0" in project.sh("docker compose config")


# What the tutorial's own code did wrong


def test_frontend_waits_for_the_database_and_both_become_healthy(project):
    project.sh("docker compose up -d --no-deps --build frontend")
    until(lambda: "waiting for PostgreSQL at backend:5432" in project.sh("docker compose logs frontend"), 20)
    project.sh("docker compose up -d --wait backend")
    assert START_PAGE in wait_for(project.url).text
    assert sh(f"docker container inspect -f '{{{{.RestartCount}}}}' {project.name}-django") == "0"
    project.sh("docker compose up -d --wait")
    shown = project.sh("docker compose ps --format '{{.Service}} {{.Health}}'")
    assert sorted(shown.splitlines()) == ["backend healthy", "frontend healthy"]


def test_frontend_is_not_root_and_owns_none_of_the_code(running):
    assert running.sh("docker compose exec -T frontend id -un") == "myuser"
    assert running.sh("docker compose exec -T frontend find /app -user myuser") == ""
    assert "Permission denied" in running.sh("docker compose exec -T frontend touch /app/init.py", ok=False)


def test_process_1_is_the_server_and_no_shell(running):
    assert running.sh("docker compose exec -T frontend cat /proc/1/cmdline").startswith("python")


def test_down_stops_both_by_their_signals_with_exit_code_0(project):
    project.sh("docker compose up -d --wait")
    project.sh("docker compose stop")
    ids = project.sh("docker compose ps -aq").replace("\n", " ")
    assert sh(f"docker container inspect -f '{{{{.State.ExitCode}}}}' {ids}").split() == ["0", "0"]


@pytest.mark.parametrize("image", ["", "postgres_17"], ids=["18", "17"])
def test_data_survives_down_and_up_and_no_anonymous_volume_is_made(project, image, request):
    if image:
        project.variables["POSTGRES_IMAGE"] = request.getfixturevalue(image)
    project.sh("make up")
    project.sql("create table kept (word text); insert into kept values ('still here')")
    assert (project.folder / "data/postgres/pgdata").is_dir()
    project.sh("make down")
    project.sh("make up")
    assert project.sql("select word from kept") == "still here"
    assert "Site administration" in log_in(project.url)
    assert project.sql("select count(*) from auth_user") == "1"
    assert [mount["Type"] for mount in project.container("backend")["Mounts"]] == ["bind", "bind"]


def test_up_twice_without_a_change_keeps_the_container(project):
    project.sh("make up")
    before = project.container("frontend")["Id"]
    project.sh("make up")
    assert project.container("frontend")["Id"] == before


def test_a_half_made_database_is_not_healthy(project):
    project.sh("docker compose up -d --wait backend")
    backend = project.sh("docker compose ps -q backend")
    check = sh(f"docker container inspect -f '{{{{index .Config.Healthcheck.Test 1}}}}' {backend}")
    assert subprocess.run(["docker", "exec", backend, "sh", "-c", check], capture_output=True).returncode == 0
    # The state that `kill -9` during the first start leaves: the server answers, the application's database is missing.
    project.sh('docker compose exec -T backend psql -qU appname postgres -c "drop database appname_db"')
    project.sh("docker compose exec -T backend pg_isready -q")
    assert subprocess.run(["docker", "exec", backend, "sh", "-c", check], capture_output=True).returncode != 0


def test_six_first_starts_at_once_all_succeed_with_one_superuser(project):
    project.sh("docker compose build")
    project.sh("docker compose up -d --wait backend")
    # Hold the lock until all six stand before it: so they really reach the empty schema together.
    with subprocess.Popen(
        ["docker", "compose", "exec", "-T", "backend", "psql", "-qU", "appname", "appname_db"],
        cwd=project.folder, env={**os.environ, **project.variables}, stdin=subprocess.PIPE, text=True,
    ) as holder:  # fmt: skip
        holder.stdin.write("select pg_advisory_lock(20220406);\n")
        holder.stdin.flush()
        until(lambda: project.sql("select count(*) from pg_locks where locktype = 'advisory' and granted") == "1", 30)
        with ThreadPoolExecutor(6) as pool:
            started = pool.map(lambda _: project.sh("docker compose run -d frontend").splitlines()[-1], range(6))
            names = [line.split()[-1] for line in started]
        waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        until(lambda: project.sql(waiting) == "6", 60)
        holder.stdin.close()
    inspect = f"docker container inspect -f '{{{{.State.Status}}}} {{{{.State.Health.Status}}}}' {' '.join(names)}"
    until(lambda: sh(inspect).split("\n") == ["running healthy"] * 6, 90)
    logs = [sh(f"docker logs {name}") for name in names]
    sh(f"docker rm -f {' '.join(names)}")
    assert sum("Applying auth.0001_initial... OK" in log for log in logs) == 1
    assert all("Starting development server" in log for log in logs), logs
    assert project.sql("select count(*) from auth_user where is_superuser") == "1"


@pytest.mark.alone  # beside a build with --no-cache of the same folder, BuildKit runs pip
def test_an_edit_of_the_code_rebuilds_without_pip_and_shows(project):
    project.sh("make up")
    urls = project.folder / "codesolid_demo/codesolid_demo/urls.py"
    urls.write_text(urls.read_text() + "\nadmin.site.index_title = 'Edited'\n")
    printed = project.sh("make up")
    pip = next(line.split()[0] for line in printed.splitlines() if "pip install" in line)
    assert f"{pip} CACHED" in printed
    assert "Edited" in log_in(project.url)


def test_a_stop_while_it_waits_for_the_database_ends_at_once(project):
    project.sh("docker compose build")
    container = project.sh("docker compose run -d --no-deps frontend").splitlines()[-1]
    until(lambda: "waiting for PostgreSQL at backend:5432" in sh(f"docker logs {container}"), 20)
    assert "there is no host of this name" in sh(f"docker logs {container}")
    code = exit_code(container)
    sh(f"docker rm {container}")
    assert code == "0"  # 137 would be: killed after ten seconds


def test_no_password_in_the_image(running):
    running.sh("docker compose build")
    image = f"{running.name}-frontend"
    words = [PASSWORD, "appnameKTh1PjVmECYKnZna"]
    history = sh(f"docker history --no-trunc {image}") + sh(f"docker image inspect {image}")
    assert "codesolid_demo" in history  # the search works
    assert not any(word in history for word in words)
    found = count_in_image(image, ["django-insecure", *words])
    assert found.pop("django-insecure") > 0  # the search works
    assert set(found.values()) == {0}


# Bad input


def test_a_key_error_of_ones_own_code_keeps_its_traceback(project):
    settings = project.folder / "codesolid_demo/codesolid_demo/settings.py"
    settings.write_text(settings.read_text() + "\n{}['a key of yours']\n")
    said = project.sh("docker compose run --rm --build --no-deps frontend python init.py", ok=False)
    assert "settings.py" in said and "KeyError: 'a key of yours'" in said


def test_a_missing_secrets_file_is_named_with_the_way_to_make_one(project):
    project.secrets.unlink()
    printed = project.sh("make up", ok=False)
    assert "../secrets/secrets.txt is missing" in printed and "make -C .. secrets" in printed
    assert "secrets.txt" in project.sh("docker compose up -d", ok=False)


@pytest.mark.parametrize("key", ["POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB", "POSTGRES_REMOTE_HOST", "DJANGO_SUPERUSER"])
@pytest.mark.parametrize("line", ["", "{key}="], ids=["missing", "empty"])
def test_a_key_without_a_value_is_named(project, key, line):
    project.secrets.write_text(re.sub(f"^{key}=.*", line.format(key=key), TUTORIAL_SECRETS, flags=re.MULTILINE))
    printed = project.sh("make up", ok=False)
    assert re.search(rf"(error|Error): .*{key}\b", printed), printed


def test_a_changed_password_is_explained_and_loses_nothing(project):
    project.sh("make up")
    project.sql("create table kept (word text); insert into kept values ('still here')")
    project.secrets.write_text(TUTORIAL_SECRETS.replace("appnameKTh1PjVmECYKnZna", "changed-later"))
    printed = project.sh("make up", ok=False)
    assert "refuses POSTGRES_USER with POSTGRES_PASSWORD" in printed and "keeps the one that it was made with" in printed
    assert "changed-later" not in printed
    project.secrets.write_text(TUTORIAL_SECRETS)
    project.sh("make up")
    assert project.sql("select word from kept") == "still here"


def test_the_deadline_names_whom_it_waited_for(project):
    project.sh("docker compose build")
    wait = 'frontend python -c "import init; init.DEADLINE = 1; init.main()"'
    meanings = {"nobody": "there is no host of this name", "localhost": "the host refuses the connection"}
    for host, meaning in meanings.items():
        said = project.sh(f"docker compose run --rm --no-deps -T -e POSTGRES_REMOTE_HOST={host} {wait}", ok=False)
        assert f"error: PostgreSQL at {host}:5432 did not answer within 1 s: {meaning}" in said


@pytest.mark.parametrize("variable", ["PORT", "DB_PORT"])
def test_a_port_that_is_taken_is_named_with_the_way_out(project, variable):
    port = project.variables[variable]
    with subprocess.Popen(["python3", "-m", "http.server", "--bind", "127.0.0.1", port], stderr=subprocess.DEVNULL) as web:
        try:
            sh(f"curl -s -o /dev/null --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1:{port}")
            printed = project.sh("make up", ok=False)
        finally:
            web.terminate()
    assert f"127.0.0.1:{port}" in printed and "Choose others: make up PORT=8090 DB_PORT=5433" in printed


def test_a_second_clone_does_not_take_over_the_first_ones_containers(project, tmp_path):
    project.sh("make up")
    second = copy(DJANGO, tmp_path / "second")
    shutil.copytree(project.secrets.parent, tmp_path / "second" / "secrets")
    ids = project.sh("docker compose ps -aq")
    environment = {**os.environ, **project.variables}
    for target in ("up", "down", "kill", "clean", "connect", "connect_db"):
        printed = sh(f"make {target}", cwd=second, env=environment, ok=False)
        assert f"belong to {project.folder}" in printed and "COMPOSE_PROJECT_NAME=" in printed
    assert project.sh("docker compose ps -aq") == ids
    assert requests.get(project.url, timeout=5).status_code == 200


def test_a_second_project_name_does_not_put_two_servers_on_one_data_folder(project):
    project.sh("make up")
    first = project.variables.copy()
    project.variables |= {"COMPOSE_PROJECT_NAME": f"{project.name}-second", "DJANGO_NAME": f"{project.name}-second", "PORT": "0"}
    for target in ("up", "clean"):
        printed = project.sh(f"make {target}", ok=False)
        assert f"the project {project.name} runs on this folder's data. First: docker compose -p {project.name} down" in printed
    project.variables = first
    assert project.sql("select 42") == "42"


# make


def test_make_help_is_the_default_and_names_every_target(project):
    printed = project.sh("make")
    for target in ["up", "down", "run", "connect", "connect_db", "browse", "kill", "logs", "ps", "manage", "lock", "clean"]:
        assert re.search(rf"make {target} ", printed)


def test_make_n_only_shows_what_would_run(project):
    assert "docker compose up" in project.sh("make -n up")
    assert project.sh("docker compose ps -aq") == ""


def test_make_run_is_up_in_the_foreground(project):
    with subprocess.Popen(
        ["make", "run"], cwd=project.folder, env={**os.environ, **project.variables}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True,
    ) as make:  # fmt: skip
        assert START_PAGE in wait_for(project.url).text
        os.killpg(make.pid, 2)
        make.communicate(timeout=30)
    assert project.sh("docker compose ps -q") == ""


def test_make_connect_ps_and_logs(running):
    assert running.sh("echo 'whoami; hostname' | make connect", stdin=None).split()[0] == "myuser"
    assert running.sh("echo 'select 6 * 7;' | make connect_db", stdin=None).split()[2] == "42"
    assert "healthy" in running.sh("make ps")
    assert "Starting development server" in running.sh("make logs")


def test_make_connect_opens_a_new_container_where_none_runs(project):
    assert "myuser" in project.sh("echo whoami | make connect", stdin=None)


def test_make_kill_stops_and_keeps_the_containers(project):
    project.sh("make up")
    project.sh("make kill")
    assert project.sh("docker compose ps -q") == "" and len(project.sh("docker compose ps -aq").split()) == 2


def test_make_manage_leaves_its_files_to_the_caller(project):
    uid = 1234  # somebody who is neither root nor the image's user
    sh(f"chown -R {uid} '{project.folder.parent}'")
    demo = project.folder / "codesolid_demo"
    # make takes the ids from `id`, which says 0 here: let one stand before it on the PATH that says another.
    (project.folder.parent / "id").write_text(f"#!/bin/sh\necho {uid}\n")
    (project.folder.parent / "id").chmod(0o755)
    project.variables["PATH"] = f"{project.folder.parent}:{os.environ['PATH']}"
    project.sh('make manage ARGS="startapp blog"')
    (demo / "blog/models.py").write_text(
        "from django.db import models\n\n\nclass Post(models.Model):\n    title = models.CharField(max_length=80)\n"
    )
    settings = demo / "codesolid_demo/settings.py"
    settings.write_text(settings.read_text().replace("INSTALLED_APPS = [", "INSTALLED_APPS = [\n    'blog',"))
    project.sh('make manage ARGS="makemigrations"')
    made = [demo / "blog/apps.py", demo / "blog/migrations/0001_initial.py"]
    assert [path.stat().st_uid for path in made] == [uid, uid]
    assert not list(demo.rglob("__pycache__"))
    project.sh("make up")
    assert project.sql("select count(*) from blog_post") == "0"


def test_make_lock_writes_hashes_and_no_index_into_a_file_of_the_callers(project):
    lock = project.folder / "requirements.txt"
    lock.unlink()
    project.sh("make lock")
    text = lock.read_text()
    assert re.search(r"^django==5\.2\.", text, re.MULTILINE) and "psycopg2-binary==" in text and "--hash=sha256:" in text
    assert "://" not in text and "index-url" not in text and lock.stat().st_uid == os.getuid()


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
    project.sh("make clean")  # a second time: nothing to do, no error
