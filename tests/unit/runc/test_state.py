"""The state machine on disk and its lock, without a container."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pinnace.errors import AlreadyExists, DataLoss, FailedPrecondition, NotFound
from pinnace.linux import proc
from pinnace.runc import container, control, state
from pinnace.runc.lock import Lock, is_held
from pinnace.runc.state import Status
from toolkit.paths import RUNTIME


def _made(root: Path, *, alive: bool = True) -> state.ContainerState:
    made = state.new(str(root), "c", "/bundle")
    found = proc.stat(os.getpid())
    assert found
    made.pid, made.start_time = os.getpid(), found.start_time + (not alive)
    made.save()
    made.release()
    return made


def test_creating_lasts_as_long_as_its_creator(tmp_path: Path) -> None:
    made = state.new(str(tmp_path), "c", "/bundle")
    assert state.load(str(tmp_path), "c").status() is Status.CREATING
    made.release()
    assert state.load(str(tmp_path), "c").status() is Status.STOPPED


def test_created_is_to_listen_and_running_is_to_have_stopped_that(tmp_path: Path) -> None:
    made = _made(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(f"{made.directory}/{state.START_SOCKET}")
        listener.listen(1)
        for _ in range(5):  # more than the socket queues: nobody accepts
            assert state.load(str(tmp_path), "c").status() is Status.CREATED
    assert state.load(str(tmp_path), "c").status() is Status.RUNNING


def test_what_a_dead_creator_began_is_waited_for_before_anything_is_known_of_it(
    tmp_path: Path,
) -> None:
    made = state.new(str(tmp_path), "c", "/bundle")
    made.release()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(f"{made.directory}/{state.START_SOCKET}")
    listener.listen(1)
    ends = threading.Timer(0.2, listener.close)
    ends.start()
    control.delete(str(tmp_path), "c")
    assert listener.fileno() == -1
    ends.join()
    assert state.all_ids(str(tmp_path)) == []


def test_a_process_that_is_gone_or_another_is_stopped(tmp_path: Path) -> None:
    assert _made(tmp_path, alive=False).status() is Status.STOPPED


def test_an_id_is_taken_once(tmp_path: Path) -> None:
    state.new(str(tmp_path), "c", "/bundle")
    with pytest.raises(AlreadyExists):
        state.new(str(tmp_path), "c", "/bundle")


def test_a_second_command_waits_for_the_first(tmp_path: Path) -> None:
    _made(tmp_path, alive=False)
    with state.hold(str(tmp_path), "c"):
        assert is_held(str(tmp_path / "c"))
        with pytest.raises(FailedPrecondition, match="another command"):
            Lock(str(tmp_path / "c"), wait=0.01)
    with (
        state.hold(str(tmp_path), "c", shared=True),
        state.hold(str(tmp_path), "c", shared=True, wait=0),
    ):
        pass


def test_a_lock_ends_with_its_holder(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pinnace.runc.lock import Lock; "
        "held = Lock(sys.argv[1]); print('held', flush=True); time.sleep(60)"
    )
    words = [sys.executable, "-c", script, str(tmp_path)]
    environment = {"PYTHONPATH": str(RUNTIME)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=environment) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        assert is_held(str(tmp_path))
        holder.kill()
        holder.wait()
        assert not is_held(str(tmp_path))


def test_a_container_deleted_while_waiting_is_not_found(tmp_path: Path) -> None:
    """Also when another one was made under its name meanwhile."""
    _made(tmp_path, alive=False)
    outcome = []

    def wait() -> None:
        try:
            control.resume(str(tmp_path), "c")
        except NotFound as problem:
            outcome.append(str(problem))

    with state.hold(str(tmp_path), "c") as held:
        waiter = threading.Thread(target=wait)
        waiter.start()
        while not _is_open(held.directory):
            time.sleep(0.001)
        held.remove()
        state.new(str(tmp_path), "c", "/bundle").release()
    waiter.join()
    assert outcome == ["container c does not exist"]


def _is_open(directory: str) -> bool:
    """Whether this process has it open twice: the lock's holder, and the one that waits."""
    found = [os.readlink(each.path) for each in os.scandir("/proc/self/fd") if os.path.exists(each)]
    return found.count(directory) == 2


def test_a_damaged_state_is_listed_and_deleted_by_force(tmp_path: Path) -> None:
    made = _made(tmp_path, alive=False)
    Path(made.directory, "state.json").write_text("{")
    with pytest.raises(DataLoss):
        control.delete(str(tmp_path), "c")
    assert [each["id"] for each in container.list_(str(tmp_path))] == ["c"]
    control.delete(str(tmp_path), "c", force=True)
    assert container.list_(str(tmp_path)) == []


@pytest.mark.parametrize("kept", [[], ["state.json"]])
def test_what_a_killed_delete_left_is_deleted(tmp_path: Path, kept: list[str]) -> None:
    made = _made(tmp_path, alive=False)
    for name in os.listdir(made.directory):
        if name not in kept:
            os.unlink(f"{made.directory}/{name}")
    control.delete(str(tmp_path), "c")
    with pytest.raises(NotFound):
        control.delete(str(tmp_path), "c")
