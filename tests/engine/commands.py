"""How the private engine runs programs and speaks to the person at the terminal. All other modules use it."""

import os
import subprocess
import sys

from .places import LOG, PROGRAMS, RUN, SOCKET


def say(text):
    """Tell the person what happens, on stderr: stdout is for make."""
    print(text, file=sys.stderr, flush=True)


def die(text):
    """End with one line that says what is wrong and what mends it."""
    sys.exit(f"error: {text}")


def run(*command, **options):
    """Run a command, its output into the log.

    Raises SystemExit with the log's place where the command fails.
    """
    with LOG.open("a") as log:
        done = subprocess.run(command, **{"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, **options})
    if done.returncode:
        die(f"`{' '.join(map(str, command[:2]))} ...` failed: the end of {LOG} says why; then run the same command again")
    return done


def output(*command, **options):
    """Return what a command prints, or '' where it fails or is not there."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **options)
    except FileNotFoundError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def environment():
    """Return the environment in which the engine and its client run: the unpacked programs come first."""
    programs = f"{PROGRAMS}/usr/sbin:{PROGRAMS}/usr/bin:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    unset = ("DOCKER_CONTEXT", "DOCKER_API_VERSION", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
    rest = {key: value for key, value in os.environ.items() if key not in unset}
    return {**rest, "PATH": programs, "DOCKER_HOST": f"unix://{SOCKET}", "DOCKER_CONFIG": f"{RUN}/config"}


def busybox_path():
    """Return where the unpacked busybox is: Debian 12 has it in /bin, Debian 13 in /usr/bin."""
    old = PROGRAMS / "bin/busybox"
    return old if old.exists() else PROGRAMS / "usr/bin/busybox"


def busybox(*command):
    """Run one of busybox's tools (ip, umount)."""
    run(busybox_path(), *command)


def docker(*command, **options):
    """Run the unpacked docker client against the private engine, its output into the log."""
    return run("docker", *command, env=environment(), **options)
