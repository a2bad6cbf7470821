"""The examples in a real browser, and the pictures of .github/images: `make test` tries them, `make pictures` renews them."""

import contextlib
import html
import json
import os
import pty
import re
import shutil
import statistics
import subprocess
import termios

import pytest
from conftest import ROOT, answers, sh, until
from test_django import START_PAGE
from test_flask import FOLDERS

IMAGES = ROOT / ".github/images"
# Where a network is slow, the image takes longer than a test otherwise may.
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="session")
def tools():
    """Yield the image with the browser and the drawing tools; Docker's build cache keeps it for the next run."""
    tag = f"test-pictures-{os.getpid()}"
    sh(f"docker build -q -t {tag} -f pictures/Dockerfile .", cwd=ROOT / "tests", timeout=1100)
    yield tag
    sh(f"docker image rm {tag}")


@pytest.fixture
def draw(tools, tmp_path):
    """Return a function that runs one of the tools and returns the file with the picture that it printed."""

    def run(picture, tool, options=""):
        sh(f"docker run --rm -i {options} {tools} python {tool} > '{tmp_path / picture}'")
        return tmp_path / picture

    return run


def keep(picture):
    """Put a picture among those of the README, where `make pictures` asks for it."""
    if "PICTURES" in os.environ:
        shutil.copy(picture, os.environ["PICTURES"])


# The pages


@pytest.mark.parametrize(("folder", "picture"), [(FOLDERS[0], "flask.png"), (FOLDERS[1], "alpine.png")])
def test_the_flask_page_in_a_browser(draw, folder, picture, name, port):
    sh(f"make run CONTAINER={name} PORT={port} IMAGE={name}", cwd=ROOT / folder)
    until(lambda: answers(f"http://127.0.0.1:{port}"), 20)
    keep(draw(picture, "browse.py 500x110 page http://localhost:8080 'Flask is running'", f"--network container:{name}"))


def test_djangos_start_page_in_a_browser(draw, running):
    network = f"--network container:{running.name}-django"
    keep(draw("django.png", f"browse.py 1000x620 page http://localhost:8000 '{START_PAGE}'", network))


def use_the_admin(draw, project):
    """Log in with the secrets file, change the administrator, log out; return the picture of the admin."""
    options = f"--network container:{project.name}-django --env-file '{project.secrets}'"
    first_name = "select first_name from auth_user where username = 'appname_admin'"
    assert project.sql(first_name) == ""
    picture = draw("admin.png", "browse.py 1000x320 admin http://localhost:8000", options)
    assert project.sql(first_name) == "Ada"
    project.sql("update auth_user set first_name = ''")
    return picture


def test_the_admin_in_a_browser(draw, running):
    keep(use_the_admin(draw, running))


def test_the_admin_of_production_in_a_browser(draw, shop):
    use_the_admin(draw, shop)


# The terminal


@pytest.mark.slow  # `make pictures` runs it: it takes the names and ports that `make up` has by default
def test_make_up_in_a_terminal(draw, clone, tmp_path):
    clone.suffix = clone.variables = ""  # for the `make clean` at the end
    keyboard, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (1000, 120))  # rows, and the columns of terminal.py
    ends = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
    with subprocess.Popen(["make", "up"], cwd=clone.folder, env={**os.environ, "TERM": "xterm"}, **ends) as make:
        os.close(terminal)
        printed = b"$ make up\r\n"
        with contextlib.suppress(OSError):  # which is how Linux says that the other end was closed
            while some := os.read(keyboard, 65536):
                printed += some
    os.close(keyboard)
    assert make.returncode == 0, printed.decode()
    (tmp_path / "printed").write_bytes(printed.replace(os.fsencode(clone.folder), b"/home/you/docker-examples"))
    picture = draw("make-up.svg", f"terminal.py < '{tmp_path}/printed'")
    shown = html.unescape(picture.read_text()).replace("\N{NO-BREAK SPACE}", " ")
    for url in ("http://localhost:8081", "http://localhost:8082", "http://localhost:8083", "http://localhost:8083/admin"):
        assert url in shown
    passwords = re.findall("_PASSWORD=(.*)", (clone.folder / "secrets/secrets.txt").read_text())
    assert len(passwords) == 2 and not any(word in shown for word in [*passwords, str(tmp_path), "naming to"])
    keep(picture)


# The chart

MEASURES = [
    "empty database to the first 200, s",
    "docker compose down, s",
    "edit of flaskapp.py to the new image, s",
    "MB added to the base: Django",
    "Flask, requests/s",
    "Django /admin/login/, requests/s",
]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_chart_shows_every_median_of_the_kept_numbers(draw, theme):
    results = json.loads((IMAGES / "bench.json").read_text())["results"]
    drawn = draw(f"bench-{theme}.svg", f"chart.py {theme} < '{IMAGES}/bench.json'")
    keep(drawn)
    for chart in (drawn, IMAGES / drawn.name):
        values = dict(re.findall(r'<g id="([^"]+: \w+)">\s*<text[^>]*>([^<]+)</text>', chart.read_text()))
        medians = {f"{measure}: {kind}": statistics.median(results[measure][kind]) for measure in MEASURES
                   for kind in results[measure] if kind != "floor"}  # fmt: skip
        assert values.keys() == medians.keys()
        for key, value in values.items():
            digits = len(value.partition(".")[2])
            assert float(value.replace(",", "")) == round(medians[key], digits) != 0, f"{chart}: {key}. To mend it: make pictures"
