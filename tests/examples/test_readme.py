"""Run the commands in every README from top to bottom, and compare their output with the output that the README shows.

Each `sh` block runs in a new shell, in the README's folder of a fresh clone, or where the block above it went with `cd`. `...` in
an output block matches any text.
A comment `<!-- skip: next "reason" -->` skips the next block. The summary of pytest lists the skipped blocks.
"""

import doctest
import json
import os
import pty
import re
import shlex
import socket
import statistics
import threading
import unittest
from pathlib import Path

import pytest
from projects import DJANGO, Clone
from shell import ROOT, free_port, sh, until
from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser, SkipParser

README = ROOT / "README.md"
READMES = [README, *sorted(ROOT.glob("0*/README.md")), *sorted(ROOT.glob("0*/production/**/README.md")), ROOT / "tests/README.md"]
# Other tests follow these: test_recipes.py and tests/server.
PAGES = sorted([*(ROOT / DJANGO / "recipes").glob("*.md"), *(ROOT / DJANGO / "production").glob("[a-z]*.md")])
ALL_TEXTS = "\n".join(readme.read_text() for readme in READMES + PAGES)
# The languages of the blocks that show the output of the commands above them.
PRINTED = ["text", "html", "diff"]


def in_the_way():
    """Return the containers, volumes, images and ports that the READMEs use and that already exist on this machine."""
    found = sh("docker ps -aq --filter 'name=^/(flask|flask-alpine|django|shop)$'").split()
    for project in (DJANGO, "django-production", "shop"):
        label = f"--filter label=com.docker.compose.project={project}"
        found += sh(f"docker ps -aq {label}; docker volume ls -q {label}; docker image ls -q {project}-frontend").split()
    found += sh("docker image ls -q flask-example").split()
    for port in (80, 443, 5432, 5435, 8081, 8082, 8083, 8084, 8090, 8095):
        with socket.socket() as probe:
            found += [port] if probe.connect_ex(("127.0.0.1", port)) == 0 else []
    return found


class Reader:
    """Runs the blocks of the READMEs in a clone, as a reader would type them."""

    def __init__(self, base):
        """Create the clone in the folder `base`. If a name or port of the READMEs is in use, replace all of them."""
        self.clone = Clone(base)
        self.words, self.environment, self.places = {}, dict(os.environ), {}
        if not in_the_way():
            self.clone.suffix, self.clone.variables = "", ""
            return
        suffix, (flask, alpine, django, database), port = self.clone.suffix, self.clone.ports, free_port()
        self.words = {
            r"(?<![\w/-])(?<!= )(flask-example|flask|flask-alpine|django)(?=[: ]|$)": rf"\1{suffix}",
            rf"{DJANGO}(?=-frontend)": rf"{DJANGO}{suffix}",
            r"(?<=-p )80(?=:)|(?<=PORT=)(8090|8095)": f"{port}",
            r"(?<=DB_PORT=)5435": f"{database}",
            r"(?<=http://localhost)(?![:\w])": f":{port}",
            r"(?<=localhost:)8081": f"{flask}",
            r"(?<=localhost:)8082": f"{alpine}",
            r"(?<=localhost:)8083": f"{django}",
        }
        settings = (self.clone.folder / DJANGO / "production/env.example").read_text()
        settings = re.sub("^COMPOSE_PROJECT_NAME=.*", f"COMPOSE_PROJECT_NAME=production{suffix}", settings, flags=re.MULTILINE)
        settings = re.sub("^(HTTPS?_PORT)=.*", lambda key: f"{key[1]}={free_port()}", settings, flags=re.MULTILINE)
        (self.clone.folder / DJANGO / "production/.env").write_text(settings)
        self.environment |= {
            **{"SUFFIX": suffix, "FLASK_PORT": f"{flask}", "ALPINE_PORT": f"{alpine}", "DJANGO_PORT": f"{django}"},
            **{"CONTAINER": f"flask{suffix}", "IMAGE": f"flask-example{suffix}:latest"},
            **{"PORT": f"{port}", "DB_PORT": f"{database}"},
            **{"COMPOSE_PROJECT_NAME": f"{DJANGO}{suffix}", "DJANGO_NAME": f"django{suffix}"},
        }

    def own(self, text):
        """Replace the names and ports in a text of a README with those of this clone."""
        for word, mine in self.words.items():
            text = re.sub(word, mine, text, flags=re.MULTILINE)
        return text

    def type(self, commands, folder):
        """Run a block in a terminal and return its output. Type `exit` twice a second to leave interactive shells."""
        keyboard, terminal = pty.openpty()
        ended = threading.Event()

        def type_exit():
            while not ended.wait(0.5):
                os.write(keyboard, b"exit\n")

        fingers = threading.Thread(target=type_exit)
        fingers.start()
        try:
            # -e: The block ends at the first command that fails.
            place, left = self.places.get(folder, self.clone.folder / folder), self.clone.folder.parent / "left-in"
            typed = shlex.quote(f"{self.own(commands)}\npwd > '{left}'")
            printed = sh(f"bash -ec {typed}", cwd=place, stdin=terminal, env=self.environment)
            self.places[folder] = left.read_text().strip()
            # `docker stop` returns before --rm has removed the container. A person doesn't type the next command that fast.
            for name in re.findall("^docker stop (.+)", self.own(commands), re.MULTILINE):
                until(lambda: not sh(f"docker ps -aq --filter 'name=^{name}$'"), 20)  # noqa: B023
            return printed
        finally:
            ended.set()
            fingers.join()
            os.close(terminal)
            os.close(keyboard)

    def remove(self):
        """Remove everything that the blocks created."""
        sh("cd ../shop && make clean", cwd=self.clone.folder, env=self.environment, ok=None)
        sh(f"echo yes | make -C {DJANGO}/production clean", cwd=self.clone.folder, stdin=None)
        self.clone.make("clean")


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """Yield the reader. All blocks share it."""
    one = Reader(tmp_path_factory.mktemp("reader"))
    yield one
    one.remove()


def run(example):
    """Run a block of commands. Keep its output for the block below."""
    example.namespace["printed"] = ""
    folder = Path(example.path).parent.relative_to(ROOT)
    example.namespace["printed"] = example.namespace["reader"].type(example.parsed, folder)


def compare(example):
    """Compare a block of output with what the commands above it printed. Return a message if they differ."""
    expected, printed = example.namespace["reader"].own(example.parsed), example.namespace["printed"]
    # Remove the spaces around `...`, because it can also match nothing.
    expected = re.sub(r"\s*\.\.\.\s*", "...", expected)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    if not doctest.OutputChecker().check_output(f"{expected}\n", f"{printed}\n", flags):
        return f"the README says:\n{expected}\nprinted was:\n{printed}"
    return None


PARSERS = [SkipParser(), CodeBlockParser("sh", run), *(CodeBlockParser(language, compare) for language in PRINTED)]


EXAMPLES = [example for readme in READMES for example in Sybil(PARSERS).parse(readme)]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{Path(example.path).parent.name}-line-{example.line}")
def test_the_commands_in_the_readmes_print_the_output_shown(example, reader):
    example.namespace["reader"] = reader
    try:
        example.evaluate()
    except unittest.SkipTest as skipped:
        pytest.skip(f"{example.path} line {example.line} is not run, because {skipped}:\n{example.parsed}")


def test_every_code_block_in_the_readmes_is_run_compared_or_plain_text():
    text = "\n".join(readme.read_text() for readme in READMES)
    assert set(re.findall(r"^```(\w*)$", text, re.MULTILINE)) <= {"", "sh", "caddyfile", "mermaid", "css", "python", *PRINTED}


def test_no_command_in_a_page_has_a_comment_behind_it():
    """zsh, the shell of macOS, passes `#` and the words after it to the command."""
    blocks = re.findall(r"^```sh\n(.*?)^```", ALL_TEXTS, re.MULTILINE | re.DOTALL)
    assert len(blocks) > 20 and not [line for block in blocks for line in block.splitlines() if re.search(r"(^|\s)#", line)]


def test_every_make_target_in_a_page_exists():
    targets = set()
    for makefile in (
        *ROOT.glob("*/Makefile"),
        *ROOT.glob("*/production/Makefile"),
        ROOT / "Makefile",
        ROOT / "tests/engine/engine.mk",
    ):
        targets |= set(re.findall(r"^([a-z0-9_-]+):", makefile.read_text(), re.MULTILINE))
    named = re.findall(r"`[^`\n]*?\bmake (?:-s |-C [\w./-]+ )?([a-z0-9_-]+)", ALL_TEXTS)
    assert len(named) > 20 and set(named) <= targets


# test_recipes.py also checks the links in a project that `make new` made.
@pytest.mark.parametrize("readme", READMES + PAGES, ids=lambda readme: f"{readme.parent.name}-{readme.stem}")
def test_every_local_link_in_a_page_leads_to_a_file_and_heading(readme):
    # Without the blocks: HTML in them is not part of the page.
    text = re.sub("^```.*?^```$", "", readme.read_text(), flags=re.MULTILINE | re.DOTALL)

    def headings(of):
        found = re.findall(r"^#+ (.*)", of.read_text(), re.MULTILINE)
        return {re.sub(r"[^\w\s-]", "", heading).strip().lower().replace(" ", "-") for heading in found}

    linked = [link for link in re.findall(r"\]\(([^)]+)\)|(?:src|srcset)=\"([^\"]+)\"", text) for link in link if link]
    for link in linked:
        path, _, heading = link.partition("#")
        target = readme.parent / path if path else readme
        assert "://" in link or (target.exists() and (not heading or heading in headings(target))), link


def test_the_numbers_in_the_readmes_match_the_benchmark():
    text = (ROOT / "tests/README.md").read_text()
    bench = json.loads((ROOT / ".github/images/bench.json").read_text())

    def median(measure, kind):
        return statistics.median(bench["results"][measure][kind])

    for measure, kind, usual_kind, form in (
        ("flask_added", "dev", "gunicorn", "{:.1f} MB"),
        ("django_added", "dev", "gunicorn", "{:.1f} MB"),
        ("flask_rebuild", "dev", "gunicorn", "{:.2f} s"),
        ("flask_stop", "dev", "gunicorn", "{:.1f} s"),
        ("flask_requests", "prod", "gunicorn", "{:.0f}"),
        ("django_first_start", "dev", "runserver", "{:.1f} s"),
        ("django_down", "dev", "runserver", "{:.1f} s"),
    ):
        here, tutorial, usual = (form.format(median(measure, variant)) for variant in (kind, "tutorial", usual_kind))
        assert f"{here} instead of {tutorial}; the usual alternative {usual} |" in text
    for each in ("sharing", "limited"):
        rates = [median(f"replicas_{number}_{each}", "prod") for number in (1, 2, 4)]
        assert "{:.0f}, {:.0f} and {:.0f}".format(*rates) in ALL_TEXTS
    rows, kinds = [], ("runserver", "dev", "gunicorn", "prod", "proxy", "peer")

    def shown(measure, kind, form):
        return form.format(median(measure, kind)) if kind in bench["results"].get(measure, {}) else ""

    for label, measure, form in (
        ("Flask, requests/s", "flask_requests", "{:.0f}"),
        ("Django's login page, requests/s", "django_login_requests", "{:.0f}"),
        ("the admin's first page, requests/s", "django_admin_requests", "{:.0f}"),
        ("`make up` from nothing: Flask, s", "flask_from_nothing", "{:.0f}"),
        ("`make up` from nothing: Django, s", "django_from_nothing", "{:.0f}"),
        ("`make up` from nothing: Flask on Alpine, s", "alpine_from_nothing", "{:.0f}"),
        ("first start to the first page, s", "django_first_start", "{:.1f}"),
        ("start with the database there, s", "django_start", "{:.1f}"),
        ("`docker compose down`, s", "django_down", "{:.1f}"),
        ("memory after the load, MiB", "django_memory", "{:.0f}"),
        ("MB added to the base, Flask", "flask_added", "{:.1f}"),
        ("MB added to the base, Django", "django_added", "{:.1f}"),
        ("a saved file to its new page, s", "edit", "{:.1f}"),
        ("new code to its new page, s", "update", "{:.1f}"),
    ):
        rows.append([label, *(shown(measure, kind, form) for kind in kinds)])
    failed, requests = (bench["results"].get(f"update_{what}", {}) for what in ("failed", "requests"))
    sums = [f"{sum(failed[kind])} of {sum(requests[kind])}" if kind in failed else "" for kind in kinds]
    rows.append(["requests that fail meanwhile", *sums])
    for label, measure, form in (
        ("start with the database there, s", "django_start", "{:.1f}"),
        ("memory after the load, MiB", "django_memory", "{:.0f}"),
    ):
        rows.append([label, *(shown(measure, kind, form) for kind in ("prod", "granian", "gunicorn"))])
    lines = [re.sub(" +", " ", f"| {' | '.join(row)} |") for row in rows]
    missing = [line for line in lines if line not in text]
    assert not missing, "tests/README.md lacks these rows:\n" + "\n".join(missing)
    assert bench["machine"] in " ".join(text.split())


def test_the_readmes_quote_the_error_messages_that_docker_prints(name, port, project):
    start = project.folder / "start.sh"
    start.write_text(start.read_text().replace("\n", "\r\n"))
    project.sh(f"docker build -q -t {name} .")
    run = f"docker run --rm -d -p 127.0.0.1:{port}:80 --entrypoint sleep --name"
    project.sh(f"{run} {name} {name} 600")
    project.secrets.rename(f"{project.secrets}.away")
    # Docker 29 says it differently.
    lost = ("Cannot connect to the Docker daemon", "failed to connect to the docker API")
    nowhere = "DOCKER_HOST=unix:///nowhere docker ps"
    for command, message in (
        (nowhere, lost[lost[1] in project.sh(nowhere, ok=False)]),
        (f"{run} {name}-2 {name} 600", "port is already allocated"),
        (f"{run} {name} {name} 600", 'The container name "/flask" is already in use'),
        ("docker compose up", "env file .../secrets/secrets.txt not found"),
        (f"docker exec {name} curl -f localhost", 'exec: "curl": executable file not found'),
        (f"docker run --rm {name}", "exec ./start.sh: no such file or directory"),
    ):
        said = project.sh(command, ok=False).replace(name, "flask")
        assert re.search(re.escape(message).replace(r"\.\.\.", ".*"), said), said
        assert f"`{message}`" in ALL_TEXTS
    project.secrets.with_name("secrets.txt.away").rename(project.secrets)
