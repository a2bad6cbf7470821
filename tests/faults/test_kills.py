"""Processes of a production project are killed from outside, by their pid: what fails meanwhile, and what comes back."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from conftest import ADMIN_CANARY, answers, figure, kill, sh, until, workers
from load import Load

pytestmark = pytest.mark.alone


def login(site):
    """Return the address of a page that needs no database."""
    return f"{site.url}/admin/login/"


def groups(site):
    """Return the names of all groups in the database."""
    return site.sql("select name from auth_group").splitlines()


def test_the_main_process_of_the_web_server_is_killed(site):
    kill(site.container("frontend")["State"]["Pid"])
    taken = until(lambda: answers(login(site)), limit=4)
    assert site.container("frontend")["RestartCount"] == 1
    figure("kill -9 of the web server", f"200 after {taken:.1f} s")


def test_a_worker_is_killed_under_load(site):
    with Load(site.url, ADMIN_CANARY, clients=8) as load:
        load.wait_for_writes()
        victim, killed = workers(f"{site.name}-django")[0], time.monotonic()
        kill(victim)
        until(lambda: len(workers(f"{site.name}-django")) == 2 and victim not in workers(f"{site.name}-django"), limit=10)
        load.wait_for_writes()
    assert load.lost(groups(site)) == set()
    # What was with it, or stood before its door: the other worker's requests went on meanwhile.
    assert all(began < killed + 1 for began, _ in load.failed)
    assert any(killed < began < killed + 1 for began, _ in load.acknowledged)
    figure(
        "kill -9 of a worker under load",
        f"{len(load.failed)} of {len(load.failed + load.acknowledged)} requests failed, none lost",
    )


def test_the_postmaster_is_killed_under_a_write_load(site):
    started = site.container("frontend")["State"]["StartedAt"]
    with Load(site.url, ADMIN_CANARY) as load:
        load.wait_for_writes()
        kill(site.container("backend")["State"]["Pid"])
        killed = time.monotonic()
        back = until(lambda: any(began > killed for began, _ in load.acknowledged), limit=30)
        load.wait_for_writes()
    assert load.lost(groups(site)) == set()
    # 1.1 s in eight of nine tries, 4.3 s in one; why is not known. connect_timeout is 3 s, and may be a part of it.
    assert back < 5 and site.container("frontend")["State"]["StartedAt"] == started
    figure(
        "kill -9 of the postmaster under a write load",
        f"{len(load.acknowledged)} acknowledged writes, all there; first one after {back:.1f} s",
    )


def test_one_backend_of_the_database_is_killed(site):
    load = Load(site.url, ADMIN_CANARY, clients=1)
    with ThreadPoolExecutor() as pool:
        held = pool.submit(requests.get, f"{site.url}/hold/", timeout=30)
        until(lambda: site.sql("select 1 from pg_stat_activity where query like 'select pg_sleep%'") == "1", limit=5)
        # The pid inside is not the one outside: look among the container's processes for what PostgreSQL calls it.
        lines = sh(f"docker top {site.name}-backend-1 -eo pid,args").splitlines()
        victim = next(line.split()[0] for line in lines if "SELECT" in line and "appname" in line)
        kill(int(victim))
        killed = time.monotonic()
        with load:
            load.wait_for_writes(50)
    failed = len(load.failed) + (held.result().status_code != 200)
    # PostgreSQL ends all of its connections as soon as it notices: a request that has one until then fails as well.
    assert held.result().status_code == 500 and len(load.failed) <= 1
    assert all(began < killed + 0.1 for began, _ in load.failed)
    assert load.lost(groups(site)) == set()
    figure("kill -9 of one database backend", f"{failed} of {len(load.acknowledged) + failed} requests failed, none lost")


def test_a_worker_reaches_the_memory_limit(site):
    # Granian ends where one worker dies twice within 5.5 s, for Docker to start it anew: so begin with new ones.
    site.sh("docker compose restart frontend")
    until(lambda: answers(login(site)), limit=20)
    before, started = workers(f"{site.name}-django"), site.container("frontend")["State"]["StartedAt"]
    with Load(site.url, ADMIN_CANARY) as load, ThreadPoolExecutor() as pool:
        load.wait_for_writes()
        eater = pool.submit(requests.get, f"{site.url}/eat/", timeout=60)
        until(lambda: len(set(workers(f"{site.name}-django")) & set(before)) < 2, limit=60)
        assert eater.exception() is not None
        until(lambda: len(workers(f"{site.name}-django")) == 2, limit=10)
        load.wait_for_writes()
    assert load.lost(groups(site)) == set()
    assert site.container("frontend")["State"]["StartedAt"] == started
    figure(
        "memory limit reached in a worker",
        f"{len(load.failed)} of {len(load.failed + load.acknowledged)} requests of others failed, none lost; the worker is back",
    )
