"""Load production at half of its capacity, and kill each of its parts once a minute at random moments. `make soak` runs it.

Usage: soak.py [MINUTES [SEED]]. The default is ten minutes. Prints the seed, the share of failed writes and the memory.
Exits with 1 if an acknowledged write is lost, the site does not recover, or the memory grows by more than half.
"""

import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from containers import workers
from load import Load
from pages import answers
from projects import ADMIN_CANARY, Production
from shell import kill, sh, until


def processes(project, service):
    """Return (pid, parent's pid, resident memory in KiB) of each process of a service. The pids are those of the host."""
    name = project.names[service]
    return [tuple(map(int, line.split())) for line in sh(f"docker top {name} -eo pid,ppid,rss").splitlines()[1:]]


def children(project, service):
    """Return the pids of a service's processes, except the first process."""
    listed = processes(project, service)
    return [pid for pid, parent, _ in listed if parent in {other for other, _, _ in listed}]


PARTS = {
    "web server": lambda project: project.container("frontend")["State"]["Pid"],
    "worker": lambda project: random.choice(workers(project.names["frontend"])),
    "postmaster": lambda project: project.container("backend")["State"]["Pid"],
    "database process": lambda project: random.choice(children(project, "backend")),
}


def soak(project, minutes):
    """Run the load and the kills; return the load that measured the capacity, the main load, and the MiB used each minute."""
    with Load(project.url, ADMIN_CANARY, clients=8) as full:
        time.sleep(10)
    rate = len(full.acknowledged) / 10 / 2
    print(f"capacity {rate * 2:.0f} writes/s, load {rate:.0f} writes/s", flush=True)
    memory = []
    with Load(project.url, ADMIN_CANARY, clients=8, rate=rate) as load:
        for minute in range(minutes):
            ends = time.monotonic() + 60
            # At least 8 seconds between two kills, because each one should be a separate fault.
            moments = [8 * number + moment for number, moment in enumerate(sorted(random.uniform(0, 20) for _ in PARTS))]
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
    """Run the soak on a new production project, then remove the project."""
    minutes = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6)
    random.seed(seed)
    print(f"seed {seed}, {minutes} minutes", flush=True)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        project = Production(Path(folder))
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
    print(f"{total} writes, {len(load.failed)} failed ({len(load.failed) / total:.2%}), {len(lost)} acknowledged writes lost")
    print(f"memory, second half divided by first half: {growth:.2f}")
    sys.exit(1 if lost or growth > 1.5 else 0)


if __name__ == "__main__":
    main()
