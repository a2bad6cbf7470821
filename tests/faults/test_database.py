"""The database is away, slow, full, half-made or another's: what the web server and `make up` say, and what comes back."""

import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from conftest import ADMIN_CANARY, POSTGRES_CANARY, TUTORIAL_SECRETS, answers, figure, kill, sh, until
from load import Load
from test_django import PASSWORD, log_in


def pause(site):
    """Pause the database; return the call that ends that."""
    sh(f"docker pause {site.name}-backend-1")
    return lambda: sh(f"docker unpause {site.name}-backend-1")


def cut(site):
    """Take the database off its network; return the call that ends that."""
    sh(f"docker network disconnect {site.name}_database {site.name}-backend-1")
    return lambda: sh(f"docker network connect --alias backend {site.name}_database {site.name}-backend-1")


@pytest.mark.slow
@pytest.mark.parametrize(("away", "seconds"), [(pause, 20), (cut, 10)])
def test_while_the_database_is_away_requests_fail_within_5_s_and_then_all_is_normal(site, away, seconds):
    load = Load(site.url, ADMIN_CANARY)
    with ThreadPoolExecutor() as pool:
        caught = pool.submit(requests.get, f"{site.url}/hold/", timeout=60)
        until(lambda: site.sql("select 1 from pg_stat_activity where query like 'select pg_sleep%'") == "1", limit=5)
        begun, back = time.monotonic(), away(site)
        try:
            slowest = 0
            while time.monotonic() - begun < seconds:
                taken, done = load.write(f"while away {time.time()}", timeout=10)
                assert not done
                slowest = max(slowest, taken)
            assert answers(f"{site.url}/admin/login/")  # which asks no database
        finally:
            back()
        returned = until(lambda: load.write(f"afterwards {time.time()}")[1], limit=2)
        held = caught.exception() or caught.result().status_code
    assert slowest < 5
    figure(
        f"database {'paused' if away is pause else 'cut off its network'} for {seconds} s",
        f"requests fail after at most {slowest:.1f} s, normal {returned:.1f} s afterwards; the one inside a query: {held}",
    )


@pytest.mark.slow
def test_a_database_that_is_slow_to_start_is_waited_for(project):
    slow = project.folder / "slow.yaml"
    slow.write_text("services: {backend: {entrypoint: [sh, -c, 'sleep 20; exec docker-entrypoint.sh postgres']}}\n")
    project.variables["COMPOSE_FILE"] = "docker-compose.yaml:slow.yaml"
    project.sh("docker compose up -d --build --wait")
    assert "waiting for PostgreSQL at backend:5432: the host refuses the connection" in project.sh("docker compose logs frontend")
    assert "Site administration" in log_in(project.url)
    figure("database slow to start (20 s)", "`up --wait` succeeds")


FULL = """
volumes:
  database:
    driver_opts: {type: tmpfs, device: tmpfs, o: "size=120m,uid=999,gid=999,mode=0700"}
"""


def test_the_disk_of_the_database_is_full(prod):
    file = prod.folder / "docker-compose.prod.yaml"
    file.write_text(file.read_text().replace("volumes:\n  database:\n", FULL.lstrip()))
    prod.sh("make up")
    started = prod.container("backend")["State"]["StartedAt"]
    load = Load(prod.url, ADMIN_CANARY)
    assert load.write("before")[1]
    fill = "dd if=/dev/zero of=/var/lib/postgresql/filler bs=1M"
    assert "No space left" in prod.sh(f"docker compose exec -T backend {fill}", ok=False)
    with load:
        until(lambda: len(load.failed) > 20, limit=60)
    assert "could not extend file" in prod.sh("docker compose logs backend") or "No space left" in prod.sh(
        "docker compose logs backend"
    )
    assert "before" in prod.sql("select name from auth_group").splitlines()  # reads go on
    assert requests.get(f"{prod.url}/admin/", cookies=load.cookies, timeout=10).status_code == 200
    prod.sh("docker compose exec -T backend rm /var/lib/postgresql/filler")
    taken = until(lambda: load.write(f"after {time.time()}")[1], limit=10)
    assert load.lost(prod.sql("select name from auth_group").splitlines()) == set()
    assert prod.container("backend")["State"]["StartedAt"] == started
    figure("disk of the database full", f"writes fail, reads go on, no restart; writes again {taken:.1f} s after there is room")


# The data folder


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.05, 0.1, 0.25, 0.4, 0.55, 0.7, 0.85])
@pytest.mark.parametrize("lifecycle", ["dev", "prod"])
def test_a_kill_during_the_very_first_start_is_explained(project, lifecycle, after):
    make = "make"
    if lifecycle == "prod":
        project.production()
        make = "make LIFECYCLE=prod"
    project.sh("docker compose build")
    running = f"docker container inspect -f '{{{{.State.Running}}}}' {project.name}-backend-1"
    with subprocess.Popen(
        ["make", "up"], cwd=project.folder, env={**os.environ, **project.variables},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    ) as up:  # fmt: skip
        until(lambda: sh(running, ok=None).endswith("true"), limit=60, pause=0.01)
        time.sleep(after)
        kill(project.container("backend")["State"]["Pid"])
        time.sleep(1)
        os.killpg(up.pid, signal.SIGINT)  # it would wait for the web server's deadline: a person stops it and tries again
        up.communicate(timeout=30)
    printed = project.sh("make up", ok=None)
    if "Django answers" in printed:
        outcome = "whole"
    else:
        error = f"error: the data folder is half-made: its first start was interrupted. To remove it: {make} clean"
        assert [line for line in printed.splitlines() if line.startswith("error: ")] == [error], printed
        project.sh("echo yes | make clean", stdin=None)
        assert "Django answers" in project.sh("make up")
        outcome = "half-made, and named so"
    assert "Site administration" in log_in(project.url, PASSWORD if lifecycle == "dev" else ADMIN_CANARY)
    figure(f"kill -9 {after} s into the first initialization, {lifecycle}", outcome)


@pytest.mark.parametrize("lifecycle", ["dev", "prod"])
def test_data_of_postgresql_17_is_named_before_anything_starts_and_that_way_carries_it_over(project, lifecycle, postgres_17):
    if lifecycle == "prod":
        project.production()
    project.sh(f"make up POSTGRES_IMAGE={postgres_17}")
    project.sql("create table kept as select 42 as answer")
    project.sh("make down")
    printed = project.sh("make up", ok=False)
    make = "make" if lifecycle == "dev" else "make LIFECYCLE=prod"
    assert "error: PostgreSQL 17 made this data, and 18 cannot read it" in printed
    assert sh(f"docker ps -aq --filter label=com.docker.compose.project={project.name}") == ""
    way = f"{make} up backup POSTGRES_IMAGE=postgres:17 && {make} clean up && {make} restore FILE=backups/..."
    assert way in printed
    for command in way.replace("backups/...", "$(ls backups/*.dump)").split(" && "):
        project.sh(command, **({"input": "yes\n", "stdin": None} if " clean " in command else {}))
    assert project.sql("select answer from kept") == "42"
    assert project.sql("show server_version").startswith("18")


@pytest.mark.parametrize("image", ["", "postgres_17"], ids=["18", "17"])
def test_productions_data_survives_down_and_up(prod, image, request):
    if image:
        prod.variables["POSTGRES_IMAGE"] = request.getfixturevalue(image)
    prod.sh("make up")
    prod.sql("create table kept as select 42 as answer")
    prod.sh("make down")
    prod.sh("make up")
    assert prod.sql("select answer from kept") == "42"
    named = [mount["Name"] for mount in prod.container("backend")["Mounts"] if mount["Type"] == "volume"]
    assert f"{prod.name}_database" in named and len(named) == (2 if image else 1)  # 17 has a volume of its own, which stays empty


def test_productions_data_in_its_old_place_is_found_again(prod, postgres_17):
    file = prod.folder / "docker-compose.prod.yaml"
    text = file.read_text()
    old = text.replace("database:/var/lib/postgresql\n", "database:/var/lib/postgresql/data\n")
    old = old.replace("PGDATA: /var/lib/postgresql/pgdata", "PGDATA: /var/lib/postgresql/data")
    assert old != text
    file.write_text(old)
    prod.variables["POSTGRES_IMAGE"] = postgres_17
    prod.sh("make up")
    prod.sql("create table kept as select 42 as answer")
    prod.sh("make down")
    file.write_text(text)
    assert "moved the database to /var/lib/postgresql/pgdata" in prod.sh("make up")
    assert prod.sql("select answer from kept") == "42"


@pytest.mark.parametrize("lifecycle", ["dev", "prod"])
def test_make_db_password_sets_a_changed_password_without_loss(project, lifecycle):
    old, admin = ("appnameKTh1PjVmECYKnZna", PASSWORD) if lifecycle == "dev" else (POSTGRES_CANARY, ADMIN_CANARY)
    if lifecycle == "prod":
        project.production()
    project.sh("make up")
    project.sql("create table kept as select 42 as answer")
    project.secrets.write_text(project.secrets.read_text().replace(old, "changed-later"))
    said = project.sh("make up", ok=False)
    assert f"until `make{' LIFECYCLE=prod' if lifecycle == 'prod' else ''} db-password` sets the new one" in said
    printed = project.sh("make db-password")
    assert "changed-later" not in said + printed + project.sh("docker compose logs")
    assert "Site administration" in log_in(project.url, admin)
    project.sh("make up")
    assert project.sql("select answer from kept") == "42"


def test_a_database_with_the_servers_own_name_is_not_taken_for_half_made(project):
    project.secrets.write_text(TUTORIAL_SECRETS.replace("appname_db", "postgres"))
    project.sh("make up")
    project.sh("make down")
    assert "Django answers" in project.sh("make up")
