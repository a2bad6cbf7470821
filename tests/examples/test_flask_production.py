"""Tests of production.Dockerfile and `make production` in 01-docker-flask and 02-docker-flask-alpine."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from containers import exit_code, workers
from pages import PAGE, answers
from projects import FLASK, copy
from shell import ROOT, kill, sh, until

both = pytest.mark.parametrize("folder", FLASK)
# The two folders differ in a few lines, which test_alpine.py checks. So what Alpine cannot change is tested in one folder.
once = pytest.mark.parametrize("folder", FLASK[:1])

# The fixture `url` adds this route to a copy of flaskapp.py.
SLOW_ROUTE = '''

@app.route("/slow")
def slow():
    """Take two seconds, as a long request does."""
    import time

    print("begun", flush=True)
    time.sleep(2)
    return "finished"

'''


@pytest.fixture
def url(folder, name, port, tmp_path):
    """Return the URL of a copy of the example with the slow route, started with `make production`."""
    mine = copy(folder, tmp_path)
    with (mine / "flaskapp.py").open("a") as source:
        source.write(SLOW_ROUTE)
    sh(f"make production CONTAINER={name} PORT={port} IMAGE={name}", cwd=mine)
    until(lambda: answers(f"http://127.0.0.1:{port}"), 20)
    return f"http://127.0.0.1:{port}"


@both
def test_make_production_serves_the_same_page_with_granian(url, name):
    answer = requests.get(url, timeout=5)
    assert answer.text == PAGE and "Werkzeug" not in answer.headers.get("Server", "")
    assert "granian" in sh(f"docker top {name}")
    until(lambda: sh(f"docker container inspect -f '{{{{.State.Health.Status}}}}' {name}") == "healthy", 60)


@once
def test_docker_build_without_options_builds_the_development_image(folder, name):
    sh(f"docker build -t {name} .", cwd=ROOT / folder)
    config = json.loads(sh(f"docker image inspect {name}"))[0]["Config"]
    assert (config["Cmd"], config["StopSignal"]) == (["flask", "run"], "SIGINT")
    assert "No module named granian" in sh(f"docker run --rm {name} python -m granian", ok=False)


@once
def test_the_health_check_ignores_the_proxy_environment_variables(folder, name):
    sh(f"docker build -q -t {name} -f production.Dockerfile .", cwd=ROOT / folder)
    sh(f"docker run -d --init --name {name} -e http_proxy=http://192.0.2.1:3128 -e HTTP_PROXY=http://192.0.2.1:3128 {name}")
    until(lambda: sh(f"docker container inspect -f '{{{{.State.Health.Status}}}}' {name}") == "healthy", 60)


@both
def test_the_production_image_has_its_own_name(folder):
    tag = "alpine" if "alpine" in folder else "latest"
    assert f"-t flask-example:{tag}-production -f production.Dockerfile" in sh("make -n production", cwd=ROOT / folder)


@both
def test_the_container_is_not_root_has_no_capabilities_and_cannot_write_files(url, name):
    status = sh(f"docker exec {name} cat /proc/1/status")
    found = dict(line.split()[:2] for line in status.splitlines() if len(line.split()) > 1)
    assert found["Uid:"] != "0" and found["NoNewPrivs:"] == "1" and found["Seccomp:"] == "2"
    assert int(found["CapEff:"], 16) == int(found["CapBnd:"], 16) == 0
    host = json.loads(sh(f"docker container inspect {name}"))[0]["HostConfig"]
    assert host["Memory"] > 0 and host["PidsLimit"] > 0 and host["CpuShares"] > 0
    assert "Read-only file system" in sh(f"docker exec {name} touch /home/myuser/file", ok=False)


# alone: On a busy machine, Docker can disconnect the container's network before the last response is sent.
@pytest.mark.alone
@both
def test_docker_stop_lets_a_request_finish_and_gives_exit_code_0(url, name):
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(sh, f"docker wait {name}")
        slow = pool.submit(requests.get, f"{url}/slow", timeout=30)
        until(lambda: "begun" in sh(f"docker logs {name}"), 20)
        sh(f"docker stop {name}")
        assert (slow.result().status_code, slow.result().text) == (200, "finished")
        assert waiting.result() == "0"


@pytest.mark.alone
@once
def test_granian_replaces_a_killed_worker_and_keeps_serving(url, name):
    # The page may have come from the first worker while the second one was still starting.
    until(lambda: all(f"Started worker-{number}" in sh(f"docker logs {name} 2>&1") for number in (1, 2)), 20)
    before = workers(name)
    assert len(before) == 2
    kill(before[0])
    until(lambda: len(workers(name)) == 2 and before[0] not in workers(name), 10)
    assert len(workers(name)) == 2 and before[1] in workers(name)
    assert requests.get(url, timeout=5).text == PAGE


@once
def test_granian_workers_sets_the_number_of_workers(folder, name):
    sh(f"docker build -t {name} -f production.Dockerfile .", cwd=ROOT / folder)
    sh(f"docker run -d --init --name {name} -e GRANIAN_WORKERS=1 {name}")
    until(lambda: "Started worker-1" in sh(f"docker logs {name}"), 20)
    assert "worker-2" not in sh(f"docker logs {name}")


@both
def test_production_has_the_packages_of_development_plus_granian(folder):
    pins = re.compile(r"^([\w.-]+==\S+)", re.MULTILINE)
    dev = set(pins.findall((ROOT / folder / "requirements.txt").read_text()))
    prod = set(pins.findall((ROOT / folder / "requirements-production.txt").read_text()))
    assert dev < prod and {pin.split("==")[0] for pin in prod - dev} == {"granian"}


@once
def test_docker_stop_works_without_sigkill_while_the_server_starts(folder, name, tmp_path):
    mine = copy(folder, tmp_path)
    source = mine / "flaskapp.py"
    source.write_text(f"import time\n\nprint('begun', flush=True)\ntime.sleep(60)\n{source.read_text()}")
    sh(f"docker build -q -t {name} -f production.Dockerfile .", cwd=mine)
    sh(f"docker create --init --name {name} {name}")
    codes = []
    for moment in (0, 0.2, 0.5, 1, "imported"):
        before = sh(f"docker logs {name}").count("begun")
        sh(f"docker start {name}")
        if moment == "imported":
            until(lambda: sh(f"docker logs {name}").count("begun") >= before + 2, 20)  # noqa: B023
        else:
            time.sleep(moment)
        codes.append(exit_code(name))
    # 143 means ended by SIGTERM. 137 would mean that Docker sent SIGKILL after ten seconds.
    assert set(codes) <= {"0", "143"}
