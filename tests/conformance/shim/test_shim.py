"""Real shims, forked by a real keeper, with busybox in real containers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pinnace.daemon.shims import Connection, KeeperShims
from pinnace.errors import Error, Unavailable
from pinnace.keeper import leftovers
from pinnace.linux import cgroups, proc
from pinnace.linux.mount import unmount_all
from pinnace.spec import runtime
from toolkit.debian import Archive
from toolkit.paths import PROJECT, RUNTIME

pytestmark = [pytest.mark.root]
_COMMANDS = ("sh", "true", "sleep", "cat", "id", "tty", "tr", "kill")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system of busybox alone."""
    unpacked = Archive("bookworm", "amd64").unpack(["busybox-static"])
    programs = tmp_path_factory.mktemp("image") / "bin"
    programs.mkdir()
    shutil.copy(unpacked / "bin/busybox", programs / "busybox")
    for name in _COMMANDS:
        (programs / name).symlink_to("busybox")
    return programs.parent


@pytest.fixture(scope="module")
def shims(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeeperShims]:
    address = tmp_path_factory.mktemp("keeper") / "k.sock"
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT}:{RUNTIME}"}
    words = [sys.executable, "-m", "pinnace.keeper", "--address", str(address)]
    with subprocess.Popen([*words, "--preload", "pinnace.keeper.shim"], env=environment) as keeper:
        for _ in range(1000):
            if address.exists():
                break
            time.sleep(0.01)
        yield KeeperShims(str(address))
        keeper.terminate()


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    """Whatever a test came to, its shims end and its containers are removed."""
    yield
    while Container.made:
        container = Container.made.pop()
        with contextlib.suppress(Error):
            container.shim.call("shutdown")
        container.shim.close()
        leftovers.remove(str(container.state))
        unmount_all(str(container.bundle / "rootfs"))


class Container:
    """A container whose output is collected."""

    made: ClassVar[list[Container]] = []

    def __init__(self, shims: KeeperShims, image: Path, place: Path, *words: str, terminal: bool = False, resources: Mapping[str, Any] | None = None) -> None:  # fmt: skip
        self.cgroup = f"/pinnace-test-{os.getpid()}-{place.name}"
        self.bundle, self.state = place / "b", place / "s"
        for directory in (self.bundle / "rootfs", self.state, place / "upper", place / "work"):
            directory.mkdir(parents=True)
        spec = runtime.default_spec(self.cgroup)
        spec["process"].update(args=list(words), terminal=terminal)
        spec["linux"]["resources"].update(resources or {})
        (self.bundle / "config.json").write_text(json.dumps(spec))
        self.process = spec["process"]
        self.output, self._reader = self.collect(place / "out")
        self._ended = threading.Condition()
        self.events: list[str] = []
        self._exits: dict[str, Mapping[str, Any]] = {}
        address = shims.start("test", "box", str(self.bundle), str(self.state))
        self.shim = Connection(address, self._on_event, lambda: None)
        self.made.append(self)
        self.shim.call("subscribe")
        options = [f"lowerdir={image}", f"upperdir={place}/upper", f"workdir={place}/work"]
        root = {"type": "overlay", "source": "overlay", "target": "", "options": options}
        made = self.shim.call("create", rootfs=[root], options={}, stdin="", stdout=str(place / "out"), stderr="", terminal=terminal)  # fmt: skip
        self.pid = int(made["pid"])

    def collect(self, fifo: Path) -> tuple[list[bytes], threading.Thread]:
        os.mkfifo(fifo)
        parts: list[bytes] = []
        reader = threading.Thread(target=lambda: parts.append(fifo.read_bytes()))
        reader.start()
        return parts, reader

    def _on_event(self, event: Mapping[str, Any]) -> None:
        with self._ended:
            self.events.append(str(event["event"]))
            if event["event"] == "exit":
                self._exits[str(event.get("exec_id") or "")] = event
            self._ended.notify_all()

    def start(self) -> None:
        self.shim.call("start", exec_id="")

    def wait(self, exec_id: str = "") -> int:
        with self._ended:
            assert self._ended.wait_for(lambda: exec_id in self._exits, 20)
        return int(self._exits[exec_id]["status"])

    def finish(self) -> str:
        self._reader.join(10)
        self.shim.call("delete")
        assert self.is_gone()
        return self.output[0].decode()

    def lost(self) -> bool:
        """Whether the shim stops answering, within two seconds."""
        for _ in range(100):
            try:
                self.shim.call("state", exec_id=None)
            except Unavailable:
                return True
            time.sleep(0.02)
        return False

    def shim_pid(self) -> int:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(self.state / "shim.sock"))
            peer = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int(struct.unpack("3i", peer)[0])

    def is_gone(self) -> bool:
        """Neither control groups nor processes nor its state are left."""
        found = proc.stat(self.pid)
        return (
            not cgroups.find(self.cgroup).exists()
            and (found is None or found.state == "Z")
            and not (self.state / "runc/box").exists()
        )


def test_output_and_exit_status(shims: KeeperShims, image: Path, tmp_path: Path) -> None:
    container = Container(shims, image, tmp_path, "sh", "-c", "echo hello; exit 7")
    container.start()
    assert container.wait() == 7
    assert json.loads((container.state / "exit.json").read_text())["status"] == 7
    assert container.finish() == "hello\n"


def test_a_signal_is_128_and_its_number(shims: KeeperShims, image: Path, tmp_path: Path) -> None:
    container = Container(shims, image, tmp_path, "sleep", "100")
    container.start()
    container.shim.call("kill", exec_id="", signal=int(signal.SIGKILL), all=False)
    assert container.wait() == 137
    container.finish()


def test_memory_that_runs_out_is_told_before_the_exit(
    shims: KeeperShims, image: Path, tmp_path: Path
) -> None:
    limit = {"memory": {"limit": 16 << 20}}
    script = "x=$(cat /dev/zero | tr '\\0' x)"
    container = Container(shims, image, tmp_path, "sh", "-c", script, resources=limit)
    container.start()
    assert container.wait() == 137
    assert container.events[0] == "oom"
    assert container.events[-1] == "exit"
    container.finish()


def test_further_processes(shims: KeeperShims, image: Path, tmp_path: Path) -> None:
    container = Container(shims, image, tmp_path, "sleep", "100")
    container.start()
    output, reader = container.collect(tmp_path / "exec")
    process = {**container.process, "args": ["sh", "-c", "id -u; exit 4"]}
    streams = {"stdin": "", "stdout": str(tmp_path / "exec"), "stderr": "", "terminal": False}
    container.shim.call("exec", exec_id="one", process=process, **streams)
    container.shim.call("start", exec_id="one")
    assert container.wait("one") == 4
    reader.join(10)
    assert output == [b"0\n"]
    wrong = {**process, "args": ["nope"]}
    container.shim.call("exec", exec_id="two", process=wrong, **{**streams, "stdout": ""})
    with pytest.raises(Error, match=r'exec: "nope": executable file not found in \$PATH'):
        container.shim.call("start", exec_id="two")
    container.shim.call("kill", exec_id="", signal=9, all=False)
    container.wait()
    container.finish()


def test_a_terminal(shims: KeeperShims, image: Path, tmp_path: Path) -> None:
    container = Container(shims, image, tmp_path, "sh", "-c", "tty; exit 5", terminal=True)
    container.start()
    assert container.wait() == 5
    assert container.finish() == "/dev/pts/0\r\n"


def test_what_a_killed_shim_leaves_is_removed(
    shims: KeeperShims, image: Path, tmp_path: Path
) -> None:
    container = Container(shims, image, tmp_path, "sleep", "100")
    container.start()
    os.kill(container.shim_pid(), signal.SIGKILL)
    assert container.lost()
    assert proc.stat(container.pid) is not None
    leftovers.remove(str(container.state))
    for _ in range(100):
        if container.is_gone():
            break
        time.sleep(0.02)
    assert container.is_gone()
    assert not os.path.ismount(container.bundle / "rootfs")


def test_a_program_that_is_not_there_leaves_nothing(
    shims: KeeperShims, image: Path, tmp_path: Path
) -> None:
    with pytest.raises(Error, match=r'exec: "nope": executable file not found in \$PATH'):
        Container(shims, image, tmp_path, "nope")
    assert not os.path.ismount(tmp_path / "b/rootfs")
    assert not list(Path("/sys/fs/cgroup").glob(f"*/pinnace-test-{os.getpid()}-{tmp_path.name}"))
