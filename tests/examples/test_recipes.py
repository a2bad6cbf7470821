"""Make a project of your own with `make new`, and follow the pages in recipes/ in it, one after the other. Then deploy it with
its folder production/, save a backup, destroy the data and restore it.

The tests build on each other, in the order of this file. recipes.py does what a page says; the tests look at the outcome.
`make test` follows the first two pages, and `make test-recipes` all of them.
"""

import ast
import base64
import contextlib
import json
import os
import re
import shlex
import shutil
import socket
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
import yaml
from pages import START_PAGE, log_in, submit, wait_for
from pages import page as page_of
from projects import DJANGO, USED_IMAGES, Clone, ComposeProject, Production
from recipes import Reader, commands, sections, steps, write
from shell import ROOT, free_port, sh, until

PAGES = ROOT / DJANGO / "recipes"
README = " ".join((ROOT / DJANGO / "README.md").read_text().split())

# The superuser's name with the second user model of user-model.md.
EMAIL = "your_email@example.com"
# In production, as the page says.
PRODUCTION_EMAIL = "you@example.com"
# The smallest GIF.
GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==")

# Added to settings.py before the project is deployed. int() parses a setting at import, and Django parses TIME_ZONE.
SETTINGS = """
TIME_ZONE = get_config("TIME_ZONE")
LIMIT = int(get_config("LIMIT"))
PRICE = get_config("PRICE", "free")
NOTE = get_config("NOTE", "")
MODE = "open" if DEBUG else "closed"
LOGGING = {"version": 1, "handlers": {"mine": {"class": "logging.StreamHandler"}}, "root": {"handlers": ["mine"]}}
STORAGES = {
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"file_permissions_mode": 0o644}
    },
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
"""


def typed(text):
    """Return a text that the README tells its reader to type. Raise AssertionError if the README doesn't contain it."""
    assert f"`{text}`" in README, text
    return text


class Mine(ComposeProject):
    """A project made by `make new`. It has its own name and ports, so its commands need no variables. It is developed first."""

    def __init__(self, base, source=ROOT):
        """Make it out of a clone of the repository. Its path contains a space."""
        self.variables = {}
        self.name = f"test_{uuid.uuid4().hex[:8]}"
        self.folder = base / "a folder" / self.name
        self.folder.parent.mkdir()
        self.printed = sh(f"make new NAME={self.name} FOLDER='{self.folder}'", cwd=source / DJANGO)
        self.settings = self.folder / "src" / self.name / "settings.py"
        self.url = f"http://127.0.0.1:{self.read('.env')['PORT']}"
        self.names = {"frontend": self.name, "backend": f"{self.name}-backend-1"}
        self.reader, self.production = Reader(self), None

    def read(self, file):
        """Return the keys and values of a file of settings."""
        return dict(re.findall(r"^(\w+)=(.*)", (self.folder / file).read_text(), re.MULTILINE))

    def follow(self, *sections):
        """Do what sections of pages say, and start what has changed. Return what the commands printed."""
        return self.reader.follow(*sections) + self.reader.catch_up()

    def add(self, path, *lines):
        """Add lines at the end of a file."""
        path.write_text("\n".join([path.read_text(), *lines, ""]))

    def log_in(self):
        """Log in to the admin of development. Return the HTML of the next page."""
        return log_in(self.url, self.read("secrets/secrets.txt")["DJANGO_SUPERUSER_PASSWORD"], EMAIL)

    def add_product(self, **files):
        """Add a product in development. The name of the field is that of the file."""
        add_product(self.url, self.read("secrets/secrets.txt")["DJANGO_SUPERUSER_PASSWORD"], **files)

    def sql(self, query):
        """Run a query with psql. Return its output without headings."""
        inside = 'psql -qAt -U "$POSTGRES_USER" -d "$POSTGRES_DB"'
        return self.sh(f"docker compose exec -T backend sh -c '{inside}'", input=query, stdin=None)

    def remove(self):
        """Remove both projects, in whatever state a test left them."""
        self.sh("git checkout -q docker-compose.yaml; docker compose down --timeout 0 --volumes --remove-orphans", ok=None)
        sh(f"docker run --rm -v '{self.folder}:/folder' postgres:18-trixie rm -rf /folder/data")
        USED_IMAGES.append(f"{self.name}-*")
        if self.production:
            self.production.remove()


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """Yield the project. All tests of this file share it."""
    one = Mine(tmp_path_factory.mktemp("growth"))
    yield one
    one.remove()


def add_product(url, password, name, user=EMAIL, **files):
    """Log in to the admin, add a product with the name and the files, and check that it is on the page."""
    with requests.Session() as browser:
        assert "Site administration" in log_in(url, password, user, browser)
        submit(browser, f"{url}/admin/news/product/add/", {"name": name}, files)
    assert name in requests.get(url, timeout=5).text


def test_make_new_makes_a_project_with_its_own_names_and_nothing_outside_of_it(mine):
    assert f'cd "{mine.folder}"\n  make up' in mine.printed
    assert mine.sh("git log --format=%s%n%D") == f"Create {mine.name}\nHEAD -> main" and not mine.sh("git status --short")
    words = "codesolid_demo|appname|django-production|(^|[^.])[.][.]/secrets/secrets|engine[.]mk|8095|new[.]sh|top README"
    words += "|0[1-3]-docker|(^|[^a-z_-])tests/|make test|test_[a-z]+[.]py|this repository"
    assert mine.sh(f"git grep -nE '{words}'", ok=None) == "" and str(ROOT) not in mine.sh("cat $(git ls-files)")
    for file in mine.sh("git ls-files").splitlines():
        for up in re.findall(r"(?<![\w.])\.\.(?:/\.\.)*(?![\w.])", (mine.folder / file).read_text()):
            assert mine.folder in ((mine.folder / file).parent / up / "x").resolve().parents, f"{up} in {file}"
    assert mine.settings.exists() and (mine.folder / "src/manage.py").exists()
    for page in mine.folder.rglob("*.md"):
        for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
            target = (page.parent / link).resolve()
            assert "://" in link or (target.exists() and mine.folder in [target, *target.parents]), f"{link} in {page}"
    assert mine.sh("git ls-files .env secrets") == "" and (mine.folder / "secrets").stat().st_mode & 0o77 == 0
    assert f'"container_name": "{mine.name}"' in mine.sh("docker compose config --format json")
    assert mine.read("production/env.example")["COMPOSE_PROJECT_NAME"] == f"{mine.name}-production"
    mine.sh("make up")
    assert START_PAGE in requests.get(mine.url, timeout=5).text


@pytest.mark.slow
def test_two_clones_run_at_once_with_the_settings_of_the_readme(mine, tmp_path):
    # Both folders have the same name, so without a name of its own, Compose would take the second for the first.
    second = tmp_path / mine.name
    mine.sh(f"git clone -q . '{second}'")
    settings = re.search(r"^## Two clones.*?^```\n(.*?)^```$", (second / "README.md").read_text(), re.MULTILINE | re.DOTALL)[1]
    port, database = free_port(), free_port()
    words = {"=second": f"={mine.name}-second", "8091": str(port), "5434": str(database)}
    for word, own in words.items():
        assert word in settings
        settings = settings.replace(word, own)
    (second / ".env").write_text(settings)
    before = mine.sh("docker compose ps -q")
    try:
        sh("sh make-secrets.sh && make up", cwd=second)
        assert START_PAGE in requests.get(f"http://127.0.0.1:{port}", timeout=5).text
        assert mine.sh("docker compose ps -q") == before and START_PAGE in requests.get(mine.url, timeout=5).text
    finally:
        sh("make clean", cwd=second)
    assert not list(second.glob("data*"))


def test_user_model_md_after_the_first_start_needs_make_clean_and_keeps_the_password(mine):
    mine.follow("user-model.md")
    mine.sh("make up", ok=False)
    assert "InconsistentMigrationHistory" in mine.sh("docker compose logs frontend")
    before, after = steps(PAGES / "user-model.md", "If you did not run make up yet"), "make clean up\n"
    assert [block[:2] for block in before] == [("sh", "make up\n")]
    assert ("sh", after, []) in steps(PAGES / "user-model.md", "If you ran make up already")
    mine.follow("user-model.md: If you ran make up already")
    assert "Site administration" in mine.log_in()
    # The superuser's password must not be in another column.
    assert mine.sql("select email, first_name, last_name from people_user") == f"{EMAIL}||"


def test_page_md_shows_a_product_with_both_style_sheets(mine):
    mine.sh("git config user.name me; git config user.email me@example.com; git config commit.gpgSign false")
    mine.follow("README.md: Commit before a page")
    mine.follow("page.md")
    assert "All products" in requests.get(mine.url, timeout=5).text
    mine.follow("page.md: Undo this page")
    assert START_PAGE in requests.get(mine.url, timeout=5).text
    mine.sh("git stash pop -q")
    mine.follow("page.md: A folder for files of all apps")
    page = requests.get(mine.url, timeout=5).text
    assert "All products" in page and 'href="/static/news/style.css"' in page
    assert "teal" in requests.get(f"{mine.url}/static/news/style.css", timeout=5).text
    assert "black" in requests.get(f"{mine.url}/static/print.css", timeout=5).text
    mine.add_product(name="A green chair")


@pytest.mark.slow
def test_package_md_installs_packages_and_shows_the_toolbar(mine):
    pages = "From PyPI", "From Debian", "For development only", "psycopg 3 instead of psycopg2"
    printed = mine.follow(*(f"package.md: {heading}" for heading in pages))
    assert "/admin/login/\t" in printed and re.search(r"^\d{3}$", printed, re.MULTILINE)
    lock, production = ((mine.folder / file).read_text() for file in ("requirements.txt", "production/requirements.txt"))
    for text in (lock, production):
        assert "psycopg-binary==" in text and "psycopg2" not in text and "django-extensions==" in text
        assert re.search(r"^django==5\.2\.", text, re.MULTILINE) and "--hash=sha256:" in text
        assert "://" not in text and "index-url" not in text
    assert (mine.folder / "requirements.txt").stat().st_uid == os.getuid()
    assert "django-debug-toolbar==" in lock and "debug-toolbar" not in production
    assert "djdt" in requests.get(f"{mine.url}/admin/login/", timeout=5).text
    assert "A green chair" in requests.get(mine.url, timeout=5).text


@pytest.mark.slow
def test_debugger_md_stops_at_a_line(mine):
    mine.add(mine.folder / ".env", f"DEBUG_PORT={free_port()}")
    mine.follow("debugger.md")
    assert stops_at_a_breakpoint(mine, "news/views.py", "return render")


@pytest.mark.slow
def test_devcontainer_md_opens_your_files_in_djangos_container(mine, tmp_path):
    mine.follow("devcontainer.md")
    mine.reader.done.add("devcontainer.md: In a terminal")
    if not shutil.which("npx"):
        pytest.skip("the command-line interface of dev containers needs Node.js")
    user, owner = a_user(mine, tmp_path)
    USED_IMAGES.append(f"vsc-{mine.name}-*")
    (block,) = commands(PAGES / "devcontainer.md", "In a terminal")
    assert "no issues" in mine.sh(f"{user} sh -ec {shlex.quote(block)}")
    # The second command of the block, with another one to run in the container.
    inside = f"{user} " + block.splitlines()[1].rstrip("\\") + "sh -ec "
    # An edit in the container arrives here, with its owner, and on the page.
    template = mine.folder / "src/news/templates/news/index.html"
    before = template.read_text()
    mine.sh(inside + shlex.quote("sed 's/All products/Edited/' src/news/templates/news/index.html > edited"))
    mine.sh(inside + shlex.quote("cat edited > src/news/templates/news/index.html"))
    assert "<h1>Edited</h1>" in template.read_text() and (mine.folder / "edited").stat().st_uid == owner
    until(lambda: "<h1>Edited</h1>" in page_of(mine.url), 20)
    (migrate,) = (block[1] for block in steps(PAGES / "devcontainer.md", skipped=True) if "migrate" in block[1])
    assert "No changes detected" in mine.sh(inside + shlex.quote(migrate))
    mine.sh("make down")
    template.write_text(before)
    mine.sh(f"rm edited; find . -path ./data -prune -o -exec chown -h {os.getuid()}:{os.getgid()} {{}} +")
    mine.sh("make up")
    assert "Edited" not in page_of(mine.url)


def a_user(project, folder):
    """Return what comes before a command so that a user of this computer runs it who isn't root, and the user's number.

    The project belongs to the user. In the container, the same number must become that of myuser.
    """
    home = f"env HOME='{folder}' TMPDIR='{folder}'"
    if os.getuid():
        return home, os.getuid()
    for file in ("passwd", "group"):
        line = f"visitor:x:1234:1234::{folder}:/bin/sh" if file == "passwd" else "visitor:x:1234:"
        (folder / file).write_text(f"{Path('/etc', file).read_text()}{line}\n")
    sh(f"chown -R 1234:1234 '{folder}'")
    project.sh("find . -path ./data -prune -o -exec chown -h 1234:1234 {} +")
    # Only these commands see the user. The capability opens the folders above, and Docker's socket.
    (folder / "as").write_text(f"""
        for file in passwd group; do mount --bind '{folder}'/$file /etc/$file; done
        exec {home} setpriv --reuid=1234 --regid=1234 --clear-groups \\
          --inh-caps=+dac_override --ambient-caps=+dac_override "$@"
    """)
    return f"unshare --mount sh '{folder}/as'", 1234


def stops_at_a_breakpoint(project, file, line):
    """Do with debugpy what an editor does: set a breakpoint at a line, load the page. Return whether Django stops there."""
    launch = json.loads((project.folder / ".vscode/launch.json").read_text())["configurations"][0]
    mapping = {"localRoot": str(project.folder / "src"), "remoteRoot": launch["pathMappings"][0]["remoteRoot"]}
    path = project.folder / "src" / file
    number = next(number for number, text in enumerate(path.read_text().splitlines(), 1) if line in text)
    with socket.create_connection(("127.0.0.1", int(project.read(".env")["DEBUG_PORT"])), 30) as connection:
        stream = connection.makefile("rwb")

        def send(command, **arguments):
            text = json.dumps({"seq": 1, "type": "request", "command": command, "arguments": arguments}).encode()
            stream.write(b"Content-Length: %d\r\n\r\n%s" % (len(text), text))
            stream.flush()

        def wait_for(word):
            while True:
                length = int(stream.readline().split()[-1])
                stream.readline()
                message = json.loads(stream.read(length))
                if word in (message.get("event"), message.get("command")):
                    return message.get("body")

        send("initialize", adapterID="debugpy")
        wait_for("initialize")
        send("attach", pathMappings=[mapping])
        wait_for("initialized")
        send("setBreakpoints", source={"path": str(path)}, breakpoints=[{"line": number}])
        wait_for("setBreakpoints")
        send("configurationDone")
        visitor = threading.Thread(target=page_of, args=[project.url])
        visitor.start()
        stopped = wait_for("stopped")
        send("continue", threadId=stopped["threadId"])
        visitor.join()
    return stopped["reason"] == "breakpoint"


@pytest.mark.slow
def test_uploads_md_shows_a_picture_that_stays(mine):
    mine.follow("uploads.md")
    mine.add_product(name="A red chair", picture=("chair.gif", GIF, "image/gif"))
    mine.sh("make down")
    mine.sh("make up")
    assert requests.get(f"{mine.url}/media/products/chair.gif", timeout=5).content == GIF
    assert 'src="/media/products/chair.gif"' in requests.get(mine.url, timeout=5).text


@pytest.mark.slow
def test_asgi_md_shows_a_stream(mine):
    assert re.search(r"^data: [\d:]+\n\ndata: ", mine.follow("asgi.md"), re.MULTILINE)


@pytest.mark.slow
def test_setting_md_shows_the_setting_and_reads_the_key_in_a_file(mine):
    mine.follow("setting.md: A setting", "setting.md: A secret", "setting.md: A key in a file")
    assert "<p>Hello</p>" in requests.get(mine.url, timeout=5).text
    key = (mine.folder / "secrets/SIGNING_KEY").read_text().rstrip("\n")
    assert key.startswith("-----BEGIN")
    assert get_settings(mine, "API_KEY", "SIGNING_KEY", "PAGE_SIZE") == ["a-key-for-development", key, 20]
    # A new clone, and GitHub, have only the files that git knows.
    clone = mine.folder.parent / "clone"
    clone.mkdir()
    mine.sh(f"cp make-secrets.sh secrets.example '{clone}'; sh '{clone}/make-secrets.sh'")
    assert (clone / "secrets/SIGNING_KEY").read_text().startswith("-----BEGIN") and (clone / "secrets/secrets.txt").exists()


def get_settings(project, *names):
    """Return the values of settings in the running container."""
    code = f"from django.conf import settings as s; print([s.{', s.'.join(names)}])"
    return ast.literal_eval(project.sh(f'docker compose exec -T frontend python manage.py shell -v 0 -c "{code}"'))


@pytest.mark.slow
def test_a_log_in_through_a_proxy_with_https_works_with_the_two_settings_of_the_table(mine):
    def try_it():
        browser = requests.Session()
        browser.headers = {"Host": "name.app.github.dev", "Origin": "https://name.app.github.dev"}
        return log_in(mine.url, mine.read("secrets/secrets.txt")["DJANGO_SUPERUSER_PASSWORD"], EMAIL, browser)

    mine.add(mine.settings, typed('ALLOWED_HOSTS = ["localhost", ".app.github.dev"]').replace("[", '["127.0.0.1", '))
    mine.sh("make up")
    assert "CSRF verification failed" in try_it()
    mine.add(mine.settings, typed('CSRF_TRUSTED_ORIGINS = ["https://*.app.github.dev"]'))
    mine.sh("make up")
    assert "Site administration" in try_it()


@pytest.mark.slow
def test_mail_md_prints_a_mail_in_development(mine):
    printed = mine.reader.follow("mail.md")
    assert "To: you@example.com" in printed and f"From: {mine.name}@example.com" in printed


@pytest.mark.slow
def test_cache_md_translations_md_extension_md_and_logins_md(mine):
    printed = mine.follow("cache.md", "translations.md", "extension.md", "logins.md")
    assert "hello" in printed.splitlines() and "<h1>Alle Produkte</h1>" in printed
    assert "<QuerySet [<Product: A green chair>]>" in printed
    assert "<h1>All products</h1>" in requests.get(mine.url, timeout=5).text
    for _ in range(5):
        log_in(mine.url, "wrong", EMAIL)
    assert "Account locked" in mine.log_in()
    mine.sh("docker compose exec -T frontend python manage.py axes_reset")
    assert "Site administration" in mine.log_in()


@pytest.mark.slow
def test_worker_md_starts_a_worker_and_make_manage_does_not_recreate_running_containers(mine):
    mine.follow("worker.md", "worker.md: A job every night")
    until(lambda: "There are 2 products." in mine.sh("docker compose logs worker"), 30)
    (job,) = [block[1] for block in steps(PAGES / "worker.md", "A job every night") if block[0] == "sh"]
    assert job in (PAGES / "worker.md").read_text().partition("45 2 * * *")[2]
    before = [mine.container(service)["Id"] for service in ("frontend", "backend")]
    sh('make manage ARGS="check"', cwd=mine.folder, env={**os.environ, "PORT": "1", "DB_PORT": "1"})
    assert [mine.container(service)["Id"] for service in ("frontend", "backend")] == before


@pytest.mark.slow
def test_a_browser_shows_the_page_with_its_style_sheet_and_picture(mine, tools):
    browse(mine.names["frontend"], "http://localhost:8000", tools)


def browse(container, url, tools):
    """Open the page in Chromium, inside the network of a container. Fail if a file is missing or the console shows an error."""
    words = f"browse.py 500x300 page {url} 'A red chair'"
    sh(f"docker run --rm -i --network container:{container} {tools} python {words} > /dev/null")


@pytest.mark.slow
def test_uv_md_installs_the_same_packages_and_tests_and_ci_md_tests_the_page(mine):
    packages = "docker compose exec -T frontend pip list --format freeze"
    before = mine.sh(packages)
    assert "Ran 3 tests" in mine.follow("uv.md", "tests-and-ci.md")
    assert mine.sh(packages) == before


def wait_for_streams(url, readers):
    """Open the page's stream in many browsers at once, and check that the first page answers beside them."""
    with contextlib.ExitStack() as open_ones:
        for _ in range(readers):
            stream = open_ones.enter_context(requests.get(f"{url}/clock/", stream=True, timeout=10))
            assert next(stream.iter_lines()).startswith(b"data: ")
        assert requests.get(url, timeout=5).status_code == 200


@pytest.mark.slow
def test_the_project_is_deployed_beside_development_as_the_pages_say(mine, tools):
    before = [mine.container(service)["Id"] for service in mine.names]
    # While the image is built, Django reads these settings from env.example. There is no secret yet.
    mine.add(mine.settings, SETTINGS)
    mine.add(mine.folder / "secrets/secrets.txt", "TIME_ZONE=Europe/Berlin", "LIMIT=1")
    mine.add(
        mine.folder / "production/env.example", "TIME_ZONE='Europe/Berlin'  # a comment", "LIMIT=2", "PRICE='$5 # and\nmore'"
    )
    prod = mine.production = Production(mine.folder.parent, mine.folder)
    prod.set(LIMIT="3", DJANGO_ALLOWED_HOSTS=" localhost , 127.0.0.1,")
    pages = "page package setting uploads asgi worker mail cache translations extension logins uv user-model".split()
    mine.follow(*(f"{page}.md: In production" for page in pages))
    names = "GREETING TIME_ZONE LIMIT PRICE API_KEY SIGNING_KEY EMAIL_HOST_PASSWORD MODE NOTE".split()
    key = prod.secret("SIGNING_KEY").read_text().rstrip("\n")
    assert key.startswith("-----BEGIN")
    secrets = ["a-key-for-production", key, "the-password-of-your-mail-account"]
    assert get_settings(prod, *names) == ["Welcome", "Europe/Berlin", 3, "$5 # and\nmore", *secrets, "closed", ""]
    # There is no such mail server.
    (send,) = [block[1] for block in steps(PAGES / "mail.md", "Send one in production")]
    assert re.search("gaierror|Name or service not known|name resolution", mine.sh(send, ok=False))
    # Production keeps the LOGGING of settings.py, and replaces one entry of STORAGES.
    handlers, storages = get_settings(prod, "LOGGING['handlers'].keys().__iter__().__next__()", "STORAGES")
    assert handlers == "mine" and storages["default"]["OPTIONS"] == {"file_permissions_mode": 0o644}
    assert storages["staticfiles"]["BACKEND"].endswith(".ManifestStaticFilesStorage")
    until(lambda: "There are 0 products." in prod.sh("docker compose logs --no-log-prefix worker"), 30)
    password = prod.secret("DJANGO_SUPERUSER_PASSWORD").read_text()
    add_product(prod.url, password, "A red chair", PRODUCTION_EMAIL, picture=("chair.gif", GIF, "image/gif"))
    page = requests.get(prod.url, timeout=5).text
    assert "<p>Welcome</p>" in page and re.search(r'href="/static/news/style\.[0-9a-f]{12}\.css"', page)
    assert "djdt" not in requests.get(f"{prod.url}/admin/login/", timeout=5).text
    assert "black" in requests.get(f"{prod.url}/static/print.css", timeout=5).text
    browse(prod.names["proxy"], "http://localhost", tools)
    wait_for_streams(prod.url, 16)
    # The two projects share no container, image or data.
    assert [mine.container(service)["Id"] for service in mine.names] == before
    assert "A green chair" in requests.get(mine.url, timeout=5).text and "A green chair" not in page


# Runs in the container of frontend, whose address Caddy sees. It tries passwords, and prints the status of each answer.
GUESS = r"""
import http.cookiejar, re, sys, urllib.error, urllib.parse, urllib.request

browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))

def ask(data=None):
    headers = {"Host": "localhost", "X-Forwarded-For": sys.argv[1]}
    return browser.open(urllib.request.Request("http://proxy/admin/login/", data, headers))

for password in sys.argv[3:]:
    token = re.search(r'csrfmiddlewaretoken" value="(\w+)', ask().read().decode())[1]
    fields = {"username": sys.argv[2], "password": password, "csrfmiddlewaretoken": token}
    try:
        print(ask(urllib.parse.urlencode(fields).encode()).status)
    except urllib.error.HTTPError as error:
        print(error.code)
"""


@pytest.mark.slow
def test_wrong_passwords_lock_only_the_visitors_address_which_the_log_shows(mine):
    prod = mine.production
    password = prod.secret("DJANGO_SUPERUSER_PASSWORD").read_text()

    def guess(header):
        """Send this X-Forwarded-For with each password. Return the log of Django."""
        words = f"'{header}' {PRODUCTION_EMAIL} 1 2 3 4 5 {password}"
        printed = prod.sh(f"docker compose exec -T frontend python - {words}", input=GUESS, stdin=None).split()
        # The fifth answer and the last one say that the account is locked, although the last password is right.
        assert printed == ["200"] * 4 + ["429"] * 2
        assert "Site administration" in log_in(prod.url, password, PRODUCTION_EMAIL)
        return prod.sh("docker compose logs --no-log-prefix frontend")

    # The container is in two networks. The proxy is in one of them.
    address = prod.sh("docker compose exec -T frontend hostname -i").replace(" ", "|")
    log = guess("192.0.2.66")
    assert re.search(f'login failure by .*ip_address: "({address})"', log) and "192.0.2.66" not in log
    # Now the container is a proxy in front of Caddy. It adds the visitor's address to the one that the visitor made up.
    for language, content, names in steps(mine.folder / "production/operate.md", "Another proxy in front"):
        if language == "sh":
            prod.sh(content)
        else:
            write(prod.folder, language, content.replace("192.0.2.7", "private_ranges"), names)
    wait_for(f"{prod.url}/admin/login/")
    log = guess("192.0.2.66, 198.51.100.9")
    assert 'ip_address: "198.51.100.9"' in log and "192.0.2.66" not in log


@pytest.mark.slow
def test_package_md_shares_connections_in_development_and_production(mine):
    mine.follow("package.md: A pool of connections")
    mine.sh("make -C production up")
    for project, url in ((mine, mine.url), (mine.production, mine.production.url)):
        assert get_settings(project, "DATABASES['default']['OPTIONS']['pool']") == [True]
        with ThreadPoolExecutor(8) as visitors:
            assert {answer.status_code for answer in visitors.map(requests.get, [url] * 40)} == {200}


@pytest.mark.slow
def test_package_md_goes_on_to_the_next_django_in_development_and_production(mine):
    assert "\nOK\n" in mine.follow("package.md: The next Django")
    mine.sh("make -C production up")
    for project, url in ((mine, mine.url), (mine.production, mine.production.url)):
        assert "6.1." in project.sh("docker compose exec -T frontend python -m django --version")
        assert "chair" in requests.get(url, timeout=5).text


@pytest.mark.slow
def test_each_section_of_each_page_was_followed(mine):
    pages = [page for page in PAGES.glob("*.md") if page.name != "README.md"]
    left = {section for page in pages for section in sections(page)} - mine.reader.done
    # The tests type these, too.
    elsewhere = ["mail.md: Send one in production", "tests-and-ci.md: In production"]
    assert left == {"user-model.md: If you did not run make up yet", *elsewhere}
    # zsh, the shell of macOS, passes a comment behind a command to the command.
    blocks = re.findall(r"^```sh\n(.*?)^```", "\n".join(page.read_text() for page in pages), re.MULTILINE | re.DOTALL)
    assert blocks and not re.search(r"(^|\s)#", "".join(blocks), re.MULTILINE)


@pytest.mark.slow
def test_a_login_in_production_does_not_end_the_login_in_development(mine):
    prod = mine.production
    with requests.Session() as browser:
        log_in(mine.url, mine.read("secrets/secrets.txt")["DJANGO_SUPERUSER_PASSWORD"], EMAIL, browser)
        log_in(prod.url, prod.secret("DJANGO_SUPERUSER_PASSWORD").read_text(), PRODUCTION_EMAIL, browser)
        for url in (mine.url, prod.url):
            assert "Site administration" in browser.get(f"{url}/admin/", timeout=5).text


@pytest.mark.slow
def test_the_commands_of_the_ci_workflow_succeed(mine, monkeypatch):
    # GitHub's computers have pipx. Here it is in .venv.
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{os.path.dirname(sys.executable)}")
    # tests/server runs the other job, the deployment.
    job = yaml.safe_load((mine.folder / ".github/workflows/ci.yml").read_text())["jobs"]["test"]
    printed = [mine.sh(step["run"]) for step in job["steps"] if "run" in step]
    assert len(printed) == 5 and "Ran 3 tests" in printed[2] and "Ran 3 tests" in printed[3]
    assert "All checks passed!" in printed[4]


@pytest.mark.slow
def test_data_from_development_come_to_production_with_their_pictures_and_make_clean_leaves_production(mine):
    prod, page = mine.production, mine.folder / "production/operate.md"
    before = [prod.container(service)["Id"] for service in prod.names]
    mine.add_product(name="A blue chair", picture=("blue.gif", GIF, "image/gif"))
    for _, command, _ in steps(page, "Data from development"):
        prod.sh(command)
    assert "A blue chair" in requests.get(prod.url, timeout=5).text
    assert requests.get(f"{prod.url}/media/products/blue.gif", timeout=5).content == GIF
    copies = ["my.dump", "news.json", "news.tar"]
    assert mine.sh(f"git check-ignore {' '.join(copies)}").split() == copies
    mine.sh("make clean")
    assert [prod.container(service)["Id"] for service in prod.names] == before
    assert "A red chair" in requests.get(prod.url, timeout=5).text


@pytest.mark.slow
def test_make_check_fails_with_a_failing_test_and_leaves_nothing(mine):
    prod, tests = mine.production, mine.settings.with_name("tests.py")
    before = tests.read_text()
    tests.write_text(before.replace("'Site administration'", "'something that is not there'"))
    printed = prod.sh("make check", ok=False)
    tests.write_text(before)
    assert re.search(r"Ran \d tests", printed) and "FAILED (failures=1)" in printed
    # Another clone's tests may use the same engine.
    name = re.search("check-[0-9]+", printed)[0]
    left = [f"{kind} --filter name={name}" for kind in ("docker ps -aq", "docker volume ls -q", "docker network ls -q")]
    assert sh("; ".join([*left, f"docker image ls -q '{name}-*'"])) == ""


@pytest.mark.slow
def test_a_backup_brings_the_destroyed_shop_back(mine):
    prod = mine.production
    # Two targets at once must run one after the other.
    folder = prod.sh("MAKEFLAGS=-j make up backup").split()[-1]
    prod.sh("echo yes | make clean", stdin=None)
    prod.sh("make up")
    assert "A red chair" not in requests.get(prod.url, timeout=5).text
    assert f"Restored {folder}" in prod.sh(f"make restore BACKUP={folder}")
    assert prod.sh(f"docker compose exec -T backend psql -Atc '\\dx bloom' {mine.name}_db").startswith("bloom|")
    assert "A red chair" in requests.get(prod.url, timeout=5).text
    assert requests.get(f"{prod.url}/media/products/chair.gif", timeout=5).content == GIF
    assert "Site administration" in log_in(prod.url, prod.secret("DJANGO_SUPERUSER_PASSWORD").read_text(), PRODUCTION_EMAIL)


def test_the_pages_change_the_right_places_in_another_order_too(tmp_path):
    folder, first = tmp_path / "shop", ["page.md", "package.md"]
    sh(f"sh new.sh shop '{folder}'", cwd=ROOT / DJANGO)
    shutil.copy(folder / "production/env.example", folder / "production/.env")
    pages = re.findall(r"^\| \[(.*?)\]", (PAGES / "README.md").read_text(), re.MULTILINE)
    for page in [*first, *(page for page in reversed(pages) if page not in first)]:
        for section in sections(folder / "recipes" / page):
            for language, content, names in steps(folder / "recipes" / page, section.partition(": ")[2]):
                # Commands make these two files.
                if language != "sh" and not re.search(r"_trigram|\.po$", " ".join(names)):
                    for name in names:
                        (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    write(folder, language, content, names)
    services = yaml.safe_load((folder / "docker-compose.yaml").read_text())["services"]
    files = {"volumes": ["media:/media"], "secrets": ["SIGNING_KEY"]}
    for service in ("frontend", "worker"):
        assert {key: services[service].get(key) for key in files} == files


@pytest.mark.slow
def test_a_project_needs_nothing_of_the_clone_that_made_it(tmp_path):
    clone = Clone(tmp_path / "from")
    one = Mine(tmp_path, clone.folder)
    shutil.rmtree(clone.folder)
    try:
        one.sh("make up")
        assert START_PAGE in requests.get(one.url, timeout=5).text
        assert re.search(r"^OK$", one.sh("make manage ARGS=test"), re.MULTILINE)
        one.production = Production(tmp_path, one.folder)
        one.sh("make -C production secrets up")
        assert "Log in" in requests.get(f"{one.production.url}/admin/login/", timeout=5).text
    finally:
        one.remove()
