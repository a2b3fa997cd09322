"""Who may go through a jump host, and which failures are worth another try."""

from __future__ import annotations

import threading

import paramiko
import pytest

from toolkit.connection import limits
from toolkit.connection.limits import KEPT_FREE, PER_JUMP_HOST, Slot, retried
from toolkit.errors import HostUnreachable

ORDINARY = PER_JUMP_HOST - KEPT_FREE


def taken(jump: str, count: int, *, urgent: bool = False) -> list[Slot]:
    slots = [Slot(jump, urgent=urgent) for _ in range(count)]
    for slot in slots:
        slot.take("pi")
    return slots


def test_some_ways_are_kept_for_who_has_to_come_back_in_time(monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr(limits, "WAIT_SECONDS", 0.01)
    taken("hop1", ORDINARY)
    with pytest.raises(HostUnreachable, match="no connection through hop1 became free"):
        Slot("hop1").take("pi")
    taken("hop1", KEPT_FREE, urgent=True)
    with pytest.raises(HostUnreachable, match="became free"):
        Slot("hop1", urgent=True).take("pi")
    Slot("hop2").take("pi")
    taken("", 3 * PER_JUMP_HOST)


def test_who_waits_goes_when_another_has_ended() -> None:
    slots = taken("hop3", ORDINARY)
    went = threading.Event()

    def wait() -> None:
        Slot("hop3").take("pi")
        went.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not went.wait(0.05)
    slots[0].release()
    slots[0].release()  # closing twice frees one way only
    assert went.wait(10)
    thread.join()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "WAIT_SECONDS", 0.01)
        with pytest.raises(HostUnreachable):
            Slot("hop3").take("pi")


@pytest.mark.parametrize(
    ("problem", "tries"),
    [
        (EOFError(), 3),
        (ConnectionResetError(104, "reset"), 3),
        (paramiko.SSHException("Error reading SSH protocol banner"), 3),
        (paramiko.ChannelException(2, "Connect failed"), 3),
        (paramiko.AuthenticationException("no"), 1),
        (paramiko.SSHException("Incompatible ssh peer"), 1),
    ],
)
def test_only_what_was_dropped_is_tried_again(
    problem: Exception, tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    count = [0]

    def attempt() -> str:
        count[0] += 1
        if count[0] < 3:
            raise problem
        return "there"

    if tries == 3:
        assert retried(attempt, 60) == "there"
    else:
        with pytest.raises(type(problem)):
            retried(attempt, 60)
    assert count[0] == tries
