"""Every README of the tree, run from top to bottom: each `sh` block in a fresh clone, in the README's folder, and what it prints
beside what stands below it.

Between two blocks only what Docker has stays. `...` in an output stands for whatever varies. A block behind a comment
`<!-- skip: next "reason" -->` is not run; pytest's summary lists it with its reason.
"""

import doctest
import json
import os
import pty
import re
import shlex
import shutil
import socket
import statistics
import threading
import unittest
from pathlib import Path

import pytest
import requests
from conftest import DJANGO, ROOT, Clone, free_port, sh
from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser, SkipParser

README = ROOT / "README.md"
READMES = [README, *sorted(ROOT.glob("0*/README.md")), *sorted(ROOT.glob("0*/production/README.md")), ROOT / "tests/README.md"]
ALL_TEXTS = "\n".join(readme.read_text() for readme in READMES)
PRINTED = ["text", "html", "diff"]  # the languages of blocks that show what the commands above them print


def in_the_way():
    """Return what is taken of the names and ports that stand in the README: containers, volumes, images, listeners."""
    found = sh("docker ps -aq --filter 'name=^/(flask|flask-alpine|django|shop)$'").split()
    for project in (DJANGO, "shop"):
        label = f"--filter label=com.docker.compose.project={project}"
        found += sh(f"docker ps -aq {label}; docker volume ls -q {label}; docker image ls -q {project}-frontend").split()
    found += sh("docker image ls -q flask-example; docker image ls -q python-with-our-ca").split()
    for port in (80, 5432, 5435, 8081, 8082, 8083, 8084, 8090, 8095):
        with socket.socket() as probe:
            found += [port] if probe.connect_ex(("127.0.0.1", port)) == 0 else []
    return found


class Reader:
    """A person who types what the READMEs say, block by block, into new shells in the folder of the README, in a clone."""

    def __init__(self, base):
        """Clone into the folder `base`. Where the README's names and ports are taken, others stand for them."""
        self.clone = Clone(base)
        # The CA of the block that gives one to the base image: where a proxy has its own, the build fails without.
        shutil.copy(os.environ.get("SSL_CERT_FILE") or requests.certs.where(), self.clone.folder / "ca.crt")
        self.words, self.environment = {}, dict(os.environ)
        if not in_the_way():
            self.clone.suffix, self.clone.variables = "", ""
            return
        suffix, (flask, alpine, django, database), port = self.clone.suffix, self.clone.ports, free_port()
        self.words = {
            r"(?<![\w/-])(?<!= )(flask-example|flask|flask-alpine|django)(?=[: ]|$)": rf"\1{suffix}",
            "python-with-our-ca": f"python-with-our-ca{suffix}",
            rf"{DJANGO}(?=-frontend)": rf"{DJANGO}{suffix}",
            r"(?<=-p )80(?=:)|(?<=PORT=)(8090|8095)": f"{port}",
            r"(?<=DB_PORT=)5435": f"{database}",
            r"(?<=http://localhost)(?![:\w])": f":{port}",
            r"(?<=localhost:)8081": f"{flask}",
            r"(?<=localhost:)8082": f"{alpine}",
            r"(?<=localhost:)8083": f"{django}",
        }
        self.environment |= {
            **{"SUFFIX": suffix, "FLASK_PORT": f"{flask}", "ALPINE_PORT": f"{alpine}", "DJANGO_PORT": f"{django}"},
            **{"CONTAINER": f"flask{suffix}", "IMAGE": f"flask-example{suffix}:latest"},
            **{"PORT": f"{port}", "DB_PORT": f"{database}"},
            **{"COMPOSE_PROJECT_NAME": f"{DJANGO}{suffix}", "DJANGO_NAME": f"django{suffix}"},
        }

    def own(self, text):
        """Return a text of the README with the names and ports that this reader has to use."""
        for word, mine in self.words.items():
            text = re.sub(word, mine, text, flags=re.MULTILINE)
        return text

    def type(self, commands, folder):
        """Run a block in a folder at a terminal, at which `exit` is typed twice a second; return what it printed."""
        keyboard, terminal = pty.openpty()
        ended = threading.Event()

        def type_exit():
            while not ended.wait(0.5):
                os.write(keyboard, b"exit\n")

        fingers = threading.Thread(target=type_exit)
        fingers.start()
        try:
            # -e: the first command that fails ends the block.
            place = self.clone.folder / folder
            return sh(f"bash -ec {shlex.quote(self.own(commands))}", cwd=place, stdin=terminal, env=self.environment)
        finally:
            ended.set()
            fingers.join()
            os.close(terminal)
            os.close(keyboard)

    def remove(self):
        """Remove all that the blocks left behind."""
        sh("cd ../shop/shop && make clean", cwd=self.clone.folder, env=self.environment, ok=None)
        self.clone.make("clean LIFECYCLE=prod", input="yes\n", stdin=None)
        self.clone.make("clean")
        sh(f"docker image rm {self.own('python-with-our-ca')}", ok=None)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """Yield the reader, the same one for all blocks."""
    one = Reader(tmp_path_factory.mktemp("reader"))
    yield one
    one.remove()


def run(example):
    """Run a block of commands; keep what it prints for the block below."""
    example.namespace["printed"] = ""
    folder = Path(example.path).parent.relative_to(ROOT)
    example.namespace["printed"] = example.namespace["reader"].type(example.parsed, folder)


def compare(example):
    """Return the difference, or nothing, between a block of output and what the commands above it printed."""
    expected, printed = example.namespace["reader"].own(example.parsed), example.namespace["printed"]
    expected = re.sub(r"\s*\.\.\.\s*", "...", expected)  # it stands for nothing, too
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    if not doctest.OutputChecker().check_output(f"{expected}\n", f"{printed}\n", flags):
        return f"the README says:\n{expected}\nprinted was:\n{printed}"
    return None


PARSERS = [SkipParser(), CodeBlockParser("sh", run), *(CodeBlockParser(language, compare) for language in PRINTED)]


EXAMPLES = [example for readme in READMES for example in Sybil(PARSERS).parse(readme)]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{Path(example.path).parent.name}-line-{example.line}")
def test_the_readme_does_what_it_says(example, reader):
    example.namespace["reader"] = reader
    try:
        example.evaluate()
    except unittest.SkipTest as skipped:
        pytest.skip(f"{example.path} line {example.line} is not run, because {skipped}:\n{example.parsed}")


def test_every_block_of_the_readmes_is_run_compared_or_plain_text():
    assert set(re.findall(r"^```(\w*)$", ALL_TEXTS, re.MULTILINE)) <= {"", "sh", *PRINTED}


def test_every_make_target_of_the_readmes_exists():
    targets = set()
    for makefile in (*ROOT.glob("*/*akefile"), *ROOT.glob("*/*.mk"), ROOT / "Makefile", ROOT / "tests/engine/engine.mk"):
        targets |= set(re.findall(r"^([a-z_-]+):", makefile.read_text(), re.MULTILINE))
    named = re.findall(r"`[^`\n]*?\bmake (?:-s |-C [\w.-]+ )?([a-z_-]+)", ALL_TEXTS)
    assert len(named) > 20 and set(named) <= targets


@pytest.mark.parametrize("readme", READMES, ids=lambda readme: readme.parent.name)
def test_every_file_that_a_readme_links_is_there(readme):
    text = readme.read_text()

    def headings(of):
        found = re.findall(r"^#+ (.*)", of.read_text(), re.MULTILINE)
        return {re.sub(r"[^\w\s-]", "", heading).strip().lower().replace(" ", "-") for heading in found}

    linked = [link for link in re.findall(r"\]\(([^)]+)\)|(?:src|srcset)=\"([^\"]+)\"", text) for link in link if link]
    for link in linked:
        path, _, heading = link.partition("#")
        target = readme.parent / path if path else readme
        assert "://" in link or (target.exists() and (not heading or heading in headings(target))), link


def test_the_numbers_of_the_readme_are_those_of_the_benchmark():
    text = (ROOT / "tests/README.md").read_text()
    results = json.loads((ROOT / ".github/images/bench.json").read_text())

    def median(measure, kind):
        """The measure's name may go on (by an exit code)."""
        found = [values[kind] for name, values in results["results"].items() if name.startswith(measure) and kind in values]
        return statistics.median(found[0])

    for measure, kind, form in (
        ("MB added to the base: Flask", "dev", "{:.1f} MB"),
        ("MB added to the base: Django", "dev", "{:.1f} MB"),
        ("edit of flaskapp.py to the new image", "dev", "{:.2f} s"),
        ("docker stop, Flask, s", "dev", "{:.1f} s"),
        ("Flask, requests/s", "prod", "{:.0f}"),
        ("empty database to the first 200", "dev", "{:.1f} s"),
        ("docker compose down", "dev", "{:.1f} s"),
    ):
        here, tutorial, usual = (form.format(median(measure, variant)) for variant in (kind, "tutorial", "gunicorn"))
        assert f"{here} instead of {tutorial}; the usual alternative {usual} |" in text
    for each in ("sharing", "0.25 CPU each"):
        measures = [f"Django /admin/login/ behind a proxy, replicas: {number}, {each}" for number in (1, 2, 4)]
        assert "{:.0f}, {:.0f} and {:.0f}".format(*(median(measure, "prod") for measure in measures)) in ALL_TEXTS
    usual, prod, dev = (median("database there, to the first 200", kind) for kind in ("gunicorn", "prod", "dev"))
    flask, django = (median(f"MB added to the base: {name}", "prod") for name in ("Flask", "Django"))
    for words in (
        f"answers after {usual:.1f} s, production here after {prod:.1f} s, development after {dev:.1f} s",
        f"production here adds {flask:.1f} MB for Flask and {django:.1f} MB for Django",
    ):
        assert words in " ".join(text.split())
    assert results["machine"] in " ".join(text.split())


def test_what_the_screen_says_when_something_goes_wrong_stands_in_the_table(name, port, project):
    start = project.folder / "start.sh"
    start.write_text(start.read_text().replace("\n", "\r\n"))
    project.sh(f"docker build -q -t {name} .")
    run = f"docker run --rm -d -p 127.0.0.1:{port}:80 --entrypoint sleep --name"
    project.sh(f"{run} {name} {name} 600")
    project.secrets.rename(f"{project.secrets}.away")
    for command, message in (
        ("DOCKER_HOST=unix:///nowhere docker ps", "Cannot connect to the Docker daemon"),
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
