"""Run programs, and print messages for the user. All other modules use this one."""

import os
import subprocess
import sys

from .places import LOG, PROGRAMS, RUN, SOCKET


def say(text):
    """Print a message on stderr, because make reads stdout."""
    print(text, file=sys.stderr, flush=True)


def die(text):
    """Exit with one line that says what is wrong and how to fix it."""
    sys.exit(f"error: {text}")


def run(*command, **options):
    """Run a command, and write its output to the log.

    Raises SystemExit, with the path of the log, if the command fails.
    """
    with LOG.open("a") as log:
        done = subprocess.run(command, **{"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, **options})
    if done.returncode:
        die(f"`{' '.join(map(str, command[:2]))} ...` failed. See the end of {LOG}, then run the same command again")
    return done


def output(*command, **options):
    """Return what a command prints, or '' if it fails or does not exist."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **options)
    except FileNotFoundError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def environment():
    """Return the environment for the engine and its client, with the unpacked programs first on PATH."""
    programs = f"{PROGRAMS}/usr/sbin:{PROGRAMS}/usr/bin:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    unset = ("DOCKER_CONTEXT", "DOCKER_API_VERSION", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
    rest = {key: value for key, value in os.environ.items() if key not in unset}
    return {**rest, "PATH": programs, "DOCKER_HOST": f"unix://{SOCKET}", "DOCKER_CONFIG": f"{RUN}/config"}


def busybox_path():
    """Return the path of the unpacked busybox: /bin on Debian 12, /usr/bin on Debian 13."""
    old = PROGRAMS / "bin/busybox"
    return old if old.exists() else PROGRAMS / "usr/bin/busybox"


def busybox(*command):
    """Run a busybox tool, such as ip or umount."""
    run(busybox_path(), *command)


def docker(*command, **options):
    """Run the unpacked docker client on the private engine, and write its output to the log."""
    return run("docker", *command, env=environment(), **options)
