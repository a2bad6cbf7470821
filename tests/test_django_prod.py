"""LIFECYCLE=prod of 03-docker-compose-django."""

import importlib.util
import json
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from conftest import ADMIN_CANARY, DJANGO, KEY_CANARY, POSTGRES_CANARY, ROOT, TUTORIAL_SECRETS, count_in_image, sh, until
from test_django import log_in

CANARIES = [POSTGRES_CANARY, KEY_CANARY, ADMIN_CANARY]


def test_the_admin_takes_the_superuser_and_the_start_page_is_gone(shop):
    assert "Site administration" in log_in(shop.url, ADMIN_CANARY)
    assert requests.get(shop.url, timeout=5).status_code == 404
    assert "DEBUG" not in requests.get(f"{shop.url}/nowhere", timeout=5).text


def test_an_unknown_host_gets_a_400(shop):
    assert requests.get(f"{shop.url}/admin/login/", headers={"Host": "elsewhere"}, timeout=5).status_code == 400


def test_static_files_have_hashed_names_and_may_be_kept_for_a_year(shop):
    page = requests.get(f"{shop.url}/admin/login/", timeout=5).text
    files = re.findall(r'"(/static/[^"]+)"', page)
    assert files and all(re.search(r"\.[0-9a-f]{12}\.", file) for file in files)
    for file in files:
        answer = requests.get(shop.url + file, timeout=5)
        assert answer.status_code == 200 and "max-age=31536000" in answer.headers["Cache-Control"]
    assert requests.get(f"{shop.url}/static/staticfiles.json", timeout=5).status_code == 404


def test_no_container_has_a_secret_in_its_environment(shop):
    shown = json.dumps([shop.container("frontend"), shop.container("backend")])
    assert "appname_db" in shown  # the search works
    assert not any(canary in shown for canary in CANARIES)


def test_no_secret_in_the_image(shop):
    image = f"{shop.name}-frontend:prod"
    assert not any(canary in sh(f"docker history --no-trunc {image}; docker image inspect {image}") for canary in CANARIES)
    found = count_in_image(image, ["refuse_published_passwords", *CANARIES])
    assert found.pop("refuse_published_passwords") > 0  # the search works
    assert set(found.values()) == {0}


@pytest.mark.parametrize("service", ["frontend", "backend"])
def test_services_are_hardened(shop, service):
    one = shop.container(service)
    host = one["HostConfig"]
    assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and "no-new-privileges:true" in host["SecurityOpt"]
    assert host["Memory"] > 0 and host["NanoCpus"] > 0 and host["PidsLimit"] > 0
    assert host["RestartPolicy"]["Name"] == "always" and host["LogConfig"]["Config"] == {"max-file": "3", "max-size": "10m"}
    status = shop.sh(f"docker compose exec -T {service} cat /proc/1/status").splitlines()
    found = dict(line.split()[:2] for line in status if len(line.split()) > 1)
    assert found["Uid:"] != "0" and int(found["CapEff:"], 16) == 0 and found["NoNewPrivs:"] == "1"
    server = shop.sh(f"docker compose exec -T {service} cat /proc/1/cmdline")
    assert ("granian" if service == "frontend" else "postgres") in server and not server.startswith(("sh", "/bin/sh"))


def test_the_database_is_not_published_and_has_no_way_out(shop):
    assert shop.container("backend")["HostConfig"]["PortBindings"] in ({}, None)
    network = json.loads(sh(f"docker network inspect {shop.name}_database"))[0]
    assert network["Internal"]
    assert list(shop.container("backend")["NetworkSettings"]["Networks"]) == [f"{shop.name}_database"]


def test_the_application_owns_its_database_and_nothing_more(shop):
    ask = "docker compose exec -T backend psql -Atc "
    assert shop.sh(ask + "\"select rolsuper, rolcreatedb, rolcreaterole from pg_roles where rolname = 'appname'\"") == "f|f|f"
    assert shop.sh(ask + "\"select rolpassword is null from pg_authid where rolname = 'postgres'\"") == "t"
    owner = "select pg_get_userbyid(datdba) from pg_database where datname = 'appname_db'"
    assert shop.sh(f'{ask} "{owner}"') == "appname"


def test_manage_check_deploy_has_no_warning_with_https(shop):
    shop.sh("docker compose exec -T -e DJANGO_HTTPS=1 frontend python manage.py check --deploy --fail-level WARNING")
    said = shop.sh("docker compose exec -T frontend python manage.py check --deploy --fail-level WARNING", ok=False)
    assert "security.W" in said  # the check works


def test_with_https_the_proxys_header_decides_and_cookies_are_secure(prod):
    prod.secrets.write_text(f"{prod.secrets.read_text()}DJANGO_HTTPS=1\n")
    prod.sh("make up")  # which waits for the health check: it comes with the header, too
    plain = requests.get(f"{prod.url}/admin/login/", timeout=5, allow_redirects=False)
    assert (plain.status_code, plain.headers["Location"]) == (301, f"{prod.url.replace('http:', 'https:')}/admin/login/")
    with requests.Session() as proxy:
        proxy.headers.update({"X-Forwarded-Proto": "https", "Referer": f"{prod.url.replace('http:', 'https:')}/admin/login/"})
        form = proxy.get(f"{prod.url}/admin/login/", timeout=5)
        assert form.status_code == 200 and "max-age=31536000" in form.headers["Strict-Transport-Security"]
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form.text)[1]
        fields = {"username": "appname_admin", "password": ADMIN_CANARY, "csrfmiddlewaretoken": token}
        # requests keeps secure cookies to itself on http:, so hand them on as the proxy would.
        cookies = {cookie.name: cookie.value for cookie in form.cookies}
        answer = proxy.post(form.url, data=fields, cookies=cookies, timeout=5, allow_redirects=False)
        assert (answer.status_code, answer.headers["Location"]) == (302, "/accounts/profile/")
        assert [cookie.secure for cookie in (*form.cookies, *answer.cookies)] == [True] * 3


def test_two_hundred_clients_hold_no_more_connections_than_workers_times_threads(shop):
    with requests.Session() as browser:
        form = browser.get(f"{shop.url}/admin/", timeout=5)
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form.text)[1]
        fields = {"username": "appname_admin", "password": ADMIN_CANARY, "csrfmiddlewaretoken": token}
        browser.post(form.url, data=fields, timeout=5)
        session = browser.cookies.get_dict()  # with it, every request asks the database who this is

    def visit(_):
        answer = requests.get(f"{shop.url}/admin/", cookies=session, timeout=60)
        return answer.status_code, "Site administration" in answer.text

    seen = []
    with ThreadPoolExecutor(200) as clients:
        answers = [clients.submit(visit, number) for number in range(1000)]
        while not all(answer.done() for answer in answers):
            # Counted where they are opened: PostgreSQL lists one for a moment longer than Django has it. 1538 is 5432, 01 open.
            # Twice, because the file is no snapshot: one that is closed while it is read may be in it, beside its successor.
            # Those that are in both readings, by their own address, were open at the same time.
            twice = shop.sh("docker compose exec -T frontend sh -c 'cat /proc/net/tcp; echo again; cat /proc/net/tcp'")
            first, second = (set(re.findall(r"(\S+) \S+:1538 01 ", once)) for once in twice.split("again"))
            seen.append(len(first & second))
    assert {answer.result() for answer in answers} == {(200, True)}
    assert 0 < max(seen) <= 8


# alone: while others keep all cores busy, Docker takes the container's network away before the last answer has left it
@pytest.mark.alone
def test_docker_stop_lets_a_request_finish_and_ends_with_exit_code_0(prod):
    urls = prod.folder / "codesolid_demo/codesolid_demo/urls.py"
    view = 'lambda request: print("begun") or __import__("time").sleep(12) or HttpResponse("finished")'
    urls.write_text(f"{urls.read_text()}\nfrom django.http import HttpResponse\nurlpatterns += [path('slow/', {view})]\n")
    prod.sh("make up")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(requests.get, f"{prod.url}/slow/", timeout=30)
        until(lambda: "begun" in sh(f"docker logs {prod.name}-django"), 20)
        sh(f"docker stop {prod.name}-django")
        assert (answer.result().status_code, answer.result().text) == (200, "finished")
    assert prod.container("frontend")["State"]["ExitCode"] == 0


def test_make_without_lifecycle_leaves_running_production_alone(shop):
    before = shop.container("frontend")["Id"]
    for target in ("up", "down", "clean"):
        said = shop.sh(f"make {target} LIFECYCLE=dev", ok=False)
        assert f"error: production runs here. Do you mean: make {target} LIFECYCLE=prod" in said
    assert shop.container("frontend")["Id"] == before and shop.container("frontend")["State"]["Running"]


def test_down_ends_both_with_exit_code_0_and_keeps_the_data(prod):
    prod.sh("make up")
    make_table = "create table kept as select 42 as answer"
    prod.sh(f'docker compose exec -T backend psql -q -d appname_db -c "{make_table}"')
    prod.sh("docker compose stop")
    codes = [prod.container(service)["State"]["ExitCode"] for service in ("frontend", "backend")]
    assert codes == [0, 0]
    prod.sh("make down")
    prod.sh("make up")
    assert prod.sh('docker compose exec -T backend psql -At -d appname_db -c "select answer from kept"') == "42"
    assert prod.sh("echo no | make clean", stdin=None, ok=False)
    assert f"{prod.name}_database" in sh("docker volume ls -q")
    prod.sh("echo yes | make clean", stdin=None)
    assert f"{prod.name}_database" not in sh("docker volume ls -q")
    assert sh(f"docker image ls -q {prod.name}-frontend") == ""


def test_a_changed_secret_reaches_the_containers(prod):
    prod.sh("make up")
    prod.secrets.write_text(prod.secrets.read_text().replace(KEY_CANARY, KEY_CANARY[::-1]))
    prod.sh("make backup")  # which takes the new value as well: `up` must not think that it is old
    prod.sh("make up")
    assert prod.sh("docker compose exec -T frontend cat /run/secrets/DJANGO_SECRET_KEY") == KEY_CANARY[::-1]
    id_of_frontend = prod.container("frontend")["Id"]
    prod.sh("make up")
    assert prod.container("frontend")["Id"] == id_of_frontend


@pytest.mark.parametrize("key", ["DJANGO_ALLOWED_HOSTS", "POSTGRES_DB", "DJANGO_SECRET_KEY", "POSTGRES_PASSWORD"])
def test_a_missing_key_is_named(prod, key):
    prod.secrets.write_text(re.sub(f"^{key}=.*\n", "", prod.secrets.read_text(), flags=re.MULTILINE))
    assert re.search(rf"(error|required variable).*{key}", prod.sh("timeout 60 make up", ok=False))


@pytest.mark.parametrize(
    ("key", "canary", "published"),
    [
        ("POSTGRES_PASSWORD", POSTGRES_CANARY, "appnameKTh1PjVmECYKnZna"),
        ("DJANGO_SUPERUSER_PASSWORD", ADMIN_CANARY, "appnameOtwEgXAAPj5ZLmsQ"),
        ("DJANGO_SECRET_KEY", KEY_CANARY, "change-me"),
    ],
)
def test_the_published_passwords_are_refused(prod, key, canary, published):
    prod.secrets.write_text(prod.secrets.read_text().replace(canary, published))
    assert f"{key} is the published one of the examples" in prod.sh("timeout 60 make up", ok=False)


@pytest.fixture
def external(prod, name):
    """Return a function that starts a PostgreSQL outside of the project, with options for docker and a command of its own."""
    labels = f"--label com.docker.compose.network=default --label com.docker.compose.project={prod.name}"
    sh(f"docker network create {labels} {prod.name}_default")
    prod.secrets.write_text(prod.secrets.read_text().replace("REMOTE_HOST=backend", f"REMOTE_HOST={name}"))

    def start(options="", command=""):
        words = "-e POSTGRES_USER=appname -e POSTGRES_DB=appname_db -e POSTGRES_PASSWORD"
        environment = {**os.environ, "POSTGRES_PASSWORD": POSTGRES_CANARY}
        sh(
            f"docker run -d --name {name} --network {prod.name}_default {words} {options} postgres:18-trixie {command}",
            env=environment,
        )

    yield start
    sh(f"docker rm -f -v {name}")


def test_an_external_database_leaves_backend_out(prod, external):
    external()
    prod.sh("make up")
    assert "Site administration" in log_in(prod.url, ADMIN_CANARY)
    assert "backend" not in prod.sh("docker compose ps -a --format '{{.Service}}'")
    assert "is not backend, so the database is elsewhere" in prod.sh("make backup", ok=False)


def test_an_external_database_is_reached_over_tls_where_postgres_sslmode_asks(prod, external, name):
    make = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=database -keyout /etc/tls.key -out /etc/tls.crt"
    sh(f"docker build -q -t {name} -", input=f"FROM python:3.14-slim-trixie\nRUN {make}", stdin=None)
    made = prod.folder / "tls"
    made.mkdir()
    sh(f"docker run --rm -v '{made}:/made' {name} sh -c 'cp /etc/tls.* /made && chown 999 /made/tls.* && chmod 600 /made/tls.*'")
    external(f"-v '{made}:/tls:ro'", "-c ssl=on -c ssl_cert_file=/tls/tls.crt -c ssl_key_file=/tls/tls.key")
    prod.secrets.write_text(f"{prod.secrets.read_text()}POSTGRES_SSLMODE=require\n")
    prod.sh("make up")
    ask = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
    code = f"from django.db import connection\nwith connection.cursor() as c: c.execute('{ask}'); print(c.fetchone())"
    assert "(True,)" in prod.sh("docker compose exec -T frontend python manage.py shell", input=code, stdin=None)


def test_a_database_without_tls_is_refused_where_postgres_sslmode_asks(prod, external, name):
    external()
    prod.secrets.write_text(f"{prod.secrets.read_text()}POSTGRES_SSLMODE=require\n")
    said = prod.sh("timeout 60 make up", ok=False)
    assert f"error: PostgreSQL at {name}:5432: it has no TLS, which POSTGRES_SSLMODE asks for" in said


def test_a_comma_left_over_makes_no_empty_signing_key(shop):
    code = "from codesolid_demo import settings_prod as s; print(s.SECRET_KEY, s.SECRET_KEY_FALLBACKS)"
    inside = f"echo one,,two, > /tmp/keys && python -c '{code}'"
    assert shop.sh(f'docker compose exec -T -e DJANGO_SECRET_KEY_FILE=/tmp/keys frontend sh -c "{inside}"') == "one ['two']"


def test_a_secrets_file_that_is_put_back_is_taken_though_it_is_older(prod):
    kept, before = prod.folder.parent / "secrets/prod/POSTGRES_PASSWORD", prod.secrets.read_text()
    for text, age in ((before, 100), (before.replace(POSTGRES_CANARY, "another"), 50), (before, 100)):
        prod.secrets.write_text(text)
        os.utime(prod.secrets, (time.time() - age,) * 2)
        prod.sh("make ../secrets/prod/POSTGRES_PASSWORD")
        assert f"POSTGRES_PASSWORD={kept.read_text()}" in text


# get_config, as a function


@pytest.fixture
def get_config(monkeypatch):
    """Return the example's get_config; the environment is put back afterwards."""
    path = ROOT / DJANGO / "codesolid_demo/codesolid_demo/config.py"
    spec = importlib.util.spec_from_file_location("config", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for key in ("KEY", "KEY_FILE"):
        monkeypatch.delenv(key, raising=False)
    return module.get_config


@pytest.mark.parametrize(
    ("content", "value"),
    [(b"word", "word"), (b"word\r\nsecond line\n", "word"), (b" p$w 'd\" #@:/\\ \n", " p$w 'd\" #@:/\\ "), ("ü€".encode(), "ü€")],
)
def test_get_config_takes_a_files_first_line_as_it_is(get_config, monkeypatch, tmp_path, content, value):
    (tmp_path / "key").write_bytes(content)
    monkeypatch.setenv("KEY_FILE", str(tmp_path / "key"))
    assert get_config("KEY") == value


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n", b"\xfc"])
def test_get_config_names_the_key_whose_file_has_no_value(get_config, monkeypatch, tmp_path, content):
    (tmp_path / "key").write_bytes(content)
    monkeypatch.setenv("KEY_FILE", str(tmp_path / "key"))
    with pytest.raises(KeyError, match="KEY"):
        get_config("KEY")


def test_get_config_names_a_key_that_is_missing_or_set_twice(get_config, monkeypatch):
    with pytest.raises(KeyError, match="KEY is missing or empty"):
        get_config("KEY")
    monkeypatch.setenv("KEY_FILE", "/nowhere")
    with pytest.raises(KeyError, match="KEY_FILE=/nowhere cannot be read"):
        get_config("KEY")
    monkeypatch.setenv("KEY", "word")
    with pytest.raises(KeyError, match="KEY and KEY_FILE are both set"):
        get_config("KEY")


def test_the_tutorials_secrets_lack_two_keys_that_production_needs(project):
    project.production()
    project.secrets.write_text(TUTORIAL_SECRETS.replace("appnameKTh1PjVmECYKnZna", POSTGRES_CANARY))
    assert "error: DJANGO_SECRET_KEY is missing or empty" in project.sh("timeout 60 make up", ok=False)
    project.secrets.write_text(f"{project.secrets.read_text()}DJANGO_SECRET_KEY={KEY_CANARY}\n")
    assert "DJANGO_ALLOWED_HOSTS" in project.sh("timeout 60 make up", ok=False)
