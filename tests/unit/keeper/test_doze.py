"""When a shim may doze, and that it is as before where it can't be."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from pinnace.keeper import doze
from pinnace.keeper.loop import READ, Loop


@pytest.fixture
def state() -> Iterator[dict[str, Any]]:
    listener, other = os.pipe()
    yield {"listener": listener, "descriptors": [other], "items": []}
    os.close(listener)
    os.close(other)


@pytest.fixture
def loop() -> Iterator[Loop]:
    yield Loop(lambda *_: None)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def test_what_is_not_the_interpreter_is_not_trusted_to_come_back(
    state: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An emulator may have something else behind /proc/self/exe."""
    monkeypatch.setattr(sys, "executable", __file__)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="is not the interpreter"):
        doze.fall_asleep(state, ({}, {}), [])
    assert len(os.listdir("/proc/self/fd")) == before
    assert not os.get_inheritable(state["listener"])


def test_without_the_native_program_everything_is_as_before(
    state: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doze, "PROGRAM", "/nonexistent/doze")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="No such file"):
        doze.fall_asleep(state, ({}, {}), [])
    assert len(os.listdir("/proc/self/fd")) == before
    assert not any(os.get_inheritable(fd) for fd in (state["listener"], *state["descriptors"]))


@pytest.mark.parametrize(
    ("text", "expected"), [("", 5.0), ("0", 0.0), ("1.5", 1.5), ("-3", 0.0), ("soon", 5.0)]
)
def test_the_time_is_of_the_environment(
    text: str, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doze, "PROGRAM", sys.executable)
    monkeypatch.setenv("PINNACE_DOZE_SECONDS", text)
    assert doze.seconds() == expected
    monkeypatch.setattr(doze, "PROGRAM", "/nonexistent/doze")
    assert doze.seconds() == 0


def test_traffic_is_quiet_and_requests_are_not(loop: Loop) -> None:
    """The loop says so once nothing but traffic has come for a while."""
    traffic, writing = os.pipe()
    told = []

    def quiet() -> None:
        told.append(1)
        loop.quiet(0, quiet)
        loop.alarm(0.05, loop.stop)

    def pass_on(_: int) -> None:
        os.read(traffic, 1)
        select.select([], [], [], 0.01)
        os.write(writing, b"x")

    loop.watch(traffic, READ, pass_on, is_traffic=True)
    os.write(writing, b"x")
    loop.quiet(0.1, quiet)
    loop.alarm(5, loop.stop)
    loop.run()
    assert told == [1]
    os.close(traffic)
    os.close(writing)
