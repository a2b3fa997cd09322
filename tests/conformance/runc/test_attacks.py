"""Hostile images and configurations: each test is an attack that another runtime once fell for."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pinnace.errors import Error, InvalidArgument
from pinnace.linux.cgroups.v1 import LegacyCgroup
from pinnace.runc import container, init, process
from tests.conformance.runc.conftest import Box

pytestmark = pytest.mark.root


def _bind(box: Box, source: Path, target: str, *options: str) -> None:
    box.spec["mounts"].append(
        {
            "destination": target,
            "type": "bind",
            "source": str(source),
            "options": ["bind", *options],
        }
    )


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A directory of the host that no container may reach."""
    place = tmp_path / "host"
    place.mkdir()
    (place / "secret").write_text("secret")
    return place


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    place = tmp_path / "volume"
    place.mkdir()
    (place / "marker").write_text("volume")
    return place


def test_a_mount_target_that_is_an_absolute_symlink(box: Box, host: Path, volume: Path) -> None:
    """CVE-2021-30465: the link counts from the container's root, never the host's."""
    (box.root / "data").symlink_to(host)
    _bind(box, volume, "/data")
    ended = box.run("cat", f"{host}/marker")
    assert ended.output == "volume"
    assert (host / "secret").exists()
    assert not (host / "marker").exists()


def test_a_mount_target_that_climbs_out(box: Box, host: Path, volume: Path) -> None:
    climb = "../" * 40 + str(host).lstrip("/")
    (box.root / "data").symlink_to(climb)
    _bind(box, volume, f"/data/{climb}/made")
    box.run("true")
    assert os.listdir(host) == ["secret"]


def test_a_masked_path_is_not_masked_with_the_images_null(box: Box) -> None:
    """CVE-2025-31133: the container's /dev/null may be a link to what shall be shown."""
    box.spec["mounts"] = [each for each in box.spec["mounts"] if each["destination"] != "/dev"]
    (box.root / "dev").mkdir()
    (box.root / "dev/null").symlink_to("/proc/sys/kernel/core_pattern")
    box.linux["maskedPaths"] = ["/proc/timer_list"]
    box.stdin = "/proc/version"  # a stream to nowhere would have been refused already
    box.background("sleep", "100")
    ended = box.exec("stat", "-c", "%t:%T", "/proc/timer_list")
    assert ended.output.strip() == "1:3"


def test_dev_links_of_the_image_reach_nothing_outside(box: Box, host: Path) -> None:
    """CVE-2025-52565: nothing is made or mounted where an image's /dev/console points."""
    box.spec["mounts"] = [each for each in box.spec["mounts"] if each["destination"] != "/dev"]
    (box.root / "dev").mkdir()
    (box.root / "dev/console").symlink_to(host / "console")
    box.spec["process"]["terminal"] = True
    with pytest.raises(Error, match="dangling symlink"):
        box.create("true")
    assert os.listdir(host) == ["secret"]


@pytest.fixture
def shared_volume(volume: Path) -> Iterator[Path]:
    """A volume on a shared mount, as every mount of a machine with systemd is."""
    subprocess.run(["mount", "--bind", volume, volume], check=True)
    try:
        subprocess.run(["mount", "--make-shared", volume], check=True)
        yield volume
    finally:
        subprocess.run(["umount", "--recursive", volume], check=True)


@pytest.mark.parametrize("mapped", [False, True])
def test_what_is_mounted_in_a_volume_stays_inside(
    box: Box, shared_volume: Path, mapped: bool
) -> None:
    """A mount with shifted owners is a copy of the host's, made outside: that must not be its peer."""
    (shared_volume / "inner").mkdir()
    _bind(box, shared_volume, "/volume", "bind")
    if mapped:
        ids = [{"containerID": 0, "hostID": 1000, "size": 1000}]
        box.spec["mounts"][-1] |= {"uidMappings": ids, "gidMappings": ids}
    for kind in ("bounding", "effective", "permitted"):
        box.spec["process"]["capabilities"][kind] = ["CAP_SYS_ADMIN"]
    box.background("sleep", "100")
    assert box.exec("mount", "-t", "tmpfs", "none", "/volume/inner").status == 0
    assert "tmpfs" in box.exec("grep", "/volume/inner", "/proc/1/mountinfo").output
    assert str(shared_volume / "inner") not in Path("/proc/self/mountinfo").read_text()


@pytest.mark.parametrize("lowest", [3, 20, 100])
def test_a_working_directory_in_a_leaked_descriptor(box: Box, host: Path, lowest: int) -> None:
    """CVE-2024-21626: /proc/self/fd/N of a host directory as cwd."""
    first = os.open(host, os.O_RDONLY)
    leaked = fcntl.fcntl(first, fcntl.F_DUPFD, lowest)
    try:
        box.spec["process"]["cwd"] = f"/proc/self/fd/{leaked}"
        with pytest.raises(Error, match=r"cwd|current working directory"):
            box.create("cat", "secret")
    finally:
        os.close(first)
        os.close(leaked)


def test_an_exec_with_a_leaked_descriptor(box: Box, host: Path) -> None:
    leaked = os.open(host, os.O_RDONLY)
    os.set_inheritable(leaked, True)
    box.background("sleep", "100")
    try:
        with pytest.raises(Error, match=r"cwd|current working directory"):
            box.exec("cat", "secret", cwd=f"/proc/self/fd/{leaked}")
        assert box.exec("ls", "/proc/self/fd").output.split() == ["0", "1", "2", "3"]
    finally:
        os.close(leaked)


def test_python_modules_of_the_image_are_never_imported(
    box: Box, init_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between pivot and exec the host's interpreter runs with the image's files.

    Stands for any import that is forgotten there: it must fail, not run the image's code as root.
    """
    if init_by == "native":
        pytest.skip("no Python, no modules")
    for place in {entry for entry in sys.path if entry.startswith("/")}:
        if os.path.isdir(place):
            inside = box.root / place.lstrip("/")
            inside.mkdir(parents=True, exist_ok=True)
            (inside / "pinnace_trap.py").write_text("open('/owned', 'w').close()")
    prepare = process.prepare

    def forgetful(*args: Any) -> Any:
        importlib.import_module("pinnace_trap")
        return prepare(*args)

    monkeypatch.setattr(init, "prepare", forgetful)
    with pytest.raises(Error, match="pinnace_trap"):
        box.create("true")
    assert not (box.root / "owned").exists()


@pytest.mark.parametrize("kind", ["endless", "pipe", "directory", "zeros"])
def test_a_list_of_users_that_is_none(box: Box, kind: str) -> None:
    """Who looks a home directory up there reads what the image wants to be read, for as long as it wants."""
    (box.root / "etc").mkdir()
    place = box.root / "etc/passwd"
    if kind == "endless":
        os.mknod(place, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "directory":
        place.mkdir()
    else:
        place.write_bytes(b"\0" * 5_000_000)
    assert box.sh("echo $HOME").output == "/\n"


def test_the_home_directory_is_that_of_the_containers_list(box: Box) -> None:
    (box.root / "etc").mkdir()
    lines = [
        "broken",
        "other:x:1:1::/other:/bin/sh",
        "",
        "me:x:0:0:Me:/home/me:/bin/sh",
        "me:x:0:0::/late:",
    ]
    (box.root / "etc/passwd").write_text("\n".join(lines))
    assert box.sh("echo $HOME").output == "/home/me\n"


def test_the_runtime_in_proc_is_out_of_reach(box: Box) -> None:
    """CVE-2019-5736: a container waits for the runtime to join, and opens its /proc/PID/exe.

    The loop looks at every process that appears while further processes are started.
    """
    script = (
        "while :; do for p in /proc/[0-9]*; do case $p in /proc/1|/proc/$$) ;; *)"
        " t=$(readlink $p/exe 2>/dev/null); case $t in ''|/bin/busybox) ;; *) echo $t >> /seen ;; esac ;;"
        " esac; done; done"
    )
    box.background("sh", "-c", script)
    for _ in range(30):
        assert box.exec("true").status == 0
    assert not (box.root / "seen").exists()


def test_running_proc_self_exe_is_running_the_containers_own(box: Box) -> None:
    """The other half of CVE-2019-5736: an entry point that is the runtime itself."""
    (box.root / "entry").write_text("#!/proc/self/exe\n")
    (box.root / "entry").chmod(0o755)
    before = os.stat(sys.executable)
    with_exe = [["/proc/self/exe"], ["/entry"]]
    for args in with_exe:
        try:
            made = box.create(*args)
            box.start()
        except Error:
            pass
        else:
            box.ended(made.pid)
        container.delete(box.id, box.state_root, force=True)
    after = os.stat(sys.executable)
    assert (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size)


def _device() -> tuple[int, int]:
    """A harmless character device that this process can open and that no container gets."""
    for path in ("/dev/fuse", "/dev/net/tun", "/dev/loop-control", "/dev/kmsg"):
        try:
            os.close(os.open(path, os.O_RDONLY))
        except OSError:
            continue
        device = os.stat(path).st_rdev
        return os.major(device), os.minor(device)
    pytest.skip("this machine has no device that root may open")


def test_a_device_file_in_the_image_opens_nothing(box: Box) -> None:
    os.mknod(box.root / "device", stat.S_IFCHR | 0o666, os.makedev(*_device()))
    ended = box.sh(": < /device && echo opened")
    assert ended.output == ""
    assert "not permitted" in ended.error


def test_a_device_file_made_inside_opens_nothing(box: Box) -> None:
    major, minor = _device()
    ended = box.sh(f"mknod /dev/mine c {major} {minor}; : < /dev/mine && echo opened")
    assert ended.output == ""


def test_devices_are_out_of_reach_without_a_devices_controller(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on cgroup v2: the root is nodev, and device files can't be made."""
    monkeypatch.setattr(LegacyCgroup, "limits_devices", lambda _: False)
    major, minor = _device()
    os.mknod(box.root / "device", stat.S_IFCHR | 0o666, os.makedev(major, minor))
    script = f"mknod /dev/mine c {major} {minor} && echo made; (: < /device) && echo opened; : > /dev/null && echo null"
    ended = box.sh(script)
    assert ended.output == "null\n"
    box.background("sleep", "100")
    assert box.exec("sh", "-c", script).output == "null\n"


def test_the_start_socket_is_roots_alone(box: Box) -> None:
    box.create("true")
    directory = Path(box.state_root, box.id)
    assert stat.S_IMODE((directory / "start.sock").stat().st_mode) & 0o077 == 0


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../x", "", "a\0b", "-" * 2000])
def test_an_id_is_never_a_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidArgument):
        container.state(name, str(tmp_path))


def test_a_cgroup_path_does_not_climb(box: Box) -> None:
    box.linux["cgroupsPath"] = f"/pinnace-tests/x/../../../../{box.id}"
    box.linux["resources"]["pids"] = {"limit": 9}
    pid = box.background("sleep", "100")
    assert f"/{box.id}" in Path(f"/proc/{pid}/cgroup").read_text()
    assert ".." not in Path(f"/proc/{pid}/cgroup").read_text()


def test_the_passwd_of_an_image_is_not_a_trap(box: Box, host: Path) -> None:
    """A FIFO would block for ever, a link to the host would read it."""
    (box.root / "etc").mkdir()
    os.mkfifo(box.root / "etc/passwd")
    assert box.sh("echo $HOME").output == "/\n"


@pytest.mark.parametrize("way", ["cold", "warm"])
def test_the_interpreter_cannot_be_written_to(
    box: Box, release: Path, keeper: Path, way: str
) -> None:
    """CVE-2019-5736 from the side of who got hold of /proc/PID/exe."""
    words = [str(release / "bin/runc"), "--root", box.state_root]
    box.set_args("sleep", "100")
    (box.bundle / "config.json").write_text(json.dumps(box.spec))
    environment = {**os.environ, "PINNACE_KEEPER": str(keeper) if way == "warm" else ""}
    # Through the keeper the runtime itself is looked at: it waits for its container.
    command = ["run" if way == "warm" else "create", box.id]
    with subprocess.Popen([*words, *command], cwd=box.bundle, env=environment) as running:
        pid = _runtime_process(box, running.pid, way)
        fd = os.open(f"/proc/{pid}/exe", os.O_RDONLY)
        try:
            size = os.fstat(fd).st_size
            for path in (f"/proc/{pid}/exe", f"/proc/self/fd/{fd}"):
                # To the length that it has: should the attack succeed, nothing is lost.
                with pytest.raises(OSError, match=r"Read-only|not permitted"):
                    os.truncate(path, size)
            container.kill(box.id, box.state_root, "KILL")
        finally:
            os.close(fd)


def _runtime_process(box: Box, launcher: int, way: str) -> int:
    """A process of the runtime: the one that waits to become the program, or the one that waits for that."""
    deadline = time.monotonic() + 20
    wanted = "created" if way == "cold" else "running"
    while True:
        with contextlib.suppress(Error):
            if box.state()["status"] == wanted:
                break
        assert time.monotonic() < deadline
        time.sleep(0.01)
    pid = int(box.state()["pid"])
    if way == "cold":
        return pid
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])
