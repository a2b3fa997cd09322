"""Being the only daemon, and the socket."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from pinnace.daemon import host
from pinnace.errors import FailedPrecondition, Unavailable


def test_a_directory_has_one_daemon(tmp_path: Path) -> None:
    first = host.lock(str(tmp_path))
    with pytest.raises(FailedPrecondition, match=f"pid {os.getpid()}"):
        host.lock(str(tmp_path))
    os.close(first)
    os.close(host.lock(str(tmp_path)))


def test_a_lock_is_not_a_way_to_write_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "daemon.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(Exception, match="cannot open"):
        host.lock(str(tmp_path))
    assert (tmp_path / "victim").read_text() == "precious"


def test_the_socket_is_private_and_a_stale_one_replaced(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "s"
    host.listen(str(path), os.geteuid(), os.getegid()).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = host.listen(str(path), os.geteuid(), os.getegid())
    with pytest.raises(FailedPrecondition, match="another daemon listens"):
        host.listen(str(path), os.geteuid(), os.getegid())
    again.close()


def test_a_file_in_the_way_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("mine")
    with pytest.raises((Unavailable, FailedPrecondition)):
        host.listen(str(tmp_path / "s"), os.geteuid(), os.getegid())
    assert (tmp_path / "s").read_text() == "mine"


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "n"))
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
        host.notify("READY=1")
        assert listener.recv(100) == b"READY=1"
    host.notify("STOPPING=1")  # nobody listens any more, and that is fine
