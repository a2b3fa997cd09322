"""Limits of sockets, as the kernel keeps to them."""

from __future__ import annotations

import socket
import struct

import pytest

from pinnace.linux.sockets import limit_sending


def test_the_limit_is_the_kernels_and_not_the_c_librarys(monkeypatch: pytest.MonkeyPatch) -> None:
    # As Python is built on a 32-bit system with 64-bit times: the number is not to be taken from there.
    monkeypatch.setattr(socket, "SO_SNDTIMEO", 67)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        limit_sending(ours, 1)
        limit = ours.getsockopt(socket.SOL_SOCKET, 21, struct.calcsize("ll"))
        assert struct.unpack("ll", limit) == (1, 0)
