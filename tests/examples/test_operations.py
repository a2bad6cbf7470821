"""Tests of daily work with the Django example: secrets, watch, and a new major version of PostgreSQL."""

import os
import signal
import stat

from pages import page
from projects import DJANGO
from recipes import change, steps
from shell import ROOT, sh, until


def test_git_ignores_the_settings_secrets_and_backups_of_production():
    for path in (".env", "secrets/POSTGRES_PASSWORD", "backups/one/database.dump"):
        assert sh(f"git check-ignore 03-docker-compose-django/production/{path}")


def test_make_secrets_creates_random_secrets_once_that_only_the_owner_can_read(prod):
    folder = prod.folder / "secrets"
    for path in folder.iterdir():
        path.unlink()
    (folder / "POSTGRES_PASSWORD").write_text("mine")
    # As after a copy of the folder.
    folder.chmod(0o755)
    prod.sh("umask 022; make secrets")
    assert (folder / "POSTGRES_PASSWORD").read_text() == "mine"
    made = [(folder / key).read_text() for key in ("DJANGO_SECRET_KEY", "DJANGO_SUPERUSER_PASSWORD")]
    assert all(len(word) == 50 and word.isalnum() for word in made) and made[0] != made[1]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (prod.folder / ".env").unlink()
    prod.sh("make secrets")
    assert stat.S_IMODE((prod.folder / ".env").stat().st_mode) == 0o600


def test_make_watch_shows_edits_and_renamed_files_without_a_build_and_a_syntax_error_in_settings(project):
    demo = project.folder / "codesolid_demo"
    urls, settings = demo / "codesolid_demo/urls.py", demo / "codesolid_demo/settings.py"
    original, log_in_page = settings.read_text(), f"{project.url}/admin/login/"

    with project.begin("make watch") as make:
        until(lambda: "server" in make.stdout.readline(), 120, pause=0)
        (demo / "first.py").write_text("HEADER = 'Edited'\n")
        urls.write_text(f"{urls.read_text()}\nimport first\nadmin.site.site_header = first.HEADER\n")
        until(lambda: "Edited" in page(log_in_page), 30)
        (demo / "first.py").rename(demo / "second.py")
        urls.write_text(urls.read_text().replace("first", "second").replace("second.HEADER", "second.HEADER + ' again'"))
        until(lambda: "Edited again" in page(log_in_page), 30)
        assert not list(demo.rglob("__pycache__"))
        container = sh(f"docker ps -q --filter name={project.name}-frontend-run")
        until(lambda: sh(f"docker container inspect -f '{{{{.State.Health.Status}}}}' {container}") == "healthy", 30)
        # As without Docker, this error ends runserver. Its message is in the terminal.
        settings.write_text(f"{original}\n)\n")
        assert "SyntaxError: unmatched ')'" in make.communicate(timeout=30)[0]
    settings.write_text(original)
    project.sh("make up")
    assert "Edited again" in page(log_in_page)
    # As git creates them with umask 077.
    project.sh("chmod -R go= codesolid_demo")
    with project.begin("make watch") as make:
        until(lambda: "runserver 0.0.0.0" in make.stdout.readline(), 60, pause=0)
        until(lambda: "Edited again" in page(log_in_page), 30)
        os.killpg(make.pid, signal.SIGINT)
        make.communicate(timeout=30)
    assert project.sh("docker compose ps --services") == "backend"


# A new major version of PostgreSQL


def test_postgresql_refuses_data_of_another_version_and_the_steps_of_the_readme_move_them_to_a_new_folder(project):
    section = steps(ROOT / DJANGO / "README.md", "A new major version of PostgreSQL", skipped=True)
    save, aside, new, load, back = (text for _, text, _ in section)
    project.sh("docker compose up -d --wait backend")
    project.sql("create table kept as select 42 as answer")
    project.sh(save)
    # There is no image of another version here, so change the version that the data folder names.
    project.sh("docker compose stop && docker compose run --rm backend sh -c 'echo 17 > $PGDATA/PG_VERSION'")
    project.sh("docker compose up -d --wait backend", ok=False)
    said = project.sh("docker compose logs backend")
    assert "database files are incompatible with server" in said and "initialized by PostgreSQL version 17" in said
    project.sh(aside)
    compose = project.folder / "docker-compose.yaml"
    before = compose.read_text()
    change(compose, new)
    assert "image: postgres:19-trixie" in project.sh("docker compose config")
    compose.write_text(before)
    project.sh(load)
    assert project.sql("select answer from kept") == "42"
    project.sql("create table newer as select 1 as one")
    project.sh(back)
    project.sh("docker compose run --rm backend sh -c 'echo 18 > $PGDATA/PG_VERSION'")
    project.sh("docker compose up -d --wait backend")
    assert project.sql("select string_agg(tablename, ' ') from pg_tables where tablename ~ 'kept|newer'") == "kept"
