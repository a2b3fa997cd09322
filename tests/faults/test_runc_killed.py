"""Commands of ``runc`` killed at random moments: ``delete --force`` always clears up, and nothing is left.

``PINNACE_KILL_RUNS`` is how often each command is killed, each way in (cold, warm); 500 is the full size.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pinnace.linux import mountinfo
from pinnace.linux.kernel import KERNEL, PR_SET_CHILD_SUBREAPER
from pinnace.spec import oci
from toolkit.build import bundle
from toolkit.debian import Archive

# The full size takes its time; each command has a limit of its own.
pytestmark = [pytest.mark.root, pytest.mark.timeout(0)]
RUNS = int(os.environ.get("PINNACE_KILL_RUNS", "6"))
GROUP = f"pinnace-faults-{os.getpid()}"
_SECONDS = 120  # on a busy machine; a command that hangs takes for ever
_SETTLE_SECONDS = 5.0
_LOST = 125  # runtime/native/launch.c


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle.unpack_here(tmp_path_factory.mktemp("release") / "files")


@pytest.fixture(scope="module", params=["cold", "warm"])
def way(
    request: pytest.FixtureRequest, release: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, int]]:
    """The keeper's socket, or empty for Python that is started; and the keeper's pid."""
    if request.param == "cold":
        yield "", 0
        return
    with _keeper(release, tmp_path_factory.mktemp("keeper") / "keeper.sock") as process:
        yield str(process.args[-1]), process.pid  # type: ignore[index]
        process.terminate()


@contextlib.contextmanager
def _keeper(release: Path, address: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A running keeper; its socket is the last of its words."""
    with subprocess.Popen([release / "bin/pinnace-keeper", "--address", address]) as process:
        deadline = time.monotonic() + _SECONDS
        while not address.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield process


@pytest.fixture(scope="module", autouse=True)
def _subreaper() -> Iterator[None]:
    """What killed commands leave becomes ours, not that of an init that may take its time."""
    KERNEL.prctl(PR_SET_CHILD_SUBREAPER, 1)
    yield
    KERNEL.prctl(PR_SET_CHILD_SUBREAPER, 0)


class Victim:
    """A container whose commands are killed."""

    def __init__(self, place: Path, release: Path, way: tuple[str, int], number: int) -> None:
        keeper, self.keeper = way
        self.id = f"{GROUP}-{number}"
        self.bundle = place / "bundle"
        self._begun: list[int] = []  # those that somebody waits for
        self._command = [str(release / "bin/runc"), "--root", str(place / "state")]
        self._state = place / "state" / self.id
        self._environment = {**os.environ, "PINNACE_KEEPER": keeper}
        spec = oci.default_spec(self.id, GROUP)
        spec["root"]["path"] = "rootfs"
        spec["process"]["env"] = ["PATH=/bin"]
        # The shell stays, and with it the id on its command line.
        spec["process"]["args"] = ["sh", "-c", "sleep 1000; :", self.id]
        spec["linux"]["cgroupsPath"] = f"/{GROUP}/{self.id}"
        (self.bundle / "config.json").write_text(json.dumps(spec))

    def runc(self, *words: str) -> None:
        """A command that has to succeed, in time."""
        # Not a pipe: a container may hold it longer than the command runs.
        said = self.bundle / "stderr"
        deadline = time.monotonic() + _SECONDS
        with (
            said.open("wb") as error,
            subprocess.Popen(
                [*self._command, *words], cwd=self.bundle, env=self._environment,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=error,
            ) as process,
        ):  # fmt: skip
            while process.poll() is None:
                if time.monotonic() > deadline:
                    process.kill()
                _reap(process.pid, self.keeper, *self._begun)
                time.sleep(0.001)
        assert process.returncode == 0, f"{words}: {said.read_text()}"

    def started(self, *words: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [*self._command, *words], cwd=self.bundle, env=self._environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._begun.append(process.pid)
        return process

    def leftovers(self) -> list[str]:
        """What is still there of it: processes, mounts, control groups, its state."""
        found = [f"process {pid}: {words}" for pid, words in _processes(self.id)]
        found += [point.target for point in mountinfo.read() if str(self.bundle) in point.target]
        for pattern in (f"{GROUP}/{self.id}", f"*/{GROUP}/{self.id}"):
            found += [str(path) for path in Path("/sys/fs/cgroup").glob(pattern)]
        return found + ([str(self._state)] if self._state.exists() else [])

    def delete(self) -> None:
        """``delete --force``, after which nothing may be left; a killed launcher's command ends meanwhile."""
        self.runc("delete", "--force", self.id)
        deadline = time.monotonic() + _SETTLE_SECONDS
        while found := self.leftovers():
            assert time.monotonic() < deadline, found
            _reap(self.keeper, *self._begun)
            time.sleep(0.01)


def _reap(*ours: int) -> None:
    """Wait for what killed commands left, as an init does; a container ends once its last process is waited for."""
    for word in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        if int(word) not in ours:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(int(word), os.WNOHANG)


def _processes(word: str) -> list[tuple[int, str]]:
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                words = Path("/proc", entry, "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if word in words.split("\0"):
                found.append((int(entry), words))
    return found


@pytest.fixture(scope="module")
def victims(
    release: Path, way: tuple[str, int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Victim]]:
    with _making(release, tmp_path_factory.mktemp("killed")) as make:
        yield lambda: make(way)


@contextlib.contextmanager
def _making(release: Path, place: Path) -> Iterator[Callable[[tuple[str, int]], Victim]]:
    """Makes victims, and clears up after them."""
    busybox = Archive("trixie", "amd64").unpack(["busybox-static"])
    (place / "bundle/rootfs/bin").mkdir(parents=True)
    shutil.copy(next(busybox.rglob("bin/busybox")), place / "bundle/rootfs/bin/busybox")
    for name in ("sh", "sleep", "true"):
        (place / "bundle/rootfs/bin" / name).symlink_to("busybox")
    made: list[Victim] = []

    def make(way: tuple[str, int]) -> Victim:
        made.append(Victim(place, release, way, len(made)))
        return made[-1]

    yield make
    # A test that failed, or was interrupted, leaves its victim alive.
    for victim in made:
        if victim.leftovers():
            victim.runc("delete", "--force", victim.id)
        for pid, _ in _processes(victim.id):
            os.kill(pid, signal.SIGKILL)
    for pattern in (GROUP, f"*/{GROUP}"):
        for path in Path("/sys/fs/cgroup").glob(pattern):
            path.rmdir()


# The commands before the one that is killed, and that one's words; {id} is the container's.
_CASES = {
    "create": ([], ["create", "{id}"]),
    "start": ([["create", "{id}"]], ["start", "{id}"]),
    "exec": (
        [["create", "{id}"], ["start", "{id}"]],
        ["exec", "{id}", "sh", "-c", "sleep 1000; :", "{id}"],
    ),
    "delete": ([["create", "{id}"], ["start", "{id}"]], ["delete", "--force", "{id}"]),
}


@pytest.mark.parametrize("case", _CASES)
def test_a_killed_command_leaves_nothing_after_delete(
    victims: Callable[[], Victim], case: str
) -> None:
    before, command = _CASES[case]
    length = 0.0
    for run in range(RUNS + 1):
        victim = victims()

        def words(each: list[str], victim: Victim = victim) -> list[str]:
            return [word.format(id=victim.id) for word in each]

        for each in before:
            victim.runc(*words(each))
        begun = time.monotonic()
        with victim.started(*words(command)) as process:
            if run == 0:  # not killed, but measured
                with_end = case != "exec"
                process.wait(_SECONDS) if with_end else time.sleep(0.3)
                length = (time.monotonic() - begun) * 1.1
            else:
                time.sleep(random.uniform(0, length))
            process.kill()
        victim.delete()


def test_a_killed_keeper_holds_nobody_up(release: Path, tmp_path: Path) -> None:
    """Who waits for a command that a keeper runs learns that the keeper is gone; nothing is left after delete."""
    seen = set()
    with _making(release, tmp_path / "killed") as make:
        for run in range(RUNS):
            address = tmp_path / f"{run}.sock"
            with _keeper(release, address) as keeper:
                victim = make((str(address), keeper.pid))
                with victim.started("run", victim.id) as process:
                    time.sleep(random.uniform(0, 0.3))
                    keeper.kill()
                    # A command that the keeper had not begun runs cold, until its container is deleted.
                    deadline = time.monotonic() + _SECONDS
                    while process.poll() is None:
                        assert time.monotonic() < deadline
                        victim.runc("delete", "--force", victim.id)
                    seen.add(process.returncode)
            victim.delete()
    # 1: it ran cold, and its container was deleted while it was made.
    assert seen <= {1, _LOST, 128 + signal.SIGKILL}
