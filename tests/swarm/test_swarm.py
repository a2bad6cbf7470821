"""stack.yaml on a Swarm of three engines, each a machine to the others; `make test-swarm` runs it, under load where it says."""

import os
import re
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import engine.daemon
import engine.places
import pytest
import requests
from conftest import ADMIN_CANARY, KEY_CANARY, POSTGRES_CANARY, ROOT, TUTORIAL_SECRETS, copy, figure, free_port, sh, until
from load import Load

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(
        not os.environ.get("DOCKER_HOST", "").startswith("unix:///run/docker-examples-"),
        reason="a Docker Engine answers on this machine, and only private ones can be several: it needs a Debian without",
    ),
]
HERE = Path(__file__).resolve().parent
NODES = (1, 2, 3)
IMAGE = "{{.Spec.TaskTemplate.ContainerSpec.Image}}"  # of the service


class Cluster:
    """Three nodes, a database outside of them, and a copy of the Django folder from which the stack is deployed."""

    def __init__(self, base):
        """Start all of it; the stack has two replicas."""
        self.start_nodes()
        pool = (engine.places.CACHE / "pool").read_text().removesuffix("0.0/16")
        self.database, self.db_port, self.host = f"test-{secrets.token_hex(4)}", free_port(), f"{pool}255.254"
        self.addresses = {number: f"{pool}255.{number}" for number in NODES}
        self.folder = copy("03-docker-compose-django", base / "a clone")
        stack = self.folder / "stack.yaml"
        without, found = re.subn(r"    # The routing mesh.*\n    ports:\n.*\n", "", stack.read_text())
        assert found == 1
        stack.write_text(without)
        shutil.copy(HERE / "override.yaml", self.folder)
        self.secrets = self.folder.parent / "secrets/secrets.txt"
        self.secrets.parent.mkdir()
        hosts = ",".join(("localhost", *self.addresses.values()))
        self.secrets.write_text(f"{TUTORIAL_SECRETS}DJANGO_SECRET_KEY={KEY_CANARY}\nDJANGO_ALLOWED_HOSTS={hosts}\n")
        self.set(POSTGRES_PASSWORD=POSTGRES_CANARY, DJANGO_SUPERUSER_PASSWORD=ADMIN_CANARY)
        self.set(POSTGRES_REMOTE_HOST=self.host, POSTGRES_PORT=self.db_port)
        values = base / "database.env"
        values.write_text(f"POSTGRES_USER=appname\nPOSTGRES_DB=appname_db\nPOSTGRES_PASSWORD={POSTGRES_CANARY}\n")
        sh(f"docker run -d --name {self.database} --env-file '{values}' -p {self.host}:{self.db_port}:5432 postgres:18-trixie")
        sh("docker build -q --target prod -t swarm-shop:1 .", cwd=self.folder)
        sh("docker build -q -t swarm-shop:2 -", input="FROM swarm-shop:1\nENV RELEASE=2\n", stdin=None)
        sick = "FROM swarm-shop:1\nHEALTHCHECK --start-period=1s --retries=1 CMD false\n"
        sh("docker build -q -t swarm-shop:sick -", input=sick, stdin=None)
        sh(f"docker build -q -t swarm-proxy -f proxy.Dockerfile '{HERE}'", cwd=HERE)
        for number in NODES:
            sh(f"docker save swarm-shop:1 swarm-shop:2 swarm-shop:sick swarm-proxy | docker -H {self.socket(number)} load")
        self.up("swarm-shop:1")
        until(lambda: len(self.replicas()) == 2 and all(self.answers(number) for number in NODES), 30)

    def start_nodes(self):
        """Start the nodes that do not run."""
        environment = {key: value for key, value in os.environ.items() if key != "DOCKER_HOST"}
        start = [sys.executable, "-B", "-m", "engine", "start", "--nodes", str(len(NODES)), str(HERE)]
        subprocess.run(start, cwd=ROOT / "tests", env=environment, check=True, stdout=subprocess.DEVNULL, timeout=200)

    @staticmethod
    def socket(number):
        """Return the address of a node's engine."""
        return f"unix://{engine.places.node(number)}/docker.sock"

    def sh(self, command, number=1, **options):
        """Run a command line in the copied folder, at a node's engine."""
        environment = {**os.environ, "DOCKER_HOST": self.socket(number)}
        return sh(command, cwd=self.folder, env=environment, **options)

    def up(self, image, ok=True):
        """Type `make stack-up`, which waits until the update has ended; return what it printed."""
        return self.sh(f'make stack-up IMAGE={image} STACK_FILES="stack.yaml override.yaml"', ok=ok)

    def ended(self):
        """Return the state in which the last update ended."""
        until(lambda: self.inspect("{{.UpdateStatus.State}}") in ("completed", "rollback_completed", "paused"), 30)
        return self.inspect("{{.UpdateStatus.State}}")

    def inspect(self, form):
        """Return a value of the service, by a Go template."""
        return self.sh(f"docker service inspect -f '{form}' django_frontend")

    def replicas(self, number=1):
        """Return the node of each replica that runs, as one of the nodes sees it."""
        form = "{{.Node}} {{.CurrentState}}"
        said = self.sh(f"docker service ps -f desired-state=running --format '{form}' django_frontend", number, ok=None)
        return [line.split()[0] for line in said.splitlines() if " Running " in line]

    def answers(self, number):
        """Return whether the log-in page answers on a node."""
        try:
            return requests.get(f"{self.url(number)}/admin/login/", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def url(self, number):
        """Return where a node answers."""
        return f"http://{self.addresses[number]}:8000"

    def set(self, **values):
        """Change keys of secrets.txt."""
        text = self.secrets.read_text()
        for key, value in values.items():
            text, found = re.subn(f"^{key}=.*", f"{key}={value}", text, flags=re.MULTILINE)
            assert found == 1, key
        self.secrets.write_text(text)

    def sql(self, query):
        """Return what psql prints for a query, without headings."""
        return sh(f"docker exec -i {self.database} psql -qAt -U appname -d appname_db", input=query, stdin=None)

    def groups(self):
        """Return the names of the groups that the database has."""
        return self.sql("select name from auth_group").splitlines()

    def lost_nothing(self, what, load):
        """Keep how many requests failed under the load as a figure; fail unless none did and every write is there."""
        figure(what, f"{len(load.failed)} of {len(load.failed) + len(load.acknowledged)} requests failed")
        assert (load.reasons, load.lost(self.groups())) == ({}, set())

    def scale(self, number):
        """Type `make scale`, and return the seconds until so many replicas run (it waits for them itself)."""
        self.sh(f"make scale N={number}")
        return until(lambda: len(self.replicas()) == number, 120)

    def remove(self):
        """Remove what this made; the nodes' engines stay until `make engine-down`."""
        self.sh("make stack-down", ok=None)
        sh(f"docker rm -f -v {self.database}; docker image rm swarm-shop:1 swarm-shop:2 swarm-shop:sick swarm-proxy", ok=None)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Yield the cluster, the same one for all tests."""
    one = Cluster.__new__(Cluster)
    try:
        one.__init__(tmp_path_factory.mktemp("swarm"))
        yield one
    finally:
        one.remove()


def test_four_replicas_answer_on_every_node(cluster):
    cluster.scale(4)
    shown = cluster.sh("make stack-ps")
    assert len(re.findall(r"Running +Running ", shown)) == 4 + 3  # a proxy on each node, too
    assert len(set(cluster.replicas())) == 3  # on all nodes
    for number in NODES:
        seen = set()

        def all_four(number=number, seen=seen):
            seen.add(requests.get(f"{cluster.url(number)}/admin/login/", timeout=5).headers["X-Replica"])
            return len(seen) == 4

        until(all_four, 30)


def test_two_to_six_to_two_under_load_without_a_failed_request(cluster):
    cluster.scale(2)
    with Load(cluster.url(2), ADMIN_CANARY) as load:
        load.wait_for_writes()
        cluster.scale(6)
        load.wait_for_writes()
        cluster.scale(2)
        load.wait_for_writes()
    cluster.lost_nothing("scale 2 to 6 to 2", load)


def test_a_rolling_update_under_load_fails_no_request(cluster):
    with Load(cluster.url(2), ADMIN_CANARY) as load:
        load.wait_for_writes()
        cluster.up("swarm-shop:2")
        assert cluster.ended() == "completed"
        load.wait_for_writes()
    cluster.lost_nothing("rolling update", load)
    assert cluster.inspect(IMAGE) == "swarm-shop:2"


def test_an_update_that_is_not_healthy_goes_back_by_itself(cluster):
    before = cluster.inspect(IMAGE)
    with Load(cluster.url(2), ADMIN_CANARY) as load:
        load.wait_for_writes()
        assert "error: swarm-shop:sick did not become healthy, so the old one is back" in cluster.up("swarm-shop:sick", ok=False)
        assert cluster.ended() == "rollback_completed"
        load.wait_for_writes()
    cluster.lost_nothing("update that is not healthy", load)
    assert cluster.inspect(IMAGE) == before


def test_a_signing_key_is_rotated_without_a_failed_request_and_without_a_new_log_in(cluster):
    new = f"another-{KEY_CANARY}"
    # One browser: where a session is signed by the other key, Django renews it, and the old one ends.
    with Load(cluster.url(2), ADMIN_CANARY, clients=1) as load:
        for keys in (f"{KEY_CANARY},{new}", f"{new},{KEY_CANARY}", new):
            load.wait_for_writes()
            cluster.set(DJANGO_SECRET_KEY=keys)
            cluster.up("swarm-shop:2")
            assert cluster.ended() == "completed"
        load.wait_for_writes()
    cluster.lost_nothing("signing key rotated in three steps", load)


def test_the_database_s_password_is_rotated_by_a_second_user_without_a_failed_request(cluster):
    new = f"another-{POSTGRES_CANARY}"
    # As the README says it (psql's \password in one line). What the second one makes belongs to the first, as before.
    cluster.sql(f"CREATE ROLE appname2 LOGIN PASSWORD '{new}' IN ROLE appname; ALTER ROLE appname2 SET role = appname")
    with Load(cluster.url(2), ADMIN_CANARY) as load:
        load.wait_for_writes()
        cluster.set(POSTGRES_USER="appname2", POSTGRES_PASSWORD=new)
        cluster.up("swarm-shop:2")
        assert cluster.ended() == "completed"
        load.wait_for_writes()
        users = "select distinct usename from pg_stat_activity where client_addr is not null"
        until(lambda: cluster.sql(users) == "appname2", 10)
        cluster.sql("ALTER ROLE appname PASSWORD NULL")
        load.wait_for_writes()
    cluster.lost_nothing("database's password rotated", load)


def test_no_secret_is_in_the_service_or_in_a_container_s_environment(cluster):
    shown = cluster.sh("docker service inspect django_frontend; docker secret inspect $(docker secret ls -q)")
    for number in NODES:
        shown += cluster.sh("docker ps -q | xargs -r docker container inspect", number)
    assert "DJANGO_SECRET_KEY_FILE" in shown
    for word in (POSTGRES_CANARY, ADMIN_CANARY, KEY_CANARY):
        assert word not in shown


# Only the leader moves replicas: without one the others first elect it, which takes 10 to 20 s; Swarm has no setting for that.
@pytest.mark.parametrize(("role", "limit"), [("Reachable", 30), ("Leader", 60)])
def test_a_node_that_is_killed_loses_nothing_and_its_replicas_are_soon_elsewhere(cluster, role, limit):
    cluster.scale(4)
    roles = dict(line.split() for line in cluster.sh("docker node ls --format '{{.Hostname}} {{.ManagerStatus}}'").splitlines())
    killed = next(name for name, its in roles.items() if its == role)
    other = next(number for number in NODES if f"node-{number}" != killed)
    assert killed in cluster.replicas()

    def elsewhere():
        found = cluster.replicas(other)
        return killed not in found and len(found) == 4

    with Load(cluster.url(other), ADMIN_CANARY) as load:
        load.wait_for_writes()
        engine.daemon.kill(engine.places.RUN / killed, f"{engine.places.CGROUP}/{killed}")
        assert not cluster.answers(int(killed[-1]))
        taken = until(elsewhere, limit)
        load.wait_for_writes()
    all_of_them = len(load.failed) + len(load.acknowledged)
    what = {"Reachable": "node killed", "Leader": "node killed that leads the Swarm"}[role]
    figure(what, f"replicas elsewhere after {taken:.0f} s; {len(load.failed)} of {all_of_them} requests failed")
    assert load.lost(cluster.groups()) == set()
    cluster.start_nodes()
    until(lambda: cluster.answers(int(killed[-1])), 60)
    assert cluster.sh("docker node ls --format '{{.Status}}'", other).split() == ["Ready"] * 3


def test_after_a_node_s_death_an_update_works_and_stack_down_leaves_nothing(cluster):
    cluster.up("swarm-shop:1")
    cluster.sh("make stack-down", timeout=90)
    label = "--filter label=com.docker.stack.namespace=django"
    for number in NODES:
        until(lambda number=number: cluster.sh(f"docker ps -q {label}; docker network ls -q {label}", number) == "", 30)
    assert cluster.sh(f"docker service ls -q {label}; docker secret ls -q {label}") == ""
