"""Tests of 03-docker-compose-django/production: the services, their hardening, settings, TLS, and external databases."""

import json
import os
import re
import socket
import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from containers import count_in_image
from pages import log_in
from projects import ADMIN_CANARY, KEY_CANARY, POSTGRES_CANARY, SECRET_CANARIES, Production
from shell import close_files, sh, until


def test_the_superuser_can_log_in_and_the_start_page_is_gone(shop):
    assert "Site administration" in log_in(shop.url, ADMIN_CANARY)
    assert requests.get(shop.url, timeout=5).status_code == 404
    assert "DEBUG" not in requests.get(f"{shop.url}/nowhere", timeout=5).text


def test_a_request_for_an_unknown_host_gets_a_400(shop):
    assert requests.get(f"{shop.url}/admin/login/", headers={"Host": "elsewhere"}, timeout=5).status_code == 400


def test_only_static_files_with_a_hash_in_their_names_are_cached_for_a_year(shop):
    page = requests.get(f"{shop.url}/admin/login/", timeout=5).text
    files = re.findall(r'"(/static/[^"]+)"', page)
    assert files and all(re.search(r"\.[0-9a-f]{12}\.", file) for file in files)
    for file in files:
        answer = requests.get(shop.url + file, timeout=5)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "public, max-age=31536000, immutable")
    answer = requests.get(f"{shop.url}/static/admin/css/base.css", timeout=5)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-cache")


def test_a_path_that_only_begins_like_static_goes_to_django(shop):
    said = requests.get(f"{shop.url}/statics", timeout=5)
    # This is the error page of Django. Caddy's has no HTML.
    assert said.status_code == 404 and "<h1>Not Found</h1>" in said.text


def test_pages_are_compressed_and_requests_are_logged(shop):
    answer = requests.get(f"{shop.url}/admin/login/?a-word-for-the-log", headers={"Accept-Encoding": "gzip"}, timeout=5)
    assert answer.headers["Content-Encoding"] == "gzip"
    until(lambda: "a-word-for-the-log" in shop.sh("docker compose logs proxy"), 5)
    assert '"remote_ip"' in shop.sh("docker compose logs proxy")


def test_a_body_that_is_too_large_gets_a_413_and_a_body_without_a_length_a_411(shop):
    # curl waits for `100 Continue` before it sends a large body, so it receives the 413.
    said = sh(f"head -c 11000000 /dev/zero | curl -s --data-binary @- -w ' %{{http_code}}' {shop.url}/admin/login/")
    assert said == "413 Request Entity Too Large 413"
    answer = requests.post(f"{shop.url}/admin/login/", data=iter([b"a"]), timeout=5)
    assert (answer.status_code, answer.text) == (411, "411 Length Required")


def test_no_container_has_a_secret_in_its_environment(shop):
    shown = json.dumps([shop.container(service) for service in ("proxy", "frontend", "backend")])
    # Check that the search finds a word that is there.
    assert "appname_db" in shown
    assert not any(canary in shown for canary in SECRET_CANARIES.values())


def test_the_image_contains_no_secret_and_no_setting(shop):
    image = f"{shop.name}-frontend"
    words = [*SECRET_CANARIES.values(), "your_email@example.com"]
    assert not any(word in sh(f"docker history --no-trunc {image}") for word in words)
    found = count_in_image(image, ["check_settings", *words])
    # Check that the search finds a word that is there.
    assert found.pop("check_settings") > 0
    assert set(found.values()) == {0}


@pytest.mark.parametrize(("service", "server"), [("proxy", "caddy"), ("frontend", "serve.py"), ("backend", "postgres")])
def test_each_service_is_hardened(shop, service, server):
    one = shop.container(service)
    host = one["HostConfig"]
    assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and "no-new-privileges:true" in host["SecurityOpt"]
    assert host["Memory"] > 0 and host["PidsLimit"] > 0 and host["CpuShares"] > 0
    assert host["RestartPolicy"]["Name"] == "always" and host["LogConfig"]["Config"] == {"max-file": "3", "max-size": "10m"}
    # A service may write to these folders only. They contain no code.
    assert all(line.startswith(("/data", "/media", "/tmp", "/var", "/config")) for line in host["Tmpfs"])
    running = sh(f"docker top {shop.names[service]} -eo pid,uid,args").splitlines()
    users = {line.split()[1] for line in running if server in line and "docker-init" not in line}
    assert users and "0" not in users
    status = shop.sh(f"docker compose exec -T {service} sh -c 'cat /proc/self/status'")
    found = dict(line.split()[:2] for line in status.splitlines() if len(line.split()) > 1)
    assert found["Uid:"] != "0" and int(found["CapEff:"], 16) == 0 and found["NoNewPrivs:"] == "1"


def test_only_the_proxy_publishes_ports_and_the_database_cannot_reach_the_internet(shop):
    assert shop.container("backend")["HostConfig"]["PortBindings"] in ({}, None)
    assert shop.container("frontend")["HostConfig"]["PortBindings"] in ({}, None)
    assert set(shop.container("proxy")["HostConfig"]["PortBindings"]) == {"80/tcp", "443/tcp"}
    network = json.loads(sh(f"docker network inspect {shop.name}_database"))[0]
    assert network["Internal"]
    assert list(shop.container("backend")["NetworkSettings"]["Networks"]) == [f"{shop.name}_database"]
    assert list(shop.container("proxy")["NetworkSettings"]["Networks"]) == [f"{shop.name}_default"]


def test_the_application_owns_its_database_and_has_no_other_rights_in_postgresql(shop):
    assert shop.sql("select rolsuper, rolcreatedb, rolcreaterole from pg_roles where rolname = 'appname'") == "f|f|f"
    assert shop.sql("select rolpassword is null from pg_authid where rolname = 'postgres'") == "t"
    assert shop.sql("select pg_get_userbyid(datdba) from pg_database where datname = 'appname_db'") == "appname"


def test_the_time_limit_for_queries_applies_to_the_web_server_only(site):
    code = "from django.db import connection as c; k = c.cursor(); k.execute('show statement_timeout'); print(k.fetchone()[0])"
    assert site.sh(f'docker compose exec -T frontend python manage.py shell -c "{code}"').endswith("0")
    assert requests.get(f"{site.url}/limit/", timeout=5).text == "15s"


def test_a_worker_does_not_inherit_the_superusers_password(site):
    # Only the start that creates the superuser copies the password to the environment.
    site.sql("update auth_user set username = 'other', is_superuser = false")
    site.sh("docker compose restart frontend && docker compose up --detach --wait frontend")
    assert site.sql("select count(*) from auth_user") == "2"
    names = requests.get(f"{site.url}/inherited/", timeout=5).text.split()
    assert "DJANGO_SUPERUSER_EMAIL" in names and "DJANGO_SUPERUSER_PASSWORD" not in names


def test_200_clients_open_no_more_connections_than_workers_times_threads(shop):
    with requests.Session() as browser:
        log_in(shop.url, ADMIN_CANARY, browser=browser)
        # With this cookie, every request queries the database for the user.
        session = browser.cookies.get_dict()

    def visit(_):
        answer = requests.get(f"{shop.url}/admin/", cookies=session, timeout=60)
        return answer.status_code, "Site administration" in answer.text

    seen = []
    with ThreadPoolExecutor(200) as clients:
        answers = [clients.submit(visit, number) for number in range(1000)]
        while not all(answer.done() for answer in answers):
            # Count in frontend, because PostgreSQL lists a connection a moment longer than Django holds it.
            # Read the file twice and count the connections that are in both readings. These were open at the same time.
            # A single reading is not a snapshot. It can list a closed connection and its successor.
            twice = shop.sh("docker compose exec -T frontend sh -c 'cat /proc/net/tcp; echo again; cat /proc/net/tcp'")
            # 1538 is port 5432 in hexadecimal, and 01 is the state "established".
            first, second = (set(re.findall(r"(\S+) \S+:1538 01 ", once)) for once in twice.split("again"))
            seen.append(len(first & second))
    assert {answer.result() for answer in answers} == {(200, True)}
    assert 0 < max(seen) <= 8


def test_connections_stay_open_between_requests(shop):
    pids = "select pid from pg_stat_activity where usename = 'appname'"
    log_in(shop.url, ADMIN_CANARY)
    before = set(shop.sql(pids).split())
    log_in(shop.url, ADMIN_CANARY)
    assert before and before <= set(shop.sql(pids).split())


UPLOADS = """
from django.core.files.storage import default_storage
from django.http import HttpResponse
from django.views.decorators.csrf import csrf_exempt

@csrf_exempt
def upload(request):
    return HttpResponse(default_storage.save("one.txt", request.FILES["file"]))

urlpatterns += [path("upload/", upload)]
"""


def test_make_up_again_keeps_the_containers_and_make_down_keeps_the_data_and_the_uploads_also_with_umask_077(prod):
    # `make secrets` opens the secrets for the containers.
    close_files(prod.example)
    sh("umask 077 && make -C production secrets", cwd=prod.example)
    urls = prod.example / "codesolid_demo/codesolid_demo/urls.py"
    urls.write_text(urls.read_text() + UPLOADS)
    prod.sh("make up")
    prod.sql("create table kept as select 42 as answer")
    for text in ("first", "second"):
        assert requests.post(f"{prod.url}/upload/", files={"file": text}, timeout=5).status_code == 200
    answer = requests.get(f"{prod.url}/media/one.txt", timeout=5)
    assert answer.text == "first" and "sandbox" in answer.headers["Content-Security-Policy"]
    before = [prod.container(service)["Id"] for service in prod.names]
    assert prod.sh("make up").endswith(f"Open http://localhost:{prod.port}")
    assert [prod.container(service)["Id"] for service in prod.names] == before
    names = "-e SITE_ADDRESS='www.example.org, http://example.org'"
    assert (
        prod.sh(f"docker compose exec -T {names} frontend python check_settings.py addresses")
        == f"Open https://www.example.org:{prod.https_port} or http://example.org:{prod.port}"
    )
    prod.secret("DJANGO_SECRET_KEY").write_text(KEY_CANARY[::-1])
    # The README tells you to run this command after you change a secret.
    prod.sh("docker compose up --detach --force-recreate --wait frontend")
    assert prod.sh("docker compose exec -T frontend cat /run/secrets/DJANGO_SECRET_KEY") == KEY_CANARY[::-1]
    prod.sh("docker compose stop")
    assert [prod.container(service)["State"]["ExitCode"] for service in prod.names] == [0, 0, 0]
    prod.sh("make down")
    prod.sh("make up")
    assert prod.sql("select answer from kept") == "42"
    assert requests.get(f"{prod.url}/media/one.txt", timeout=5).text == "first"
    said = prod.sh("echo no | make clean", stdin=None, ok=False)
    volumes = [f"{prod.name}_{volume}" for volume in ("certificates", "database", "media")]
    assert all(volume in said and volume in sh("docker volume ls -q") for volume in volumes)
    prod.sh("echo yes | make clean", stdin=None)
    assert not any(volume in sh("docker volume ls -q") for volume in volumes)
    assert sh(f"docker image ls -q {prod.name}-frontend") == ""


# Settings


def test_an_invalid_setting_or_a_missing_secret_is_named_before_anything_starts(prod):
    prod.set(DJANGO_ALLOWED_HOSTS="https://www.example.org")
    said = prod.sh("make up", ok=False)
    assert "error: DJANGO_ALLOWED_HOSTS holds https://www.example.org, which is not a host name" in said
    assert prod.sh("docker compose ps -aq") == ""
    prod.set(DJANGO_ALLOWED_HOSTS="localhost")
    # Django's deployment check warns of this key.
    prod.secret("DJANGO_SECRET_KEY").write_text("short")
    said = prod.sh("make up", ok=False)
    assert "error: SystemCheckError: System check identified some issues" in said
    assert "security.W009" in said and "Traceback" not in said
    assert prod.sh("docker compose ps -aq") == ""
    prod.secret("DJANGO_SECRET_KEY").write_text(KEY_CANARY)
    expected = {
        "DJANGO_ALLOWED_HOSTS=localhost:8080": "DJANGO_ALLOWED_HOSTS holds localhost:8080",
        "DJANGO_ALLOWED_HOSTS='localhost'": "DJANGO_ALLOWED_HOSTS holds 'localhost'",
        "DJANGO_ALLOWED_HOSTS=": "DJANGO_ALLOWED_HOSTS is missing or empty",
        "DJANGO_ALLOWED_HOSTS=,": "DJANGO_ALLOWED_HOSTS is empty",
        "POSTGRES_PORT=": "POSTGRES_PORT is missing or empty",
        "SITE_ADDRESS=192.0.2.7": "SITE_ADDRESS holds 192.0.2.7: write a name without port",
        "SITE_ADDRESS=:80": "SITE_ADDRESS holds :80: write a name without port",
        "SITE_ADDRESS=localhost, www.example.org:8443": "SITE_ADDRESS holds www.example.org:8443: write a name without port",
        "POSTGRES_USER=postgres": "POSTGRES_USER=postgres is a name that PostgreSQL uses itself",
        "POSTGRES_DB=postgres": "POSTGRES_DB=postgres is a name that PostgreSQL uses itself",
        "POSTGRES_USER=pg_me": "POSTGRES_USER=pg_me is a name that PostgreSQL uses itself",
        f"POSTGRES_DB={'d' * 60}": "POSTGRES_DB has more than 59 characters",
    }
    script = "".join(f'env "{setting}" python check_settings.py && echo fine\n' for setting in expected)
    said = prod.sh("docker compose run --rm -T --no-deps frontend sh", input=script, stdin=None, ok=None)
    errors = [line.removeprefix("error: ") for line in said.splitlines() if line.startswith(("error: ", "fine"))]
    assert len(errors) == len(expected) and "Traceback" not in said, said
    assert all(error.startswith(named) for error, named in zip(errors, expected.values(), strict=True)), said
    prod.secret("POSTGRES_PASSWORD").write_text("\n")
    said = prod.sh("docker compose run --rm --no-deps frontend python check_settings.py", ok=False)
    assert "error: POSTGRES_PASSWORD is missing or empty" in said
    prod.secret("DJANGO_SECRET_KEY").unlink()
    assert "DJANGO_SECRET_KEY" in prod.sh("make up", ok=False)


def test_make_up_without_dot_env_refers_to_the_readme(prod):
    (prod.folder / ".env").rename(prod.folder / "env.away")
    said = prod.sh("make up", ok=False)
    (prod.folder / "env.away").rename(prod.folder / ".env")
    assert "error: .env is missing: read README.md, then run make secrets" in said


# TLS


COUNT = """
from django.http import HttpResponse
from django.views.decorators.csrf import csrf_exempt

@csrf_exempt
def count(request):
    return HttpResponse(f"{request.method} {len(request.read())}")

urlpatterns += [path("count/", count)]
"""


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    """Yield a running production project with TLS on localhost, and the certificate file of Caddy's own CA."""
    one = Production(tmp_path_factory.mktemp("secure"))
    urls = one.example / "codesolid_demo/codesolid_demo/urls.py"
    urls.write_text(urls.read_text() + COUNT)
    one.set(SITE_ADDRESS="localhost", DJANGO_ALLOWED_HOSTS="localhost")
    one.sh("make up")
    root = one.folder / "root.crt"
    inside = "/data/caddy/pki/authorities/local/root.crt"
    until(lambda: one.sh(f"docker compose exec -T proxy cat {inside} > root.crt", ok=None) == "" and root.stat().st_size, 20)
    yield one, str(root)
    one.remove()


def test_the_proxy_starts_without_an_error(secure):
    log = secure[0].sh("docker compose logs --no-log-prefix proxy")
    assert '"level":"info"' in log and '"level":"error"' not in log and "permission denied" not in log


def test_pages_use_tls_and_plain_http_redirects_to_https(secure):
    one, root = secure
    page = f"https://localhost:{one.https_port}/admin/login/"
    answer = requests.get(page, verify=root, timeout=5)
    assert answer.status_code == 200 and "max-age=31536000" in answer.headers["Strict-Transport-Security"]
    # Without the CA of Caddy, the certificate is not trusted.
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(page, timeout=5)
    plain = requests.get(f"http://localhost:{one.port}/admin/login/", timeout=5, allow_redirects=False)
    assert (plain.status_code, plain.headers["Location"]) == (308, "https://localhost/admin/login/")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_superuser_logs_in_over_tls_with_secure_cookies(secure):
    one, root = secure
    with requests.Session() as browser:
        # trust_env=False: Otherwise REQUESTS_CA_BUNDLE overrides `verify`.
        browser.verify, browser.trust_env = root, False
        assert "Site administration" in log_in(f"https://localhost:{one.https_port}", ADMIN_CANARY, browser=browser)
        assert [cookie.secure for cookie in browser.cookies] == [True, True]


def test_tls_1_0_and_1_1_are_refused(secure):
    one, root = secure
    context = ssl.create_default_context(cafile=root)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # otherwise OpenSSL here refuses to offer them
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", one.https_port)) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname="localhost")


def test_the_certificates_survive_make_down(secure):
    one, root = secure
    one.sh("make down")
    one.sh("make up")
    page = f"https://localhost:{one.https_port}/admin/login/"
    assert requests.get(page, verify=root, timeout=5).status_code == 200


def test_manage_py_check_deploy_reports_nothing(secure):
    one, _ = secure
    one.sh("docker compose exec -T frontend python manage.py check --deploy --fail-level WARNING")
    # Check that the command finds a problem where there is one.
    debug = "docker compose exec -T -e LIFECYCLE=dev frontend python manage.py check --deploy --fail-level WARNING"
    assert "security.W018" in one.sh(debug, ok=False)


# The edges of the proxy


def curl(secure, options, path="/count/", data=b""):
    """Send a request with curl, and the data to its stdin. Return its output, a space and the status."""
    one, root = secure
    command = f"curl -s --cacert '{root}' -w ' %{{http_code}}' {options} https://localhost:{one.https_port}{path}"
    return subprocess.run(command, shell=True, input=data, capture_output=True, timeout=30).stdout.decode()


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
@pytest.mark.parametrize(
    ("options", "size", "expected"),
    [
        ("-X POST", 0, "POST 0 200"),
        ("--data-binary @-", 5, "POST 5 200"),
        ("--data-binary @-", 9_000_000, "POST 9000000 200"),
        # While it still sends, curl may see only the status of the answer.
        ("--data-binary @-", 10_000_001, " 413"),
        # With -T -, curl does not know the length.
        ("-X POST -T -", 5, "411 Length Required 411"),
        ("-X PUT -T -", 15_000_000, " 411"),
        ("-X POST -T -", 0, {"--http1.1": "411 Length Required 411", "--http2": "POST 0 200"}),
    ],
)
def test_a_body_arrives_complete_or_is_refused(secure, version, options, size, expected):
    expected = expected[version] if isinstance(expected, dict) else expected
    assert curl(secure, f"{version} {options}", data=b"a" * size).endswith(expected)


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_a_header_that_is_too_large_gets_a_431(secure, version):
    large = [f"-H 'X-Large-{number}: {'a' * 8000}'" for number in range(5)]
    assert curl(secure, f"{version} -o /dev/null {' '.join(large)}").endswith(" 431")
    assert curl(secure, f"{version} -o /dev/null {' '.join(large[:3])}").endswith(" 200")


def test_a_malformed_chunk_is_refused(secure):
    one, root = secure
    context = ssl.create_default_context(cafile=root)
    for chunk in (b"no number\r\n\r\n", b"5\r\nhello\r\nno number\r\n\r\n"):
        with (
            socket.create_connection(("127.0.0.1", one.https_port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            connection.sendall(b"POST /count/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk)
            assert connection.recv(100).startswith(b"HTTP/1.1 411 ")


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
@pytest.mark.parametrize("path", ["/admin/login/", "/static/admin/css/base.css", "/media/one.txt"])
def test_every_answer_has_the_headers_for_safety_and_none_names_the_server(secure, version, path):
    secure[0].sh("docker compose exec -T frontend touch /media/one.txt")
    said = curl(secure, f"{version} -o /dev/null -D -", path).lower()
    assert said.endswith(" 200")
    words = ("server:", "x-content-type", "strict-transport")
    found = sorted(line.strip() for line in said.splitlines() if line.startswith(words))
    assert found == ["strict-transport-security: max-age=31536000", "x-content-type-options: nosniff"]


def test_a_parallel_query_has_256_mb_of_shared_memory(shop):
    assert "256M" in shop.sh("docker compose exec -T backend df -h /dev/shm")


# An external database


@pytest.fixture
def external(prod, name):
    """Return a function that starts a PostgreSQL container outside the project. Its arguments extend `docker run`."""
    labels = f"--label com.docker.compose.network=default --label com.docker.compose.project={prod.name}"
    sh(f"docker network create {labels} {prod.name}_default")
    prod.set(POSTGRES_REMOTE_HOST=name, COMPOSE_PROFILES="")

    def start(options="", command=""):
        words = "-e POSTGRES_USER=appname -e POSTGRES_DB=appname_db -e POSTGRES_PASSWORD"
        environment = {**os.environ, "POSTGRES_PASSWORD": POSTGRES_CANARY}
        sh(
            f"docker run -d --name {name} --network {prod.name}_default {words} {options} postgres:18-trixie {command}",
            env=environment,
        )

    yield start
    sh(f"docker rm -f -v {name}")


def test_an_external_database_without_tls_works_unless_postgres_sslmode_requires_tls(prod, external):
    external()
    prod.set(POSTGRES_SSLMODE="require")
    prod.sh("docker compose up --build --detach")
    until(lambda: "server does not support SSL, but SSL was required" in prod.sh("docker compose logs frontend"), 30)
    prod.set(POSTGRES_SSLMODE="prefer")
    prod.sh("make up")
    assert "Site administration" in log_in(prod.url, ADMIN_CANARY)
    assert "backend" not in prod.sh("docker compose ps -a --format '{{.Service}}'")


def test_postgres_sslmode_require_uses_tls_to_an_external_database(prod, external, name):
    make = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=database -keyout /etc/tls.key -out /etc/tls.crt"
    sh(f"docker build -q -t {name} -", input=f"FROM python:3.14-slim-trixie\nRUN {make}", stdin=None)
    made = prod.folder / "tls"
    made.mkdir()
    sh(f"docker run --rm -v '{made}:/made' {name} sh -c 'cp /etc/tls.* /made && chown 999 /made/tls.* && chmod 600 /made/tls.*'")
    external(f"-v '{made}:/tls:ro'", "-c ssl=on -c ssl_cert_file=/tls/tls.crt -c ssl_key_file=/tls/tls.key")
    prod.set(POSTGRES_SSLMODE="require")
    prod.sh("make up")
    ask = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
    code = f"from django.db import connection\nwith connection.cursor() as c: c.execute('{ask}'); print(c.fetchone())"
    assert "(True,)" in prod.sh("docker compose exec -T frontend python manage.py shell", input=code, stdin=None)


# Unit tests of get_config


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"word", "word"),
        (b"word\r\nsecond line\r\n", "word\nsecond line"),
        (b" p$w 'd\" #@:/\\ \n", " p$w 'd\" #@:/\\ "),
        (b"a\n\n", "a\n"),
        ("ü€".encode(), "ü€"),
    ],
)
def test_get_config_returns_a_secret_whole_without_its_last_line_break(config, content, value):
    (config.SECRETS / "KEY").write_bytes(content)
    assert config.get_config("KEY") == value


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\r\n"])
def test_get_config_names_a_missing_or_empty_key_and_where_to_set_it(config, monkeypatch, content):
    if content is not None:
        (config.SECRETS / "KEY").write_bytes(content)
    for given in (False, True):
        if given:
            monkeypatch.setenv("KEY", "")
        with pytest.raises(KeyError, match=r"KEY is missing or empty.*secrets/secrets.txt.*production/.env"):
            config.get_config("KEY")


def test_get_config_returns_the_default_of_its_caller_for_a_missing_or_empty_key(config, monkeypatch):
    for default in ("", "a word", None):
        assert config.get_config("KEY", default) == default
    monkeypatch.setenv("KEY", "")
    assert config.get_config("KEY", "a word") == "a word"
    # While the image is built, too.
    monkeypatch.setenv("DJANGO_BUILD", "1")
    assert config.get_config("KEY", "") == ""
    assert config.get_config("KEY") == "KEY is not in env.example"
    monkeypatch.setenv("KEY", "another word")
    assert config.get_config("KEY", "a word") == "another word"


def test_get_config_prefers_the_environment(config, monkeypatch):
    (config.SECRETS / "KEY").write_text("of the file")
    monkeypatch.setenv("KEY", "of the environment")
    assert config.get_config("KEY") == "of the environment"
