"""Tests of 01-docker-flask and 02-docker-flask-alpine: the steps of the tutorial and the targets of make."""

import os
import re
import signal
import socket
import subprocess

import pytest
import requests
from containers import exit_code
from pages import PAGE, answers, page, wait_for
from private_engine import CADDY
from projects import FLASK, copy
from recipes import steps, write
from shell import ROOT, at_a_terminal, close_files, free_port, sh, until

both = pytest.mark.parametrize("folder", FLASK)
# The two folders differ in a few lines, which test_alpine.py checks. So what Alpine cannot change is tested in one folder.
once = pytest.mark.parametrize("folder", FLASK[:1])


@pytest.fixture
def place(folder):
    """Return the folder's full path."""
    return ROOT / folder


@both
def test_the_two_commands_of_the_tutorial_serve_its_page(place, name, port):
    sh(f"docker build -t {name}:latest .", cwd=place)
    sh(f"docker run --name {name} --rm -d -p {port}:8080 {name}:latest", cwd=place)
    assert sh(f"curl -s --retry 20 --retry-all-errors --retry-delay 1 http://localhost:{port}") == PAGE


@both
def test_make_run_prints_the_address_of_the_page(place, name, port):
    printed = sh(f"make run CONTAINER={name} PORT={port} IMAGE={name}", cwd=place)
    assert printed.endswith(f"Open http://localhost:{port}")
    assert wait_for(f"http://127.0.0.1:{port}", 20).text == PAGE


@once
def test_make_run_fails_if_the_container_name_is_in_use_and_keeps_the_other_container(place, name, port):
    other = sh(f"docker run -d --name {name} python:3.14-slim-trixie python -c 'input()' < /dev/null")
    said = sh(f"make run CONTAINER={name} PORT={port} IMAGE={name}-image", cwd=place, ok=False)
    assert f'The container name "/{name}" is already in use' in said
    assert sh(f"docker container inspect -f '{{{{.Id}}}}' {name}") == other


@once
def test_make_run_ignores_the_environment_variable_name_that_wsl_sets(place):
    # WSL sets NAME to the name of the computer.
    said = sh("make -n run", cwd=place, env={**os.environ, "NAME": "DESKTOP-AB12"})
    assert "--name flask" in said and "DESKTOP" not in said


@both
def test_docker_stop_ends_the_container_with_exit_code_0(place, name):
    sh(f"docker build -t {name} .", cwd=place)
    sh(f"docker run -d --name {name} {name}")
    ask = "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080')"
    sh(f'until docker exec {name} python -c "{ask}"; do sleep 0.1; done')
    assert exit_code(name) == "0"


@both
def test_the_application_does_not_run_as_root_and_cannot_change_its_code(place, name):
    sh(f"docker build -t {name} .", cwd=place)
    assert sh(f"docker run --rm {name} id -un") == "myuser"
    assert "flaskapp.py" in sh(f"docker run --rm {name} ls /app")
    assert sh(f"docker run --rm {name} find /app -user myuser") == ""
    assert "Permission denied" in sh(f"docker run --rm {name} touch /app/flaskapp.py", ok=False)


@both
def test_an_edit_rebuilds_the_image_without_running_pip(place, folder, name, port, tmp_path):
    mine = copy(folder, tmp_path)
    sh(f"docker build -t {name} .", cwd=mine)
    source = mine / "flaskapp.py"
    code = source.read_text()
    # Twice, because BuildKit can lose a layer between two builds (moby/buildkit#6521), and then builds all again.
    for word in ("First", "Second"):
        source.write_text(code.replace("Awesome", f"{word} edit of {name}"))
        printed = sh(f"docker build --progress=plain -t {name} .", cwd=mine)
        pip = next(line.split()[0] for line in printed.splitlines() if "pip install" in line)
        if f"{pip} CACHED" in printed:
            break
    assert f"{pip} CACHED" in printed and "Collecting" not in printed, printed
    sh(f"make run CONTAINER={name} PORT={port} IMAGE={name}", cwd=mine)
    assert f"edit of {name}" in wait_for(f"http://127.0.0.1:{port}", 20).text


@once
def test_a_wrong_package_hash_stops_the_build(folder, name, tmp_path):
    mine = copy(folder, tmp_path)
    lock = mine / "requirements.txt"
    lines = [line for line in lock.read_text().splitlines() if "# via" not in line]
    flask = next(i for i, line in enumerate(lines) if line.startswith("flask=="))
    del lines[flask + 1 : flask + 3]
    lines[flask] = f"{lines[flask].split()[0]} --hash=sha256:{'0' * 64}"
    lock.write_text("\n".join(lines))
    assert "DO NOT MATCH THE HASHES" in sh(f"docker build --progress=plain -t {name} .", cwd=mine, ok=False)


@once
def test_a_copy_of_the_folder_works_without_the_rest_of_the_repository(folder, name, port, tmp_path):
    alone = copy(folder, tmp_path / "a project of mine")
    sh(f"make run CONTAINER={name} PORT={port} IMAGE={name}", cwd=alone)
    assert wait_for(f"http://127.0.0.1:{port}", 20).text == PAGE


@once
def test_env_files_and_notes_stay_out_of_the_image(folder, name, tmp_path):
    mine = copy(folder, tmp_path)
    (mine / ".env").write_text("PASSWORD=canary-in-the-build-context")
    (mine / "notes.txt").write_text("canary-in-the-build-context")
    sh(f"docker build -t {name} .", cwd=mine)
    assert sh(f"docker run --rm {name} ls -A /app").split() == ["flaskapp.py", "requirements-production.txt", "requirements.txt"]


@pytest.mark.parametrize(("folder", "target"), list(zip(FLASK, ["run", "production"], strict=True)))
def test_templates_static_files_and_modules_work_in_the_image_even_with_umask_077(target, folder, name, port, tmp_path):
    mine = copy(folder, tmp_path)
    (mine / "templates").mkdir()
    (mine / "templates/index.html").write_text("<link rel=stylesheet href=/static/style.css>{{ word }}")
    (mine / "static").mkdir()
    (mine / "static/style.css").write_text("h1 { color: teal }")
    (mine / "helper.py").write_text("WORD = 'a word of another module'\n")
    source = (mine / "flaskapp.py").read_text().replace("import Flask", "import Flask, render_template\nimport helper")
    (mine / "flaskapp.py").write_text(re.sub("return .*", "return render_template('index.html', word=helper.WORD)", source))
    close_files(mine)
    sh(f"make {target} CONTAINER={name} PORT={port} IMAGE={name}", cwd=mine)
    assert "a word of another module" in wait_for(f"http://127.0.0.1:{port}", 20).text
    assert "teal" in requests.get(f"http://127.0.0.1:{port}/static/style.css", timeout=5).text


@once
def test_make_watch_serves_the_file_that_you_edit_also_after_a_syntax_error_until_ctrl_c(folder, name, port, tmp_path):
    mine, url = copy(folder, tmp_path / "mine"), f"http://127.0.0.1:{port}"
    # make gets your user ID from `id`.
    close_files(mine)
    if os.geteuid() == 0:
        (tmp_path / "id").write_text("#!/bin/sh\necho 1234\n")
        sh(f"chmod 755 '{tmp_path}/id' && chown -R 1234 '{mine}'")
    source = mine / "flaskapp.py"
    original = source.read_text()
    command = ["make", "watch", f"CONTAINER={name}", f"PORT={port}", f"IMAGE={name}"]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "start_new_session": True}
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with subprocess.Popen(command, cwd=mine, env=environment, **options) as make:
        until(lambda: PAGE in page(url), 60)
        source.write_text(original.replace("Awesome", "Edited"))
        until(lambda: "Edited" in page(url), 20)
        source.write_text(f"{original}\n)\n")
        until(lambda: "SyntaxError" in page(url), 20)
        source.write_text(original.replace("Awesome", "Mended"))
        until(lambda: "Mended" in page(url), 20)
        os.killpg(make.pid, signal.SIGINT)
        printed = make.communicate(timeout=20)[0]
    assert f"Open http://localhost:{port}" in printed and "unmatched" in printed
    assert sh(f"docker ps -aq --filter name={name}") == ""
    assert not list(mine.rglob("__pycache__"))


@once
def test_make_run_names_the_port_that_is_in_use_and_leaves_no_container(place, name, port):
    with socket.create_server(("127.0.0.1", port)):
        said = sh(f"make run CONTAINER={name} PORT={port} IMAGE={name}", cwd=place, ok=False)
    assert f"127.0.0.1:{port}" in said and "address already in use" in said
    until(lambda: sh(f"docker ps -aq --filter name={name}") == "", 10)


@both
def test_make_connect_opens_a_shell_in_the_container(place, name):
    sh(f"docker build -t {name} . && docker run -d --name {name} {name}", cwd=place)
    at_a_terminal(f"make connect CONTAINER={name}", place, b"42-myuser")


@both
def test_the_interactive_shell_of_the_tutorial_opens(place, name, folder):
    sh(f"docker build -t {name} .", cwd=place)
    at_a_terminal(f"docker run --rm -it {name} {'/bin/bash' if folder.startswith('01') else '/bin/sh'}", place, b"42-myuser")


@once
def test_make_logs_shows_the_output_of_the_application_and_make_kill_stops_it(folder, name, port, tmp_path):
    mine = copy(folder, tmp_path)
    source = mine / "flaskapp.py"
    source.write_text(source.read_text().replace('    return "', '    print("a visitor")\n    return "'))
    sh(f"make run CONTAINER={name} PORT={port} IMAGE={name}", cwd=mine)
    until(lambda: answers(f"http://127.0.0.1:{port}"), 20)
    logs = sh(f"make logs CONTAINER={name}", cwd=mine)
    assert "Running on http://127.0.0.1:8080" in logs and "a visitor" in logs
    sh(f"make kill CONTAINER={name}", cwd=mine)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port}", timeout=5)


@once
def test_make_browse_opens_the_page(place, port):
    said = sh(f"make browse PORT={port}", cwd=place, env={**os.environ, "BROWSER": "/bin/echo opening %s"})
    assert f"opening http://localhost:{port}" in said


@once
def test_make_without_a_target_lists_every_target(place):
    printed = sh("make", cwd=place)
    for target in ("build", "run", "watch", "connect", "browse", "kill", "logs", "production", "lock"):
        assert f"make {target}\t" in printed


@pytest.mark.slow
@once
def test_the_readme_makes_a_project_of_your_own_with_a_template_a_package_data_and_sessions(folder, name, port, tmp_path):
    start, mine, url = copy(folder, tmp_path / "clone"), tmp_path / name, f"http://127.0.0.1:{port}"
    outside = free_port()

    def follow(heading, end=None):
        for language, content, files in steps(ROOT / folder / "README.md", heading)[:end]:
            own = content.replace("mysite", name).replace("8090", str(port))
            if language == "sh":
                sh(f"set -e\n{own}", cwd=mine)
            elif files == ["/etc/caddy/Caddyfile"]:
                # Another Caddy on this machine may use the port of the admin interface.
                (tmp_path / "Caddyfile").write_text(
                    "{\n\tadmin off\n}\n" + own.replace("www.example.org", f"http://127.0.0.1:{outside}")
                )
            else:
                write(mine, language, own, files)

    try:
        # The first block copies the folder. The second one runs in the copy.
        copied, names, run = steps(ROOT / folder / "README.md", "Make it yours")
        sh(copied[1].replace("mysite", name), cwd=start)
        write(mine, names[0], names[1].replace("mysite", name), names[2])
        sh(run[1].replace("8090", str(port)), cwd=mine)
        assert wait_for(url, 20).text == PAGE
        follow("Add a page with a template and a style sheet")
        assert "<h1>Hello, Ada</h1>" in wait_for(url, 20).text
        assert "teal" in requests.get(f"{url}/static/style.css", timeout=5).text
        follow("Add a package")
        for lock, word in {"requirements.txt": "flask==", "requirements-production.txt": "granian=="}.items():
            text = (mine / lock).read_text()
            assert word in text and "humanize==" in text and "werkzeug==" in text and text.count("--hash=sha256:") > 10
            assert "://" not in text and "index-url" not in text and (mine / lock).stat().st_uid == os.getuid()
        assert sh(f"docker exec {name} python -c 'import humanize; print(humanize.intword(123_000_000))'") == "123.0 million"
        # The last block deletes the data.
        follow("Keep data", -1)
        counts = [re.fullmatch("<h1>Visit ([0-9]+)</h1>", wait_for(url, 20).text)[1]]
        sh(f"make kill production PORT={port}", cwd=mine)
        counts.append(re.fullmatch("<h1>Visit ([0-9]+)</h1>", wait_for(url, 20).text)[1])
        # A new database would begin at 1 again.
        assert 2 <= int(counts[0]) < int(counts[1]) and int(counts[1]) >= 4
        follow("Sign sessions")
        with requests.Session() as browser:
            until(lambda: answers(url), 20)
            # Both workers get some of these requests.
            assert [browser.get(url, timeout=5).text for _ in range(8)][-1] == "<h1>Visit 8</h1>"
        follow("On a server")
        assert sh(f"docker inspect -f '{{{{.HostConfig.RestartPolicy.Name}}}}' {name}") == "always"
        # ok=None: the end of the container can also kill this command.
        sh(f"docker exec {name} python -c 'import os; os.kill(1, 15)'", ok=None)
        until(lambda: sh(f"docker inspect -f '{{{{.RestartCount}}}}' {name}") == "1" and answers(url), 20)
        sh(f"docker run --name {name}-caddy -d --network host -v '{tmp_path}/Caddyfile:/etc/caddy/Caddyfile:ro' {CADDY}")
        assert wait_for(f"http://127.0.0.1:{outside}", 20).text == "<h1>Visit 1</h1>"
        _, delete, _ = steps(ROOT / folder / "README.md", "Keep data")[-1]
        sh(f"set -e\n{delete.replace('mysite', name)}", cwd=mine)
        assert sh(f"docker volume ls -q --filter name={name}-data") == ""
    finally:
        sh(f"docker rm -f -v {name} {name}-caddy; docker volume rm {name}-data", ok=None)


@pytest.mark.parametrize(("folder", "target"), list(zip(FLASK, ["run", "production"], strict=True)))
def test_the_application_gets_another_name(folder, target, name, port, tmp_path):
    mine = copy(folder, tmp_path)
    (mine / "flaskapp.py").rename(mine / "shop.py")
    for file, word in {"Dockerfile": "FLASK_APP=flaskapp", "production.Dockerfile": "flaskapp:app"}.items():
        text = (mine / file).read_text()
        assert text.count(word) == 1
        (mine / file).write_text(text.replace(word, word.replace("flaskapp", "shop")))
    sh(f"make {target} CONTAINER={name} PORT={port} IMAGE={name}", cwd=mine)
    assert wait_for(f"http://127.0.0.1:{port}", 20).text == PAGE
