"""What runs between fork and exec: the container's first process, in two stages.

Stage one enters the namespaces and forks; the child, stage two, is the first in the pid
namespace. It makes the root, waits for ``start``, and becomes the container's program.

From the pivot on every file name means the container's files. So nothing may be imported, no
library loaded and no host fact looked up after it: ``_forget_imports`` makes an import fail
instead of running an image's code as root.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from typing import NoReturn

from pinnace.errors import Error
from pinnace.linux import net
from pinnace.linux.kernel import PR_SET_DUMPABLE
from pinnace.runc import devices, namespaces, notify, rootfs, scheduling, sysctl, terminal
from pinnace.runc.channel import Channel, error_record
from pinnace.runc.hooks import run_inside
from pinnace.runc.launch import FIRST_OTHER, Launch
from pinnace.runc.process import Prepared, prepare

_SIGNALS = tuple(
    int(number) for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
)


def run(stage: Callable[[Launch], None], launch: Launch) -> NoReturn:
    """Run a stage in a fresh child; whatever goes wrong is told to the creator."""
    try:
        reset_signals()
        stage(launch)
    except BaseException as problem:
        with contextlib.suppress(OSError):
            launch.channel.send(error_record(problem))
    finally:
        os._exit(1)


def reset_signals() -> None:
    """Default actions and nothing blocked: both are inherited through exec.

    Python ignores SIGPIPE and SIGXFSZ; a container's shell would ignore them, too.
    """
    for number in _SIGNALS:
        if signal.getsignal(number) not in (signal.SIG_DFL, None):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def stage_one(launch: Launch) -> None:
    """Enter the namespaces, fork stage two and report its pid."""
    kernel, plan = launch.kernel, launch.plan
    if plan is None:
        raise Error("no namespaces planned")
    kernel.prctl(PR_SET_DUMPABLE, 0)
    _close_others(launch, plan.joined.values())
    plan.join_foreign(kernel)
    if plan.make_user(kernel):
        # What an undumpable process has in /proc is root's: a creator who is not could write no map.
        # Nobody else is in the new namespace yet.
        kernel.prctl(PR_SET_DUMPABLE, 1 if launch.by_user else 0)
        launch.channel.send({"mappings": os.getpid()})
        launch.channel.expect("mapped")
        kernel.prctl(PR_SET_DUMPABLE, 0)
    plan.join(kernel)
    has_user = "user" in plan.own()
    if has_user:
        become_root()
    plan.make_others(kernel)
    fork_stage_two(stage_two, launch, in_user_namespace=has_user)


def only_stage(launch: Launch) -> None:
    """For a process that was forked into the pid namespace: enter the others, be stage two."""
    kernel, plan = launch.kernel, launch.plan
    if plan is None:
        raise Error("no namespaces planned")
    kernel.prctl(PR_SET_DUMPABLE, 0)
    _close_others(launch, plan.joined.values())
    plan.join(kernel)
    plan.make_others(kernel)
    stage_two(launch)


def fork_stage_two(
    stage: Callable[[Launch], None], launch: Launch, *, in_user_namespace: bool
) -> NoReturn:
    """Fork, so that pid and time namespaces take effect, and report the child's pid.

    ``inside`` says that the child needs no help to get into its control group.
    """
    entry = launch.entry
    child = (
        os.fork() if entry is None else entry.fork(launch.kernel, with_rights=not in_user_namespace)
    )
    if child == 0:
        run(stage, launch)
    try:
        launch.channel.send({"pid": child, "inside": entry is not None and entry.is_inside})
    except OSError:
        os.kill(child, signal.SIGKILL)  # nobody knows of it, and it would wait to be known
        raise
    os._exit(0)


def _close_others(launch: Launch, needed: Iterable[int]) -> None:
    """Close every descriptor of the creator but those needed here.

    A container that waits for its start would hold the creator's connections open, and a
    descriptor of a host directory is a way out (CVE-2024-21626).
    """
    first = 0
    for fd in sorted({*launch.needed(), *needed}):
        if first < fd:  # closerange(0, 0) of CPython 3.11 closes everything
            os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))


def become_root() -> None:
    """Be root of the user namespace just entered."""
    with contextlib.suppress(PermissionError):
        os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def stage_two(launch: Launch) -> None:
    """Make the container around this process, report, wait for start, become the program."""
    if launch.plan is None or launch.listener is None:
        raise Error("no namespaces planned")
    launch.kernel.prctl(PR_SET_DUMPABLE, 0)
    os.setsid()
    if launch.keyring:
        launch.labels.begin_keyring()
        launch.kernel.new_session_keyring()
    os.umask(0)
    os.environ.clear()
    launch.kernel.set_process_name("pinnace:init")
    _name_and_network(launch)
    waiting = _Waiting(launch)
    slave = _make_root(launch, waiting)
    waiting()
    set_stdio(launch, slave)
    launch.kernel.cloexec_from(launch.first_other())
    prepared = _prepare(launch)
    launch.channel.send({"ready": True})
    launch.channel.expect("created")
    # Closing the creator's line now lets it see our end as the end of the connection below.
    launch.channel.close()
    launch.channel = _wait_for_start(launch.listener)
    run_inside(launch.spec, "startContainer", {**launch.told, "status": "created"})
    prepared.execute()


def _prepare(launch: Launch) -> Prepared:
    """The last steps before the program, the same for the first and for a further process."""
    if launch.scheduling is not None:
        launch.scheduling.apply()
    return prepare(launch.kernel, launch.process, launch.privileges, lambda: _load_filter(launch))


def _load_filter(launch: Launch) -> None:
    """Load the seccomp filter, if there is one; who is at the other end gets its listener."""
    if launch.privileges.filter is not None:
        notify.load(launch.kernel, launch.privileges.filter, launch.channel)


class _Waiting:
    """Enters the control group, once, and waits until the creator has done its part."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._done = False

    def __call__(self) -> None:
        if not self._done and self._launch.plan is not None:
            if self._launch.entry is not None:
                self._launch.entry.enter()
            self._launch.channel.send({"waiting": True})
            self._launch.channel.expect("joined")
            self._launch.plan.make_cgroup(self._launch.kernel)
            self._done = True


def _name_and_network(launch: Launch) -> None:
    plan, spec = launch.plan, launch.spec
    made = plan.made if plan else set()
    if "network" in made:
        net.loopback_up()
    if spec.get("hostname"):
        if "uts" not in (plan.own() if plan else ()):
            raise Error("unable to set hostname without a private UTS namespace")
        launch.kernel.sethostname(spec["hostname"])
    if spec.get("domainname"):
        if "uts" not in (plan.own() if plan else ()):
            raise Error("unable to set domainname without a private UTS namespace")
        launch.kernel.setdomainname(spec["domainname"])


def _make_root(launch: Launch, waiting: Callable[[], None]) -> int | None:
    """The root, from prepare to pivot; the terminal's slave, if there is to be one."""
    kernel, spec = launch.kernel, launch.spec
    linux = spec.get("linux") or {}
    root = rootfs.prepare(kernel, spec, launch.bundle)
    rootfs.fill(kernel, root, spec, launch.bundle, launch.cgroup, waiting, launch.trees)
    slave = None
    if launch.process.get("terminal"):
        slave = _open_terminal(launch, root.fd)
        terminal.bind_console(kernel, root, slave)
    if (spec.get("hooks") or {}).get("createContainer"):
        waiting()
        run_inside(spec, "createContainer", launch.told)
    if linux.get("sysctl"):
        sysctl.apply(linux["sysctl"], launch.plan.own() if launch.plan else set())
    with contextlib.suppress(OSError), root.directory(launch.process["cwd"]):
        pass  # made if it is missing; going there tells why it can't be
    launch.labels.apply()
    rootfs.protect(kernel, root, spec, nodev=launch.no_devices)
    _forget_imports()
    if launch.pivot:
        rootfs.pivot(kernel, root)
    else:
        rootfs.move(kernel, root)
    rootfs.propagate(kernel, spec)
    return slave


def _open_terminal(launch: Launch, root_fd: int) -> int:
    master, slave = terminal.open_pair(launch.kernel, root_fd)
    size = launch.process.get("consoleSize") or {}
    if size.get("width"):
        terminal.resize(master, int(size["width"]), int(size.get("height") or 0))
    launch.channel.send({"terminal": True}, (master,))
    os.close(master)
    return slave


def set_stdio(launch: Launch, slave: int | None) -> None:
    """Put the process's own standard input, output and error in place."""
    if slave is not None:
        terminal.take(slave)
    elif launch.stdio is not None:
        # Through fresh numbers first: a source may itself be one of 0, 1, 2.
        copies = [os.dup(fd) for fd in launch.stdio]
        for number, copy in enumerate(copies):
            os.dup2(copy, number)
        _replace_null()


def _replace_null() -> None:
    """Use the container's /dev/null where a stream is the host's: root inside could change its
    mode or owner for everybody. Raises Error when the container has none."""
    streams = [number for number in range(FIRST_OTHER) if devices.is_null(number)]
    if not streams:
        return
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        null = os.open("/dev/null", flags)
    except OSError as problem:
        raise Error(f"/dev/null of the container: {problem.strerror}") from None
    if not devices.is_null(null):
        raise Error("/dev/null of the container is not the null device")
    os.set_blocking(null, True)
    for number in streams:
        os.dup2(null, number)
    os.close(null)


def _forget_imports() -> None:
    sys.path[:] = []
    sys.meta_path[:] = []
    sys.path_hooks[:] = []
    sys.path_importer_cache.clear()


def _wait_for_start(listener: socket.socket) -> Channel:
    """Wait for the one that starts the container; errors from now on are told to it."""
    while True:
        connection, _ = listener.accept()
        if connection.recv(16):
            return Channel(connection)
        connection.close()


def exec_stage_one(launch: Launch, held: dict[str, int]) -> None:
    """For a further process: enter the namespaces of the container, fork, report the pid."""
    launch.kernel.prctl(PR_SET_DUMPABLE, 0)
    scheduling.set_affinity(launch.affinity.initial)
    _close_others(launch, held.values())
    # On the host's /proc; what is forked and executed from here on inherits it.
    launch.labels.begin_keyring()
    launch.labels.apply()
    _forget_imports()
    # Not the cgroup namespace yet: from inside, the way into the container's group looks forbidden.
    later = {kind: fd for kind, fd in held.items() if kind == "cgroup"}
    namespaces.enter(launch.kernel, {kind: fd for kind, fd in held.items() if kind not in later})
    if "user" in held:
        become_root()
    fork_stage_two(lambda it: exec_stage_two(it, later), launch, in_user_namespace="user" in held)


def exec_stage_two(launch: Launch, held: dict[str, int]) -> None:
    """Become the further process; errors are told before the connection ends without a word."""
    launch.kernel.prctl(PR_SET_DUMPABLE, 0)
    namespaces.enter(launch.kernel, held)
    os.setsid()
    launch.kernel.new_session_keyring()
    os.umask(0)
    os.environ.clear()
    slave = None
    if launch.process.get("terminal"):
        root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        slave = _open_terminal(launch, root)
    if launch.entry is not None:
        launch.entry.enter()
    launch.channel.expect("joined")
    scheduling.set_affinity(launch.affinity.final)
    set_stdio(launch, slave)
    launch.kernel.cloexec_from(launch.first_other())
    prepared = _prepare(launch)
    launch.channel.send({"ready": True})
    prepared.execute()
