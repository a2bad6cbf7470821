"""What new.sh takes, refuses and leaves behind. No test here starts a container. test_recipes.py starts what new.sh makes."""

import os
import re
import shutil
import signal
import subprocess

import pytest
from projects import DJANGO
from recipes import change
from shell import ROOT, sh, until


@pytest.fixture
def source(tmp_path):
    """Return 03 in a copy of the repository without git, like GitHub's ZIP file. The copy's path contains a space."""
    top = tmp_path / "a clone"
    for file in sh("git ls-files --cached --others --exclude-standard").splitlines():
        if (ROOT / file).exists() and not file.startswith("tests/"):
            (top / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, top / file)
    return top / DJANGO


def left(source):
    """Return the names of the files beside the copy of the repository."""
    return {path.name for path in source.parent.parent.iterdir()} - {"a clone"}


def test_it_takes_uncommitted_files_but_not_those_that_git_ignores(source, tmp_path):
    (source / "codesolid_demo/extra.py").write_text("import codesolid_demo.config\n")
    for file in (".env", "data/postgres/file", "production/.env", "production/secrets/KEY", "../secrets/secrets.txt"):
        (source / file).parent.mkdir(parents=True, exist_ok=True)
        (source / file).write_text("POSTGRES_PASSWORD=mine\n")
    # Nobody has told this git a name.
    nobody = {"HOME": f"{tmp_path}/nowhere", "GIT_CONFIG_NOSYSTEM": "1", "EMAIL": "", "PATH": os.environ["PATH"]}
    printed = sh("umask 077; make new NAME=toy_shop2", cwd=source, env=nobody)
    made = tmp_path / "toy_shop2"
    assert left(source) == {"toy_shop2"} and f'cd "{made}"' in printed
    files = sh("git ls-files; git status --short --ignored", cwd=made).splitlines()
    assert {"src/extra.py", "src/toy_shop2/settings.py", ".gitignore", "recipes/page.md", "production/Makefile"} <= set(files)
    assert [file for file in files if file.startswith("!!")] == ["!! .env", "!! secrets/"]
    assert (made / "src/extra.py").read_text() == "import toy_shop2.config\n"
    assert "src/toy_shop2/settings.py" in (made / "recipes/page.md").read_text()
    assert "POSTGRES_PASSWORD=mine" not in (made / "secrets/secrets.txt").read_text() + (made / ".env").read_text()
    assert not {"new.sh", "new", "codesolid_demo"} & {path.name for path in made.iterdir()}
    assert "new" not in sh("make help", cwd=made).split() and (made / "start.sh").stat().st_mode & 0o100
    keys = [
        re.search("django-insecure-.*(?=')", (folder / "settings.py").read_text())[0]
        for folder in (source / "codesolid_demo/codesolid_demo", made / "src/toy_shop2")
    ]
    assert keys[0] != keys[1] and re.fullmatch("django-insecure-[a-z0-9]{50}", keys[1])
    ports = [line.partition("=")[2] for line in (made / ".env").read_text().splitlines() if "=" in line]
    assert len(set(ports)) == 2 and f"localhost:{ports[0]}/admin" in (made / "README.md").read_text()


def test_it_leaves_out_what_git_ignores_in_this_clone_or_for_this_user_and_takes_a_relative_folder(source, tmp_path):
    (tmp_path / ".config/git").mkdir(parents=True)
    (tmp_path / ".config/git/ignore").write_text(".env.local\n")
    sh("git init -q && echo notes.private >> .git/info/exclude", cwd=source.parent)
    for file in ("notes.private", ".env.local", "taken.txt"):
        (source / file).touch()
    # With such a CDPATH, `cd` prints where it went.
    sh("sh new.sh toy ../../toy", cwd=source, env={"HOME": f"{tmp_path}", "PATH": os.environ["PATH"], "CDPATH": f"{source}"})
    names = {path.name for path in (tmp_path / "toy").iterdir()}
    assert "taken.txt" in names and not {"notes.private", ".env.local"} & names
    sh("sh 'a clone/03-docker-compose-django/new.sh' box box", cwd=tmp_path, env={**os.environ, "CDPATH": f"{tmp_path}"})
    assert (tmp_path / "box/src/box/settings.py").exists() and not list(tmp_path.glob("*.new"))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "needs a name"),
        ("1shop", "begin with a letter"),
        ("My-Shop", "begin with a letter"),
        ("my-shop", "only a-z, 0-9 and _"),
        ("my shop", "only a-z, 0-9 and _"),
        ("shop_", "end in _"),
        ("pg_shop", "PostgreSQL"),
        ("public", "PostgreSQL"),
        ("backend", "service in the Compose files"),
        ("static", "folder in the project"),
        ("daphne", "module in the project"),
        ("people", "module in the project"),
        ("django", "package in the project"),
        ("calendar", "of Python itself"),
        ("class", "of Python itself"),
    ],
)
def test_it_refuses_a_name_that_cannot_be_and_says_why(source, name, reason):
    printed = sh(f"sh new.sh '{name}'", cwd=source, ok=False)
    assert printed.startswith("error: ") and reason in printed and len(printed.splitlines()) == 1
    assert left(source) == set()


def test_it_refuses_a_folder_that_exists_or_that_is_in_the_repository(source):
    (source.parent.parent / "shop").mkdir()
    assert "shop exists" in sh("make new NAME=shop", cwd=source, ok=False)
    assert list((source.parent.parent / "shop").iterdir()) == []
    assert "is inside this repository" in sh("sh new.sh store ./store", cwd=source, ok=False)
    assert not (source / "store").exists() and not (source / "store.new").exists()
    assert "No such file" in sh("sh new.sh store ../../no/store", cwd=source, ok=False)
    # WSL sets NAME to the name of the computer.
    assert "needs a name" in sh("NAME=laptop make new", cwd=source, ok=False)
    assert left(source) == {"shop"}


def test_an_error_and_ctrl_c_leave_nothing(source, tmp_path):
    git = tmp_path / "bin/git"
    git.parent.mkdir()
    real = shutil.which("git")
    for end in ("exit 1", "touch '$0.waits'; exec sleep 60".replace("'", '"')):
        git.write_text(f'#!/bin/sh\ncase "$*" in *commit*) {end} ;; esac\nexec {real} "$@"\n')
        git.chmod(0o755)
        environment = {**os.environ, "PATH": f"{git.parent}:{os.environ['PATH']}"}
        process = subprocess.Popen(["sh", "new.sh", "shop"], cwd=source, env=environment, start_new_session=True)
        if "sleep" in end:
            until(git.with_name("git.waits").exists, 30)
            assert "shop.new" in left(source)
            os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == (130 if "sleep" in end else 1)
        assert left(source) == {"bin"}


def test_a_change_that_a_page_shows_must_fit_exactly_once(tmp_path):
    file = tmp_path / "file"
    file.write_text("a\nb\n\na\nc\n")
    change(file, " b\n\n+new\n a\n@@\n-c\n+d\n")
    assert file.read_text() == "a\nb\n\nnew\na\nd\n"
    for diff in (" a\n+twice\n", " b\n a\n", "+nowhere\n", "b\n+no diff\n", " d\n@@\n b\n"):
        with pytest.raises(AssertionError):
            change(file, diff)
    assert file.read_text() == "a\nb\n\nnew\na\nd\n"
