"""The line between a creator and its process, when one of them ends early."""

from __future__ import annotations

import pytest

from pinnace.runc.channel import Channel


def test_what_was_said_before_the_end_comes_first() -> None:
    ours, theirs = Channel.pair()
    ours.send({"created": True})
    theirs.send({"error": "a reason"})
    theirs.close()
    assert ours.receive() == ({"error": "a reason"}, [])
    assert ours.receive() == (None, [])


def test_an_end_that_did_not_hear_us_is_no_usual_end() -> None:
    ours, theirs = Channel.pair()
    assert ours.tell({"created": True})
    theirs.close()
    with pytest.raises(ConnectionResetError):
        ours.receive()
    assert ours.receive() == (None, [])


def test_who_has_ended_is_told_nothing() -> None:
    ours, theirs = Channel.pair()
    theirs.close()
    assert not ours.tell({"created": True})
