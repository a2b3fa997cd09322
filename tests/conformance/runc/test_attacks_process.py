"""Attacks through the process that the runtime is on its way into a container, and through what it inherits.

Each is also carried out ``undefended``, to see that it is one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinnace.errors import Error
from pinnace.linux import libc, sealed
from pinnace.linux.kernel import PR_SET_DUMPABLE, Kernel
from pinnace.runc import executable, native, process
from pinnace.runc.made import Options
from tests.conformance.runc.attacker import both
from tests.conformance.runc.conftest import Box
from toolkit.paths import RUNTIME

pytestmark = pytest.mark.root


@both
def test_the_joining_process_can_not_be_looked_into(
    box: Box, undefended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CVE-2016-9962: root inside reaches the host through descriptors and program of who joins it.

    The joining process is held up where it already has no more rights than the container's own.
    """
    find = executable.find

    def slow(name: str, environment: dict[str, str]) -> str:
        time.sleep(0.5)
        return find(name, environment)

    if undefended:
        _leave_out(monkeypatch, PR_SET_DUMPABLE)
    script = (
        "while :; do for p in /proc/[0-9]*; do case $p in /proc/1|/proc/$$) ;; *)"
        " readlink $p/exe >> /seen 2>/dev/null ;; esac; done; done"
    )
    box.background("sh", "-c", script)
    monkeypatch.setattr(executable, "find", slow)
    assert box.exec("true").status == 0
    seen = (box.root / "seen").read_text() if (box.root / "seen").exists() else ""
    assert ("python" in seen) is undefended


def _leave_out(monkeypatch: pytest.MonkeyPatch, option: int) -> None:
    """The runtime without one prctl(2)."""
    real = Kernel.prctl

    def prctl(kernel: Kernel, number: int, first: int = 0, second: int = 0) -> int:
        return 0 if number == option else real(kernel, number, first, second)

    monkeypatch.setattr(Kernel, "prctl", prctl)


_RUN_SEALED = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pinnace.linux import sealed
if sys.argv[2] == "sealed":
    sealed.run_from_memory()
print("ready", flush=True)
sys.stdin.read()
"""


@both
def test_the_runtimes_program_can_not_be_written(tmp_path: Path, undefended: bool) -> None:
    """CVE-2019-5736: the attacker holds /proc/PID/exe and writes to it once nobody runs it."""
    program = tmp_path / "python"
    shutil.copy(os.path.realpath(sys.executable), program)
    word = "plain" if undefended else "sealed"
    running = subprocess.Popen(
        [program, "-c", _RUN_SEALED, str(RUNTIME), word],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONHOME": sys.base_prefix},
    )  # fmt: skip
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    held = os.open(f"/proc/{running.pid}/exe", os.O_PATH)
    running.communicate()
    try:
        with open(f"/proc/self/fd/{held}", "r+b", buffering=0) as file:
            written = file.write(b"#!/owned")
    except OSError:
        written = 0
    finally:
        os.close(held)
    assert bool(written) is undefended


@both
def test_the_native_init_can_not_be_written(
    tmp_path: Path, release: Path, undefended: bool
) -> None:
    """CVE-2019-5736, for the program that runs in the place of the interpreter."""
    program = tmp_path / "init"
    shutil.copy(release / "libexec/init", program)
    sealing = os.open(program, os.O_RDONLY) if undefended else sealed.open_program(str(program))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    steps = os.memfd_create("steps")
    description = native.Description()
    description.add("tell", '{"ready":true}')
    description.add("expect", "never")
    os.write(steps, description.data())
    fds = (theirs.fileno(), steps, sealing)
    with ours, theirs:
        running = subprocess.Popen(
            [f"/proc/self/fd/{sealing}", str(fds[0]), str(steps)], pass_fds=fds
        )
        assert ours.recv(64) == b'{"ready":true}'
        held = os.open(f"/proc/{running.pid}/exe", os.O_PATH)
    running.wait(10)
    try:
        with open(f"/proc/self/fd/{held}", "r+b", buffering=0) as file:
            written = file.write(b"#!/owned")
    except OSError:
        written = 0
    finally:
        for fd in (held, steps, sealing):
            os.close(fd)
    assert bool(written) is undefended


@pytest.fixture
def host_python(box: Box) -> tuple[str, ...]:
    """Words that run the host's interpreter inside, with the runtime's modules."""
    shape = {"destination": "/host", "type": "bind", "source": "/"}
    box.spec["mounts"].append({**shape, "options": ["rbind", "ro"]})
    (box.root / "bin/env").symlink_to("busybox")
    (box.root / "bin/chroot").symlink_to("busybox")
    return ("chroot", "/host", "/usr/bin/env", f"PYTHONPATH={RUNTIME}", sys.executable, "-c")


_KEYRING = "import pinnace.linux.libc as l; print(l.syscall('keyctl', l.SYS_KEYCTL, 0, -3, 0))"


@both
def test_the_hosts_session_keyring_stays_outside(
    box: Box, host_python: tuple[str, ...], undefended: bool
) -> None:
    """Keys of who runs the runtime are his; ``--no-new-keyring`` is the caller's wish to share them."""
    try:
        mine = libc.syscall("keyctl", libc.SYS_KEYCTL, 0, -3, 0)
    except OSError:
        pytest.skip("this kernel has no keys")
    box.set_args(*host_python, _KEYRING)
    options = Options(keyring=not undefended)
    made = box.create(options=options)
    box.start()
    ended = box.ended(made.pid)
    assert (int(ended.output) == mine) is undefended, ended.error


_GROUP = 54321
_set_groups = os.setgroups  # a test without the defence has another one in its place


@pytest.fixture
def member() -> Iterator[None]:
    """Who runs the runtime is in one more group."""
    before = os.getgroups()
    _set_groups([*before, _GROUP])
    yield
    _set_groups(before)


@both
@pytest.mark.parametrize("namespaced", [False, True], ids=["host-users", "mapped-users"])
def test_the_runtimes_groups_stay_outside(
    box: Box, member: None, namespaced: bool, undefended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container is in no group of who made it: what only that group may read stays closed."""
    secret = box.bundle / "secret"
    secret.write_text("secret")
    os.chown(secret, 0, _GROUP)
    secret.chmod(0o040)
    shape = {"destination": "/secret", "type": "bind", "source": str(secret)}
    (box.root / "secret").touch()
    box.spec["mounts"].append({**shape, "options": ["bind"]})
    box.spec["process"]["user"] = {"uid": 1000, "gid": 1000}
    if namespaced:
        box.map_users()
    if undefended:
        monkeypatch.setattr(os, "setgroups", lambda _: None)
    ended = box.run("cat", "/secret")
    assert (ended.output == "secret") is undefended, ended.error


def test_ids_that_are_not_mapped_can_not_be_taken(box: Box) -> None:
    """user_namespaces(7): neither a user nor a group of the host from inside."""
    box.map_users()
    box.spec["process"]["user"] = {"uid": 0, "gid": 0, "additionalGids": [70000]}
    with pytest.raises(Error, match=r"Invalid argument|not mapped"):
        box.create("true")


_NET_RAW = 1 << 13
# struct vfs_cap_data (include/uapi/linux/capability.h), version 2, effective: inheritable NET_RAW.
_INHERITABLE = struct.pack("<5I", 0x02000001, 0, _NET_RAW, 0, 0)


@both
def test_capabilities_are_not_inheritable(box: Box, undefended: bool) -> None:
    """CVE-2022-29162: a file's inheritable capabilities raise an ordinary user's rights."""
    program = box.root / "bin/busybox-raised"
    shutil.copy(box.root / "bin/busybox", program)
    os.setxattr(program, "security.capability", _INHERITABLE)
    configured = box.spec["process"]
    configured |= {"noNewPrivileges": False, "user": {"uid": 1000, "gid": 1000}}
    if undefended:
        configured["capabilities"]["inheritable"] = ["CAP_NET_RAW"]
    box.background("sleep", "100")
    status = box.exec(
        "sh", "-c", "busybox-raised grep -e CapInh -e CapPrm /proc/self/status"
    ).output
    sets = dict(line.split(":\t") for line in status.splitlines())
    wanted = _NET_RAW if undefended else 0
    assert {name: int(value, 16) for name, value in sets.items()} == {
        "CapInh": wanted, "CapPrm": wanted,
    }  # fmt: skip


_FIRST = 3


@pytest.fixture
def leaked(tmp_path: Path) -> Iterator[int]:
    """A directory of the host that who runs the runtime has open, not close-on-exec.

    The first one that can be preserved, in the place of pytest's own: below another there may be some that are not open.
    """
    (tmp_path / "leak").mkdir()
    (tmp_path / "leak/secret").write_text("secret")
    kept = fcntl.fcntl(_FIRST, fcntl.F_DUPFD_CLOEXEC, _FIRST)
    fd = os.open(tmp_path / "leak", os.O_RDONLY)
    os.dup2(fd, _FIRST)
    os.close(fd)
    yield _FIRST
    os.dup2(kept, _FIRST, inheritable=False)
    os.close(kept)


@both
def test_leaked_descriptors_reach_nothing(box: Box, leaked: int, undefended: bool) -> None:
    """CVE-2024-21626, through /proc/self/fd of the program itself; ``--preserve-fds`` is the caller's wish."""
    box.set_args("sh", "-c", f"cat /proc/self/fd/{leaked}/secret")
    made = box.create(options=Options(preserve_fds=leaked - 2 if undefended else 0))
    box.start()
    assert (box.ended(made.pid).output == "secret") is undefended


@both
def test_a_directory_of_the_image_that_leads_to_a_descriptor(
    box: Box, leaked: int, undefended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CVE-2024-21626, through a link in the image as the working directory, with the descriptor there."""
    (box.root / "work").symlink_to(f"/proc/self/fd/{leaked}")
    box.spec["process"]["cwd"] = "/work"
    box.set_args("cat", "secret")
    options = Options(preserve_fds=leaked - 2)
    if not undefended:
        with pytest.raises(Error, match="outside of container mount namespace root"):
            box.create(options=options)
        return
    monkeypatch.setattr(process, "_change_directory", os.chdir)
    made = box.create(options=options)
    box.start()
    assert box.ended(made.pid).output == "secret"
