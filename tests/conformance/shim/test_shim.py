"""Real shims, forked by a real keeper, with busybox in real containers."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from pinnace.daemon.shims import KeeperShims
from pinnace.errors import Error
from pinnace.keeper import leftovers
from pinnace.linux import proc
from tests.conformance.shim.container import Container

pytestmark = [pytest.mark.root]


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


def test_what_an_exec_leaves_behind_may_write_on(
    shims: KeeperShims, image: Path, tmp_path: Path
) -> None:
    """Without a reader of its output it would be killed by SIGPIPE, once the exec was deleted or before."""
    container = Container(shims, image, tmp_path, "sleep", "100")
    container.start()
    output, reader = container.collect(tmp_path / "exec")
    script = "(for i in 1 2 3 4 5 6; do sleep 0.5; echo late || exit; done; echo > /survived) & echo now"  # fmt: skip
    process = {**container.process, "args": ["sh", "-c", script]}
    streams = {"stdin": "", "stdout": str(tmp_path / "exec"), "stderr": "", "terminal": False}
    container.shim.call("exec", exec_id="one", process=process, **streams)
    container.shim.call("start", exec_id="one")
    assert container.wait("one") == 0
    reader.join(10)
    assert output == [b"now\n"]  # its own end is the end for who reads
    container.shim.call("delete_process", exec_id="one")
    for _ in range(200):
        if (tmp_path / "upper/survived").exists():
            break
        time.sleep(0.05)
    assert (tmp_path / "upper/survived").exists()
    container.shim.call("kill", exec_id="", signal=9, all=False)
    container.wait()
    container.finish()


def test_a_shim_without_a_keeper_is_nobodys_child(
    shims: KeeperShims, image: Path, tmp_path: Path
) -> None:
    """Whoever asked for it would have a zombie when it ends."""
    container = Container(KeeperShims(str(tmp_path / "none")), image, tmp_path, "sh", "-c", "exit 6")  # fmt: skip
    found = proc.stat(container.shim_pid())
    assert found is not None
    assert found.parent != os.getpid()
    container.start()
    assert container.wait() == 6
    container.finish()
