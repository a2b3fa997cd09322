"""Where the three runtimes do not agree, and why. Anything else that differs fails the table.

``section`` and ``lines`` say what may differ: lines of such a section of the probe's report, those only in
ours and those only in the peer's alike, that match the expression. A difference that no row shows is itself
an error (``test_table.py``), so that the list stays true.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

EVERY = r".*"


@dataclass(frozen=True)
class Difference:
    """``rows`` is an expression for the names of the rows that may show it.

    ``sometimes``: it depends on which of two processes is faster, and need not show.
    """

    peer: str
    section: str
    lines: str
    reason: str
    rows: str = EVERY
    sometimes: bool = False

    def explains(self, peer: str, section: str, row: str, line: str) -> bool:
        """Whether this is the reason why ``peer`` has, or lacks, ``line``."""
        return (
            re.fullmatch(self.peer, peer) is not None
            and re.fullmatch(self.section, section) is not None
            and re.fullmatch(self.rows, row) is not None
            and re.search(self.lines, line) is not None
        )


KNOWN = (
    # System call filters
    Difference(
        "crun", r"mknod:/tmp/x", r"^refused: ",
        "crun keeps compiled filters by a checksum that leaves errnoRet out: it loads that of an earlier row",
        rows=r"seccomp-(error-without-number|error-zero|without-no-new-privileges|of-a-user)",
    ),
    Difference(
        "crun", "result", EVERY, "crun starts a container whose calls nobody would answer",
        rows="seccomp-notify-without-a-listener",
    ),
    # The command around the container
    Difference(
        "runc", "descriptors", r"^[012] ",
        "runc run puts pipes of its own between its standard streams and the container's; ours and crun "
        "hand the caller's on, as runc does for a detached container",
    ),
    Difference(
        "runc", "status", r"^NS[ps]id:", "an exec'd process has the next free number; threads of runc's had some",
        rows=r"(users-)?exec.*",
    ),
    Difference(
        "runc", "status", r"^NS[ps]id:", "in the host's pid namespace any number will do",
        rows="namespace-(no-pid|mount-alone|joined-all|joined-pid)", sometimes=True,
    ),
    Difference(
        "crun", "status", r"^NS[ps]id:", "in the host's pid namespace any number will do",
        rows="namespace-(no-pid|mount-alone|joined-all|joined-pid)", sometimes=True,
    ),
    # Configurations that are wrong
    Difference(
        "crun", "result", EVERY, "crun takes a relative working directory; config.md: MUST be absolute",
        rows="cwd-relative",
    ),
    Difference(
        "crun", "result", EVERY, "crun does not look at an unknown propagation, clock, kind of device or place in /proc",
        rows="root-unknown-propagation|time-offsets-unknown-clock|bind-over-proc-part|device-unknown-type",
    ),
    Difference(
        "crun", "result", EVERY, "crun cannot join a time namespace by path", rows="namespace-joined-time",
    ),
    Difference(
        "crun", "result", EVERY, "crun sets several propagations in one call, which the kernel refuses",
        rows="bind-two-propagations",
    ),
    Difference(
        "crun", "result", EVERY,
        "crun makes no directory where a dangling link of the image points; ours and runc do, in the root",
        rows="mount-target-is-a-(dangling-link|link-out)",
    ),
    Difference(
        "crun", "result", EVERY, "crun takes a time limit of 0 for none; config.md: greater than zero",
        rows="hook-timeout-zero",
    ),
    Difference(
        "crun", "result", EVERY, "crun takes the source of a mapped volume for a path of its own directory",
        rows="mapped-volume(-recursive)?|users-volume-mapped.*",
    ),
    Difference(
        "runc", "result", EVERY, "runc takes an empty source for the bundle itself",
        rows="bind-empty-source",
    ),
    Difference(
        "runc", "result", EVERY, "runc takes a relative path of a device; config-linux.md: full path",
        rows="device-relative",
    ),
    Difference(
        "crun", "result", EVERY, "only runc and ours refuse to put anything but a procfs on /proc",
        rows="bind-over-proc",
    ),
    Difference(
        "runc", "result", EVERY, "runc needs the container's /proc; ours and crun the host's alone",
        rows="mounts-(none|no-proc)",
    ),
    Difference(
        "(runc|crun)", "result", EVERY,
        "type bind alone makes a bind mount with ours; both others look for a file system called so",
        rows="bind-without-the-word",
    ),
    Difference(
        "crun", EVERY, EVERY, "crun maps a tmpfs, too; ours and runc volumes alone", rows="mapped-tmpfs",
    ),
    Difference(
        "crun", "result", EVERY, "crun takes a text where config.md has a number, for 0",
        rows="user-not-a-number",
    ),
    Difference(
        "crun", "result", EVERY,
        "without a mount namespace a container's mounts would be the host's: refused by ours and runc",
        rows="namespace-no-mount",
    ),
    Difference(
        "crun", "result", EVERY, "a bind mount has no file system to take an unknown option; crun drops it",
        rows="bind-unknown-option",
    ),
    Difference(
        "crun", "result", EVERY,
        "crun asks mount_setattr(2) to set an access time without clearing the others, which is refused",
        rows="bind-recursive-noatime",
    ),
    Difference(
        "runc", "result", EVERY, "runc refuses a variable without a value; ours and crun leave it out",
        rows="env-without-value",
    ),
    Difference(
        "runc", "result", EVERY, "runc takes a negative time limit for none; config.md: greater than zero",
        rows="hook-timeout-negative",
        sometimes=True,
    ),
    Difference(
        "crun", "result", EVERY,
        "where a new sysfs is refused (the network is the host's) crun shows the host's instead",
        rows="users-shared-network",
    ),
    Difference(
        "crun", EVERY, EVERY, "crun's own words get into what exec's terminal shows",
        rows="exec-terminal", sometimes=True,
    ),
    Difference(
        "(runc|crun)", EVERY, EVERY,
        "after a failed poststart hook all three end the program, which may have had its say by then",
        rows="hook-(fails|second-after)-poststart", sometimes=True,
    ),
    Difference(
        "crun", "hooks", r"^state.root ", "crun tells hooks the root as well", rows="hook-.*",
    ),
    Difference(
        "crun", "hooks", r"^state.(bundle|pid|status) ",
        "crun tells startContainer hooks another directory, no process, and a status of its own",
        rows="hook-(startContainer|all)",
    ),
    Difference(
        "runc", "hooks", r"^second", "runc runs no further hook once a poststop hook failed; ours and crun do",
        rows="hook-second-after-poststop",
    ),
    Difference(
        "runc", "hooks", r"^createContainer in ", "runc runs these hooks in the root, ours and crun in the bundle",
        rows="hook-(createContainer|all)",
    ),
    Difference(
        "runc", "hooks", r"^state.status ", "runc says created while the program runs already",
        rows="hook-(poststart|all)", sometimes=True,
    ),
    Difference(
        "crun", "hooks", r"^state.(status|pid) ",
        "crun says created before the container is; config.md: creating. And no process inside",
        rows="hook-(prestart|createRuntime|createContainer)",
    ),
    # User namespaces
    Difference(
        "runc", "devices", r"^mqueue ", "runc leaves the group of the message queues unmapped",
        rows="users-.*",
    ),
    Difference(
        "crun", "mounts", r"^/dev/[a-z]+ /[a-z]+ devtmpfs",
        "where no device can be made the host's is shown; crun adds nosuid and noexec", rows="users-.*",
    ),
    # The program's surroundings
    Difference(
        "runc", "environment", r"^HOME=", "without a passwd entry runc's HOME is empty; ours and crun have /",
        rows="bind-file-on-file",
    ),
    Difference(
        "runc", "environment", r"^HOME=", "without an environment runc looks up no home directory",
        rows="env-none",
    ),
    Difference(
        "runc", "environment", r"^HOME=",
        "runc takes an empty HOME for none and looks the user up; ours and crun keep what is configured",
        rows="env-empty-home",
    ),
    Difference(
        "runc", "environment", r"^B=2", "of a variable set twice runc keeps the later place, too",
        rows="env-twice",
    ),
    Difference(
        "crun", "status", r"^Umask:", "without a user crun leaves the umask at 0; ours and runc have 022",
        rows="user-missing",
    ),
    Difference(
        "runc", "status", r"^Cap(Prm|Eff|Bnd):",
        "without capabilities in the configuration runc gives all it has; ours and crun none",
        rows="capabilities-none",
    ),
    Difference(
        "crun", "status", r"^CapBnd:", "crun takes names of capabilities in any case; they are upper case",
        rows="capabilities-lower-case",
    ),
    Difference(
        "runc", "scheduling", r"^\d+$", "runc ignores oomScoreAdj of an exec'd process; ours sets it",
        rows="exec-oom-score",
    ),
    Difference(
        "crun", "scheduling", r"^\d+$", "crun ignores oomScoreAdj of an exec'd process; ours sets it",
        rows="exec-oom-score",
    ),
    Difference(
        "crun",
        "terminal",
        r"columns",
        "crun leaves a container's terminal unsized until the caller's changes",
        rows="(exec-)?terminal(-of-a-user)?",
        sometimes=True,
    ),
    Difference(
        "runc", "terminal", r"columns", "runc exec sizes the terminal beside the program's start",
        rows=".*terminal.*", sometimes=True,
    ),
    # Devices and mounts
    Difference(
        "crun", "devices", r"^core ",
        "runc and ours leave /dev/core out where the kernel has no /proc/kcore, a dangling link",
    ),
    Difference(
        "crun", "devices", r"^console ", "/dev/console is a link with crun, a mount with runc and ours",
        rows=r"(users-)?terminal.*",
    ),
    Difference(
        "crun", "mounts", r"^/dev/console ", "/dev/console is a link with crun, a mount with runc and ours",
        rows=r"(users-)?terminal.*",
    ),
    Difference(
        "crun", "mounts", r"^/proc/|^/sys/firmware|^/etc/passwd /null|^/data .*/?(nr_inodes=1|empty-directory|rootfs/data)",
        "crun masks directories with one empty directory of its state and files with the host's null "
        "device, read-only; ours, as runc, with an empty tmpfs and the container's null device",
    ),
    Difference(
        "crun", "mounts", r"^/sys / sysfs",
        "crun makes a read-only sysfs by remounting the mount, ours and runc also the file system: nobody "
        "inside can make another mount of it writable",
    ),
    Difference(
        "crun", "(mounts|write:/mnt|list:/mnt)", r"/mnt|written|refused",
        "of ro and rw the later word counts; crun stays read-only", rows="bind-read-only-taken-back",
    ),
    Difference(
        "crun", "root", r"^data ", "the one empty directory that crun masks with has another mode",
        rows="masked-.*|read-only-and-masked",
    ),
    Difference(
        "(runc|crun)", "mounts", r" (tmpfs|proc|sysfs) .*,ro ",
        "both make a read-only tmpfs or procfs by remounting the mount; ours the file system, too",
        rows="tmpfs-read-only|mount-inside-volume|mounts-proc-read-only|mount-sysfs-elsewhere|"
        "mounts-dev-read-only",
    ),
    Difference(
        "runc", "mounts|write:/mnt", r"/mnt / tmpfs|written|refused",
        "runc applies recursive attributes to bind mounts alone", rows="tmpfs-recursive-attributes",
    ),
    Difference(
        "crun", "root|stat:.*", r"^(a|\.) 4[01]755 ",
        "crun leaves the sticky bit to directories that it makes on the way", rows="mount-nested-target",
    ),
    Difference(
        "(runc|crun)", "mounts", r"^/sys/fs/cgroup / tmpfs ",
        "a read-only cgroup mount is read-only as a whole with ours; both others leave the tmpfs writable",
        rows="mount-cgroup",
    ),
    Difference(
        "crun", "mounts|list:/sys/fs/cgroup", r"^/sys/fs/cgroup|^net_(cls|prio) ",
        "crun mounts the hierarchies nosymfollow, on a tmpfs of its own size, and links controllers that "
        "the kernel does not have",
        rows="mount-cgroup(-writable)?",
    ),
    Difference(
        "crun", "list:/dev", r"^core ", "as for every row: a dangling link", rows="mounts-no-dev.*",
    ),
    Difference(
        "crun", "mounts", r"^/mnt ", "crun keeps nosuid, nodev and noexec of what it binds read-only",
        rows="bind-root-of-host-proc",
    ),
    Difference(
        "crun", "mounts|write:/mnt|list:/mnt", r"/mnt|written|refused",
        "of rro and rrw the later word counts; crun stays read-only", rows="bind-recursive-taken-back",
    ),
    Difference(
        "crun", "mounts", r"^/mnt ", "crun does not apply nosymfollow to a bind mount",
        rows="bind-nosymfollow|bind-recursive-symfollow",
    ),
    Difference(
        "crun", "mounts", r"^/mnt ", "crun sets shared and unbindable only for the host's side",
        rows=r"bind-(shared|unbindable)|tmpfs-shared",
    ),
    # Resources
    Difference(
        "runc", "mounts", r"^/sys/fs/cgroup / tmpfs",
        "a cgroup mount that is to be read-only has a read-only tmpfs above its hierarchies; runc's is writable",
        rows="resources-.*",
    ),
    Difference(
        "crun", "mounts", r"^/sys/fs/cgroup / tmpfs", "as runc's; the tmpfs has another name and size",
        rows="resources-.*",
    ),
    Difference(
        "runc", "read:.*kmem.tcp.*", EVERY, "runc ignores memory.kernelTCP with a warning; the kernel has the limit",
        rows="resources-memory-tcp",
    ),
    Difference(
        "runc", "result", EVERY,
        "runc and crun take a limit on kernel memory that the kernel no longer has; here that is an error",
        rows="resources-memory-kernel",
    ),
    Difference(
        "crun", "result", EVERY,
        "runc and crun take a limit on kernel memory that the kernel no longer has; here that is an error",
        rows="resources-memory-kernel",
    ),
    Difference(
        "crun", "result", EVERY, "0 is no limit (runc); crun limits the container to nothing",
        rows="resources-memory-zero",
    ),
    Difference(
        "crun", "result", EVERY, "swappiness is 0 to 100 (config-linux.md); crun lets the kernel take more",
        rows="resources-memory-swappiness-too-high",
    ),
    Difference(
        "crun", "result", EVERY, "shares are 2 to 262144; crun lets the kernel change others in silence",
        rows="resources-cpu-shares-(below|beyond)",
    ),
    Difference(
        "runc", "read:.*devices.list", r"^c 10:200 rwm",
        "runc and crun let every container use /dev/net/tun, where one exists; here it takes a rule",
        rows="resources-devices-.*",
    ),
    Difference(
        "crun", "read:.*devices.list", r"^c 10:200 rwm",
        "runc and crun let every container use /dev/net/tun, where one exists; here it takes a rule",
        rows="resources-devices-.*",
    ),
    Difference(
        "runc", "read:.*devices.list", r"^c 10:200 r$",
        "here it takes a rule, and the rule is no more than it says", rows="resources-devices-read-only",
    ),
    Difference(
        "crun", "read:.*devices.list", r"^c 5:1 rwm",
        "crun lets every container use the machine's console; runc and ours give it its own terminal only",
        rows="resources-devices-.*",
    ),
    Difference(
        "crun", "read:.*devices.list", r"^c 10:200 r$",
        "here it takes a rule, and the rule is no more than it says", rows="resources-devices-read-only",
    ),
)  # fmt: skip
