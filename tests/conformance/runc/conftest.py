"""A bundle with a busybox root, and containers made from it that are removed whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pinnace.errors import Error
from pinnace.linux.kernel import KERNEL, PR_SET_CHILD_SUBREAPER
from pinnace.runc import container, native
from pinnace.runc.made import DEFAULTS, Options
from pinnace.spec import oci
from toolkit.build import bundle
from toolkit.debian import Archive

# Of this run alone: another one would remove it, empty, while a peer makes a group below it.
GROUP = f"pinnace-tests-{os.getpid()}"
APPLETS = [
    "sh",
    "cat",
    "chmod",
    "cp",
    "dd",
    "echo",
    "false",
    "grep",
    "head",
    "hostname",
    "id",
    "kill",
    "ls",
    "mkdir",
    "mknod",
    "mount",
    "ps",
    "readlink",
    "rm",
    "sleep",
    "stat",
    "stty",
    "test",
    "touch",
    "true",
    "tty",
    "umount",
    "wc",
]


@pytest.fixture(scope="session")
def busybox() -> Path:
    root = Archive("trixie", "amd64").unpack(["busybox-static"])
    return next(path for path in (root / "usr/bin/busybox", root / "bin/busybox") if path.exists())


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our bundle, unpacked as a board has it."""
    return bundle.unpack_here(tmp_path_factory.mktemp("release") / "files")


_BOTH_WAYS = {
    "test_attacks", "test_attacks_proc", "test_attacks_process", "test_attacks_races", "test_container",
}  # fmt: skip
"""Modules whose tests run with the native init and with Python's; the others with the native one, where it can."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "init_by" in metafunc.fixturenames:
        is_both = metafunc.module.__name__.rpartition(".")[2] in _BOTH_WAYS
        metafunc.parametrize(
            "init_by", ["native", "python"] if is_both else ["native"], indirect=True
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What undoes a defence, to see an attack succeed, undoes it in Python."""
    items[:] = [item for item in items if not _is_undone_natively(item)]


def _is_undone_natively(item: pytest.Item) -> bool:
    params = (getattr(item, "callspec", None) and item.callspec.params) or {}
    return params.get("init_by") == "native" and bool(params.get("undefended"))


@pytest.fixture
def init_by(request: pytest.FixtureRequest, release: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What runs between fork and exec: the native init or Python."""
    chosen = str(request.param)
    monkeypatch.setattr(
        native, "PROGRAM", str(release / "libexec/init") if chosen == "native" else ""
    )
    return chosen


@pytest.fixture(scope="session")
def keeper(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running keeper of that release; the path of its socket."""
    address = tmp_path_factory.mktemp("keeper") / "keeper.sock"
    with subprocess.Popen([release / "bin/pinnace-keeper", "--address", address]) as process:
        try:
            deadline = time.monotonic() + 20
            while not address.exists():
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield address
        finally:
            process.terminate()
            assert process.wait(10) == 0


class Ended:
    """What a finished process left: status as a shell gives it, and both outputs."""

    def __init__(self, status: int, output: str, error: str) -> None:
        self.status = status
        self.output = output
        self.error = error


class Box:
    """One bundle and its container."""

    def __init__(self, directory: Path, busybox: Path) -> None:
        self.bundle = directory / "bundle"
        self.root = self.bundle / "rootfs"
        self.state_root = str(directory / "state")
        self.id = f"pinnace-test-{os.getpid()}"
        (self.root / "bin").mkdir(parents=True)
        shutil.copy(busybox, self.root / "bin/busybox")
        for name in APPLETS:
            (self.root / "bin" / name).symlink_to("busybox")
        self.spec: dict[str, Any] = oci.default_spec(self.id, "pinnace-tests")
        self.spec["process"]["env"] = ["PATH=/bin"]
        self.spec["root"]["path"] = "rootfs"
        self.stdin = "/dev/null"
        self.files = [directory / name for name in ("output", "error")]

    def set_args(self, *args: str) -> None:
        self.spec["process"]["args"] = list(args)

    @property
    def linux(self) -> dict[str, Any]:
        found: dict[str, Any] = self.spec["linux"]
        return found

    def create(self, *args: str, options: Options = DEFAULTS) -> container.Created:
        if args:
            self.set_args(*args)
        (self.bundle / "config.json").write_text(json.dumps(self.spec))
        with self._streams() as stdio:
            return container.create(self.id, str(self.bundle), self.state_root, stdio, options)

    @contextlib.contextmanager
    def _streams(self) -> Iterator[container.Stdio]:
        fds = [os.open(self.stdin, os.O_RDONLY)]
        fds += [os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600) for path in self.files]
        try:
            yield container.Stdio(*fds)
        finally:
            for fd in fds:
                os.close(fd)

    def start(self) -> None:
        container.start(self.id, self.state_root)

    def run(self, *args: str) -> Ended:
        """Create, start, wait and delete."""
        made = self.create(*args)
        self.start()
        ended = self.ended(made.pid)
        container.delete(self.id, self.state_root)
        return ended

    def sh(self, script: str) -> Ended:
        return self.run("sh", "-c", script)

    def background(self, *args: str) -> int:
        made = self.create(*args)
        self.start()
        return made.pid

    def exec(self, *args: str, **process: Any) -> Ended:
        with self._streams() as stdio:
            shape = {**self.spec["process"], "args": list(args), **process}
            made = container.exec_(self.id, self.state_root, shape, stdio)
        return self.ended(made.pid)

    def ended(self, pid: int, seconds: float = 20.0) -> Ended:
        deadline = time.monotonic() + seconds
        while True:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                break
            assert time.monotonic() < deadline, "the process does not end"
            time.sleep(0.002)
        code = os.waitstatus_to_exitcode(status)
        texts = [path.read_text(errors="replace") for path in self.files]
        return Ended(code if code >= 0 else 128 - code, *texts)

    def state(self) -> dict[str, Any]:
        return container.state(self.id, self.state_root)

    def map_users(self) -> None:
        """Give the container a user namespace, whose root is the host's 100000."""
        self.linux["namespaces"].append({"type": "user"})
        mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        self.linux["uidMappings"] = self.linux["gidMappings"] = mapping
        for place in [self.root, *self.root.rglob("*")]:
            os.chown(place, 100000, 100000, follow_symlinks=False)
        # The mapped root must be able to walk to its bundle.
        for place in (self.bundle, *self.bundle.parents):
            if place.stat().st_uid == 0 and not place.stat().st_mode & 1:
                place.chmod(place.stat().st_mode | 0o11)

    def cgroups(self) -> list[str]:
        """Directories of this container's control groups that exist."""
        pattern = f"**/{GROUP}/{self.id}"
        return [str(path) for path in Path("/sys/fs/cgroup").glob(pattern)]


@pytest.fixture(autouse=True)
def _subreaper() -> Iterator[None]:
    """As a shim is: the containers' processes become children of the test."""
    KERNEL.prctl(PR_SET_CHILD_SUBREAPER, 1)
    yield
    KERNEL.prctl(PR_SET_CHILD_SUBREAPER, 0)


@pytest.fixture
def boxes(tmp_path: Path, busybox: Path, init_by: str) -> Iterator[Callable[[], Box]]:
    made: list[Box] = []

    def make() -> Box:
        place = tmp_path / str(len(made))
        place.mkdir()
        made.append(Box(place, busybox))
        made[-1].id += f"-{len(made)}"
        made[-1].linux["cgroupsPath"] = f"/{GROUP}/{made[-1].id}"
        return made[-1]

    yield make
    for box in made:
        with contextlib.suppress(Error):
            container.delete(box.id, box.state_root, force=True)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


@pytest.fixture
def box(boxes: Callable[[], Box]) -> Box:
    return boxes()
