"""production.Dockerfile and `make production` of 01-docker-flask and 02-docker-flask-alpine."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from conftest import ROOT, answers, copy, exit_code, kill, sh, until, workers
from test_flask import FOLDERS, PAGE

pytestmark = pytest.mark.parametrize("folder", FOLDERS)

# What the tests add to a copy of flaskapp.py.
SLOW_ROUTE = '''

@app.route("/slow")
def slow():
    """Take five seconds, as a long request does."""
    import time

    print("begun", flush=True)
    time.sleep(5)
    return "finished"

'''


@pytest.fixture
def url(folder, name, port, tmp_path):
    """Yield the address of a copy of the example that runs in production, with a slow route too."""
    mine = copy(folder, tmp_path)
    with (mine / "flaskapp.py").open("a") as source:
        source.write(SLOW_ROUTE)
    sh(f"make production CONTAINER={name} PORT={port} IMAGE={name}", cwd=mine)
    until(lambda: answers(f"http://127.0.0.1:{port}"), 20)
    return f"http://127.0.0.1:{port}"


def test_make_production_serves_the_same_page_by_granian(url, name):
    answer = requests.get(url, timeout=5)
    assert answer.text == PAGE and "Werkzeug" not in answer.headers.get("Server", "")
    assert "granian" in sh(f"docker top {name}")
    until(lambda: sh(f"docker container inspect -f '{{{{.State.Health.Status}}}}' {name}") == "healthy", 20)


def test_a_plain_docker_build_still_makes_the_tutorials_image(folder, name):
    sh(f"docker build -t {name} .", cwd=ROOT / folder)
    config = json.loads(sh(f"docker image inspect {name}"))[0]["Config"]
    assert (config["Cmd"], config["StopSignal"]) == (["flask", "run"], "SIGINT")
    assert "No module named granian" in sh(f"docker run --rm {name} python -m granian", ok=False)


def test_a_proxy_in_the_environment_does_not_make_it_unhealthy(folder, name):
    sh(f"docker build -q -t {name} -f production.Dockerfile .", cwd=ROOT / folder)
    sh(f"docker run -d --init --name {name} -e http_proxy=http://192.0.2.1:3128 -e HTTP_PROXY=http://192.0.2.1:3128 {name}")
    until(lambda: sh(f"docker container inspect -f '{{{{.State.Health.Status}}}}' {name}") == "healthy", 20)


def test_its_image_has_a_name_of_its_own(folder):
    tag = "alpine" if "alpine" in folder else "latest"
    assert f"-t flask-example:{tag}-production -f production.Dockerfile" in sh("make -n production", cwd=ROOT / folder)


def test_runs_without_root_without_rights_and_without_a_place_to_write(url, name):
    status = sh(f"docker exec {name} cat /proc/1/status")
    found = dict(line.split()[:2] for line in status.splitlines() if len(line.split()) > 1)
    assert found["Uid:"] != "0" and found["NoNewPrivs:"] == "1" and found["Seccomp:"] == "2"
    assert int(found["CapEff:"], 16) == int(found["CapBnd:"], 16) == 0
    host = json.loads(sh(f"docker container inspect {name}"))[0]["HostConfig"]
    assert host["Memory"] > 0 and host["PidsLimit"] > 0 and host["CpuShares"] > 0
    assert "Read-only file system" in sh(f"docker exec {name} touch /home/myuser/file", ok=False)


# alone: while others keep all cores busy, Docker takes the container's network away before the last answer has left it
@pytest.mark.alone
def test_docker_stop_lets_a_request_finish_and_ends_with_exit_code_0(url, name):
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(sh, f"docker wait {name}")
        slow = pool.submit(requests.get, f"{url}/slow", timeout=30)
        until(lambda: "begun" in sh(f"docker logs {name}"), 20)
        sh(f"docker stop {name}")
        assert (slow.result().status_code, slow.result().text) == (200, "finished")
        assert waiting.result() == "0"


@pytest.mark.alone
def test_a_worker_that_dies_is_replaced_and_the_server_goes_on(url, name):
    before = workers(name)
    assert len(before) == 2
    kill(before[0])
    until(lambda: len(workers(name)) == 2 and before[0] not in workers(name), 10)
    assert len(workers(name)) == 2 and before[1] in workers(name)
    assert requests.get(url, timeout=5).text == PAGE


def test_the_number_of_workers_is_set_by_the_environment(folder, name):
    sh(f"docker build -t {name} -f production.Dockerfile .", cwd=ROOT / folder)
    sh(f"docker run -d --init --name {name} -e GRANIAN_WORKERS=1 {name}")
    until(lambda: "Started worker-1" in sh(f"docker logs {name}"), 20)
    assert "worker-2" not in sh(f"docker logs {name}")


def test_production_has_the_versions_of_the_dev_lock(folder):
    pins = re.compile(r"^([\w.-]+==\S+)", re.MULTILINE)
    dev = set(pins.findall((ROOT / folder / "requirements.txt").read_text()))
    prod = set(pins.findall((ROOT / folder / "requirements-production.txt").read_text()))
    assert dev < prod and {pin.split("==")[0] for pin in prod - dev} == {"granian"}


@pytest.mark.parametrize("moment", [0, 0.2, 0.5, 1, "imported"])
def test_a_stop_at_any_moment_of_its_start_needs_no_kill(moment, folder, name, tmp_path):
    mine = copy(folder, tmp_path)
    source = mine / "flaskapp.py"
    source.write_text(f"import time\n\nprint('begun', flush=True)\ntime.sleep(60)\n{source.read_text()}")
    sh(f"docker build -q -t {name} -f production.Dockerfile .", cwd=mine)
    sh(f"docker run -d --init --name {name} {name}")
    if moment == "imported":
        until(lambda: sh(f"docker logs {name}").count("begun") >= 2, 20)
    else:
        time.sleep(moment)
    assert exit_code(name) in ("0", "143")  # 143 is SIGTERM's own, 137 would be: killed after ten seconds
