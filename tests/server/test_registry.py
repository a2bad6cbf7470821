"""registry.md: an image for two processors, pushed to a registry that asks for a login, and pulled by a server without the code.

`make test-server` runs it. The server is a folder on this machine. Images for arm64 are built and run under emulation.
"""

import json
import os
import re
import secrets
from pathlib import Path

import pytest
from engine import emulation, packages, stand_ins
from engine.commands import busybox
from figures import figure
from pages import log_in
from private_engine import PRIVATE_ENGINE, SLIM
from projects import ADMIN_CANARY, DJANGO, Production, commit_all, copy
from recipes import steps, write
from shell import ROOT, free_port, sh, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not PRIVATE_ENGINE, reason="makes a stand-in for arm64 from that of the private engine"),
]
PAGE = ROOT / DJANGO / "production/registry.md"
BUILD = {"timeout": 1500}
DEBIAN = "docker-examples-debian:arm64"
# Registers qemu with the kernel, like the page's image from Docker Hub. docker-examples-debian is the stand-ins' base image.
BINFMT = f"""
FROM {stand_ins.DEBIAN}
RUN apt-get update && apt-get install -y --no-install-recommends qemu-user-binfmt && rm -rf /var/lib/apt/lists/*
CMD mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc \
 && cat /usr/lib/binfmt.d/qemu-aarch64.conf > /proc/sys/fs/binfmt_misc/register
"""


@pytest.fixture(scope="module")
def emulated():
    """Let the kernel run arm64 programs until the end."""
    image = f"test-{secrets.token_hex(4)}-binfmt"
    sh(f"docker build -q -t {image} -", input=BINFMT, stdin=None)
    # The kernel forgets the emulator with the last mount of its list.
    emulation.FORMATS.mkdir(exist_ok=True)
    busybox("mount", "-t", "binfmt_misc", "binfmt_misc", emulation.FORMATS)
    ours = not emulation.ENTRY.exists()
    if ours:
        sh(f"docker run --rm --privileged {image}")
    yield
    if ours:
        emulation.ENTRY.write_text("-1")
    busybox("umount", emulation.FORMATS)
    sh(f"docker image rm {image}")


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """Yield the address of a registry on this machine. `docker login` keeps its password in a folder of this test."""
    base, name = tmp_path_factory.mktemp("registry"), f"test-{secrets.token_hex(4)}-registry"
    address = f"localhost:{free_port()}"
    sh(f"docker build -q -t {name} -f registry.Dockerfile .", cwd=ROOT / "tests/swarm", timeout=400)
    with (base / "users").open("w") as users:
        users.write(sh(f"docker run --rm -i {name} htpasswd -niB you", input=ADMIN_CANARY, stdin=None))
    plain = "-e REGISTRY_HTTP_TLS_CERTIFICATE= -e REGISTRY_HTTP_TLS_KEY="
    sh(f"docker run -d --name {name} {plain} -v '{base}:/tls:ro' -p {address.replace('localhost', '127.0.0.1')}:5000 {name}")
    (base / "cli-plugins").symlink_to(Path(os.environ["DOCKER_CONFIG"], "cli-plugins").resolve())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_CONFIG", str(base))
        yield address
    sh(f"docker rm -f -v {name}; docker image rm {name} {address}/python:amd64 {address}/python:arm64")
    sh(f"docker image ls -q {address}/appname | xargs -r docker image rm -f")


@pytest.fixture(scope="module")
def laptop(tmp_path_factory):
    """Return production's folder on the laptop, in a git repository."""
    whole = copy(DJANGO, tmp_path_factory.mktemp("laptop"))
    commit_all(whole)
    return whole / "production"


@pytest.fixture(scope="module")
def server(tmp_path_factory, laptop):
    """Yield production's folder on a server, without the rest of the project. It is another folder of this machine."""
    base = tmp_path_factory.mktemp("server")
    send = next(text for _, text, _ in steps(PAGE, "Once") if "git archive" in text)
    sh(send.replace("ssh deploy@www.example.org", "sh -c").replace("/srv/", f"{base}/srv/"), cwd=laptop)
    assert {path.name for path in (base / "srv/appname").iterdir()} == {"production"}
    one = Production(base, base / "srv/appname")
    yield one
    one.remove()


def base_images(registry):
    """Push the base image for both processors under one name, as Docker Hub has it. Return this name."""
    both = f"{registry}/python:both"
    if not sh(f"docker image ls -q {DEBIAN}"):
        stand_ins.make_debian(packages.require_machine()[1], DEBIAN, "arm64")
    context = f"--build-context {stand_ins.DEBIAN}=docker-image://{DEBIAN}"
    folder = stand_ins.IMAGES / stand_ins.STAND_INS[SLIM]
    sh(f"docker buildx build --platform linux/arm64 {context} -t {registry}/python:arm64 --push '{folder}'", **BUILD)
    sh(f"docker tag {SLIM} {registry}/python:amd64 && docker push -q {registry}/python:amd64")
    sh(f"docker buildx imagetools create -t {both} {registry}/python:amd64 {registry}/python:arm64")
    return both


def test_an_image_for_two_processors_is_pushed_with_its_provenance_and_a_server_without_the_code_pulls_it(
    emulated, registry, laptop, server
):
    def own(text):
        return text.replace("registry.example.org", registry)

    image = f"{registry}/appname:1"
    login, store, _, _, override, _, make_secrets, version = steps(PAGE, "Once")
    assert "io.containerd.snapshotter.v1" in sh(store[1])
    until(lambda: "Login" in sh(f"{own(login[1]).strip()} -u you --password-stdin", ok=None, input=ADMIN_CANARY, stdin=None), 30)
    assert override[2] == ["docker-compose.override.yaml"]
    write(server.folder, override[0], own(override[1]), override[2])
    server.sh(make_secrets[1] + version[1])
    build, look, second, up = steps(PAGE, "Each time")
    # Docker Hub is out of reach: the base image for both processors comes from the registry, too.
    context = f"docker buildx build --build-context {SLIM}=docker-image://{base_images(registry)} "
    seconds = until(lambda: [sh(own(build[1]).replace("docker buildx build ", context), cwd=laptop, **BUILD)], 1500)
    figure("registry.md: build and push for amd64 and arm64", f"{seconds:.0f} s")

    shown = sh(own(look[1]))
    assert re.findall(r"Platform: +(\S+)", shown) == ["linux/amd64", "linux/arm64", "unknown/unknown", "unknown/unknown"]
    assert shown.count("attestation-manifest") == 2
    (provenance,) = steps(PAGE, "Trust it")[:1]
    for processor, said in json.loads(sh(own(provenance[1]))).items():
        assert "useradd -m myuser" in json.dumps(said) and "python" in json.dumps(said), processor

    # The laptop and the server share an engine.
    sh(f"docker image rm {image}")
    server.sh(up[1])
    assert answers_from(server, image) == "x86_64"
    digest = re.search(r"^Digest: +(\S+)$", shown, re.MULTILINE)[1]
    sh(f"docker buildx imagetools create -t {registry}/appname:2 {image}")
    assert second[2] == [".env"]
    write(server.folder, *second)
    server.sh(up[1])
    assert answers_from(server, f"{registry}/appname:2") == "x86_64"
    server.set(VERSION=f"1@{digest}")
    override_file = server.folder / "docker-compose.override.yaml"
    override_file.write_text(f"{override_file.read_text()}    platform: linux/arm64\n")
    server.sh(f"docker compose down; docker image ls -q {registry}/appname | xargs docker image rm -f")
    server.sh(up[1])
    assert answers_from(server, f"{image}@{digest}") == "aarch64"


def test_a_worker_takes_the_image_from_the_registry_too(tmp_path):
    whole = copy(DJANGO, tmp_path)
    write(whole, *steps(ROOT / DJANGO / "recipes/worker.md", "In production")[0])
    *_, override, worker, make_secrets, version = steps(PAGE, "Once")
    for step in (override, worker):
        write(whole / "production", *step)
    printed = sh(f"{make_secrets[1]}{version[1]}docker compose config --format json", cwd=whole / "production")
    services = json.loads(printed[printed.index("{\n") :])["services"]
    for name in ("frontend", "worker"):
        assert services[name]["image"] == "registry.example.org/appname:1" and "build" not in services[name]


def answers_from(server, image):
    """Check that the server's Django answers from this image. Return the processor that it sees."""
    assert server.container("frontend")["Config"]["Image"] == image
    assert "Site administration" in log_in(server.url, ADMIN_CANARY, limit=60)
    return server.sh("docker compose exec -T frontend uname -m")
