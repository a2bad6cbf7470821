"""The experiments under "Break it" in the READMEs of 01 and 03: what breaks, and what works again. `make test-faults` runs it."""

import re
import subprocess

import pytest
from pages import PAGE, wait_for
from projects import DJANGO, FLASK, copy
from recipes import commands, steps, write
from shell import ROOT, sh, until

pytestmark = pytest.mark.slow


@pytest.fixture
def experiment(name, port, tmp_path):
    """Return a function that changes a copy of 01 as a section says, and returns its commands, the copy, and a repair."""

    def begin(heading):
        mine = copy(FLASK[0], tmp_path)
        dockerfile = mine / "Dockerfile"
        before = dockerfile.read_text()
        # Without this, the cache may have the same edit from an earlier run.
        write(mine, "python", f"{(mine / 'flaskapp.py').read_text()}# {name}\n", ["flaskapp.py"])
        (language, change, names), (_, typed, _) = steps(ROOT / FLASK[0] / "README.md", f"Break it: {heading}")
        write(mine, language, change, names)
        own = typed.replace("8090", str(port)).replace("docker stop flask", f"docker stop {name}")
        lines = re.sub("^make .*", rf"\g<0> CONTAINER={name} IMAGE={name}", own, flags=re.MULTILINE).splitlines()
        return lines, mine, lambda: dockerfile.write_text(before)

    return begin


def start(command, mine, name):
    """Run the first command of a section, and wait until Flask has started."""
    sh(command, cwd=mine)
    until(lambda: "Running on" in sh(f"docker logs {name} 2>&1"), 20)


def test_without_flask_run_host_nobody_can_connect_from_outside(experiment, name, port):
    (run, logs, *rest), mine, repair = experiment("connect from outside")
    start(run, mine, name)
    assert "Running on" in sh(logs, cwd=mine)
    assert re.search("Connection reset by peer|Empty reply from server", sh("; ".join(rest), cwd=mine, ok=None))
    repair()
    sh(run, cwd=mine)
    assert wait_for(f"http://127.0.0.1:{port}", 20).text == PAGE


def stopped_with(command, mine, name):
    """Run a command that stops a container. Return the container's exit code. Wait until it is removed."""
    with subprocess.Popen(["docker", "wait", name], stdout=subprocess.PIPE, text=True) as waiting:
        sh(f"bash -c '{command}'", cwd=mine)
        code = waiting.communicate(timeout=20)[0].strip()
    until(lambda: not sh(f"docker ps -aq --filter name={name}"), 20)
    return code


def test_without_stopsignal_docker_kills_flask(experiment, name):
    (run, _, stop), mine, repair = experiment("a stop takes 10 seconds")
    start(run, mine, name)
    assert stopped_with(stop, mine, name) == "137"
    repair()
    start(run, mine, name)
    assert stopped_with(stop, mine, name) == "0"


def pip_was_cached(printed):
    """Return whether the last build in the output skipped pip."""
    step = re.findall(r"^(#\d+) \[.*pip install", printed, re.MULTILINE)[-1]
    return f"{step} CACHED" in printed.splitlines()


def test_pip_runs_again_if_the_code_is_copied_before_it(experiment):
    (build, *again), mine, repair = experiment("each edit runs pip again")
    sh(build, cwd=mine)
    assert not pip_was_cached(sh(" && ".join(again), cwd=mine))
    repair()
    sh(build, cwd=mine)
    assert pip_was_cached(sh(" && ".join(again), cwd=mine))


def test_pages_fail_without_the_database_and_the_data_stays_until_its_folder_is_removed(project):
    stopped, killed, removed = commands(ROOT / DJANGO / "README.md", "Break it")
    printed = project.sh(stopped.replace("http://localhost/", f"http://localhost:{project.port}/"))
    assert re.findall("^[0-9]{3}$", printed, re.MULTILINE) == ["500", "302"]
    assert re.search(r"^ +0\n\(1 row\)$", project.sh(killed), re.MULTILINE)
    assert 'relation "note" does not exist' in project.sh(removed, ok=False)
