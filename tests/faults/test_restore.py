"""Backup and restore, also of a site with a worker, extensions, roles and open connections. `make test-faults` runs it."""

import json
import os
import pty
import re
import shutil
import signal
import stat
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from pages import answers, log_in
from projects import ADMIN_CANARY, DJANGO, Production
from shell import ROOT, sh, until

pytestmark = pytest.mark.slow

README = (ROOT / DJANGO / "production/README.md").read_text()


def test_make_restore_brings_back_what_make_backup_saved_and_failures_lose_nothing(prod):
    prod.sh("make up")
    prod.sql("create table kept (word text); insert into kept values ('still here'); alter table kept owner to appname")
    prod.sh("docker compose exec -T frontend sh -c 'echo first > /media/kept.txt; mkdir /media/.new'")
    folder = prod.folder / prod.sh("make backup").split()[-1]
    assert sorted(path.name for path in folder.iterdir()) == ["database.dump", "media.tar"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sh(f"tar -tf '{folder}/media.tar'").split() == ["./", "./kept.txt"]
    prod.sql("drop table kept; create table newer (word text); update auth_user set username = 'somebody'")
    prod.sh("docker compose exec -T frontend sh -c 'echo changed > /media/kept.txt; echo new > /media/new.txt'")
    prod.sh(f"make restore BACKUP=backups/{folder.name}")
    assert prod.sql("select word from kept") == "still here"
    assert prod.sql("select count(*) from pg_tables where tablename = 'newer'") == "0"
    assert prod.sql("select tableowner from pg_tables where tablename = 'kept'") == "appname"
    prod.sh("docker compose up -d --wait")
    assert "Site administration" in log_in(prod.url, ADMIN_CANARY)
    assert requests.get(f"{prod.url}/media/kept.txt", timeout=5).text == "first\n"
    assert requests.get(f"{prod.url}/media/new.txt", timeout=5).status_code == 404

    # Backups in the same second get different names.
    taken = prod.sh('for more in 0 1 2; do date -u -d "+$more seconds" +backups/%Y-%m-%d-%H%M%S; done').split()
    prod.sh(f"mkdir -p {' '.join(taken)}")
    second = prod.folder / prod.sh("make backup").split()[-1]
    assert sorted(path.name for path in second.iterdir()) == ["database.dump", "media.tar"]
    prod.sh(f"rmdir {' '.join(taken)} && rm -r '{second}'")

    half = prod.folder / "half"
    half.mkdir()
    (half / "database.dump").write_bytes(b"PGDMP and then nothing")
    sh("tar -cf media.tar -T /dev/null", cwd=half)
    prod.sh("make restore BACKUP=half", ok=False)
    assert prod.sql("select word from kept") == "still here"
    prod.sh("docker compose up -d --wait")
    assert requests.get(f"{prod.url}/media/kept.txt", timeout=5).text == "first\n"
    restore_beside_a_closed_folder(prod, folder.name)
    assert "'nowhere' is not a backup" in prod.sh("make restore BACKUP=nowhere", ok=False)

    # A backup works while Django does not run, for example because a migration fails.
    prod.sh("docker compose stop frontend")
    without = prod.folder / prod.sh("make backup").split()[-1]
    assert sh(f"tar -tf '{without}/media.tar'").split() == ["./", "./kept.txt"]
    shutil.rmtree(without)
    prod.sh("docker compose stop backend")
    prod.sh("make backup", ok=False)
    assert list((prod.folder / "backups").iterdir()) == [folder]

    # A volume that the Compose file no longer names, as after the page on a new major version.
    sh(f"docker volume create --label com.docker.compose.project={prod.name} {prod.name}_old")
    assert f"{prod.name}_old" in prod.sh("echo yes | make clean", stdin=None)
    assert prod.sh(f"docker volume ls -q --filter label=com.docker.compose.project={prod.name}") == ""
    prod.sh("make up")
    prod.sh(f"make restore BACKUP=backups/{folder.name}")
    assert prod.sql("select word from kept") == "still here"
    named = [mount["Name"] for mount in prod.container("backend")["Mounts"] if mount["Type"] == "volume"]
    # There must be no anonymous volume.
    assert named == [f"{prod.name}_database"]


def restore_beside_a_closed_folder(prod, name):
    """Restore while `/media` has a folder of another user, as `docker cp` makes it. Django can't replace what is in it."""
    as_root = f"docker run --rm -v {prod.name}_media:/media postgres:18-trixie"
    sh(f"{as_root} sh -c 'mkdir /media/foreign; touch /media/foreign/file'")
    printed = prod.sh(f"make restore BACKUP=backups/{name}", ok=False)
    assert "error: Django may not write to /media/foreign" in printed
    prod.sh("docker compose up -d --wait")
    assert requests.get(f"{prod.url}/media/kept.txt", timeout=5).text == "first\n"
    # The README's message says what to do.
    (mend,) = re.findall(r"^\| `Django may not write to .*`(docker .*)`", README, re.MULTILINE)
    prod.sh(mend)
    prod.sh(f"make restore BACKUP=backups/{name}")
    assert sh(f"{as_root} ls /media").split() == ["kept.txt"]


# A site whose code holds connections, with a worker, extensions and a role of its own

HELD = """
import psycopg2
from django.apps import AppConfig
from django.conf import settings


def connect():
    words = settings.DATABASES["default"]
    try:
        return psycopg2.connect(host=words["HOST"], dbname=words["NAME"], user=words["USER"], password=words["PASSWORD"])
    except psycopg2.OperationalError:
        # While the image is built and checked, there is no database.
        return None


AT_IMPORT = connect()


class HeldConfig(AppConfig):
    name = "held"

    def ready(self):
        self.in_ready = connect()
"""

# This extension can be created only by a superuser, so `make check` lets its own user do it.
MIGRATION = """
from django.contrib.postgres.operations import CreateExtension
from django.db import migrations


class Migration(migrations.Migration):
    operations = [CreateExtension("bloom")]
"""

TESTS = """
from django.db import connection
from django.test import TestCase


class ExtensionTest(TestCase):
    def test_the_extension_is_there(self):
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_extension WHERE extname = 'bloom'")
            self.assertEqual(cursor.fetchone(), (1,))
"""

# The disk for uploads is small, so that a test can fill it.
OVERRIDE = """
services:
  worker:
    extends: {file: docker-compose.yaml, service: frontend}
    command: ./start.sh python manage.py shell -v 0 -c "import time; print('working', flush=True); time.sleep(9999)"
    healthcheck: {test: "true"}
volumes:
  media:
    driver_opts: {type: tmpfs, device: tmpfs, o: "size=20m,uid=1000,gid=1000,mode=0755"}
"""

# Print [inode of the socket, process, its parent] for each open connection to PostgreSQL. 1538 is port 5432.
CONNECTIONS = """
import json, os
lines = [line.split() for line in open('/proc/net/tcp')]
inodes = {f'socket:[{line[9]}]' for line in lines if line[2].endswith(':1538') and line[3] == '01'}
for pid in filter(str.isdigit, os.listdir('/proc')):
    held = set()
    for fd in os.listdir(f'/proc/{pid}/fd'):
        try:
            held.add(os.readlink(f'/proc/{pid}/fd/{fd}'))
        except OSError:
            pass
    parent = open(f'/proc/{pid}/stat').read().rpartition(')')[2].split()[1]
    for inode in held & inodes:
        print(json.dumps([inode, pid, parent]))
"""

GROW = """
import os, time
file = open("/media/grows", "ab")
file.write(bytes(5_000_000))
end = time.time() + 5
while time.time() < end:
    file.write(bytes(1))
    file.flush()
    time.sleep(0.0005)
os.remove("/media/grows")
"""

KEPT = """
create extension bloom;
create role reporter;
set role appname;
create extension citext;
create schema apart;
create table kept (word citext, number int);
create table apart.kept as select 42 as answer;
insert into kept values ('still here', 1);
create index on kept using bloom (number);
grant select on kept to reporter;
"""


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    """Yield a running production project that holds connections wherever it can. The tests below share it."""
    one = Production(tmp_path_factory.mktemp("busy"))
    demo = one.example / "codesolid_demo"
    (demo / "held").mkdir()
    (demo / "held/__init__.py").touch()
    (demo / "held/apps.py").write_text(HELD)
    settings = demo / "codesolid_demo/settings.py"
    text = settings.read_text().replace("INSTALLED_APPS = [", "INSTALLED_APPS = [\n    'held.apps.HeldConfig',")
    settings.write_text(text.replace("{'connect_timeout'", "{'pool': True, 'connect_timeout'"))
    # Django uses psycopg 3, which has the pool. held/apps.py uses psycopg2.
    (one.example / "requirements.in").write_text((one.example / "requirements.in").read_text() + "psycopg[binary,pool]\n")
    sh("make lock", cwd=one.example)
    (one.folder / "docker-compose.override.yaml").write_text(OVERRIDE)
    one.sh("make up")
    yield one
    one.remove()


def databases(site):
    """Return the names of the databases."""
    return set(site.sql("select datname from pg_database where not datistemplate").split())


def media(site):
    """Return the names in /media."""
    return site.sh("docker compose exec -T frontend ls -A /media").split()


def services(site):
    """Return the names of the running services."""
    return set(site.sh("docker compose ps --services").split())


@pytest.mark.xdist_group("busy")
def test_no_process_of_the_web_server_shares_a_connection_that_your_code_opened(busy):
    for _ in range(20):
        assert requests.get(f"{busy.url}/admin/login/", timeout=5).status_code == 200
    lines = busy.sh("docker compose exec -T frontend python -", input=CONNECTIONS, stdin=None).splitlines()
    inodes, processes, parents = zip(*map(json.loads, lines), strict=True)
    assert set(Counter(inodes).values()) == {1}
    # Each of the two workers has opened at least the two of held/apps.py. The process that starts them has none.
    assert len(set(processes)) == 2 and min(Counter(processes).values()) >= 2
    assert not set(parents) & set(processes)


@pytest.mark.xdist_group("busy")
def test_with_a_pool_of_connections_200_requests_get_their_own_pages(busy):
    def load(_):
        answer = requests.get(f"{busy.url}/admin/", cookies=browser.cookies.get_dict(), timeout=20)
        return answer.status_code, "Site administration" in answer.text

    with requests.Session() as browser:
        log_in(busy.url, ADMIN_CANARY, browser=browser)
        with ThreadPoolExecutor(8) as clients:
            assert Counter(clients.map(load, range(200))) == {(200, True): 200}
    assert "psycopg.pool" not in busy.sh("docker compose logs frontend")


@pytest.mark.xdist_group("busy")
def test_make_check_runs_the_tests_of_a_project_with_a_worker_an_extension_and_a_pool(busy):
    held = busy.example / "codesolid_demo/held"
    (held / "migrations").mkdir()
    (held / "migrations/__init__.py").touch()
    (held / "migrations/0001_extension.py").write_text(MIGRATION)
    (held / "tests.py").write_text(TESTS)
    # As git creates it with umask 077.
    busy.sh("chmod go= create_app_user.sql")
    said = busy.sh("make check")
    sh("rm -r migrations tests.py", cwd=held)
    assert "Ran 3 tests" in said and "OK" in said
    assert services(busy) == {"backend", "frontend", "proxy", "worker"}


@pytest.mark.xdist_group("busy")
def test_a_file_that_changes_during_a_backup_is_a_warning(busy):
    busy.sh(f"docker compose exec -T -d frontend python -c '{GROW}'")
    until(lambda: "grows" in media(busy), 5)
    said = busy.sh("make backup")
    folder = busy.folder / said.split()[-1]
    assert "./grows: file changed as we read it" in said
    assert (folder / "database.dump").stat().st_size > 0 and "./grows" in sh(f"tar -tf '{folder}/media.tar'")
    until(lambda: "grows" not in media(busy), 20)


@pytest.mark.xdist_group("busy")
def test_restore_works_beside_open_connections_with_extensions_a_missing_role_and_another_collation_version(busy):
    until(lambda: "working" in busy.sh("docker compose logs worker"), 30)
    busy.sql(KEPT)
    busy.sh("docker compose exec -T frontend sh -c 'echo first > /media/kept.txt'")
    folder = busy.sh("make backup").split()[-1]
    # As on another server: the role is missing, and the system's collations have another version.
    busy.sql("drop owned by reporter; drop role reporter; drop table kept")
    busy.sql("update pg_database set datcollversion = '0' where datname = 'template1'")
    sleep = "python manage.py shell -v 0 -c 'import time; time.sleep(9999)'"
    other = busy.sh(f"docker compose run -d --no-deps frontend {sleep}").split()[-1]
    psql = ["docker", "compose", "exec", "-T", "backend", "psql", "-q", "appname_db"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(psql, cwd=busy.folder, text=True, **pipes) as session:
        session.stdin.write("begin; select 'a psql that is open';\n")
        session.stdin.flush()
        until(lambda: busy.sql("select count(*) from pg_stat_activity where query like '%psql that is open%'") == "2", 10)
        said = busy.sh(f"make restore BACKUP={folder}")
    sh(f"docker rm -f {other}")
    assert 'role "reporter" does not exist' in said and "warning: not all rights were restored" in said
    assert busy.sql("select word from kept where word = 'STILL HERE'") == "still here"
    assert busy.sql("select answer from apart.kept") == "42"
    owners = "select extname, rolname from pg_extension join pg_roles r on r.oid = extowner where extname <> 'plpgsql' order by 1"
    assert busy.sql(owners) == "bloom|postgres\ncitext|appname"
    assert busy.sql("select distinct tableowner from pg_tables where schemaname in ('public', 'apart')") == "appname"
    assert databases(busy) == {"postgres", "appname_db"} and media(busy) == ["kept.txt"]
    assert "new.dump" not in busy.sh("docker compose exec -T backend ls /var/lib/postgresql")
    assert "Site administration" in log_in(busy.url, ADMIN_CANARY)
    assert services(busy) == {"backend", "frontend", "proxy", "worker"}
    # The role is back, and a second restore brings its rights.
    busy.sql("create role reporter")
    assert "warning" not in busy.sh(f"make restore BACKUP={folder}")
    assert busy.sql("select has_table_privilege('reporter', 'kept', 'select')") == "t"


@pytest.mark.xdist_group("busy")
def test_a_restore_that_fails_leaves_everything_as_it_was(busy):
    busy.sql("create table newer as select 1 as one")
    busy.sh("docker compose exec -T frontend sh -c 'head -c 11000000 /dev/zero > /media/large; echo second > /media/new.txt'")
    folder = busy.folder / busy.sh("make backup").split()[-1]

    def check(said, words):
        assert words in said
        assert databases(busy) == {"postgres", "appname_db"}
        until(lambda: answers(f"{busy.url}/admin/login/"), 20)
        assert busy.sql("select count(*) from newer") == "1"
        assert {"large", "new.txt"} <= set(media(busy)) and ".new" not in media(busy)
        assert requests.get(f"{busy.url}/media/new.txt", timeout=5).text == "second\n"
        assert services(busy) == {"backend", "frontend", "proxy", "worker"}

    # /media has room for 20 MB.
    check(busy.sh(f"make restore BACKUP=backups/{folder.name}", ok=False), "No space left on device")
    sh("tar -cf media.tar -T /dev/null", cwd=folder)
    dump = (folder / "database.dump").read_bytes()
    (folder / "database.dump").write_bytes(dump[: len(dump) - 2000])
    check(busy.sh(f"make restore BACKUP=backups/{folder.name}", ok=False), "pg_restore: error")


@pytest.mark.xdist_group("busy")
@pytest.mark.parametrize("lost", ["terminal", "connection"])
def test_a_restore_whose_terminal_or_connection_is_lost_leaves_everything_as_it_was(busy, lost):
    folder = busy.folder / lost
    folder.mkdir()
    sh(f"cp '{busy.folder}/{busy.sh('make backup').split()[-1]}/database.dump' '{folder}'")
    os.mkfifo(folder / "media.tar")
    # While this end is open, tar in the container waits for more.
    uploads = os.open(folder / "media.tar", os.O_RDWR)
    busy.sql(f"create table before_{lost} as select 1 as one")
    ours, theirs = pty.openpty() if lost == "terminal" else os.pipe()
    oneoff = f"docker ps -q --filter label=com.docker.compose.project={busy.name} --filter label=com.docker.compose.oneoff=True"
    with busy.begin(f"make restore BACKUP={lost}", stdout=theirs, stderr=theirs) as restore:
        os.close(theirs)
        until(lambda: sh(oneoff), 30)
        assert services(busy) & {"frontend", "worker"} == set()
        os.close(ours)
        if lost == "terminal":
            # What bash does: the signal comes from the kernel, and from bash.
            for _ in range(2):
                os.killpg(restore.pid, signal.SIGHUP)
        else:
            os.write(uploads, b"not an archive" * 1000)
        os.close(uploads)
        restore.wait(60)
    until(lambda: services(busy) == {"backend", "frontend", "proxy", "worker"}, 60)
    until(lambda: databases(busy) == {"postgres", "appname_db"} and ".new" not in media(busy), 30)
    until(lambda: answers(f"{busy.url}/admin/login/"), 20)
    assert busy.sql(f"select count(*) from before_{lost}") == "1" and "new.txt" in media(busy)


@pytest.mark.xdist_group("busy")
def test_a_service_that_the_compose_file_no_longer_has_neither_fails_a_restore_nor_outlives_make_up(busy):
    busy.sh("docker compose exec -T frontend rm -f /media/large")
    folder = busy.sh("make backup").split()[-1]
    override = busy.folder / "docker-compose.override.yaml"
    override.write_text(f"volumes:{OVERRIDE.partition('volumes:')[2]}")
    assert "worker" in services(busy)
    assert f"Restored {folder}" in busy.sh(f"make restore BACKUP={folder}")
    busy.sh("make up")
    assert busy.sh("docker compose ps -a --services").split() == ["backend", "frontend", "proxy"]
    override.write_text(OVERRIDE)
    busy.sh("make up")


@pytest.mark.xdist_group("busy")
def test_the_proxy_does_not_serve_what_a_restore_has_not_finished(busy):
    busy.sh("docker compose exec -T frontend sh -c 'mkdir -p /media/.new && echo half > /media/.new/half.txt'")
    assert requests.get(f"{busy.url}/media/.new/half.txt", timeout=5).status_code == 404
    busy.sh("docker compose exec -T frontend rm -r /media/.new")


@pytest.mark.xdist_group("busy")
def test_make_up_shows_the_log_of_a_service_that_is_unhealthy(busy):
    folder = busy.sh("make backup").split()[-1]
    compose = busy.folder / "docker-compose.yaml"
    text = compose.read_text().replace("test: python health.py", "test: exit 1")
    compose.write_text(text.replace("start_period: 120s", "start_period: 1s").replace("interval: 10s", "interval: 1s"))
    said = busy.sh("make up", ok=False)
    assert "is unhealthy" in said and "Listening at: http" in said.partition("is unhealthy")[2]
    # A restore into this site is complete, although Django stays unhealthy.
    busy.sql("create table after_the_backup ()")
    said = busy.sh(f"make restore BACKUP={folder}", ok=False)
    assert "is unhealthy" in said and "uploads are missing" not in said
    assert busy.sql("select count(*) from pg_tables where tablename = 'after_the_backup'") == "0"
