"""The hooks and fixtures of all tests. The modules beside this file have the helpers that tests import."""

import importlib.util
import os
import signal
import subprocess
import uuid
import warnings

import pytest
from figures import FIGURES
from pages import ROUTES
from private_engine import ALPINE, CADDY, POSTGRES, PRIVATE_ENGINE, SLIM
from projects import DJANGO, FLASK, USED_IMAGES, Clone, Production, Project
from shell import ROOT, free_port, sh

# The images that are built before a parallel run: (folder, options of `docker build`). The last one has the browser.
PREBUILT = f"test-keeper-{os.getpid()}"
PREBUILT_IMAGES = [
    *((folder, f"-f {file}") for folder in FLASK for file in ("Dockerfile", "production.Dockerfile")),
    *((DJANGO, f"-f {file}") for file in ("Dockerfile", "production/Dockerfile")),
    ("tests", "-f pictures/Dockerfile"),
]
BUILDS = []


def pytest_terminal_summary(terminalreporter):
    """Print the measurements (pytest hook)."""
    if FIGURES:
        terminalreporter.section("measured")
        for line in FIGURES:
            terminalreporter.line(line)


def pytest_sessionstart(session):
    """Build the images that many tests need before a parallel run (pytest hook).

    The images stay until the end of the run. Without them, a test that removes its image would also remove layers that
    the build of another test needs: moby/buildkit#6521.
    """
    if not (PRIVATE_ENGINE or hasattr(session.config, "workerinput")):
        # `docker build` pulls an image only into its cache. Without this, the first `docker run` would also print a pull.
        for image in (SLIM, ALPINE, POSTGRES, CADDY):
            sh(f"docker image inspect {image} || docker pull -q {image}", ok=None)
    if getattr(session.config.option, "numprocesses", None):
        for number, (folder, options) in enumerate(PREBUILT_IMAGES):
            command = f"docker build -q {options} -t {PREBUILT}:{number} ."
            BUILDS.append(subprocess.Popen(command, shell=True, cwd=ROOT / folder, stdout=subprocess.DEVNULL))
        # The browser's image takes the longest. The tests that need it run later.
        for build in BUILDS[:-1]:
            build.wait()


def pytest_sessionfinish(session):
    """Remove the images of all tests, and those that pytest_sessionstart built (pytest hook)."""
    for number in range(0, len(USED_IMAGES), 50):
        filters = " ".join(f"--filter 'reference={pattern}'" for pattern in USED_IMAGES[number : number + 50])
        sh(f"docker image ls --format '{{{{.Repository}}}}:{{{{.Tag}}}}' {filters} | xargs -r docker image rm -f", ok=None)
    if getattr(session.config.option, "numprocesses", None):
        for build in BUILDS:
            build.wait()
        kept = " ".join(f"{PREBUILT}:{number}" for number in range(len(PREBUILT_IMAGES)))
        subprocess.run(f"docker image rm {kept}", shell=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


# tryfirst: pytest-xdist must see these marks.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Run tests that share a slow fixture on the same worker of pytest-xdist (pytest hook)."""
    for item in items:
        shared = next(
            (name for name in ("reader", "mine", "shop", "secure", "running", "tools") if name in item.fixturenames), None
        )
        if shared:
            item.add_marker(pytest.mark.xdist_group(shared))
    # The longest tests start first, so that no worker has to wait for them at the end.
    items.sort(key=lambda item: not {"reader", "mine"} & set(item.fixturenames))


@pytest.fixture(scope="session", autouse=True)
def docker(tmp_path_factory):
    """Clean the environment, and stop the run if no Docker Engine answers."""
    # `make test` sets these. They must not reach the make commands of the tests.
    for variable in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
        os.environ.pop(variable, None)
    # A shell that starts the tests in the background ignores Ctrl-C, and so would each command of the tests.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # BuildKit keeps one copy of a build context for all folders of the same name that the same buildx ID sends. Two builds at
    # once use this copy alternately, and then one of them repeats a COPY although nothing changed. The ID is in this folder.
    os.environ["BUILDX_CONFIG"] = str(tmp_path_factory.mktemp("buildx"))
    if subprocess.run(["docker", "version"], capture_output=True).returncode:
        pytest.exit("no Docker Engine answers: run the tests with `make test`", returncode=2)


@pytest.fixture
def name():
    """Yield an unused name. Afterwards, remove the containers and images whose names begin with it."""
    word = f"test-{uuid.uuid4().hex[:8]}"
    yield word
    # ok=None: Docker may already be removing a container that was started with --rm.
    sh(f"docker ps -aq --filter name={word} | xargs -r docker rm -f -v", ok=None)
    USED_IMAGES.append(f"{word}*")


@pytest.fixture(scope="session")
def tools():
    """Yield the image with the browser and the drawing tools. Docker's build cache makes the next build fast."""
    tag = f"test-pictures-{uuid.uuid4().hex[:8]}"
    # Without -q, because the build's log says why it failed.
    build = f"docker build --progress plain -t {tag} -f pictures/Dockerfile ."
    try:
        sh(build, cwd=ROOT / "tests", timeout=1100)
    except AssertionError as error:
        # A mirror that fails once while it sends the browser must not fail nine tests. pytest prints the repetition as a warning.
        warnings.warn(f"repeated: {error}", stacklevel=2)
        sh(build, cwd=ROOT / "tests", timeout=1100)
    yield tag
    sh(f"docker image rm {tag}")


@pytest.fixture
def port():
    """Return a free port."""
    return free_port()


@pytest.fixture
def project(tmp_path):
    """Yield a Django project with the tutorial's secrets. Nothing is started yet."""
    one = Project(tmp_path)
    yield one
    one.remove()


@pytest.fixture(scope="session")
def running(tmp_path_factory):
    """Yield a Django project that the tutorial's commands start and stop. All tests share it, so they must not change it."""
    one = Project(tmp_path_factory.mktemp("running"))
    one.sh("docker compose --env-file ../secrets/secrets.txt up -d")
    one.sh("docker compose up -d --wait")
    yield one
    one.sh("docker compose --env-file ../secrets/secrets.txt down")
    one.remove()


@pytest.fixture
def prod(tmp_path):
    """Yield a production project for one test. Nothing is started yet."""
    one = Production(tmp_path)
    yield one
    one.remove()


@pytest.fixture(scope="session")
def shop(tmp_path_factory):
    """Yield a running production project. All tests of a file share it."""
    one = Production(tmp_path_factory.mktemp("production"))
    one.sh("make up")
    yield one
    one.remove()


@pytest.fixture(scope="session")
def site(shop):
    """Return the shared production project with the routes of ROUTES added."""
    urls = shop.example / "codesolid_demo/codesolid_demo/urls.py"
    urls.write_text(urls.read_text() + ROUTES)
    shop.sh("make up")
    return shop


@pytest.fixture
def clone(tmp_path):
    """Yield a fresh clone. Afterwards, remove everything that it started."""
    one = Clone(tmp_path)
    yield one
    if sh(f"docker ps -aq --filter name={one.suffix}; docker image ls -q '*{one.suffix}*'"):
        one.make("clean")


@pytest.fixture
def config(monkeypatch, tmp_path):
    """Return the module config.py of the example, with a temporary folder for secrets and without the variable KEY."""
    path = ROOT / DJANGO / "codesolid_demo/codesolid_demo/config.py"
    spec = importlib.util.spec_from_file_location("config", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.SECRETS = tmp_path
    monkeypatch.delenv("KEY", raising=False)
    return module
