"""Seccomp profiles as a container's program meets them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pinnace.errors import Error, FailedPrecondition, InvalidArgument
from pinnace.linux.kernel import KERNEL, Kernel
from pinnace.linux.seccomp import cache, loading
from pinnace.linux.seccomp.library import Library
from pinnace.linux.seccomp.profile import ACTIONS
from pinnace.runc import container
from tests.conformance.runc.conftest import Box
from tests.conformance.runc.supervisor import Supervisor

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.ENVIRONMENT, str(tmp_path / "cache/seccomp"))


def _profile(action: str, *names: str, **more: Any) -> dict[str, Any]:
    rule = {"names": list(names), "action": action}
    rule |= {key: more.pop(key) for key in ("errnoRet", "args") if key in more}
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule], **more}


@pytest.fixture(params=[True, False], ids=["no-new-privileges", "new-privileges"])
def noisy(request: pytest.FixtureRequest, box: Box) -> Box:
    """The filter is loaded at two different moments, with and without noNewPrivileges."""
    box.spec["process"]["noNewPrivileges"] = request.param
    return box


def test_a_call_fails_with_the_chosen_error(noisy: Box) -> None:
    noisy.linux["seccomp"] = _profile("SCMP_ACT_ERRNO", "mkdir", "mkdirat", errnoRet=18)
    ended = noisy.sh("mkdir /x; grep Seccomp: /proc/self/status")
    assert "cross-device" in ended.error.lower()
    assert ended.output.split() == ["Seccomp:", "2"]


def test_a_call_ends_the_process(noisy: Box) -> None:
    noisy.linux["seccomp"] = _profile("SCMP_ACT_KILL_PROCESS", "mkdir", "mkdirat")
    assert noisy.sh("mkdir /x; echo $?").output.strip() == str(128 + 31)


def test_exec_is_held_to_it_too(noisy: Box) -> None:
    noisy.linux["seccomp"] = _profile("SCMP_ACT_ERRNO", "mkdir", "mkdirat", errnoRet=18)
    noisy.background("sleep", "100")
    assert "cross-device" in noisy.exec("mkdir", "/x").error.lower()


def test_arguments_decide(box: Box) -> None:
    """personality(2) is refused with one value only."""
    for name in ("linux32", "linux64"):
        (box.root / "bin" / name).symlink_to("busybox")
    args = [{"index": 0, "op": "SCMP_CMP_EQ", "value": 8}]
    box.linux["seccomp"] = _profile("SCMP_ACT_ERRNO", "personality", errnoRet=18, args=args)
    ended = box.sh("linux32 true || echo refused; linux64 true && echo fine")
    assert ended.output.split() == ["refused", "fine"], ended.error


def test_the_filter_is_kept_and_loads_without_the_library(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.linux["seccomp"] = _profile("SCMP_ACT_ERRNO", "mkdir", "mkdirat", errnoRet=18)
    assert "cross-device" in box.sh("mkdir /x").error.lower()

    def missing(_: Library) -> None:
        raise FailedPrecondition("no libseccomp here")

    monkeypatch.setattr(Library, "__init__", missing)
    assert "cross-device" in box.sh("mkdir /x").error.lower()
    box.linux["seccomp"]["syscalls"][0]["errnoRet"] = 19
    with pytest.raises(FailedPrecondition, match="no libseccomp here"):
        box.create("true")


def test_a_kernel_that_cannot_is_a_clear_error_and_leaves_nothing(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Kernel.seccomp

    def older(self: Kernel, operation: int, flags: int, argument: Any) -> int:
        if operation == 2:
            raise OSError(95, "not here")
        return asked(self, operation, flags, argument)

    monkeypatch.setattr(Kernel, "seccomp", older)
    box.linux["seccomp"] = _profile("SCMP_ACT_LOG", "mkdir")
    with pytest.raises(FailedPrecondition, match="no SCMP_ACT_LOG"):
        box.create("true")
    assert container.list_(box.state_root) == []


# Supervisors


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Supervisor]]:
    if not loading.has_action(KERNEL, ACTIONS["SCMP_ACT_NOTIFY"]):
        pytest.skip("this kernel has no seccomp notification")
    library = Library()
    made: list[Supervisor] = []

    def start(*refused: str) -> Supervisor:
        numbers = {library.number(name, library.native()) for name in refused}
        made.append(Supervisor(str(tmp_path / f"supervisor{len(made)}"), numbers))
        return made[-1]

    yield start
    for each in made:
        each.close()


def _watched(supervisor: Supervisor, *names: str) -> dict[str, Any]:
    more = {"listenerPath": supervisor.path, "listenerMetadata": "of the test"}
    return _profile("SCMP_ACT_NOTIFY", *names, **more)


def test_a_supervisor_decides(noisy: Box, supervise: Callable[..., Supervisor]) -> None:
    supervisor = supervise("mkdir", "mkdirat")
    noisy.linux["seccomp"] = _watched(supervisor, "mkdir", "mkdirat", "sethostname")
    noisy.spec["annotations"] = {"org.example": "boat"}
    ended = noisy.sh("mkdir /x || hostname; sleep 0.1; echo done")
    assert "cross-device" in ended.error.lower()
    assert ended.output.endswith("done\n")
    (state,) = supervisor.states
    assert state["fds"] == ["seccompFd"]
    assert state["metadata"] == "of the test"
    assert state["ociVersion"] == state["state"]["ociVersion"]
    assert state["state"]["id"] == noisy.id
    assert state["state"]["bundle"] == str(noisy.bundle)
    assert state["state"]["annotations"] == {"org.example": "boat"}
    assert state["pid"] == state["state"]["pid"] > 1
    assert supervisor.calls


def test_a_supervisor_gets_every_process_of_exec(
    noisy: Box, supervise: Callable[..., Supervisor]
) -> None:
    supervisor = supervise("mkdir", "mkdirat")
    noisy.linux["seccomp"] = _watched(supervisor, "mkdir", "mkdirat")
    first = noisy.background("sleep", "100")
    assert "cross-device" in noisy.exec("mkdir", "/x").error.lower()
    states = supervisor.states
    assert [state["state"]["pid"] for state in states] == [first, first]
    assert states[0]["pid"] == first != states[1]["pid"]


def test_a_supervisor_may_decide_what_the_runtime_needs_itself(
    noisy: Box, supervise: Callable[..., Supervisor]
) -> None:
    """Even sendmsg, with which the listener would be given away, and the exec of the program."""
    supervisor = supervise("mkdir", "mkdirat")
    names = ("mkdir", "mkdirat", "sendmsg", "recvmsg", "write", "read", "execve", "prctl")
    noisy.linux["seccomp"] = _watched(supervisor, *names)
    ended = noisy.sh("mkdir /x; echo done")
    assert "cross-device" in ended.error.lower()
    assert ended.output == "done\n"
    assert Library().number("execve", Library().native()) in supervisor.calls


def test_the_listener_is_sent_where_it_can_not_be_taken(
    noisy: Box, supervise: Callable[..., Supervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before Linux 5.6, and for a user who may not look into the process."""

    def older(*_: object) -> int:
        raise OSError(38, os.strerror(38))

    monkeypatch.setattr(Kernel, "pidfd_getfd", older)
    supervisor = supervise("mkdir", "mkdirat")
    noisy.linux["seccomp"] = _watched(supervisor, "mkdir", "mkdirat")
    assert "cross-device" in noisy.sh("mkdir /x").error.lower()


def test_without_its_supervisor_no_container_runs(noisy: Box) -> None:
    path = str(noisy.bundle / "nobody")
    noisy.linux["seccomp"] = _profile("SCMP_ACT_NOTIFY", "mkdir", listenerPath=path)
    with pytest.raises(Error, match="seccomp listener"):
        noisy.run("true")


def test_the_container_has_no_listener(noisy: Box, supervise: Callable[..., Supervisor]) -> None:
    supervisor = supervise()
    noisy.linux["seccomp"] = _watched(supervisor, "mkdir", "mkdirat")
    assert "seccomp" not in noisy.sh("ls -l /proc/self/fd /proc/1/fd").output


def test_a_wrong_profile_leaves_nothing(box: Box) -> None:
    box.linux["seccomp"] = _profile("SCMP_ACT_BOGUS", "mkdir")
    with pytest.raises(InvalidArgument, match="SCMP_ACT_BOGUS"):
        box.create("true")
    assert container.list_(box.state_root) == []
