"""deploy-over-ssh.md, and the sections of operate.md that need SSH, on a server with a real sshd. `make test-server` runs it.

Two containers act as computers: the server, whose engine is the one that runs the tests, and the laptop. The tests type the
blocks of the pages there, and build on each other.
"""

import os
import re
import secrets
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import requests
import yaml
from pages import answers, log_in
from private_engine import PRIVATE_ENGINE
from projects import ADMIN_CANARY, DJANGO, POSTGRES_CANARY, Production, copy
from recipes import commands, steps
from shell import ROOT, at_a_terminal, free_port, sh, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not PRIVATE_ENGINE, reason="the server uses the socket and the programs of the private engine"),
]
HERE = Path(__file__).resolve().parent
PAGES = ROOT / DJANGO / "production"
COPIES = "copies@backup.example.org"

# A version of the site: its first page, and a table that the first version doesn't have.
URLS = """
from django.http import HttpResponse

urlpatterns += [path("", lambda request: HttpResponse("{}"))]
"""
MODELS = """
from django.db import models


class Note(models.Model):
    text = models.CharField(max_length=80)
"""


def blocks(page, heading):
    """Return the blocks of commands under a heading of one of production's pages, without those that a comment skips."""
    return commands(PAGES / page, heading, skipped=False)


class Computers:
    """A laptop with a project, and a server that also keeps the copies of backups. `prod` is production on the server."""

    def __init__(self, base):
        """Start both. The server's folder has the same path on this machine, where the engine looks for mounted files."""
        number = f"127.77.{secrets.randbelow(256)}"
        self.base, self.tag, self.prod = base, f"test-{secrets.token_hex(4)}", None
        self.server, self.laptop = f"{self.tag}-server", f"{self.tag}-laptop"
        self.folder, self.project = base / "srv/appname", base / "laptop" / DJANGO
        # Both computers are on the host's network, as a server is: only there is a way to the addresses of containers.
        hosts = f"--add-host www.example.org:{number}.1 --add-host backup.example.org:{number}.2"
        tools = Path(os.environ["DOCKER_CONFIG"], "cli-plugins").resolve()
        docker, socket = Path(shutil.which("docker")).resolve(), os.environ["DOCKER_HOST"].removeprefix("unix://")
        mounts = f"-v '{docker}:/usr/bin/docker:ro' -v '{tools}:/usr/libexec/docker/cli-plugins:ro'"
        mounts += f" -v '{socket}:/var/run/docker.sock'"
        for folder in (self.folder.parent, self.project.parent):
            folder.mkdir()
        sh(f"docker build -q -t {self.tag} '{HERE}'", timeout=400)
        copy(DJANGO, self.project.parent)
        start = f"docker run -d --init --network host {hosts}"
        sh(f"{start} --name {self.server} -v {self.folder.parent}:{self.folder.parent} {mounts} {self.tag} sleep infinity")
        sh(f"{start} --name {self.laptop} -v {self.project}:{self.project} -w {self.project} {self.tag} sleep infinity")
        group = os.stat(socket).st_gid
        listen = f"-o ListenAddress={number}.1 -o ListenAddress={number}.2"
        self.root(f"groupadd -o -g {group} docker; usermod -aG docker deploy; install -d -o deploy {self.folder}")
        self.root(f"ssh-keygen -A; /usr/sbin/sshd {listen}")
        accept = "mkdir -p ~/.ssh; echo 'StrictHostKeyChecking accept-new' > ~/.ssh/config"
        self.type(f"{accept}; ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519")
        self.let_in("deploy", self.type("cat ~/.ssh/id_ed25519.pub"))
        self.on_server(accept, "~")
        self.type("git init -q -b main; git config user.name you; git config user.email you@example.com")
        self.release("one", commit=False)

    def own(self, text):
        """Replace the names of a page with those of this test."""
        name = self.prod.name if self.prod else ""
        return re.sub(r"(?<!\w)/srv/appname", str(self.folder), text).replace("django-production", name)

    def root(self, command):
        """Run a command as root on the server."""
        return sh(shlex.join(["docker", "exec", self.server, "sh", "-ec", command]))

    def type(self, command, user="root", ok=True):
        """Run a block on the laptop, in the project's folder. Return its output."""
        return sh(shlex.join(["docker", "exec", "-u", user, self.laptop, "bash", "-ec", self.own(command)]), ok=ok)

    def on_server(self, command, folder=None, ok=True):
        """Log in to the server, and run a block in production's folder. Return its output."""
        inside = f"cd {folder or self.folder / 'production'} && bash -ec {shlex.quote(self.own(command))}"
        return self.type(shlex.join(["ssh", "deploy@www.example.org", inside]), ok=ok)

    def cron(self, line, ok=True):
        """Run a line of the page's crontab on the server, as cron does: without a terminal, and with cron's environment."""
        command = re.match(r"(?:\S+ ){5}(.*)", line)[1]
        return self.on_server(f"env -i HOME=/home/deploy PATH=/usr/bin:/bin sh -c {shlex.quote(command)}", "/", ok)

    def let_in(self, user, key):
        """Add a public key to those of a user on the server, as ssh-copy-id does."""
        self.root(f"cd /home/{user}; mkdir -p .ssh; echo '{key}' >> .ssh/authorized_keys; chown -R {user} .ssh; chmod 700 .ssh")

    def release(self, word, models="", more="", commit=True):
        """Write and commit a version of the site whose first page is this word, with these models, and more in urls.py."""
        demo = self.project / "codesolid_demo/codesolid_demo"
        urls = (ROOT / DJANGO / "codesolid_demo/codesolid_demo/urls.py").read_text()
        (demo / "urls.py").write_text(urls + URLS.format(word) + more)
        if models:
            settings = demo / "settings.py"
            settings.write_text(settings.read_text() + 'INSTALLED_APPS += ["news"]\n')
            news = self.project / "codesolid_demo/news"
            news.mkdir()
            (news / "__init__.py").touch()
            (news / "models.py").write_text(models)
            (news / "migrations").mkdir()
            (news / "migrations/__init__.py").touch()
            image = f"{self.prod.name}-frontend"
            make = f"docker run --rm -u 0 -v '{news}:/app/news' -v '{settings}:/app/codesolid_demo/settings.py' -e DJANGO_BUILD=1"
            sh(f"{make} -e DJANGO_SETTINGS_MODULE=codesolid_demo.settings {image} python manage.py makemigrations news")
        if commit:
            self.type(f"git add -A && git commit -qm {word}")

    def copies(self):
        """Return the names of the copies of backups, oldest first."""
        return self.root("ls /home/copies/appname").split()

    def remove(self):
        """Remove everything, in whatever state a test left it."""
        if self.prod:
            self.prod.remove()
        sh(f"docker rm -f -v {self.server} {self.laptop}; docker image rm {self.tag}", ok=None)


@pytest.fixture(scope="module")
def computers(tmp_path_factory):
    """Yield both computers. All tests share them."""
    one = Computers.__new__(Computers)
    try:
        one.__init__(tmp_path_factory.mktemp("server"))
        yield one
    finally:
        one.remove()


def first_page(prod):
    """Return the text of the site's first page."""
    return requests.get(prod.url, timeout=5).text


def test_deploy_over_ssh_md_brings_the_code_to_the_server_and_starts_it(computers):
    create, commit, name_and_push, make_secrets, up = blocks("deploy-over-ssh.md", "Once")
    computers.on_server(create, "/")
    computers.type(commit)
    computers.type(name_and_push)
    computers.on_server(make_secrets, "/")
    prod = computers.prod = Production(computers.base, computers.folder)
    computers.root(f"chown -R deploy {computers.folder}")
    computers.type(up)
    assert first_page(prod) == "one" and "Site administration" in log_in(prod.url, ADMIN_CANARY)
    assert computers.on_server("git status --short") == ""


def test_a_new_version_is_two_commands_and_the_version_before_one_also_after_a_migration(computers):
    prod, (deploy,), (back, undo) = computers.prod, blocks("deploy-over-ssh.md", "Each time"), blocks("deploy-over-ssh.md", BACK)
    computers.release("two", MODELS)
    computers.type(deploy)
    assert first_page(prod) == "two" and prod.sql("select count(*) from news_note") == "0"
    computers.type(back)
    # The old code goes on with the table that it doesn't know.
    assert first_page(prod) == "one" and prod.sql("select count(*) from news_note") == "0"
    computers.type(back)
    assert first_page(prod) == "two"
    computers.type(undo.replace("0001", "zero"))
    assert prod.sql("select count(*) from pg_tables where tablename = 'news_note'") == "0"
    computers.type(back)
    assert first_page(prod) == "one"


BACK = "Back to the version before"


def test_a_version_with_a_mistake_leaves_the_old_one_running_and_an_edited_server_refuses_a_push(computers):
    prod, (deploy,), back = computers.prod, blocks("deploy-over-ssh.md", "Each time"), blocks("deploy-over-ssh.md", BACK)[0]
    before = prod.container("frontend")["Id"]
    computers.release("three", more="nonsense\n")
    assert "NameError" in computers.type(deploy, ok=False)
    assert first_page(prod) == "one" and prod.container("frontend")["Id"] == before
    computers.type(back)
    assert first_page(prod) == "one"
    computers.on_server("echo >> Caddyfile")
    computers.release("four")
    assert "Working directory has unstaged changes" in computers.type(deploy, ok=False)
    computers.on_server("git checkout -q Caddyfile")
    computers.type(deploy)
    assert first_page(prod) == "four"


def test_ci_deploys_with_a_key_of_its_own(computers):
    create, scan, compare, forget = blocks("deploy-over-ssh.md", "From CI")
    make_key, install = create.splitlines()
    assert install == "ssh-copy-id -f -i ~/.ssh/ci-key.pub deploy@www.example.org"
    computers.type(make_key)
    computers.let_in("deploy", computers.type("cat ~/.ssh/ci-key.pub"))
    fingerprints = [printed.split()[1] for printed in (computers.type(scan).splitlines()[-1], computers.on_server(compare, "/"))]
    assert fingerprints[0] == fingerprints[1] and fingerprints[0].startswith("SHA256:")
    # What the page's table puts into GitHub: the content of a file, or a word.
    table = re.findall(r"\| a (secret|variable) \| `(\w+)` \| (the file )?`(.*)` \|", (PAGES / "deploy-over-ssh.md").read_text())
    values = {
        f"{'secrets' if what == 'secret' else 'vars'}.{name}": computers.type(f"cat {content}") if file else content
        for what, name, file, content in table
    }
    assert len(values) == 3
    computers.type(forget)
    computers.release("five")
    job = yaml.safe_load((ROOT / DJANGO / "new/.github/workflows/ci.yml").read_text())["jobs"]["deploy"]
    assert job["needs"] == "test" and job["if"] == "github.ref == 'refs/heads/main' && vars.SERVER != ''"
    # The checkout of CI belongs to another user than the laptop's.
    computers.type(f"cp -r {computers.project} /home/you/checkout; chown -R you /home/you/checkout")
    for step in job["steps"][1:]:
        environment = {
            key: re.sub(r"\$\{\{ (\w+\.\w+) }}", lambda name: values[name[1]], text)
            for key, text in {**job["env"], **step.get("env", {})}.items()
        }
        exports = "\n".join(f"export {key}={shlex.quote(text)}" for key, text in environment.items())
        computers.type(f"export HOME=/home/you; cd ~/checkout\n{exports}\n{step['run']}", user="you")
    assert first_page(computers.prod) == "five"


def test_a_database_client_reaches_postgresql_through_ssh_in_two_ways(computers):
    psql, tunnel = blocks("operate.md", "A database client on your laptop")
    typed = shlex.join(["docker", "exec", "-it", computers.laptop, "bash", "-c", computers.own(psql)])
    at_a_terminal(typed, computers.base, b"psql", keys=["\\q\n"])
    port = free_port()
    typed = shlex.join(["docker", "exec", computers.laptop, "timeout", "30", "bash", "-c", computers.own(tunnel)])
    ask = f"docker run --rm --network host -e PGPASSWORD={POSTGRES_CANARY} postgres:18-trixie psql -h localhost -p {port}"
    with subprocess.Popen(typed.replace("5433", str(port)), shell=True) as ssh:
        until(lambda: "42" in sh(f"{ask} -U appname -Atc 'select 6 * 7' appname_db", ok=None), 25, pause=1)
        # Nobody logs in as PostgreSQL's superuser over the network.
        sh(f"{ask} -U postgres -c 'select 1'", ok=False)
        ssh.wait(40)


HEADING = "Backups on a schedule, on another computer"


def thrown_away():
    """Return the containers, volumes and images of projects that check.sh removes in the end, also those of other tests."""
    names = sh("docker ps -a --format '{{.Names}}'; docker volume ls -q; docker image ls --format '{{.Repository}}'")
    return {name for name in names.split() if name.startswith("check-")}


def test_a_backup_is_copied_to_another_computer_and_both_keep_the_newest(computers):
    prod, (make_key, show_key, save, verify) = computers.prod, blocks("operate.md", HEADING)[:4]
    prod.sql("create table kept as select 42 as answer; alter table kept owner to appname")
    prod.sh("docker compose exec -T frontend sh -c 'echo picture > /media/kept.txt'")
    computers.on_server(make_key)
    computers.let_in("copies", computers.on_server(show_key))
    assert f"backup.sh 7 {COPIES}:appname" in save
    # What has another name is no backup, although it would be the newest.
    for name in ("2000-01-01-backup", "2099-01-01-backup"):
        computers.on_server(f"mkdir -p backups/{name}")
    for _ in range(3):
        computers.on_server(save.replace(" 7 ", " 2 "))
    first, *here, last = sorted(path.name for path in (prod.folder / "backups").iterdir())
    assert len(here) == 2 and computers.copies() == [first, *here, last] == ["2000-01-01-backup", *here, "2099-01-01-backup"]
    # A copy is the same folder as here.
    computers.root(f"diff -r {prod.folder}/backups /home/copies/appname")
    before = thrown_away()
    said = computers.on_server(verify)
    assert re.search(rf"^Loaded {COPIES}:appname/{here[1]}: \d+ tables, \d+ rows, 1 uploaded files$", said, re.MULTILINE)
    computers.root(f"rm -r {prod.folder}/backups/*-backup /home/copies/appname/*-backup")
    until(lambda: thrown_away() <= before, 60)


def test_the_crontab_prints_nothing_at_night_and_one_line_a_month(computers):
    night, month = crontab()
    before = computers.copies()
    assert computers.cron(night) == ""
    assert len(computers.copies()) == len(before) + 1
    assert re.fullmatch(rf"Loaded {COPIES}:appname/\S+: \d+ tables, \d+ rows, 1 uploaded files", computers.cron(month))


def crontab():
    """Return the two lines of the page's crontab."""
    (text,) = [content for language, content, _ in steps(PAGES / "operate.md", HEADING) if language == "text"]
    mail, night, month = text.splitlines()
    assert mail.startswith("MAILTO=")
    return night, month


def test_a_copy_that_fails_is_an_error_and_the_next_run_copies_both(computers):
    night, before = crontab()[0], computers.copies()
    said = computers.cron(night.replace("backup.example.org", "127.77.0.0"), ok=False)
    failed = r"^error: backups/\S+ is on this computer only: the copy to copies@127.77.0.0:appname failed$"
    assert re.search(failed, said, re.MULTILINE)
    assert computers.copies() == before
    assert computers.cron(night) == "" and len(computers.copies()) == len(before) + 2
    for wrong in ("0", "all", "-1"):
        assert f"error: keep {wrong} backups?" in computers.on_server(f"sh backup.sh {wrong}", ok=False)
    for wrong in (COPIES, f"{COPIES}:", f"{COPIES}:~/appname", ":appname"):
        assert f"error: copy to {wrong}?" in computers.on_server(f"sh backup.sh 7 '{wrong}'", ok=False)
    assert len(computers.copies()) == len(before) + 2


def test_a_copy_that_cannot_be_loaded_is_an_error_and_production_goes_on(computers):
    prod, month, newest = computers.prod, crontab()[1], computers.copies()[-1]
    broken, before = "2099-01-01-000000", thrown_away()
    computers.root(f"cd /home/copies/appname; cp -rp {newest} {broken}; truncate -s 9000 {broken}/database.dump")
    said = computers.cron(month, ok=False)
    assert "pg_restore: error" in said and f"error: {COPIES}:appname/{broken} cannot be loaded" in said
    until(lambda: thrown_away() <= before, 60)
    assert first_page(prod) == "five" and not list((prod.folder / "backups").glob("check-*"))
    computers.root(f"rm -r /home/copies/appname/{broken}")


def test_a_new_server_gets_the_data_from_the_copy(computers):
    prod, (send, up, fetch, get_certificate) = computers.prod, blocks("operate.md", "A new server from a copy")
    keep = blocks("operate.md", HEADING)[-1]
    computers.type(keep)
    prod.sh("echo yes | make clean", stdin=None)
    shutil.rmtree(prod.folder / "backups")
    files = [prod.folder / ".env", *sorted((prod.folder / "secrets").iterdir())]
    before = [(file.read_text(), file.stat().st_mode) for file in files]
    files[0].unlink()
    shutil.rmtree(prod.folder / "secrets")
    computers.type(send.replace("192.0.2.8", "www.example.org"))
    assert [(file.read_text(), file.stat().st_mode) for file in files] == before and len(files) > 3
    # The page says that it works without the old secrets, too.
    shutil.rmtree(prod.folder / "secrets")
    computers.on_server(up)
    assert prod.sql("select count(*) from pg_tables where tablename = 'kept'") == "0"
    computers.on_server(fetch)
    assert prod.sql("select answer from kept") == "42" and answers(f"{prod.url}/media/kept.txt")
    computers.on_server(get_certificate)
    until(lambda: answers(f"{prod.url}/media/kept.txt"), 20)
    assert "Site administration" in log_in(prod.url, ADMIN_CANARY)
