"""Load at half of what production can take, and each minute a kill -9 of each part at random; `make soak` calls it.

soak.py [MINUTES [SEED]], ten minutes by default. Prints the seed, the share of errors and the memory; exit code 1 where an
acknowledged write is lost, the site does not come back, or memory grows by more than half.
"""

import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from load import Load

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from conftest import ADMIN_CANARY, Project, answers, kill, sh, until


def processes(project, service):
    """Return (pid, parent's pid, resident memory in KiB) of each process of a service, as this machine counts them."""
    name = f"{project.name}-{'django' if service == 'frontend' else 'backend-1'}"
    return [tuple(map(int, line.split())) for line in sh(f"docker top {name} -eo pid,ppid,rss").splitlines()[1:]]


def children(project, service):
    """Return the pids of a service's processes but the first."""
    listed = processes(project, service)
    return [pid for pid, parent, _ in listed if parent in {other for other, _, _ in listed}]


PARTS = {
    "web server": lambda project: project.container("frontend")["State"]["Pid"],
    "worker": lambda project: random.choice(children(project, "frontend")),
    "postmaster": lambda project: project.container("backend")["State"]["Pid"],
    "database process": lambda project: random.choice(children(project, "backend")),
}


def soak(project, minutes):
    """Run the load and the kills for so many minutes; return the load, and the memory in MiB at the end of each minute."""
    with Load(project.url, ADMIN_CANARY, clients=8) as full:
        time.sleep(10)
    rate = len(full.acknowledged) / 10 / 2
    print(f"capacity {rate * 2:.0f} writes/s: the load is {rate:.0f}/s", flush=True)
    memory = []
    with Load(project.url, ADMIN_CANARY, clients=8, rate=rate) as load:
        for minute in range(minutes):
            ends = time.monotonic() + 60
            # Eight seconds at least between two kills, so that each one is a fault of its own.
            moments = sorted(random.uniform(0, 20) + 8 * number for number in range(len(PARTS)))
            for moment, part in zip(moments, random.sample(sorted(PARTS), len(PARTS)), strict=True):
                time.sleep(max(0, ends - 60 + moment - time.monotonic()))
                until(lambda: answers(f"{project.url}/admin/login/"), limit=30)
                kill(PARTS[part](project))
                print(f"minute {minute + 1}, second {moment:.0f}: kill -9 of the {part}", flush=True)
            time.sleep(max(0, ends - time.monotonic()))
            used = sum(rss for service in ("frontend", "backend") for _, _, rss in processes(project, service)) / 1024
            memory.append(used)
            print(f"  {len(load.acknowledged)} acknowledged, {len(load.failed)} failed, {used:.0f} MiB", flush=True)
    return full, load, memory


def main():
    """Run the soak on a production project of its own, and remove it."""
    minutes = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6)
    random.seed(seed)
    print(f"seed {seed}, {minutes} minutes", flush=True)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        project = Project(Path(folder))
        project.production()
        try:
            project.sh("make up")
            full, load, memory = soak(project, minutes)
            until(lambda: answers(f"{project.url}/admin/login/"), limit=30)
            names = project.sql("select name from auth_group").splitlines()
        finally:
            project.remove()
    lost = full.lost(names) | load.lost(names)
    total = len(load.acknowledged) + len(load.failed)
    half = len(memory) // 2 or 1
    growth = statistics.median(memory[half:] or memory) / statistics.median(memory[:half])
    print(f"{total} requests, {len(load.failed)} failed ({len(load.failed) / total:.2%}), {len(lost)} acknowledged writes lost")
    print(f"memory, second half over first: {growth:.2f}")
    sys.exit(1 if lost or growth > 1.5 else 0)


if __name__ == "__main__":
    main()
