"""The examples in a real browser, and the pictures in .github/images. `make test` tests them, `make pictures` updates them."""

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
from pages import START_PAGE, answers
from projects import ADMIN_CANARY, FLASK
from shell import ROOT, sh, until

IMAGES = ROOT / ".github/images"
# On a slow network, building the image takes longer than the default timeout.
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture
def draw(tools, tmp_path):
    """Return a function that runs one of the tools and returns the path of the picture."""

    def run(picture, tool, options=""):
        sh(f"docker run --rm -i {options} {tools} python {tool} > '{tmp_path / picture}'")
        return tmp_path / picture

    return run


def keep(picture):
    """Copy a picture to the README's pictures if `make pictures` runs the test."""
    if "PICTURES" in os.environ:
        shutil.copy(picture, os.environ["PICTURES"])


# The pages


@pytest.mark.parametrize(("folder", "picture"), [(FLASK[0], "flask.png"), (FLASK[1], "alpine.png")])
def test_a_browser_shows_the_flask_page_without_errors(draw, folder, picture, name, port):
    sh(f"make run CONTAINER={name} PORT={port} IMAGE={name}", cwd=ROOT / folder)
    until(lambda: answers(f"http://127.0.0.1:{port}"), 20)
    keep(draw(picture, "browse.py 500x110 page http://localhost:8080 'Flask is running'", f"--network container:{name}"))


def test_a_browser_shows_the_django_start_page_without_errors(draw, running):
    network = f"--network container:{running.name}-django"
    keep(draw("django.png", f"browse.py 1000x620 page http://localhost:8000 '{START_PAGE}'", network))


def use_the_admin(draw, project, values, service, url):
    """Log in with the name and password in a file, change the first name, log out; return a screenshot of the admin."""
    options = f"--network container:{project.names[service]} --env-file '{values}'"
    first_name = "select first_name from auth_user where username = 'appname_admin'"
    assert project.sql(first_name) == ""
    picture = draw("admin.png", f"browse.py 1000x320 admin {url}", options)
    assert project.sql(first_name) == "Ada"
    project.sql("update auth_user set first_name = ''")
    return picture


def test_the_admin_works_in_a_browser_without_errors(draw, running):
    keep(use_the_admin(draw, running, running.secrets, "frontend", "http://localhost:8000"))


def test_the_admin_of_production_works_in_a_browser_without_errors(draw, shop, tmp_path):
    values = tmp_path / "values.env"
    values.write_text(f"DJANGO_SUPERUSER=appname_admin\nDJANGO_SUPERUSER_PASSWORD={ADMIN_CANARY}\n")
    use_the_admin(draw, shop, values, "proxy", "http://localhost")


# The terminal


# Only `make pictures` runs this test, because it uses the default names and ports of `make up`.
@pytest.mark.slow
def test_make_up_in_a_terminal_shows_the_addresses_and_no_password(draw, clone, tmp_path):
    # The fixture's `make clean` must use the default names, too.
    clone.suffix = clone.variables = ""
    keyboard, terminal = pty.openpty()
    # The number of columns is the same in terminal.py.
    termios.tcsetwinsize(terminal, (1000, 120))
    ends = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
    with subprocess.Popen(["make", "up"], cwd=clone.folder, env={**os.environ, "TERM": "xterm"}, **ends) as make:
        os.close(terminal)
        printed = b"$ make up\r\n"
        # On Linux, os.read raises OSError when the other end is closed.
        with contextlib.suppress(OSError):
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


# The charts

MEASURES = "django_first_start django_down flask_rebuild django_added flask_requests django_login_requests".split()
# The lines of the front page that compare production with the usual alternative.
LINES = {
    "Flask": ("flask_requests", "requests/s"),
    "Django's login page": ("django_login_requests", "requests/s"),
    "The admin's first page": ("django_admin_requests", "requests/s"),
    "First start of Django": ("django_first_start", "s"),
    "Memory with Django": ("django_memory", "MiB"),
    "Size of Django's image": ("django_added", "MB"),
}


def bench():
    """Return the numbers of `make bench` that the charts show: {measure: {variant: [value, ...]}}."""
    return json.loads((IMAGES / "bench.json").read_text())["results"]


def typed(page):
    """Return for each block of commands whether a test types it: test_readme.py, or another one, as a skip comment says."""
    answers, section, block = [], "", ""
    for kind, reason in re.findall(r'^(?:<!-- skip: (start|next|end)(?: "(.*)")? -->|```sh)$', page.read_text(), re.MULTILINE):
        if kind == "next":
            block = reason
        elif kind:
            section = reason
        else:
            why = block or section
            answers.append(not why or re.search("types|follows", why) is not None)
            block = ""
    return answers


def lines():
    """Return the lines of the front page's chart: (name, times the usual alternative or None, text)."""
    results = bench()
    pages = [ROOT / "README.md", *ROOT.glob("0*/README.md"), *ROOT.glob("0*/production/**/README.md"), ROOT / "tests/README.md"]
    blocks = [answer for page in pages for answer in typed(page)]
    yield "Commands in the READMEs", None, f"tests run {sum(blocks)} of {len(blocks)} blocks"
    # Older numbers lack this measure.
    if failed := results.get("update_failed"):
        said = {kind: f"{sum(failed[kind])} of {sum(results['update_requests'][kind]):,}" for kind in failed}
        peer = f"; docker-django-example {said['peer']}" if "peer" in said else ""
        yield "Failed requests in an update", None, f"{said['proxy']}; the usual alternative {said['gunicorn']}{peer}"
    writes = int(re.search(r"(\d+) writes failed, and no acknowledged write was lost", (ROOT / "tests/README.md").read_text())[1])
    yield "Acknowledged writes lost", None, f"0, while {writes:,} were sent and parts were killed 40 times"
    for name, (measure, unit) in LINES.items():
        here, usual = (statistics.median(results[measure][kind]) for kind in ("prod", "gunicorn"))
        ratio = here / usual if unit == "requests/s" else usual / here
        here, usual = (f"{value:,.0f}" if value >= 100 else f"{value:.1f}" for value in (here, usual))
        yield name, ratio, f"{ratio:.2f} times: {here} instead of {usual} {unit}"


def values(chart):
    """Return the texts of a chart by their ids."""
    texts = re.findall(r'<g id="([^"]+: [^"]+)">\s*<text[^>]*>([^<]+)</text>', chart.read_text())
    return {html.unescape(key): html.unescape(text) for key, text in texts}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_chart_shows_the_median_of_every_measurement(draw, theme):
    drawn = draw(f"bench-{theme}.svg", f"chart.py {theme} < '{IMAGES}/bench.json'")
    keep(drawn)
    for chart in (drawn, IMAGES / drawn.name):
        medians = {f"{measure}: {kind}": statistics.median(found) for measure in MEASURES
                   for kind, found in bench()[measure].items() if kind not in ("floor", "granian")}  # fmt: skip
        assert values(chart).keys() == medians.keys()
        for key, value in values(chart).items():
            digits = len(value.partition(".")[2])
            assert float(value.replace(",", "")) == round(medians[key], digits) != 0, f"{chart}: {key}. To mend it: make pictures"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_chart_of_the_front_page_shows_what_was_counted_and_measured(draw, theme, tmp_path):
    (tmp_path / "lines.json").write_text(json.dumps(list(lines())))
    drawn = draw(f"proof-{theme}.svg", f"chart.py {theme} proof < '{tmp_path}/lines.json'")
    keep(drawn)
    for chart in (drawn, IMAGES / drawn.name):
        assert values(chart) == {f"proof: {name}": said for name, _, said in lines()}, f"{chart}. To mend it: make pictures"
