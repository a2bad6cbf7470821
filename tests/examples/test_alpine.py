"""Tests of the differences between 02-docker-flask-alpine and 01-docker-flask."""

import difflib

from shell import ROOT, sh

SLIM, ALPINE = ROOT / "01-docker-flask", ROOT / "02-docker-flask-alpine"


def test_the_two_flask_folders_differ_only_where_alpine_requires_it():
    assert sorted(path.name for path in SLIM.iterdir()) == sorted(path.name for path in ALPINE.iterdir())
    changed = {}
    for path in sorted(SLIM.iterdir()):
        if path.is_file():
            lines = difflib.unified_diff(path.read_text().splitlines(), (ALPINE / path.name).read_text().splitlines(), n=0)
            changed[path.name] = [line for line in lines if line.startswith("+") and not line.startswith("+++")]
    words = {
        "Dockerfile": ["flask-example:alpine", "alpine3.24", "adduser -D"],
        "production.Dockerfile": ["alpine3.24", "adduser -D"],
        "Makefile": ["flask-example:alpine", "flask-alpine", "/bin/sh"],
        "README.md": None,
    }
    for name, lines in changed.items():
        if words.get(name, []) is None:
            continue
        assert len(lines) == len(words.get(name, [])), lines
        for word, line in zip(words.get(name, []), lines, strict=True):
            assert word in line


def test_pip_installs_musl_wheels_with_compiled_modules(name):
    sh(f"docker build -t {name} .", cwd=ALPINE)
    module = sh(f"docker run --rm {name} python -c 'import markupsafe._speedups as m; print(m.__file__)'")
    assert module.endswith("-linux-musl.so")


def test_alpine_has_no_bash_and_uses_the_adduser_of_busybox(name):
    sh(f"docker build -t {name} .", cwd=ALPINE)
    assert "no such file" in sh(f"docker run --rm {name} /bin/bash", ok=False)
    assert "BusyBox" in sh(f"docker run --rm {name} adduser --help 2>&1", ok=None)
