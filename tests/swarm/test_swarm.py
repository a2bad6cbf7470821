"""production/swarm under load, on a Swarm of three private engines that act as three machines. `make test-swarm` runs it."""

import os
import re
import secrets
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import engine.daemon
import engine.network
import engine.places
import pytest
import requests
from figures import figure
from load import Load
from pages import answers
from private_engine import ENGINE, PRIVATE_ENGINE
from projects import ADMIN_CANARY, DJANGO, KEY_CANARY, POSTGRES_CANARY, SECRET_CANARIES, copy
from recipes import commands
from shell import ROOT, free_port, sh, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(
        not PRIVATE_ENGINE, reason="needs three private engines, which only start on a Debian without another Docker Engine"
    ),
]
HERE = Path(__file__).resolve().parent
NODES = (1, 2, 3)
TAGS = ("1", "2", "sick")
IMAGE = "{{.Spec.TaskTemplate.ContainerSpec.Image}}"  # for `docker service inspect`

# Another release, whose style sheet has another hash in its name. It doesn't have the old file.
RELEASE_2 = """
FROM {image}:1
USER root
RUN echo "/* release 2 */" >> "$(python -c "import django.contrib.admin as a; print(a.__path__[0])")/static/admin/css/base.css" \\
 && DJANGO_BUILD=1 DJANGO_ALLOWED_HOSTS=localhost python manage.py collectstatic --no-input --clear
USER myuser
"""


class Cluster:
    """Three nodes, a database outside the Swarm, and a copy of the Django folder that deploys the stack."""

    def __init__(self, base):
        """Start the nodes, the database and the stack with two replicas."""
        self.start_nodes()
        pool = str(engine.network.kept_pool()).removesuffix("0.0/16")
        self.database, self.db_port, self.host = f"test-{secrets.token_hex(4)}", free_port(), f"{pool}255.254"
        self.addresses = {number: f"{pool}255.{number}" for number in NODES}
        self.example = copy(DJANGO, base / "a clone")
        self.production = self.example / "production"
        self.folder = self.production / "swarm"
        stack = self.folder / "stack.yaml"
        without, found = re.subn(r"    # Each node answers.*\n    ports:\n.*\n", "", stack.read_text())
        assert found == 1
        stack.write_text(without)
        shutil.copy(HERE / "override.yaml", self.folder)
        sh("sh make-secrets.sh", cwd=self.production)
        self.set(DJANGO_ALLOWED_HOSTS=",".join(("localhost", *self.addresses.values())), SITE_ADDRESS="http://")
        self.set(POSTGRES_REMOTE_HOST=self.host, POSTGRES_PORT=self.db_port, **SECRET_CANARIES)
        values = base / "database.env"
        values.write_text(f"POSTGRES_USER=appname\nPOSTGRES_DB=appname_db\nPOSTGRES_PASSWORD={POSTGRES_CANARY}\n")
        sh(f"docker run -d --name {self.database} --env-file '{values}' -p {self.host}:{self.db_port}:5432 postgres:18-trixie")
        sh(f"docker build -q -t swarm-proxy -f proxy.Dockerfile '{HERE}'", cwd=HERE)
        for number in NODES:
            sh(f"docker save swarm-proxy | docker -H {self.socket(number)} load")
        self.start_registry(base)
        build, push = "docker build -q -f production/Dockerfile -t {} .", "docker push -q {}"
        sh(build.format(f"{self.image}:1"), cwd=self.example)
        sh(f"docker build -q -t {self.image}:2 -", input=RELEASE_2.format(image=self.image), stdin=None)
        sh(f"docker build -q -t {self.image}:sick -", input=f"FROM {self.image}:1\nCMD sleep 9999\n", stdin=None)
        for tag in TAGS:
            sh(push.format(f"{self.image}:{tag}"))
        self.up(f"{self.image}:1")
        until(lambda: len(self.replicas()) == 2 and all(self.answers(number) for number in NODES), 30)

    def start_registry(self, base):
        """Start a registry outside the Swarm, which all engines trust, and log in to it."""
        self.registry, port = f"{self.database}-registry", free_port()
        address = f"{self.host}:{port}"
        self.image, self.trust, tls = f"{address}/shop", Path("/etc/docker/certs.d", address), base / "tls"
        tls.mkdir()
        sh(f"docker build -q -t {self.registry} -f registry.Dockerfile .", cwd=HERE)
        make = f"openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=registry -addext subjectAltName=IP:{self.host}"
        make += f" -keyout /tls/tls.key -out /tls/tls.crt && htpasswd -Bbc /tls/users you {ADMIN_CANARY}"
        sh(f"docker run --rm -v '{tls}:/tls' {self.registry} sh -c '{make}'")
        sh(f"docker run -d --name {self.registry} -v '{tls}:/tls:ro' -p {address}:5000 {self.registry}")
        self.trust.mkdir(parents=True)
        shutil.copy(tls / "tls.crt", self.trust / "ca.crt")
        # The password of the login stays in a folder of this test.
        config = base / "docker"
        config.mkdir()
        (config / "cli-plugins").symlink_to(Path(os.environ["DOCKER_CONFIG"], "cli-plugins").resolve())
        os.environ["DOCKER_CONFIG"] = str(config)
        login = f"docker login -u you --password-stdin {address}"
        until(lambda: "Login Succeeded" in sh(login, ok=None, input=ADMIN_CANARY, stdin=None), 30)

    def start_nodes(self):
        """Start the nodes that aren't running."""
        environment = {key: value for key, value in os.environ.items() if key != "DOCKER_HOST"}
        start = [*ENGINE, "start", "--nodes", str(len(NODES)), str(HERE)]
        subprocess.run(start, cwd=ROOT / "tests", env=environment, check=True, stdout=subprocess.DEVNULL, timeout=200)

    @staticmethod
    def socket(number):
        """Return the DOCKER_HOST of a node."""
        return f"unix://{engine.places.node(number)}/docker.sock"

    def sh(self, command, number=1, **options):
        """Run a command line in the folder of the stack, on a node's engine."""
        environment = {**os.environ, "DOCKER_HOST": self.socket(number)}
        return sh(command, cwd=self.folder, env=environment, **options)

    def up(self, image, ok=True):
        """Run `sh deploy.sh`, which waits until the update has ended; return what it printed."""
        # A replica that is never healthy fails after 150 s, and then the old image returns.
        return self.sh(f"sh deploy.sh {image} -c override.yaml", ok=ok, timeout=330)

    def ended(self):
        """Wait until the last update has ended; return its state."""
        until(lambda: self.inspect("{{.UpdateStatus.State}}") in ("completed", "rollback_completed", "paused"), 30)
        return self.inspect("{{.UpdateStatus.State}}")

    def inspect(self, form):
        """Return a value of the service; `form` is a Go template."""
        return self.sh(f"docker service inspect -f '{form}' appname_frontend")

    def replicas(self, number=1):
        """Return the node of each running replica, as node `number` reports it."""
        form = "{{.Node}} {{.CurrentState}}"
        said = self.sh(f"docker service ps -f desired-state=running --format '{form}' appname_frontend", number, ok=None)
        return [line.split()[0] for line in said.splitlines() if " Running " in line]

    def answers(self, number):
        """Return whether the login page answers on a node."""
        return answers(f"{self.url(number)}/admin/login/")

    def url(self, number):
        """Return the URL of a node."""
        return f"http://{self.addresses[number]}:8000"

    def set(self, **values):
        """Change secrets, and values in .env."""
        for key, value in values.items():
            if key in SECRET_CANARIES:
                (self.production / "secrets" / key).write_text(value)
                continue
            env = self.production / ".env"
            text, found = re.subn(f"^{key}=.*", f"{key}={value}", env.read_text(), flags=re.MULTILINE)
            assert found == 1, key
            env.write_text(text)

    def sql(self, query):
        """Return what psql prints for a query, without headings."""
        return sh(f"docker exec -i {self.database} psql -qAt -U appname -d appname_db", input=query, stdin=None)

    def groups(self):
        """Return the names of all groups in the database."""
        return self.sql("select name from auth_group").splitlines()

    def lost_nothing(self, what, load):
        """Report how many requests failed under the load. Raise AssertionError if one failed or an acknowledged write is lost."""
        figure(what, f"{len(load.failed)} of {len(load.failed) + len(load.acknowledged)} requests failed")
        assert (load.reasons, load.lost(self.groups())) == ({}, set())

    def scale(self, number):
        """Run `docker service scale`, then return the seconds until `number` replicas run."""
        self.sh(f"docker service scale appname_frontend={number}")
        return until(lambda: len(self.replicas()) == number, 120)

    def remove(self):
        """Remove the stack, the database and the images. The nodes run until `make engine-down`."""
        self.sh("docker stack rm appname", ok=None)
        images = " ".join(f"{self.image}:{tag}" for tag in TAGS)
        sh(f"docker rm -f -v {self.database} {self.registry}; docker image rm {images} {self.registry} swarm-proxy", ok=None)
        shutil.rmtree(self.trust, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Yield one cluster for all tests."""
    one = Cluster.__new__(Cluster)
    try:
        one.__init__(tmp_path_factory.mktemp("swarm"))
        yield one
    finally:
        one.remove()


def test_four_replicas_answer_on_every_node(cluster):
    cluster.scale(4)
    shown = cluster.sh("docker stack ps appname")
    # Each of the three nodes also runs a proxy.
    assert len(re.findall(r"Running +Running ", shown)) == 4 + 3
    assert len(set(cluster.replicas())) == 3
    for number in NODES:
        seen = set()

        def all_four(number=number, seen=seen):
            seen.add(requests.get(f"{cluster.url(number)}/admin/login/", timeout=5).headers["X-Replica"])
            return len(seen) == 4

        until(all_four, 30)


def test_scaling_from_2_to_6_to_2_replicas_under_load_fails_no_request(cluster):
    cluster.scale(2)
    with Load(cluster.url(2), ADMIN_CANARY) as load:
        load.wait_for_writes()
        cluster.scale(6)
        load.wait_for_writes()
        cluster.scale(2)
        load.wait_for_writes()
    cluster.lost_nothing("scale 2 to 6 to 2", load)


def test_a_rolling_update_under_load_fails_no_request_and_the_static_files_of_new_pages_answer(cluster):
    old, pages, missing, ended = style_sheets(cluster), 0, [], threading.Event()

    def visit():
        nonlocal pages
        while not ended.is_set():
            files = style_sheets(cluster)
            # The old files are gone when the last old replica stops, so look at the pages of the new release.
            if files != old:
                pages += 1
                missing.extend(file for file in files if requests.get(cluster.url(3) + file, timeout=5).status_code != 200)

    with Load(cluster.url(2), ADMIN_CANARY) as load, ThreadPoolExecutor() as pool:
        load.wait_for_writes()
        visitor = pool.submit(visit)
        try:
            cluster.up(f"{cluster.image}:2")
            assert cluster.ended() == "completed"
            load.wait_for_writes()
        finally:
            ended.set()
        visitor.result()
    cluster.lost_nothing("rolling update", load)
    assert cluster.inspect(IMAGE).startswith(f"{cluster.image}:2@sha256:")
    assert pages > 0 and missing == []


def style_sheets(cluster):
    """Return the style sheets that the login page names."""
    page = requests.get(f"{cluster.url(3)}/admin/login/", timeout=5)
    assert page.status_code == 200
    return re.findall(r'href="(/static/[^"]+\.css)"', page.text)


def test_an_unhealthy_update_under_load_rolls_back_and_fails_no_request(cluster):
    before = cluster.inspect(IMAGE)
    with Load(cluster.url(2), ADMIN_CANARY) as load:
        load.wait_for_writes()
        sick = f"{cluster.image}:sick"
        assert f"error: {sick} did not become healthy, so the old one is back" in cluster.up(sick, ok=False)
        assert cluster.ended() == "rollback_completed"
        load.wait_for_writes()
    cluster.lost_nothing("update that is not healthy", load)
    assert cluster.inspect(IMAGE) == before


def test_rotating_the_signing_key_fails_no_request_and_logs_nobody_out(cluster):
    new = f"another-{KEY_CANARY}"
    # Use one client, because Django renews a session that the other key signed, and the old session ends.
    with Load(cluster.url(2), ADMIN_CANARY, clients=1) as load:
        for keys in (f"{KEY_CANARY},{new}", f"{new},{KEY_CANARY}", new):
            load.wait_for_writes()
            cluster.set(DJANGO_SECRET_KEY=keys)
            cluster.up(f"{cluster.image}:2")
            assert cluster.ended() == "completed"
        load.wait_for_writes()
    cluster.lost_nothing("signing key rotated in three steps", load)


def test_rotating_the_database_password_with_a_second_user_fails_no_request(cluster):
    new = f"another-{POSTGRES_CANARY}"
    # These are the README's commands, with the password in the statement instead of psql's \password.
    cluster.sql(f"CREATE ROLE appname2 LOGIN PASSWORD '{new}' IN ROLE appname; ALTER ROLE appname2 SET role = appname")
    with Load(cluster.url(2), ADMIN_CANARY) as load:
        load.wait_for_writes()
        cluster.set(POSTGRES_USER="appname2", POSTGRES_PASSWORD=new)
        cluster.up(f"{cluster.image}:2")
        assert cluster.ended() == "completed"
        load.wait_for_writes()
        users = "select distinct usename from pg_stat_activity where client_addr is not null"
        until(lambda: cluster.sql(users) == "appname2", 10)
        cluster.sql("ALTER ROLE appname PASSWORD NULL")
        load.wait_for_writes()
    cluster.lost_nothing("database's password rotated", load)
    # Docker refuses to remove the three that the service uses.
    (remove,) = commands(ROOT / DJANGO / "production/swarm/README.md", "Old secrets")
    assert "is in use" in cluster.sh(remove, ok=None)
    assert len(cluster.sh("docker secret ls -q").split()) == 3


def test_inspect_shows_no_secret_of_the_service_or_of_a_container(cluster):
    shown = cluster.sh("docker service inspect appname_frontend; docker secret inspect $(docker secret ls -q)")
    for number in NODES:
        shown += cluster.sh("docker ps -q | xargs -r docker container inspect", number)
    # Check that the search finds other settings.
    assert "DJANGO_ALLOWED_HOSTS" in shown
    for word in (POSTGRES_CANARY, ADMIN_CANARY, KEY_CANARY):
        assert word not in shown


# Only the leader moves replicas. If it dies, the other managers first elect a new one, which takes 10 to 20 s.
@pytest.mark.parametrize(("role", "limit"), [("Reachable", 30), ("Leader", 60)])
def test_a_killed_node_loses_no_write_and_its_replicas_move_to_other_nodes(cluster, role, limit):
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


def test_after_nodes_were_killed_updates_work_and_stack_rm_leaves_nothing(cluster):
    cluster.up(f"{cluster.image}:1")
    cluster.sh("docker stack rm appname", timeout=90)
    label = "--filter label=com.docker.stack.namespace=appname"
    for number in NODES:
        until(lambda number=number: cluster.sh(f"docker ps -q {label}; docker network ls -q {label}", number) == "", 60)
    assert cluster.sh(f"docker service ls -q {label}; docker secret ls -q {label}") == ""


def test_deploy_rejects_a_missing_image_and_the_database_host_backend(cluster):
    assert "error: name an image that each node can pull" in cluster.sh("sh deploy.sh", ok=False)
    before = (cluster.production / ".env").read_text()
    cluster.set(POSTGRES_REMOTE_HOST="backend")
    assert "the Swarm has no service backend" in cluster.sh("sh deploy.sh shop:1", ok=False)
    (cluster.production / ".env").write_text(before)


def test_stack_yaml_publishes_the_port_and_contains_no_secret(cluster):
    # Use the repository's file, because the tests above remove the published port from their copy.
    values = {"IMAGE": "shop:1", "STACK": "shop", "VERSION": "1", **dict.fromkeys(("PORT", "REPLICAS"), "2")}
    file = cluster.folder / "as-it-is.yaml"
    shutil.copy(ROOT / DJANGO / "production/swarm/stack.yaml", file)
    seen = sh("docker stack config -c as-it-is.yaml", cwd=cluster.folder, env={**os.environ, **values})
    for line in ("mode: ingress", "target: 8000", "published: 2", "order: start-first", "failure_action: rollback"):
        assert f" {line}\n" in seen
    assert not any(word in seen for word in SECRET_CANARIES.values())
