"""Starts and stops in any order and at once, and an engine that is stopped, killed or loses power: what runs afterwards."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from engine import network
from engine.daemon import answers as engine_answers
from figures import figure
from pages import answers, log_in
from private_engine import CADDY, ENGINE, POSTGRES, SLIM, bare, kill_engine, private, processes
from projects import ADMIN_CANARY, Production
from shell import kill, sh, until


def running(project):
    """Return the names of the running services, sorted."""
    return sorted(project.sh("docker compose ps --status running --format '{{.Service}}'").split())


@pytest.mark.slow
def test_make_up_and_make_down_end_in_the_state_of_the_last_command(project):
    project.sh("make up")
    project.sql("create table kept as select 42 as answer")
    project.sh("make down")
    assert project.sh("docker compose ps -aq") == ""

    first, second = project.begin("make up"), project.begin("make up")
    said = [up.communicate(timeout=200)[0] for up in (first, second)]
    if first.returncode or second.returncode:
        # One repetition must be enough.
        project.sh("make up")
    assert running(project) == ["backend", "frontend"], said
    repeated = bool(first.returncode or second.returncode)

    down = project.begin("make down")
    up = project.begin("make up")
    down.communicate(timeout=60)
    up.communicate(timeout=200)
    again = bool(up.returncode) or running(project) != ["backend", "frontend"]
    if again:
        project.sh("make up")
    assert running(project) == ["backend", "frontend"]
    assert project.sql("select answer from kept") == "42"
    figure("two `make up` at once", f"all is up {'after one repetition' if repeated else 'at once'}, nothing lost")
    figure("`make up` during `make down`", f"all is up {'after one repetition' if again else 'at once'}, nothing lost")


# Not beside other tests: On a busy machine, Docker can disconnect the container's network before the last response is sent.
@pytest.mark.slow
def test_docker_stop_lets_a_request_finish_and_gives_exit_code_0(site):
    frontend = site.names["frontend"]
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(requests.get, f"{site.url}/slow/", timeout=30)
        until(lambda: "begun" in sh(f"docker logs {frontend}"), 20)
        sh(f"docker stop {frontend}")
        assert (answer.result().status_code, answer.result().text) == (200, "finished")
    assert site.container("frontend")["State"]["ExitCode"] == 0
    site.sh("docker compose up --detach --wait")


@pytest.mark.slow
def test_six_containers_that_start_at_once_create_one_superuser(project):
    project.sh("docker compose build")
    project.sh("docker compose up -d --wait backend")
    # Hold the lock until all six containers ask for it. Otherwise they might start one after another.
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
        asking = "select count(*) from pg_stat_activity where query like 'SELECT pg_try_advisory_lock%'"
        until(lambda: project.sql(asking) == "6", 60)
        # The containers must poll. A statement that waits for the lock would block CREATE INDEX CONCURRENTLY.
        assert project.sql("select count(*) from pg_locks where locktype = 'advisory' and not granted") == "0"
        holder.stdin.close()
    inspect = f"docker container inspect -f '{{{{.State.Status}}}} {{{{.State.Health.Status}}}}' {' '.join(names)}"
    until(lambda: sh(inspect).split("\n") == ["running healthy"] * 6, 90)
    logs = [sh(f"docker logs {name}") for name in names]
    sh(f"docker rm -f {' '.join(names)}")
    assert sum("Applying auth.0001_initial... OK" in log for log in logs) == 1
    assert all("development server at" in log for log in logs), logs
    assert project.sql("select count(*) from auth_user where is_superuser") == "1"


def dockerd(run):
    """Return the pid of the engine that uses the run folder `run`."""
    return int((run / "docker.pid").read_text())


@private
@pytest.mark.slow
def test_all_services_return_after_the_engine_is_stopped_killed_or_loses_power(tmp_path, monkeypatch):
    environment, folder = bare(tmp_path), tmp_path / "no images"
    folder.mkdir()
    (folder / "Dockerfile").touch()
    start = [*ENGINE, "start", str(folder)]
    run = Path(subprocess.run(start, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout.strip())
    try:
        sh(f"docker save {SLIM} {POSTGRES} {CADDY} | DOCKER_HOST=unix://{run}/docker.sock docker load")
        monkeypatch.setenv("DOCKER_HOST", f"unix://{run}/docker.sock")
        monkeypatch.setenv("DOCKER_CONFIG", f"{run}/config")
        one = Production(tmp_path / "project")
        one.sh("make up")
        one.sql("create table kept as select 42 as answer")

        def stopped():
            subprocess.run([*ENGINE, "stop"], env=environment, check=True)
            subprocess.run(start, env=environment, stdout=subprocess.PIPE, check=True)

        def killed_alone():
            pid = dockerd(run)
            # containerd ends with dockerd. Its shim keeps running, and with it the containers and the engine's mounts.
            shim = next(other for other in processes(run) if b"containerd-shim" in Path(f"/proc/{other}/cmdline").read_bytes())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            own = dict(pair.split(b"=", 1) for pair in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") if pair)
            firewall = {table: network.rules(*table) for table in network.TABLES}
            kill(pid)
            # Run the same command in the same mount namespace, as a service manager would.
            subprocess.Popen(
                ["nsenter", f"--target={shim}", "--mount", *command], env=own, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            # dockerd flushes Docker's chains, and the private engine has rules in them. `engine start` would restore them.
            until(lambda: engine_answers(run / "docker.sock"), limit=60)
            network.give_back(firewall)

        def power_cut():
            kill_engine(run)
            subprocess.run(start, env=environment, stdout=subprocess.PIPE, check=True)

        for fault in (stopped, killed_alone, power_cut):
            fault()
            taken = until(lambda: answers(f"{one.url}/admin/login/"), limit=60)
            until(lambda: "Site administration" in log_in(one.url, ADMIN_CANARY), limit=30)
            assert one.sql("select answer from kept") == "42"
            figure(f"the engine {fault.__name__.replace('_', ' ')}", f"the site answers {taken:.1f} s after the engine is back")
        one.remove()
    finally:
        subprocess.run([*ENGINE, "clean"], env=environment, check=True)
