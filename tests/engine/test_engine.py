"""Test the private engine (tests/engine) and the base images of the examples, official or stand-ins."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from containers import exit_code
from private_engine import ALPINE, CADDY, ENGINE, POSTGRES, PRIVATE_ENGINE, SLIM, bare, kill_engine, private, traces
from projects import copy
from shell import ROOT, free_port, sh, until

from engine import packages, stand_ins

# Those with a Makefile that starts the private engine.
FOLDERS = [".", "01-docker-flask", "02-docker-flask-alpine", "03-docker-compose-django"]
PYTHON_PATH = "/usr/local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


# The images. These tests pass with the official ones and with the stand-ins.


def image(name):
    """Return an image's configuration, as `docker image inspect` shows it."""
    sh(f"docker image inspect {name} >/dev/null || docker pull {name}")
    config = json.loads(sh(f"docker image inspect {name}"))[0]["Config"]
    return {**config, "Env": dict(pair.split("=", 1) for pair in config["Env"])}


def inside(name, command):
    """Run a shell command as root in a new container of the image, and return its output."""
    return sh(f"docker run --rm -i {name} sh", input=command, stdin=None)


@pytest.mark.parametrize("name", [SLIM, ALPINE])
def test_python_images_are_configured_like_the_official_ones(name):
    config = image(name)
    assert config["Env"].keys() == {"PATH", "PYTHON_VERSION", "PYTHON_SHA256"}
    assert config["Env"]["PATH"] == PYTHON_PATH
    assert config["Cmd"] == ["python3"]
    assert not any(config.get(key) for key in ("Entrypoint", "User", "StopSignal", "ExposedPorts"))
    assert (config.get("WorkingDir") or "/") == "/"
    assert config["Env"]["PYTHON_VERSION"].startswith("3.14")
    assert inside(name, "python3 --version").startswith(f"Python {config['Env']['PYTHON_VERSION']}")


@pytest.mark.parametrize("name", [SLIM, ALPINE])
def test_python_images_hold_python_and_pip_in_usr_local_and_no_more(name):
    programs = " ".join(f"/usr/local/bin/{program}" for program in ("python", "python3", "pip", "pip3"))
    assert inside(name, f"ls {programs}").split() == sorted(programs.split())
    assert [line.split()[0] for line in inside(name, "pip list --format=freeze").replace("==", " ").splitlines()] == ["pip"]
    paths = inside(name, "python -c 'import sys, sysconfig; print(sys.prefix, sysconfig.get_path(\"purelib\"))'")
    assert paths == "/usr/local /usr/local/lib/python3.14/site-packages"
    assert inside(name, "find / -xdev -name '*.pyc' -o -xdev -name EXTERNALLY-MANAGED") == ""
    modules = "ssl, sqlite3, zlib, bz2, lzma, ctypes, hashlib, venv, ensurepip"
    # The stand-in for Alpine lacks these.
    modules += ", compression.zstd, curses, dbm.gnu, dbm.ndbm, readline" if name == SLIM else ""
    assert (
        inside(name, f"python -c 'import {modules}; import zoneinfo; print(zoneinfo.ZoneInfo(\"Europe/Berlin\"))'")
        == "Europe/Berlin"
    )


def test_slim_has_what_the_official_one_has_and_not_what_it_lacks():
    present = "bash dash useradd apt-get grep sed tar gzip openssl"
    absent = "curl wget gcc make ps nc ip less git gpg tini psql"
    found = inside(SLIM, f"for p in {present} {absent}; do command -v $p >/dev/null && echo $p; done; true")
    assert found.split() == present.split()
    assert inside(SLIM, "ls /var/lib/apt/lists; ls /usr/share/doc/netbase /etc/ssl/certs/ca-certificates.crt | head -1")
    # Without this setting, an image that uses apt is 150 MB larger than with the official base image.
    assert inside(SLIM, "apt-config dump Dir::Cache::pkgcache") == 'Dir::Cache::pkgcache "";'


def test_alpine_is_musl_and_busybox():
    assert "musl libc" in inside(ALPINE, "/lib/ld-musl-*.so.1 2>&1; true")
    absent = "bash curl gcc useradd"
    found = inside(ALPINE, f"for p in sh wget adduser addgroup {absent}; do command -v $p >/dev/null && echo $p; done; true")
    assert found.split() == ["sh", "wget", "adduser", "addgroup"]
    assert "BusyBox" in inside(ALPINE, "busybox | head -1")
    assert "ID=alpine" in inside(ALPINE, "cat /etc/os-release")
    assert "musllinux" in inside(ALPINE, "pip debug 2>/dev/null")


def test_postgres_is_configured_like_the_official_one():
    config = image(POSTGRES)
    assert config["Env"]["LANG"] == "en_US.utf8" and config["Env"]["PG_MAJOR"] == "18"
    assert config["Env"]["PATH"].endswith("/usr/lib/postgresql/18/bin")
    assert config["Env"]["PGDATA"] == "/var/lib/postgresql/18/docker" and list(config["Volumes"]) == ["/var/lib/postgresql"]
    assert (config["Entrypoint"], config["Cmd"]) == (["docker-entrypoint.sh"], ["postgres"])
    assert list(config["ExposedPorts"]) == ["5432/tcp"] and config["StopSignal"] == "SIGINT" and not config.get("User")
    assert inside(POSTGRES, "id postgres; command -v gosu").startswith("uid=999(postgres) gid=999(postgres)")
    assert inside(POSTGRES, "command -v curl wget; true") == ""


def test_postgres_takes_passwords_from_files_and_refuses_both(name, tmp_path):
    (tmp_path / "password").write_text("p$w d'\r\n")
    mount = f"-v '{tmp_path}:/run/secrets:ro' -e POSTGRES_PASSWORD_FILE=/run/secrets/password"
    sh(f"docker run -d --name {name} {mount} {POSTGRES}")
    ask = f'docker exec -e PGPASSWORD="p\\$w d\'" {name} sh -c \'psql -h $HOSTNAME -U postgres -Atc "select 42"\''
    sh(f"until docker exec {name} pg_isready -q -h 127.0.0.1; do sleep 0.1; done")
    assert sh(ask) == "42"
    assert "password authentication failed" in sh(ask.replace("p\\$w", "wrong"), ok=False)
    assert exit_code(name) == "0"
    sh(f"docker start {name}")
    sh(f"until docker exec {name} pg_isready -q -h 127.0.0.1; do sleep 0.1; done")
    assert sh(ask) == "42"  # the data was kept
    sh(f"docker run --rm {mount} -e POSTGRES_PASSWORD=x {POSTGRES}", ok=False)
    sh(f"docker run --rm {POSTGRES}", ok=False)  # no password at all


def test_postgres_refuses_a_mount_in_the_place_of_older_images():
    said = sh(f"docker run --rm -e POSTGRES_PASSWORD=x -v /var/lib/postgresql/data {POSTGRES}", ok=False)
    assert "/var/lib/postgresql/data" in said


def test_hello_world_says_hello():
    assert "Hello from Docker!" in sh("docker run --rm hello-world")


@private
def test_stand_ins_say_what_they_are():
    for name in (SLIM, ALPINE, POSTGRES, "hello-world"):
        assert sh(f"docker image inspect -f '{{{{index .Config.Labels \"docker-examples.stand-in\"}}}}' {name}")


def test_an_example_needs_only_the_images_that_its_files_use():
    folders = {"01-docker-flask": [SLIM], "03-docker-compose-django": [SLIM, POSTGRES]}
    folders |= {"03-docker-compose-django/production": [SLIM, POSTGRES, CADDY]}
    for folder, images in folders.items():
        assert stand_ins.needed([ROOT / folder]) == images


@private
def test_a_package_that_debian_no_longer_has_is_named_with_the_file(tmp_path):
    (tmp_path / "Dockerfile").write_text(f"FROM {stand_ins.DEBIAN}\nRUN apt-get update && apt-get install -y python3.99\n")
    with pytest.raises(SystemExit, match=r"Debian forky has no package python3\.99, .*/Dockerfile$"):
        stand_ins.build("test-nothing", tmp_path)


def test_an_engine_package_that_debian_testing_lacks_is_taken_from_debian_13(capsys):
    first, *others = packages.ENGINE_PACKAGES
    lines = "".join(f" {name} | 1:2 | http://mirror/debian forky/main amd64 Packages\n" for name in others)
    chosen = dict(packages.choose(f"{lines} {first} | 1 | http://mirror/debian trixie/main amd64 Packages\n"))
    assert chosen.pop(first) == "trixie" and set(chosen.values()) == {"forky"}
    assert f"Debian forky has no {first} now: taking the one of trixie" in capsys.readouterr().err


# The engine


@private
@pytest.mark.slow  # not beside other tests: an engine that starts empties Docker's firewall chains for a moment
def test_two_starts_give_one_engine_which_starts_again_after_a_kill_and_clean_leaves_nothing(tmp_path, name, port):
    """The clone that starts the engine is removed. The cache is a copy of the one of the engine that runs the tests."""
    sh(f"docker run -d --init --name {name} -p 127.0.0.1:{port}:8080 {SLIM} sleep 600")
    address = sh(f"docker container inspect -f '{{{{.NetworkSettings.IPAddress}}}}' {name}")
    rules_of_another = {line for line in traces() if f" {address}/32 " in line}
    environment, folder = bare(tmp_path), tmp_path / "no images"
    folder.mkdir()
    (folder / "Dockerfile").touch()
    clone, mine = tmp_path / "a clone", tmp_path / "a cache/docker-examples"
    shutil.copytree(ROOT / "tests/engine", clone / "engine")
    original = Path(os.environ["DOCKER_CONFIG"], "cli-plugins").resolve().parents[4]
    shutil.copytree(original / "data/network", mine / "data/network")
    for file in original.glob("pool*"):
        shutil.copy(file, mine)
    start = [*ENGINE, "start", str(folder)]
    try:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        theirs = bare(tmp_path, **dict.fromkeys(("PYTHONPATH", "TMPDIR", "XDG_RUNTIME_DIR"), str(clone)))
        both = [subprocess.Popen(start, cwd=clone, env=theirs, **pipes) for _ in range(2)]
        said = [process.communicate(timeout=120) for process in both]
        assert said[0][0] == said[1][0] and [process.returncode for process in both] == [0, 0]
        # The second call finds the engine running.
        first, second = sorted((stderr for _, stderr in said), reverse=True)
        assert first.startswith("No Docker Engine answers: starting a private one") and second == ""
        shutil.rmtree(clone)
        run = Path(said[0][0].strip())
        assert len(str(run / "docker.sock")) < 107
        docker = f"DOCKER_HOST=unix://{run}/docker.sock DOCKER_CONFIG={run}/config {run}/bin/docker"
        sh(f"docker save {SLIM} | {docker} load")
        assert sh(f"{docker} network ls --format '{{{{.Name}}}}'", env=environment).split() == ["bridge", "host", "none"]
        network = sh(f"{docker} network create other", env=environment)
        pool = (mine / "pool").read_text().split("0.0/16")[0]
        subnets = "{{range .IPAM.Config}}{{.Subnet}} {{end}}"
        assert sh(f"{docker} network inspect -f '{subnets}' bridge other", env=environment).count(pool) == 2
        marks = [run.name.removeprefix("docker-examples-"), f" {pool}", f"br-{network[:12]}"]
        assert all(any(mark in line for line in traces()) for mark in marks)  # check that the search finds them
        published = f"--network other -p 127.0.0.1:{free_port()}:8080"
        sh(f"{docker} run -d --init --name kept --restart always {published} {SLIM} sleep 600", env=environment)
        kill_engine(run)
        (run / "docker.pid").write_text("1")  # as if another program now had the dead engine's pid
        assert subprocess.run(start, env=environment, stdout=subprocess.PIPE, text=True).stdout.strip() == str(run)
        assert sh(f"{docker} container inspect -f '{{{{.State.Status}}}}' kept", env=environment) == "running"
        # The engine that runs the tests was not disturbed.
        assert sh(f"docker run --rm {SLIM} echo fine") == "fine"
        assert sh(f"docker exec {name} echo fine") == "fine"  # runc keeps the state of a running container in /run, too
        assert rules_of_another and rules_of_another <= traces()
        give_back_after_a_killed_start(start, environment, run, rules_of_another)
        assert [line for line in traces() if any(mark in line for mark in marks)] == []
        assert (tmp_path / "a cache/docker-examples/data").is_dir()
    finally:
        subprocess.run([*ENGINE, "clean"], env=environment, check=True)
    assert [line for line in traces() if any(mark in line for mark in marks)] == []
    assert not list((tmp_path / "a cache").iterdir())


def give_back_after_a_killed_start(start, environment, run, rules_of_another):
    """Kill a start while the engine empties Docker's chains. The stop gives back the rules of the engine that runs the tests."""
    subprocess.run([*ENGINE, "stop"], env=environment, check=True)
    with subprocess.Popen(start, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as killed:
        until((run / "docker.pid").exists, 60, pause=0.001)
        killed.kill()
    docker = f"DOCKER_HOST=unix://{run}/docker.sock {run}/bin/docker"
    until(lambda: "Server:" in sh(f"{docker} version", env=environment, ok=None), 60)
    assert not rules_of_another <= traces()
    subprocess.run([*ENGINE, "stop"], env=environment, check=True)
    assert rules_of_another <= traces() and Path("/proc/sys/net/ipv4/ip_forward").read_text() == "1\n"
    assert sh(f"docker run --rm {SLIM} echo fine") == "fine"


@private
def test_make_engine_gives_a_shell_the_engine():
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DOCKER_")}
    said = sh('eval "$(make -s engine)" && docker version --format "{{.Server.Os}}" && docker compose version', env=environment)
    assert "linux" in said and "Docker Compose version" in said


@pytest.mark.parametrize("folder", FOLDERS)
def test_an_ordinary_engine_is_used_as_it_is(folder, tmp_path):
    ordinary = dict(os.environ)
    if PRIVATE_ENGINE:
        # Under another name, it is an ordinary engine for make.
        (tmp_path / "docker.sock").symlink_to(ordinary["DOCKER_HOST"].removeprefix("unix://"))
        ordinary["DOCKER_HOST"] = f"unix://{tmp_path}/docker.sock"
    assert sh("make -s engine", cwd=ROOT / folder, env=ordinary) == "A Docker Engine already answers. There is nothing to do."


@pytest.mark.parametrize("folder", FOLDERS)
def test_help_starts_no_engine(folder, tmp_path):
    for command in ("make", "make help", "make -n up run"):
        sh(command, cwd=ROOT / folder, env=bare(tmp_path), ok=None)
    assert not (tmp_path / "a cache").exists()


def test_an_engine_that_was_named_and_does_not_answer_is_an_error(tmp_path):
    said = sh("make run", cwd=ROOT / "01-docker-flask", env=bare(tmp_path, DOCKER_HOST="unix:///nowhere/docker.sock"), ok=False)
    assert "DOCKER_HOST=unix:///nowhere/docker.sock does not answer" in said and "unset DOCKER_HOST" in said
    assert not (tmp_path / "a cache").exists() or not list((tmp_path / "a cache/docker-examples").glob("engine*"))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to switch to another user")
def test_without_root_the_way_to_docker_is_named(tmp_path):
    place = Path("/tmp/docker-examples-test-not-root")
    shutil.copytree(ROOT / "tests/engine", place / "engine")
    for program in ("apt-get", "docker"):
        (place / program).mkdir()
        shutil.copy(shutil.which(program), place / program)
    command = "/usr/bin/setpriv --reuid 65534 --regid 65534 --clear-groups /usr/bin/python3 -B -m engine start"

    def said(*programs):
        path = ":".join(str(place / program) for program in programs)
        return sh(command, cwd="/tmp", env=bare(place / "cache", PYTHONPATH=str(place)) | {"PATH": path}, ok=False)

    try:
        without, with_docker = said("apt-get"), said("apt-get", "docker")
    finally:
        shutil.rmtree(place)
    assert "the private one needs root (you are uid 65534)" in without and "https://docs.docker.com/get-docker/" in without
    # Docker is there, but this user may not use it, or it does not run.
    assert "/var/run/docker.sock" in with_docker and "private" not in with_docker and len(with_docker.splitlines()) == 1


def test_on_another_system_the_way_to_docker_is_named(tmp_path):
    # Without apt-get on the PATH, this looks like another system.
    said = sh(f"'{sys.executable}' -m engine start", env=bare(tmp_path, PATH=str(tmp_path)), ok=False)
    assert "the private one needs Debian 12 or 13" in said and "https://docs.docker.com/get-docker/" in said


def test_a_copied_out_folder_knows_nothing_of_the_private_engine(tmp_path):
    alone = copy("01-docker-flask", tmp_path)
    said = sh("make build", cwd=alone, env=bare(tmp_path, DOCKER_HOST="unix:///nowhere/docker.sock"), ok=False)
    assert "private" not in said and not (tmp_path / "a cache").exists()
