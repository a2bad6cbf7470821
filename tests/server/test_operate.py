"""The sections of operate.md that need no SSH, followed in one running project. `make test-server` runs it, too.

test_recipes.py follows "Data from development", and test_server.py what needs SSH.
"""

import json
import os
import pty
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from containers import workers
from pages import answers, log_in
from projects import ADMIN_CANARY, DJANGO, POSTGRES_CANARY, Production
from recipes import change, commands, sections, steps, write
from shell import ROOT, sh, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PAGE = ROOT / DJANGO / "production/operate.md"
FOLLOWED = set()


@pytest.fixture(scope="module")
def prod(tmp_path_factory):
    """Yield a running production project. All tests share it, in this order."""
    one = Production(tmp_path_factory.mktemp("operate"))
    one.sh("make up")
    yield one
    one.remove()


def follow(prod, heading, **words):
    """Do what a section says, with other words in place of some. Return what each block of commands printed."""
    printed = []
    FOLLOWED.add(f"operate.md: {heading}")
    for language, text, names in steps(PAGE, heading):
        content = text
        for word, mine in {"django-production": prod.name, **words}.items():
            content = content.replace(word, str(mine))
        if language == "sh":
            printed.append(prod.sh(f"set -e\n{content}"))
        elif names:
            write(prod.folder, language, content, names)
    return printed


def test_a_setting_gives_the_site_another_address(prod):
    prod.set(DJANGO_ALLOWED_HOSTS="localhost", SITE_ADDRESS="localhost")
    said, _ = follow(prod, "A setting, or another address")
    assert said.endswith(f"Open https://www.example.org:{prod.https_port}")
    answer = requests.get(prod.url, headers={"Host": "www.example.org"}, allow_redirects=False, timeout=5)
    assert (answer.status_code, answer.headers["Location"]) == (308, "https://www.example.org/")
    prod.set(DJANGO_ALLOWED_HOSTS="localhost,127.0.0.1", SITE_ADDRESS="http://")
    prod.sh("make up")


def test_a_new_secret_key_logs_nobody_out(prod):
    def old_key():
        return prod.sh("docker compose exec -T frontend cat /run/secrets/DJANGO_SECRET_KEY")

    first, url = old_key(), f"{prod.url}/admin/"
    put, replace, remove = (content for language, content, _ in steps(PAGE, "A new secret key") if language == "sh")
    FOLLOWED.add("operate.md: A new secret key")
    with requests.Session() as browser:
        log_in(prod.url, ADMIN_CANARY, browser=browser)
        prod.sh(put)
        prod.sh(replace)
        assert re.fullmatch(rf"\w{{50}},{first}", old_key())
        assert "Site administration" in browser.get(url, timeout=5).text
        prod.sh(remove)
        assert re.fullmatch(r"\w{50}", old_key()) and first not in old_key()
        assert "Site administration" in browser.get(url, timeout=5).text


def test_the_administrators_password_counts_at_the_first_start_only_and_a_lost_one_is_set(prod):
    heading = "The administrator's password"
    change, names = (content for language, content, _ in steps(PAGE, heading) if language == "sh")
    FOLLOWED.add(f"operate.md: {heading}")
    prod.secret("DJANGO_SUPERUSER_PASSWORD").write_text("a-password-in-the-file")
    prod.sh("docker compose up --detach --force-recreate --wait frontend")
    assert "Site administration" in log_in(prod.url, ADMIN_CANARY)
    assert "Site administration" not in log_in(prod.url, "a-password-in-the-file")
    new = "Another-password-4711"
    keyboard, terminal = pty.openpty()
    streams = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
    with subprocess.Popen(["sh", "-c", change], cwd=prod.folder, **streams) as session:
        for prompt in (b"Password: ", b"Password (again): "):
            wait_for_word(keyboard, prompt)
            os.write(keyboard, f"{new}\n".encode())
        wait_for_word(keyboard, b"Password changed successfully")
        assert session.wait(timeout=60) == 0
    assert "Site administration" in log_in(prod.url, new) and "Site administration" not in log_in(prod.url, ADMIN_CANARY)
    assert prod.sh(names) == "appname_admin"


def wait_for_word(keyboard, word):
    """Read from a terminal until it has shown a word."""
    seen = b""
    while word not in seen:
        seen += os.read(keyboard, 1024)


def test_the_database_gets_a_new_password_and_django_too(prod):
    follow(prod, "The database's password")
    new = prod.secret("POSTGRES_PASSWORD").read_text()
    assert re.fullmatch(r"\w{50}", new)
    for password, ok in ((new, True), (POSTGRES_CANARY, False)):
        inside = "psql -h \"$HOSTNAME\" -U appname -c 'select 1' appname_db"
        prod.sh(f"docker compose exec -T -e PGPASSWORD={password} backend sh -c {json.dumps(inside)}".replace("$", r"\$"), ok=ok)
    assert requests.get(f"{prod.url}/admin/login/", timeout=5).status_code == 200


def test_a_lost_password_of_the_database_is_replaced(prod):
    _, read, give, start = commands(PAGE, "The database's password")
    prod.secret("POSTGRES_PASSWORD").unlink()
    prod.sh("make secrets")
    prod.sh(start, ok=False)
    assert "password authentication failed for user" in prod.sh("docker compose logs --tail 20 frontend")
    for command in (read, give, start):
        prod.sh(command)
    assert requests.get(f"{prod.url}/admin/login/", timeout=5).status_code == 200


def test_more_workers_the_space_of_the_uploads_and_the_log_of_requests(prod):
    follow(prod, "More processors")
    assert len(workers(prod.names["frontend"])) == 4
    assert re.search(r"^\S+\s/media$", follow(prod, "Uploads")[0], re.MULTILINE)
    requests.get(f"{prod.url}/admin/login/?a-word-for-the-log", timeout=5)
    until(lambda: "a-word-for-the-log" in follow(prod, "Logs")[0], 10)


UPLOADS = """
from django.http import HttpResponse
from django.views.decorators.csrf import csrf_exempt

@csrf_exempt
def upload(request):
    return HttpResponse(sum(map(len, request.FILES["file"].chunks())))

urlpatterns += [path("upload/", upload)]
"""


def test_the_proxy_takes_larger_uploads_also_five_at_once(prod):
    def upload(size):
        answer = requests.post(f"{prod.url}/upload/", files={"file": bytes(size)}, timeout=60)
        return answer.status_code, answer.text

    urls = prod.example / "codesolid_demo/codesolid_demo/urls.py"
    urls.write_text(urls.read_text() + UPLOADS)
    prod.sh("make up")
    assert upload(10_000_001) == (413, "413 Request Entity Too Large")
    follow(prod, "Larger uploads")
    with ThreadPoolExecutor(5) as clients:
        assert set(clients.map(upload, [99_000_000] * 5)) == {(200, "99000000")}
    assert upload(100_000_001) == (413, "413 Request Entity Too Large")
    assert [prod.container(service)["RestartCount"] for service in prod.names] == [0, 0, 0]


def test_a_proxy_in_front_that_terminates_tls_is_trusted_after_the_steps(prod):
    def ask(method="GET", **options):
        https = {"Host": "localhost", "X-Forwarded-Proto": "https", "Origin": "https://localhost"}
        return requests.request(method, page, headers=https, allow_redirects=False, timeout=5, **options)

    def send_form():
        cookie = ask().cookies["csrftoken"]
        return ask("POST", data={"csrfmiddlewaretoken": cookie}, cookies={"csrftoken": cookie})

    page = f"{prod.url}/admin/login/"
    # Without HTTPS, a form doesn't fit the address that the browser shows. With it, Caddy redirects this proxy, too.
    assert send_form().status_code == 403
    prod.set(SITE_ADDRESS="localhost", HTTP_PORT=f"127.0.0.1:{prod.port}", HTTPS_PORT=f"127.0.0.1:{prod.https_port}")
    assert prod.sh("make up").endswith(f"Open https://localhost:{prod.https_port}")
    assert ask().status_code == 308
    # The requests of this test come from an address of Docker's network.
    follow(prod, "Another proxy in front", **{"192.0.2.7": "private_ranges"})
    until(lambda: answers(page), 20)
    # The form comes again, because it has no name and no password. Its cookie is for HTTPS only.
    answer = send_form()
    assert answer.status_code == 200 and "Secure" in answer.headers["Set-Cookie"]
    prod.set(SITE_ADDRESS="http://", HTTP_PORT=prod.port, HTTPS_PORT=prod.https_port)
    prod.sh("make up")


def test_a_mistake_in_the_caddyfile_is_found_before_the_proxy_restarts(prod):
    caddyfile, page = prod.folder / "Caddyfile", f"{prod.url}/admin/login/"
    right, started = caddyfile.read_text(), prod.container("proxy")["State"]["StartedAt"]
    caddyfile.write_text(right.replace("\tlog\n", "\tlgo\n"))
    assert "unrecognized directive: lgo" in prod.sh("make proxy", ok=False)
    assert prod.container("proxy")["State"]["StartedAt"] == started and answers(page)
    caddyfile.write_text(right)
    prod.sh("make proxy")
    assert prod.container("proxy")["State"]["StartedAt"] != started
    until(lambda: answers(page), 20)


def test_a_proxy_for_the_internet_in_docker_s_configuration_gets_no_request_of_the_site(prod, tmp_path):
    plugins = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "cli-plugins"
    if plugins.exists():
        (tmp_path / "cli-plugins").symlink_to(plugins.resolve())
    nowhere = "http://192.0.2.1:3128"
    proxies = {"proxies": {"default": {"httpProxy": nowhere, "httpsProxy": nowhere}}}
    (tmp_path / "config.json").write_text(json.dumps(proxies))
    prod.variables["DOCKER_CONFIG"] = str(tmp_path)
    new = "docker compose up --detach --wait --force-recreate"
    prod.sh(new)
    assert f"http_proxy={nowhere}" in prod.sh("docker compose exec -T proxy env")
    assert answers(f"{prod.url}/admin/login/")
    del prod.variables["DOCKER_CONFIG"]
    prod.sh(new)


WORKER = """\
 services:
+  worker:
+    extends: frontend
+    command: sleep infinity
+    healthcheck:
+      test: "true"
"""


def test_data_move_to_a_new_major_version_of_postgresql_and_back_until_the_old_volume_is_removed(prod):
    # There is no newer version, so this one gets the name of the next.
    sh("docker tag postgres:18-trixie postgres:19-trixie")
    prod.sql("create table kept as select 42 as answer; alter table kept owner to appname")
    compose, heading = prod.folder / "docker-compose.yaml", "A new major version of PostgreSQL"
    change(compose, WORKER)
    prod.sh("make up")
    # The last one in the alphabet, but not the newest.
    (prod.folder / "backups/before-v2").mkdir(parents=True)

    def running():
        return prod.sh("docker compose ps --services").split()

    assert running() == ["backend", "frontend", "proxy", "worker"]
    before = compose.read_text()
    save, new, load, remove = steps(PAGE, heading)
    FOLLOWED.add(f"operate.md: {heading}")
    prod.sh(f"set -e\n{save[1]}")
    write(prod.folder, *new)
    after = compose.read_text()
    # Until the backup is loaded, nobody can write.
    for line, services in zip(load[1].splitlines(), [2, 2, 4], strict=True):
        assert running() == ["backend", "frontend"]
        prod.sh(line)
        assert len(running()) == services
    assert prod.container("backend")["Config"]["Image"] == "postgres:19-trixie"
    prod.sql("create table newer as select 1 as one")
    for text, tables in ((before, "kept"), (after, "kept newer")):
        compose.write_text(text)
        prod.sh("make up")
        assert (
            prod.sql("select string_agg(tablename, ' ' order by tablename) from pg_tables where tablename ~ 'kept|newer'")
            == tables
        )
    prod.sh(remove[1].replace("django-production", prod.name))
    volumes = sh(f"docker volume ls -q --filter name={prod.name}_database")
    (mount,) = (mount["Name"] for mount in prod.container("backend")["Mounts"] if mount["Type"] == "volume")
    assert mount == volumes == f"{prod.name}_database19"
    assert requests.get(f"{prod.url}/admin/login/", timeout=5).status_code == 200
    compose.write_text(after.replace("postgres:19-trixie", "postgres:18-trixie"))
    sh("docker image rm postgres:19-trixie", ok=None)


def test_a_second_site_runs_beside_the_first(prod, tmp_path):
    second = Production(tmp_path)
    try:
        second.set(COMPOSE_PROJECT_NAME="django-production", HTTP_PORT=80, HTTPS_PORT=443)
        words = {"-COMPOSE_PROJECT_NAME=" + second.name: "-COMPOSE_PROJECT_NAME=django-production", "second-site": second.name}
        follow(second, "A second site on this computer", **words, **{"8080": second.port, "8443": second.https_port})
        for site in (prod, second):
            assert requests.get(f"{site.url}/admin/login/", timeout=5).status_code == 200
    finally:
        second.remove()


def test_the_database_moves_somewhere_else(prod, name):
    network = f"{prod.name}-elsewhere"
    sh(f"docker network create {network}")
    label = f"-e POSTGRES_PASSWORD=of-the-superuser --network {network} --network-alias db.example.org"
    heading = "A database somewhere else"
    try:
        sh(f"docker run -d --name {name} {label} postgres:18-trixie")
        until(lambda: "1" in sh(f"docker exec {name} psql -h localhost -U postgres -Atc 'select 1'", ok=None).split(), 60)
        (create,) = (text for language, text, names in steps(PAGE, heading) if language == "text" and not names)
        sh(f"docker exec -i {name} psql -U postgres", input=create, stdin=None)
        compose = prod.folder / "docker-compose.yaml"
        reach = f"networks:\n  default: {{name: {network}, external: true}}\n"
        compose.write_text(compose.read_text().replace("networks:\n  database:\n", f"{reach}  database:\n"))
        prod.sh("docker compose up --detach --wait")
        # That a server without TLS is refused is in test_production.py.
        words = {"SSLMODE=require": "SSLMODE=prefer", "run --rm -i": f"run --rm -i --network {network}"}
        follow(prod, heading, **words, **{f"{prod.name}_database": f"{prod.name}_database19"})
        assert sh(f"docker exec {name} psql -U postgres -Atc 'select answer from kept' appname_db") == "42"
        assert "Site administration" in log_in(prod.url, "Another-password-4711")
        assert "backend" not in prod.sh("docker compose ps -a --format '{{.Service}}'")
        # To try a backup would start Django on that database.
        assert "POSTGRES_REMOTE_HOST in .env is not backend" in prod.sh("make verify", ok=False)
    finally:
        prod.sh("docker compose down --timeout 0", ok=None)
        sh(f"docker rm -f -v {name}; docker network rm {network}", ok=None)


def test_each_section_was_followed(prod):
    elsewhere = {
        *("Backups on a schedule, on another computer", "A new server from a copy", "A database client on your laptop"),
        "Data from development",
    }
    left = {"operate.md: Remove everything", *(f"operate.md: {heading}" for heading in elsewhere)}
    assert set(sections(PAGE)) - FOLLOWED == left
    (block,) = (content for _, content, _ in steps(PAGE, "Remove everything"))
    prod.sh(f"echo yes | {block}", stdin=None)
    assert sh(f"docker volume ls -q --filter name={prod.name}_") == ""
