"""The database is unreachable, paused, slow, full or half-initialized: what fails meanwhile, and what works afterwards."""

import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from figures import figure
from load import Load
from pages import answers, log_in
from projects import ADMIN_CANARY, DJANGO, PASSWORD
from shell import ROOT, kill, sh, until


def pause(site):
    """Pause the database; return a function that continues it."""
    sh(f"docker pause {site.names['backend']}")
    return lambda: sh(f"docker unpause {site.names['backend']}")


def cut(site):
    """Disconnect the database from its network; return a function that connects it again."""
    sh(f"docker network disconnect {site.name}_database {site.name}-backend-1")
    return lambda: sh(f"docker network connect --alias backend {site.name}_database {site.name}-backend-1")


def hold(site, pool):
    """Send a request that runs a query of ten seconds; return its Future once the query runs."""
    caught = pool.submit(requests.get, f"{site.url}/hold/", timeout=60)
    until(lambda: site.sql("select 1 from pg_stat_activity where query like 'select pg_sleep%'") == "1", limit=5)
    return caught


@pytest.mark.slow
def test_no_request_takes_10_s_while_the_database_is_off_its_network(site):
    load = Load(site.url, ADMIN_CANARY)
    with ThreadPoolExecutor(9) as pool:
        caught = hold(site, pool)
        begun, back = time.monotonic(), cut(site)
        try:
            # Send enough requests for all threads, because each thread keeps its own database connection.
            writes = [pool.submit(load.write, f"while away {number}") for number in range(8)]
            held = caught.result().status_code, time.monotonic() - begun
            tried = [write.result() for write in writes]
            # The login page needs no database.
            assert answers(f"{site.url}/admin/login/")
        finally:
            back()
        returned = until(lambda: load.write(f"afterwards {time.time()}")[1], limit=4)
    assert held[0] == 500 and held[1] < 10
    assert max(taken for taken, _ in tried) < 10 and not any(done for _, done in tried)
    figure(
        "database cut off its network",
        f"requests fail after {max(taken for taken, _ in tried):.1f} s at most, one inside a query after {held[1]:.1f} s, "
        f"normal {returned:.1f} s afterwards",
    )


@pytest.mark.slow
def test_no_write_is_lost_and_writes_work_again_after_the_database_was_paused(site):
    load = Load(site.url, ADMIN_CANARY)
    with ThreadPoolExecutor(9) as pool:
        # Give each thread of the web server an open connection.
        list(pool.map(load.write, [f"before {number}" for number in range(32)]))
        caught = hold(site, pool)
        back = pause(site)
        writes = [pool.submit(load.write, f"while paused {number}") for number in range(4)]
        time.sleep(15)
        waiting = sum(not write.done() for write in writes)
        back()
        ended = [write.result() for write in writes]
        returned = until(lambda: load.write(f"afterwards {time.time()}")[1], limit=4)
        held = caught.result().status_code
    acknowledged = {f"while paused {number}" for number, (_, done) in enumerate(ended) if done}
    assert waiting > 0 and acknowledged <= set(site.sql("select name from auth_group").splitlines())
    figure(
        "database paused for 15 s",
        f"{waiting} of 4 requests wait until it is back, {len(acknowledged)} succeed then; the one inside a query: {held}; "
        f"normal {returned:.1f} s afterwards",
    )


# Two workers build one hash table together, of about 90 MB. It is in shared memory, where Docker's default is 64 MB.
PARALLEL = """
create table large as select number, repeat('word', 10) as text from generate_series(1, 1000000) number;
analyze large;
set work_mem = '128MB';
set parallel_setup_cost = 0;
set parallel_tuple_cost = 0;
set enable_mergejoin = off;
explain (costs off) select count(*) from large a join large b using (number, text);
select count(*) from large a join large b using (number, text);
drop table large;
"""


@pytest.mark.slow
def test_a_parallel_query_has_enough_shared_memory(site):
    said = site.sql(PARALLEL)
    assert "Parallel Hash" in said and said.splitlines()[-1] == "1000000"


@pytest.mark.slow
def test_the_web_server_waits_for_a_database_that_starts_slowly(project):
    slow = project.folder / "slow.yaml"
    slow.write_text("services: {backend: {entrypoint: [sh, -c, 'sleep 20; exec docker-entrypoint.sh postgres']}}\n")
    project.variables["COMPOSE_FILE"] = "docker-compose.yaml:slow.yaml"
    project.sh("docker compose up -d --build --wait")
    assert "waiting for PostgreSQL at backend:5432: connection to server" in project.sh("docker compose logs frontend")
    assert "Site administration" in log_in(project.url)
    figure("database slow to start (20 s)", "`up --wait` succeeds")


# The stand-in leaves translations out. The package brings its own listen_addresses again.
GERMAN = """
services:
  backend:
    image: {name}-german
    command: postgres -c listen_addresses=*
    build:
      dockerfile_inline: |
        FROM postgres:18-trixie
        RUN sed -i '/locale/d' /etc/dpkg/dpkg.cfg.d/* && apt-get -q update \\
            && apt-get -qy install --reinstall --no-install-recommends postgresql-18 \\
            && localedef -i de_DE -f UTF-8 de_DE.UTF-8
        ENV LANG=de_DE.utf8
"""


@pytest.mark.slow
def test_a_wrong_password_in_another_language_is_shown_and_named_after_the_setting_of_the_readme(project):
    setting = "lc_messages = 'C'"
    assert f"`{setting}`" in (ROOT / DJANGO / "production/README.md").read_text()
    (project.folder / "german.yaml").write_text(GERMAN.format(name=project.name))
    project.variables["COMPOSE_FILE"] = "docker-compose.yaml:german.yaml"
    project.sh("docker compose up -d --build --wait")
    init = project.folder / "init.py"
    init.write_text(init.read_text().replace("TIMEOUT = 60", "TIMEOUT = 1"))
    project.sh("docker compose build frontend")
    wrong = "docker compose run --rm --no-deps -T -e POSTGRES_PASSWORD=wrong frontend"
    printed = project.sh(wrong, ok=False)
    assert re.search(r"waiting for PostgreSQL at backend:5432: .*Passwort-Authentifizierung .* fehlgeschlagen", printed)
    assert re.search(r"error: .*Passwort-Authentifizierung .* Tried backend:5432 for 1 s\.", printed)
    project.sql(f"alter system set {setting}")
    project.sql("select pg_reload_conf()")
    until(lambda: "PostgreSQL keeps the password of its first start." in project.sh(wrong, ok=False), 10)


FULL = """
volumes:
  certificates:
  database:
    driver_opts: {type: tmpfs, device: tmpfs, o: "size=120m,uid=999,gid=999,mode=0700"}
"""


@pytest.mark.slow
def test_a_full_database_disk_stops_only_writes_and_needs_no_restart(prod):
    file = prod.folder / "docker-compose.yaml"
    file.write_text(file.read_text().replace("volumes:\n  certificates:\n  database:\n", FULL.lstrip()))
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
    # Reads still work.
    assert "before" in prod.sql("select name from auth_group").splitlines()
    assert requests.get(f"{prod.url}/admin/", cookies=load.cookies, timeout=10).status_code == 200
    prod.sh("docker compose exec -T backend rm /var/lib/postgresql/filler")
    taken = until(lambda: load.write(f"after {time.time()}")[1], limit=10)
    assert load.lost(prod.sql("select name from auth_group").splitlines()) == set()
    assert prod.container("backend")["State"]["StartedAt"] == started
    figure("disk of the database full", f"writes fail, reads go on, no restart; writes again {taken:.1f} s after there is room")


# The data folder


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.1, 0.4, 0.7])
@pytest.mark.parametrize("kind", ["project", "prod"])
def test_after_a_kill_during_the_first_start_the_site_works_or_the_log_shows_an_error(kind, after, request):
    one = request.getfixturevalue(kind)
    one.sh("docker compose build")
    running = f"docker container inspect -f '{{{{.State.Running}}}}' {one.names['backend']}"
    with one.begin("make up") as up:
        until(lambda: sh(running, ok=None).endswith("true"), limit=60, pause=0.01)
        time.sleep(after)
        kill(one.container("backend")["State"]["Pid"])
        time.sleep(1)
        # Stop `make up` with Ctrl-C, as a person would. Otherwise it waits until the web server is unhealthy.
        os.killpg(up.pid, signal.SIGINT)
        up.communicate(timeout=30)
    one.sh("docker compose up -d")
    # These are PostgreSQL's messages. The README's table names them and says to run `make clean`.
    words = 'database "appname_db" does not exist|could not open|exists but is not empty|not a valid data directory'

    def settled():
        state = one.container("frontend")["State"]
        said = re.search(words, one.sh("docker compose logs frontend backend"))
        return said[0] if said else state.get("Health", {}).get("Status") == "healthy" and "healthy"

    until(settled, limit=100, pause=0.5)
    outcome = settled()
    if outcome != "healthy":
        one.sh("echo yes | make clean", stdin=None)
        one.sh("make up")
    assert "Site administration" in log_in(one.url, PASSWORD if kind == "project" else ADMIN_CANARY)
    figure(f"kill -9 {after} s into the first initialization, {kind}", outcome)
