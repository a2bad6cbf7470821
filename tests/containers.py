"""What tests ask about a container or an image: its exit code, its worker processes, the words in its layers."""

import gzip
import subprocess
import tarfile

from shell import sh


def exit_code(name):
    """Run `docker stop`. Return the exit code of the container."""
    sh(f"docker stop {name}")
    return sh(f"docker container inspect -f '{{{{.State.ExitCode}}}}' {name}")


def workers(container):
    """Return the process IDs of Granian's workers in a container, sorted, as the host sees them."""
    lines = [line.split(None, 2) for line in sh(f"docker top {container} -eo pid,ppid,args").splitlines()[1:]]
    commands = {pid: command for pid, _, command in lines}
    # A worker is a call of spawn_main, or a fork, which has the command of its parent.
    return sorted(int(pid) for pid, parent, command in lines if "spawn_main" in command or command == commands.get(parent))


def count_in_image(image, words):
    """Count how often each word occurs in the layers of an image. Return {word: count}."""
    found = dict.fromkeys(words, 0)
    with (
        subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as save,
        tarfile.open(fileobj=save.stdout, mode="r|") as archive,
    ):
        for member in archive:
            data = archive.extractfile(member).read() if member.isfile() else b""
            # Docker Engine 29 saves compressed layers.
            if data.startswith(b"\x1f\x8b"):
                data = gzip.decompress(data)
            for word in words:
                found[word] += data.count(word.encode())
    return found
