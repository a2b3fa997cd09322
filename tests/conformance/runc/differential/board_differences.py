"""Where the runtimes of a board's own Debian release do not agree with ours, and why, beside ``differences.py``."""

from __future__ import annotations

from tests.conformance.runc.differential import differences
from tests.conformance.runc.differential.differences import EVERY, Difference

KNOWN = (
    *differences.KNOWN,
    Difference(
        "crun", "mounts", r"^/sys/fs/cgroup / cgroup2 cgroup2? ", "crun names the source of the mount itself",
        rows="unified-.*",
    ),
    Difference(
        "runc", r"read:/sys/fs/cgroup/cpu\.(idle|weight)", EVERY, "runc 1.1 has no cpu.idle on version 2",
        rows="unified-cpu-idle",
    ),
    Difference(
        "runc", "mounts", r"^/[^ ]+ / tmpfs tmpfs .*ro", "runc before 1.2.8 hides directories behind a tmpfs of any size",
    ),
    Difference(
        "runc", "mounts", r"^/ [^ ]+/rootfs .* rw( master)?$",
        "bookworm's runc 1.1.5 leaves the root a slave of the host's mount; later ones make it private, as ours does",
    ),
    Difference(
        "(crun|runc)", "devices", r"^null ",
        "this crun gives the host's null device, as a standard stream, to the container's root; the next one sees it",
        rows="users-.*",
    ),
)  # fmt: skip
