"""Follow "Make it yours" in the README of 03-docker-compose-django in one copy of the folder. Then deploy the copy with its
folder production/, save a backup, destroy the data and restore it.

The tests build on each other, in the order of the README. `typed` checks that the README shows what a test types.
"""

import ast
import base64
import os
import re

import pytest
import requests
from pages import log_in, submit
from projects import DJANGO, PASSWORD, Production, Project
from shell import ROOT, sh, until

README = " ".join((ROOT / DJANGO / "README.md").read_text().split())

# The name with which the superuser of USER logs in.
EMAIL = "your_email@example.com"
# With this manager, init.py must not call create_superuser with positional arguments.
USER = """\
from django.contrib.auth.models import AbstractUser, BaseUserManager
from django.db import models


class Manager(BaseUserManager):
    def create_superuser(self, email, password=None, name="", **extra):
        user = self.model(email=email, name=name, is_staff=True, is_superuser=True, **extra)
        user.set_password(password)
        user.save()
        return user


class User(AbstractUser):
    username = None
    email = models.EmailField(unique=True)
    name = models.CharField(max_length=80, blank=True)
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = []
    objects = Manager()
"""
MODEL = """\
from django.db import models


class Product(models.Model):
    name = models.CharField(max_length=80)
"""
VIEW = """\
from django.conf import settings
from django.shortcuts import render

from news.models import Product


def products(request):
    return render(request, "news/products.html", {"products": Product.objects.all(), "settings": settings})
"""
TEMPLATE = """\
{% load static %}<!doctype html><html lang="en"><head><title>Shop</title><link rel="stylesheet" href="{% static 'style.css' %}">
</head><body><h1>All products</h1><p>{{ settings.GREETING }}</p>
{% for product in products %}<p>{{ product.name }}
{% if product.picture %}<img src="{{ product.picture.url }}" alt="">{% endif %}</p>
{% endfor %}</body></html>
"""
# The smallest GIF.
GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==")

# Added to settings.py before the shop is deployed. int() parses a setting at import, and Django parses TIME_ZONE.
SETTINGS = """
TIME_ZONE = get_config("TIME_ZONE")
LIMIT = int(get_config("LIMIT"))
PRICE = get_config("PRICE", "free")
MAIL_KEY = get_config("MAIL_KEY", "")
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
# A key in PEM format has several lines.
PEM = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n"

# A command of manage.py that prints a word and doesn't end.
FOREVER = "shell -c 'print(40 + 2, flush=True); import time; time.sleep(9999)'"


def typed(text):
    """Return a text that the README tells its reader to type. Raise AssertionError if the README doesn't contain it."""
    assert f"`{text}`" in README, text
    return text


class Shop(Project):
    """The copy. It is developed first, and deployed later."""

    def __init__(self, base):
        """Copy and rename the folder."""
        super().__init__(base)
        assert "Renamed to shop" in self.sh("sh rename.sh shop")
        self.code = self.folder / "shop"
        self.settings, self.urls = self.code / "shop/settings.py", self.code / "shop/urls.py"
        self.production = None

    def deploy(self, **settings):
        """Return the production project of this copy, with additional settings in .env."""
        self.production = Production(self.folder.parent, self.folder)
        self.production.set(**settings)
        return self.production

    def remove(self):
        """Remove both projects."""
        super().remove()
        if self.production:
            self.production.remove()

    def add(self, path, *lines):
        """Add lines at the end of a file."""
        path.write_text("\n".join([path.read_text(), *lines, ""]))

    def change(self, path, old, new):
        """Replace a text that a file contains once."""
        text = path.read_text()
        assert text.count(old) == 1, f"{old} in {path.name}"
        path.write_text(text.replace(old, new))

    def install(self, app):
        """Add an app to INSTALLED_APPS."""
        self.change(self.settings, "INSTALLED_APPS = [", f"INSTALLED_APPS = [\n    '{app}',")


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """Yield the copy. All tests of this file share it."""
    one = Shop(tmp_path_factory.mktemp("growth"))
    yield one
    one.remove()


def add_product(url, password, name, **files):
    """Log in to the admin, add a product with the name and the files, and check that it is on the page."""
    with requests.Session() as browser:
        assert "Site administration" in log_in(url, password, EMAIL, browser)
        submit(browser, f"{url}/admin/news/product/add/", {"name": name}, files)
    assert name in requests.get(url, timeout=5).text


def test_rename_sh_renames_the_package_the_container_and_both_projects(mine):
    found = mine.sh("grep -rlE 'codesolid_demo|django-production' . ../secrets", ok=None)
    assert found == "./rename.sh"
    environment = {key: value for key, value in os.environ.items() if key not in mine.variables}
    assert '"container_name": "shop"' in sh("docker compose config --format json", cwd=mine.folder, env=environment)
    assert "COMPOSE_PROJECT_NAME=shop-production" in (mine.folder / "production/env.example").read_text()
    assert "error: there is no codesolid_demo, or there is store" in mine.sh("sh rename.sh store", ok=False)
    assert "error: 'My-Shop' cannot be the name" in mine.sh("sh rename.sh My-Shop", ok=False)


def test_your_own_user_model_gets_the_superuser_after_make_clean_up(mine):
    mine.sh("make up")
    mine.sh(typed('make manage ARGS="startapp people"'))
    mine.install("people")
    (mine.code / "people/models.py").write_text(USER)
    mine.add(mine.settings, typed('AUTH_USER_MODEL = "people.User"'))
    mine.sh(typed("make manage ARGS=makemigrations"))
    mine.sh("make up", ok=False)
    assert "InconsistentMigrationHistory" in mine.sh("docker compose logs frontend")
    mine.sh(typed("make clean up"))
    assert "Site administration" in log_in(mine.url, PASSWORD, EMAIL)
    # The superuser's password must not be in another column.
    assert mine.sql("select email, name from people_user") == "your_email@example.com|"


def test_an_app_with_a_model_a_template_and_a_style_sheet_shows_its_page(mine):
    mine.sh(typed('make manage ARGS="startapp news"'))
    mine.install("news")
    news = mine.code / "news"
    (news / "models.py").write_text(MODEL)
    (news / "views.py").write_text(VIEW)
    (news / "admin.py").write_text(
        "from django.contrib import admin\nfrom news.models import Product\n\nadmin.site.register(Product)\n"
    )
    (news / "templates/news").mkdir(parents=True)
    (news / "templates/news/products.html").write_text(TEMPLATE)
    typed("{% load static %}"), typed(TEMPLATE[TEMPLATE.index("<link") : TEMPLATE.index("\n</head>")])
    (news / "static").mkdir()
    (news / "static/style.css").write_text("h1 { color: teal }\n")
    (mine.code / "static").mkdir()
    (mine.code / "static/print.css").write_text("h1 { color: black }\n")
    mine.add(mine.settings, typed('STATICFILES_DIRS = [BASE_DIR / "static"]'))
    mine.add(mine.urls, "from news.views import products", "urlpatterns.append(path('', products))")
    mine.sh("make manage ARGS=makemigrations")
    health = mine.folder / "health.py"
    health.write_text(health.read_text().replace("/admin/login/", "/"))
    mine.sh("make up")
    page = requests.get(mine.url, timeout=5).text
    assert "All products" in page and 'href="/static/style.css"' in page
    assert "teal" in requests.get(f"{mine.url}/static/style.css", timeout=5).text
    assert "black" in requests.get(f"{mine.url}/static/print.css", timeout=5).text
    add_product(mine.url, PASSWORD, "A green chair")


def test_make_lock_adds_a_package_and_psycopg_3_and_make_manage_uses_them_before_make_up(mine):
    packages, lock = mine.folder / "requirements.in", mine.folder / "requirements.txt"
    mine.change(packages, typed("psycopg2-binary"), f"{typed('psycopg[binary]')}\ndjango-extensions")
    mine.sh(typed("make lock"))
    text = lock.read_text()
    assert "psycopg-binary==" in text and "psycopg2" not in text and "--hash=sha256:" in text
    assert re.search(r"^django==5\.2\.", text, re.MULTILINE)
    assert "://" not in text and "index-url" not in text and lock.stat().st_uid == os.getuid()
    assert "django-extensions==" in (mine.folder / "production/requirements.txt").read_text()
    mine.install("django_extensions")
    assert "No changes detected" in mine.sh("make manage ARGS=makemigrations")
    mine.sh("make up")
    assert "A green chair" in requests.get(mine.url, timeout=5).text


def test_a_setting_in_secrets_txt_is_on_the_page_and_mail_in_the_log(mine):
    mine.add(mine.secrets, "GREETING=hello there")
    mine.add(mine.settings, typed('GREETING = get_config("GREETING")'))
    view = mine.code / "news/views.py"
    mine.change(
        view, "    return", "    send_mail('A visitor came', 'Hello', 'shop@example.com', ['owner@example.com'])\n    return"
    )
    mine.change(view, "from django.shortcuts", "from django.core.mail import send_mail\nfrom django.shortcuts")
    mine.add(mine.settings, typed('EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"'))
    mine.sh("make up")
    assert "hello there" in requests.get(mine.url, timeout=5).text
    until(lambda: "Subject: A visitor came" in mine.sh(typed("make logs")), 5)


def test_a_log_in_through_a_proxy_with_https_works_with_the_two_settings_of_the_table(mine):
    def try_it():
        browser = requests.Session()
        browser.headers = {"Host": "name.app.github.dev", "Origin": "https://name.app.github.dev"}
        return log_in(mine.url, PASSWORD, EMAIL, browser)

    mine.add(mine.settings, typed('ALLOWED_HOSTS = ["localhost", ".app.github.dev"]').replace("[", '["127.0.0.1", '))
    mine.sh("make up")
    assert "CSRF verification failed" in try_it()
    mine.add(mine.settings, typed('CSRF_TRUSTED_ORIGINS = ["https://*.app.github.dev"]'))
    mine.sh("make up")
    assert "Site administration" in try_it()


def test_an_upload_is_on_the_page_and_stays_when_the_container_is_replaced(mine):
    mine.add(mine.settings, typed('MEDIA_ROOT = "/media"'), typed('MEDIA_URL = "media/"'))
    mine.add(mine.urls, "from django.conf import settings", "from django.conf.urls.static import static")
    mine.add(mine.urls, typed("urlpatterns += static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT)"))
    mine.change(mine.folder / "Dockerfile", "USER myuser\n", f"{typed('RUN install -d -o myuser /media')}\nUSER myuser\n")
    compose = mine.folder / "docker-compose.yaml"
    mine.change(compose, "    init: true\n", f"    init: true\n    {typed('volumes: [media:/media]')}\n")
    mine.add(compose, typed("volumes: {media: }"))
    mine.add(mine.code / "news/models.py", "    picture = models.FileField(blank=True)")
    mine.sh("make manage ARGS=makemigrations")
    mine.sh("make up")
    add_product(mine.url, PASSWORD, "A red chair", picture=("chair.gif", GIF, "image/gif"))
    mine.sh("make down")
    mine.sh("make up")
    assert requests.get(f"{mine.url}/media/chair.gif", timeout=5).content == GIF
    assert 'src="/media/chair.gif"' in requests.get(mine.url, timeout=5).text


def test_make_up_starts_a_worker_and_make_manage_does_not_recreate_running_containers(mine):
    command = typed("command: ./start.sh python manage.py ...").replace("...", FOREVER)
    lines = ["build: .", "env_file: ../secrets/secrets.txt", "init: true", "depends_on: [backend]", command]
    worker = "\n    ".join(["\n  worker:", *lines])
    mine.change(mine.folder / "docker-compose.yaml", "\n  backend:\n", f"{worker}\n\n  backend:\n")
    mine.sh("make up")
    until(lambda: "42" in mine.sh("docker compose logs worker").split(), 30)
    before = [mine.container(service)["Id"] for service in ("frontend", "backend")]
    sh('make manage ARGS="check"', cwd=mine.folder, env={**os.environ, **mine.variables, "PORT": "1", "DB_PORT": "1"})
    assert [mine.container(service)["Id"] for service in ("frontend", "backend")] == before


def test_a_browser_shows_the_page_with_its_style_sheet_and_picture(mine, tools):
    browse(mine.names["frontend"], "http://localhost:8000", tools)


def browse(container, url, tools):
    """Open the page in Chromium, inside the network of a container. Fail if a file is missing or the console shows an error."""
    words = f"browse.py 500x300 page {url} 'A red chair'"
    sh(f"docker run --rm -i --network container:{container} {tools} python {words} > /dev/null")


def test_the_copy_is_deployed_beside_development_with_its_own_setting_secret_and_asgi(mine, tools):
    before = [mine.container(service)["Id"] for service in mine.names]
    # While the image is built, Django reads these settings from env.example. There is no secret yet.
    mine.add(mine.settings, SETTINGS)
    mine.add(mine.secrets, "TIME_ZONE=Europe/Berlin", "LIMIT=1", "MAIL_KEY=another word")
    mine.add(mine.folder / "production/env.example", "TIME_ZONE='Europe/Berlin'  # a comment", "LIMIT=2", "PRICE='$5 # and\nmore'")
    prod = mine.deploy(GREETING="hello visitors", LIMIT="3", DJANGO_ALLOWED_HOSTS=" localhost , 127.0.0.1,")
    prod.secret("MAIL_KEY").write_text(PEM)
    prod.sh("make secrets")
    compose, settings = prod.folder / "docker-compose.yaml", mine.code / "shop/settings_production.py"
    mine.change(compose, "secrets: [DJANGO_SECRET_KEY, ", "secrets: [MAIL_KEY, DJANGO_SECRET_KEY, ")
    mine.add(compose, "  MAIL_KEY: {file: secrets/MAIL_KEY}")
    # A worker and ASGI, as the README of production/ says.
    text = " ".join((ROOT / DJANGO / "production/README.md").read_text().split())
    for path, old, new in (
        (prod.folder / "Dockerfile", "GRANIAN_INTERFACE=wsgi", "GRANIAN_INTERFACE=asginl"),
        (prod.folder / "Dockerfile", "GRANIAN_BLOCKING_THREADS=4", "GRANIAN_BLOCKING_THREADS=1"),
        (prod.folder / "Dockerfile", "shop.wsgi:application", "shop.asgi:application"),
        (settings, 'database["CONN_MAX_AGE"] = 60', 'database["CONN_MAX_AGE"] = 0'),
    ):
        assert f"`{new.replace('shop.', 'codesolid_demo.')}`" in text
        mine.change(path, old, new)
    assert "`command: ./start.sh python manage.py ...`" in text
    frontend = re.search(
        r"\n  frontend:\n(.*?)\n    # If migrations take longer.*?\n\n  backend:", compose.read_text(), re.DOTALL
    )
    worker = f"\n  worker:\n{frontend[1]}    command: ./start.sh python manage.py {FOREVER}\n\n  backend:\n"
    mine.change(compose, "\n  backend:\n", worker)
    # The tests of the folder work with a user model that has no field `username`, too.
    assert "Ran 2 tests" in prod.sh("make check")
    prod.sh("make up")
    code = "from django.conf import settings as s; print([s.GREETING, s.TIME_ZONE, s.LIMIT, s.PRICE, s.MAIL_KEY, s.MODE, s.NOTE])"
    shell = f'docker compose exec -T frontend python manage.py shell -v 0 -c "{code}"'
    values = ["hello visitors", "Europe/Berlin", 3, "$5 # and\nmore", PEM.rstrip("\n"), "closed", ""]
    assert ast.literal_eval(prod.sh(shell)) == values
    # Production keeps the LOGGING of settings.py, and replaces one entry of STORAGES.
    code = "from django.conf import settings as s; print([list(s.LOGGING['handlers']), s.STORAGES])"
    handlers, storages = ast.literal_eval(prod.sh(f'docker compose exec -T frontend python manage.py shell -v 0 -c "{code}"'))
    assert handlers == ["mine"] and storages["default"]["OPTIONS"] == {"file_permissions_mode": 0o644}
    assert storages["staticfiles"]["BACKEND"].endswith(".ManifestStaticFilesStorage")
    development = 'docker compose run --rm -T --no-deps -v "$PWD/shop:/app" frontend'
    assert ast.literal_eval(mine.sh(shell.replace("docker compose exec -T frontend", development)))[-2:] == ["open", ""]
    until(lambda: "42" in prod.sh("docker compose logs --no-log-prefix worker").split(), 30)
    password = prod.secret("DJANGO_SUPERUSER_PASSWORD").read_text()
    add_product(prod.url, password, "A red chair", picture=("chair.gif", GIF, "image/gif"))
    page = requests.get(prod.url, timeout=5).text
    assert "hello visitors" in page and re.search(r'href="/static/style\.[0-9a-f]{12}\.css"', page)
    assert "black" in requests.get(f"{prod.url}/static/print.css", timeout=5).text
    browse(prod.names["proxy"], "http://localhost", tools)
    # The two projects share no container, image or data.
    assert [mine.container(service)["Id"] for service in mine.names] == before
    assert "A green chair" in requests.get(mine.url, timeout=5).text and "A green chair" not in page
    before = [prod.container(service)["Id"] for service in prod.names]
    save = "docker compose exec -T frontend python manage.py dumpdata news > news.json"
    load = "docker compose exec -T frontend python manage.py loaddata --format=json - < ../news.json"
    assert f"`{save}`" in text and f"`{load}`" in text
    mine.sh(save)
    prod.sh(load)
    assert "A green chair" in requests.get(prod.url, timeout=5).text
    mine.sh("make clean")
    assert [prod.container(service)["Id"] for service in prod.names] == before
    assert "A red chair" in requests.get(prod.url, timeout=5).text


def test_make_check_fails_with_a_failing_test_and_leaves_nothing(mine):
    prod, tests = mine.production, mine.code / "shop/tests.py"
    before = tests.read_text()
    tests.write_text(before.replace("'Site administration'", "'something that is not there'"))
    printed = prod.sh("make check", ok=False)
    tests.write_text(before)
    assert "Ran 2 tests" in printed and "FAILED (failures=1)" in printed
    assert sh("docker ps -aq --filter name=^check-; docker volume ls -q --filter name=^check-") == ""
    assert sh("docker image ls -q 'check-*'") == ""


def test_a_backup_brings_the_destroyed_shop_back(mine):
    prod = mine.production
    # Two targets at once must run one after the other.
    folder = prod.sh("MAKEFLAGS=-j make up backup").split()[-1]
    prod.sh("echo yes | make clean", stdin=None)
    prod.sh("make up")
    assert "A red chair" not in requests.get(prod.url, timeout=5).text
    assert f"Restored {folder}" in prod.sh(f"make restore BACKUP={folder}")
    assert "A red chair" in requests.get(prod.url, timeout=5).text
    assert requests.get(f"{prod.url}/media/chair.gif", timeout=5).content == GIF
    assert "Site administration" in log_in(prod.url, prod.secret("DJANGO_SUPERUSER_PASSWORD").read_text(), EMAIL)
