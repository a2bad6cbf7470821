"""Tests of daily work with the Django example: backup, restore, check, watch, and the upgrade of PostgreSQL."""

import os
import signal
import stat

import requests
from pages import log_in, page
from projects import ADMIN_CANARY, DJANGO
from recipes import commands
from shell import ROOT, sh, until


def test_make_restore_brings_back_what_make_backup_saved_and_failures_lose_nothing(prod):
    prod.sh("make up")
    prod.sql("create table kept (word text); insert into kept values ('still here'); alter table kept owner to appname")
    prod.sh("docker compose exec -T frontend sh -c 'echo first > /media/kept.txt; mkdir /media/.new'")
    folder = prod.folder / prod.sh("make backup").split()[-1]
    assert sorted(path.name for path in folder.iterdir()) == ["database.dump", "media.tar"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sh(f"tar -tf '{folder}/media.tar'").split() == ["./", "./kept.txt"]
    prod.sql("drop table kept; create table newer (word text); update auth_user set username = 'somebody'")
    prod.sh("docker compose exec -T frontend sh -c 'echo changed > /media/kept.txt; echo new > /media/new.txt'")
    prod.sh(f"make restore BACKUP=backups/{folder.name}")
    assert prod.sql("select word from kept") == "still here"
    assert prod.sql("select count(*) from pg_tables where tablename = 'newer'") == "0"
    assert prod.sql("select tableowner from pg_tables where tablename = 'kept'") == "appname"
    prod.sh("docker compose up -d --wait")
    assert "Site administration" in log_in(prod.url, ADMIN_CANARY)
    assert requests.get(f"{prod.url}/media/kept.txt", timeout=5).text == "first\n"
    assert requests.get(f"{prod.url}/media/new.txt", timeout=5).status_code == 404

    half = prod.folder / "half"
    half.mkdir()
    (half / "database.dump").write_bytes(b"PGDMP and then nothing")
    sh("tar -cf media.tar -T /dev/null", cwd=half)
    prod.sh("make restore BACKUP=half", ok=False)
    assert prod.sql("select word from kept") == "still here"
    prod.sh("docker compose up -d --wait")
    assert requests.get(f"{prod.url}/media/kept.txt", timeout=5).text == "first\n"
    assert "nowhere is not a backup" in prod.sh("make restore BACKUP=nowhere", ok=False)

    prod.sh("docker compose stop frontend")
    prod.sh("make backup", ok=False)
    assert list((prod.folder / "backups").iterdir()) == [folder]

    prod.sh("echo yes | make clean", stdin=None)
    prod.sh("make up")
    prod.sh(f"make restore BACKUP=backups/{folder.name}")
    assert prod.sql("select word from kept") == "still here"
    named = [mount["Name"] for mount in prod.container("backend")["Mounts"] if mount["Type"] == "volume"]
    # There must be no anonymous volume.
    assert named == [f"{prod.name}_database"]


def test_git_ignores_the_settings_secrets_and_backups_of_production():
    for path in (".env", "secrets/POSTGRES_PASSWORD", "backups/one/database.dump"):
        assert sh(f"git check-ignore 03-docker-compose-django/production/{path}")


def test_make_secrets_creates_random_secrets_once_that_only_the_owner_can_read(prod):
    folder = prod.folder / "secrets"
    for path in folder.iterdir():
        path.unlink()
    (folder / "POSTGRES_PASSWORD").write_text("mine")
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
    with project.begin("make watch") as make:
        until(lambda: "runserver 0.0.0.0" in make.stdout.readline(), 60, pause=0)
        until(lambda: "Edited again" in page(log_in_page), 30)
        os.killpg(make.pid, signal.SIGINT)
        make.communicate(timeout=30)
    assert project.sh("docker compose ps --services") == "backend"


# A new major version of PostgreSQL


def test_postgresql_refuses_data_of_another_version_and_the_steps_of_the_readme_move_them_to_a_new_folder(project):
    save, clean, load = commands(ROOT / DJANGO / "README.md", "A new major version of PostgreSQL")
    project.sh("docker compose up -d --wait backend")
    project.sql("create table kept as select 42 as answer")
    project.sh(save)
    # There is no image of another version here, so change the version that the data folder names.
    project.sh("docker compose stop && docker compose run --rm backend sh -c 'echo 17 > $PGDATA/PG_VERSION'")
    project.sh("docker compose up -d --wait backend", ok=False)
    said = project.sh("docker compose logs backend")
    assert "database files are incompatible with server" in said and "initialized by PostgreSQL version 17" in said
    project.sh(clean)
    project.sh(load)
    assert project.sql("select answer from kept") == "42"
