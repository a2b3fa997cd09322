"""A shim to whose container nothing happens is a small native program, and nobody notices but in memory."""

from __future__ import annotations

import os
import signal
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pinnace.daemon.shims import Connection, KeeperShims
from pinnace.linux import proc
from tests.conformance.shim.container import Container

pytestmark = [pytest.mark.root, pytest.mark.parametrize("shims", ["dozing"], indirect=True)]
_MOST_KIB = 200


def _until(holds: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def _dozes(pid: int) -> bool:
    return "doze" in os.path.basename(os.readlink(f"/proc/{pid}/exe"))


def _times_executed(container: Container) -> int:
    """Changes with every exec of the shim: where its stack begins is random, and 0 in the middle of one."""
    found = 0
    while not found:
        with open(f"/proc/{container.shim_id}/stat", encoding="latin-1") as file:
            found = int(file.read().rpartition(")")[2].split()[25])
    return found


def _asleep(container: Container) -> Container:
    container.shim_id = container.shim_pid()
    container.start()
    _until(lambda: _dozes(container.shim_id))
    return container


def _end(container: Container) -> None:
    container.shim.call("kill", exec_id="", signal=int(signal.SIGKILL), all=False)
    assert container.wait() == 137
    container.finish()


def test_it_is_small_and_serves_again(shims: KeeperShims, image: Path, tmp_path: Path) -> None:
    container = _asleep(Container(shims, image, tmp_path, "sleep", "100"))
    with open(f"/proc/{container.shim_id}/smaps_rollup", encoding="ascii") as file:
        found = [int(line.split()[1]) for line in file if line.startswith("Pss:")]
    assert found[0] < _MOST_KIB
    # Its name comes a moment after its program.
    _until(lambda: Path(f"/proc/{container.shim_id}/comm").read_text() == "pinnace-shim\n")
    assert container.shim.call("pids")["pids"] == [container.pid]
    _until(lambda: _dozes(container.shim_id))
    _end(container)


def test_an_exit_is_told_and_recorded(shims: KeeperShims, image: Path, tmp_path: Path) -> None:
    container = _asleep(Container(shims, image, tmp_path, "sh", "-c", "sleep 0.5; exit 3"))
    assert container.wait() == 3
    assert '"status": 3' in (container.state / "exit.json").read_text()
    container.finish()


def test_output_goes_on_without_waking_it(shims: KeeperShims, image: Path, tmp_path: Path) -> None:
    script = "for i in $(seq 20); do echo line $i; sleep 0.1; done; exit 2"
    container = _asleep(Container(shims, image, tmp_path, "sh", "-c", script))
    before = _times_executed(container)
    time.sleep(0.5)
    assert _times_executed(container) == before
    assert container.wait() == 2
    assert container.finish() == "".join(f"line {i}\n" for i in range(1, 21))


def test_output_that_nobody_reads_stops_nobody(
    shims: KeeperShims, image: Path, tmp_path: Path
) -> None:
    script = "sleep 0.3; for i in $(seq 40000); do echo a line that nobody reads; done; exit 4"
    container = Container(shims, image, tmp_path, "sh", "-c", script, reader=False)
    _asleep(container)
    assert container.wait() == 4
    container.shim.call("delete")


def test_a_log_goes_on(shims: KeeperShims, image: Path, tmp_path: Path) -> None:
    script = "for i in $(seq 10); do echo line $i; sleep 0.1; done"
    log = tmp_path / "log"
    container = Container(
        shims, image, tmp_path, "sh", "-c", script, stdout=f"file://{log}", reader=False
    )
    before = _times_executed(_asleep(container))
    time.sleep(0.5)
    assert _times_executed(container) == before
    assert container.wait() == 0
    assert log.read_text() == "".join(f"line {i}\n" for i in range(1, 11))
    container.shim.call("delete")


def test_input_is_passed_on_and_ends(shims: KeeperShims, image: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "in")
    writer = os.open(tmp_path / "in", os.O_RDWR)
    container = _asleep(Container(shims, image, tmp_path, "cat", stdin=str(tmp_path / "in")))
    os.write(writer, b"hello\n")
    time.sleep(0.2)
    assert _dozes(container.shim_id)
    container.shim.call("close_io", exec_id="")
    os.close(writer)
    assert container.wait() == 0
    assert container.finish() == "hello\n"


def test_a_terminal(shims: KeeperShims, image: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "in")
    writer = os.open(tmp_path / "in", os.O_RDWR)
    container = Container(
        shims, image, tmp_path, "sh", "-c", "read x; echo got $x", terminal=True, stdin=str(tmp_path / "in")
    )  # fmt: skip
    _asleep(container)
    container.shim.call("resize", exec_id="", width=80, height=25)
    _until(lambda: _dozes(container.shim_id))
    os.write(writer, b"word\n")
    assert container.wait() == 0
    os.close(writer)
    assert container.finish() == "word\r\ngot word\r\n"


def test_memory_that_runs_out_is_told(shims: KeeperShims, image: Path, tmp_path: Path) -> None:
    limit = {"memory": {"limit": 16 << 20}}
    script = "sleep 0.3; x=$(cat /dev/zero | tr '\\0' x)"
    container = Container(shims, image, tmp_path, "sh", "-c", script, resources=limit)
    _asleep(container)
    assert container.wait() == 137
    assert container.events == ["oom", "exit"]
    container.finish()


def test_another_daemon_comes_and_goes_without_waking_it(
    shims: KeeperShims, image: Path, tmp_path: Path
) -> None:
    container = _asleep(Container(shims, image, tmp_path, "sleep", "100"))
    before = _times_executed(container)
    awake = container.shim.call("state", exec_id=None)
    events: list[str] = []
    other = Connection(
        str(container.state / "shim.sock"),
        lambda event: events.append(event["event"]),
        lambda: None,
    )
    assert other.call("subscribe")["version"] >= 1
    assert other.call("state", exec_id=None) == awake
    assert awake["processes"][0]["pid"] == container.pid
    passing = Connection(str(container.state / "shim.sock"), lambda _: None, lambda: None)
    passing.call("subscribe")
    passing.close()
    time.sleep(0.2)
    assert _times_executed(container) == before
    container.shim.call("kill", exec_id="", signal=9, all=False)
    assert container.wait() == 137
    _until(lambda: events == ["exit"])
    other.close()
    container.finish()


def test_orphans_are_reaped_without_waking_it(
    shims: KeeperShims, image: Path, tmp_path: Path
) -> None:
    # With a pid namespace of its own they would be children of the container's first process.
    container = _asleep(Container(shims, image, tmp_path, "sleep", "100", own_pids=False))
    process = {**container.process, "args": ["sh", "-c", "sleep 1 & exit 0"]}
    streams = {"stdin": "", "stdout": "", "stderr": "", "terminal": False}
    container.shim.call("exec", exec_id="one", process=process, **streams)
    container.shim.call("start", exec_id="one")
    assert container.wait("one") == 0
    container.shim.call("delete_process", exec_id="one")
    _until(lambda: _dozes(container.shim_id))
    before = _times_executed(container)
    children = Path(f"/proc/{container.shim_id}/task/{container.shim_id}/children")
    assert len(children.read_text().split()) == 2
    _until(lambda: [int(pid) for pid in children.read_text().split()] == [container.pid])
    assert _times_executed(container) == before
    _end(container)


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\xff\xff\xff\xff",
        struct.pack("<I", 5) + b"hello",
        b"\0",
        struct.pack("<I", 0),
        b"{" * 5000,
    ],
    ids=["length", "words", "part", "empty", "much"],
)
def test_nonsense_harms_nobody(
    shims: KeeperShims, image: Path, tmp_path: Path, nonsense: bytes
) -> None:
    container = _asleep(Container(shims, image, tmp_path, "sleep", "100"))
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(container.state / "shim.sock"))
        peer.sendall(nonsense)
        time.sleep(0.1)
        assert container.shim.call("pids")["pids"] == [container.pid]
    _until(lambda: _dozes(container.shim_id))
    _end(container)


def test_more_connections_than_it_has_room_for(
    shims: KeeperShims, image: Path, tmp_path: Path
) -> None:
    container = _asleep(Container(shims, image, tmp_path, "sleep", "100"))
    address = str(container.state / "shim.sock")
    others = [Connection(address, lambda _: None, lambda: None) for _ in range(40)]
    for other in others:
        assert other.call("state", exec_id=None)["processes"][0]["status"] == "running"
    for other in others:
        other.close()
    _until(lambda: _dozes(container.shim_id))
    _end(container)


def test_one_that_is_killed_takes_nothing_along_that_its_daemon_would_not_find(
    shims: KeeperShims, image: Path, tmp_path: Path
) -> None:
    container = _asleep(Container(shims, image, tmp_path, "sleep", "100"))
    os.kill(container.shim_id, signal.SIGKILL)
    assert container.lost()
    assert proc.stat(container.pid) is not None
