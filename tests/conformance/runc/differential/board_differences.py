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
        "(crun|runc)", "devices", r"^null ",
        "this crun gives the host's null device, as a standard stream, to the container's user; the next one sees it",
    ),
    Difference(
        "crun", "mounts", r"^/[^ ]+ / tmpfs tmpfs .*ro .*size=0k", "this crun, too, masks directories with an empty tmpfs",
        rows="masked-.*|read-only-and-masked",
    ),
    Difference(
        "crun", "mounts", r"^/(mnt|dev)",
        "bound from a mount that is shared with the host, crun's copy is private and without its nosuid and nodev",
        rows="bind-of-a-tmpfs-file-system|bind-device|device-bound-tree",
    ),
    Difference(
        "crun", "mknod:/tmp/x", r"^refused: ", "as for other rows with system call filters: it loads that of an earlier row",
        rows="seccomp-error",
    ),
    Difference(
        "runc", "result", EVERY,
        "runc 1.1 has no scheduler, I/O priority, personality, domain name or offsets of clocks: whatever is said of "
        "them is ignored, wrong or not",
        rows="scheduler-unknown.*|io-priority-unknown|personality-unknown|domainname-.*|time-offsets-without-namespace",
    ),
    Difference(
        "runc", "scheduling", EVERY, "runc 1.1 knows no scheduler, I/O priority or personality",
        rows="scheduler-.*|io-priority.*|personality-.*",
    ),
    Difference(
        "runc", "names", EVERY, "runc 1.1 knows no personality, and no domain name", rows="personality-.*|domainname",
    ),
    Difference(
        "runc", "result", EVERY, "runc 1.1 knows no time namespace", rows="namespace-time|time-offsets",
    ),
    Difference(
        "runc", EVERY, EVERY, "runc 1.1 maps no volumes, and does not say so", rows="users-volume-mapped.*|mapped-.*",
    ),
    Difference(
        "runc", "result", EVERY, "runc 1.1 knows no flags of a system call filter", rows="seccomp-flags",
    ),
    Difference(
        "runc", "result", EVERY, "runc 1.1 drops an option that a bind mount cannot have", rows="bind-unknown-option",
    ),
    Difference(
        "runc", "mounts|write:/mnt|list:/mnt", r"/mnt|written|refused", "of rro and rrw runc 1.1 keeps the first",
        rows="bind-recursive-taken-back",
    ),
    Difference(
        "runc", "mounts", r"^/ ", "runc 1.1 makes the root neither shared nor unbindable", rows="root-(shared|unbindable)",
    ),
    Difference(
        "runc", "result", EVERY, "runc 1.1 has the limit on descriptors itself before it has done its work", rows="limits-twice",
    ),
    Difference(
        "runc", "result", EVERY, "runc 1.1 takes ids below 2147483648", rows="user-highest",
    ),
    Difference(
        "runc", "status", r"^Groups:", "runc 1.1 names each group once", rows="user-group-named-twice",
    ),
)  # fmt: skip

SLAVES = r"(?m)^(/[^ ]* [^ ]*/bundle/(?:rootfs|volume).*) master\b"
"""runc 1.1.5 leaves the root, and what is bound from the same mount, slaves of the host's mount; later ones do as ours.
Without that word their lines have to be the same."""

OF_BOOKWORM = (
    *KNOWN,
    Difference(
        "runc", "limits", r"^Max open files", "runc 1.1.5 hands its own soft limit on, which Go has raised", rows="limits-.*",
    ),
    Difference(
        "runc", "result", EVERY, "runc 1.1.5 cannot make the mount that it binds the root from unbindable", rows="root-unbindable",
    ),
    Difference(
        "(crun|runc)", "mounts|root|stat:/data|list:/mnt", r"^/data / tmpfs|^(data|\.|inner) 4",
        "before crun 1.9 and runc 1.1.6 a tmpfs had not the mode of the directory below it",
        rows="tmpfs-mode-of-what-is-below|tmpfs-copy-up.*|mount-target-is-a-link|mount-inside-volume",
    ),
    Difference(
        "crun", "scheduling|result", EVERY, "crun 1.8 knows no scheduler and no I/O priority", rows="scheduler-.*|io-priority.*",
    ),
    Difference(
        "crun", "result", EVERY, "crun 1.8 takes a namespace that is named twice, and offsets of clocks for none",
        rows="namespace-twice|time-offsets-without-namespace",
    ),
    Difference(
        "crun", "environment", r"^HOME=", "crun 1.8 leaves HOME out for a user without a passwd entry",
        rows="env-home-of-unknown-user|user-highest|bind-file-on-file|masked-file|users-capabilities-ambient",
    ),
)  # fmt: skip
