"""Let the kernel run arm64 programs with qemu, for `make test-arm64`. __main__.py and daemon.py use this module."""

from .commands import busybox, die
from .places import PLATFORM, PROGRAMS, RUN

# Our own mount of the kernel's list, because a machine may have none. daemon.sweep removes it.
FORMATS = RUN / "binfmt"
QEMU = PROGRAMS / "usr/bin/qemu-aarch64-static"
ENTRY = FORMATS / "qemu-aarch64"
# The first bytes of an arm64 program, and which of their bits count. From qemu's scripts/qemu-binfmt-conf.sh.
MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"


def emulate():
    """Register qemu for the platform, unless the kernel has an emulator already. Exit with a message if it cannot be."""
    if not PLATFORM:
        return
    if PLATFORM != "arm64":
        die(f"DOCKER_DEFAULT_PLATFORM=linux/{PLATFORM}: the private engine emulates linux/arm64 only")
    FORMATS.mkdir(exist_ok=True)
    if not (FORMATS / "register").exists():
        busybox("mount", "-t", "binfmt_misc", "binfmt_misc", FORMATS)
    # F: open qemu now, because a container cannot see it. O and C: open the program with the rights of its user.
    if not ENTRY.exists():
        (FORMATS / "register").write_text(f":qemu-aarch64:M::{MAGIC}:{MASK}:{QEMU}:OCF")


def end():
    """Remove the registration, if it is ours."""
    if PLATFORM and ENTRY.exists() and f"interpreter {QEMU}\n" in ENTRY.read_text():
        ENTRY.write_text("-1")
