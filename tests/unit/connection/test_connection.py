"""Connections against a real SSH server: host keys, keys, sudo, limits, and the agent over it."""

from __future__ import annotations

import shlex
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from tests.unit.connection.server import Sshd, sshd
from toolkit.connection.hostkeys import KnownHosts, fingerprint
from toolkit.connection.ssh import Connection
from toolkit.connection.sudo import SudoPassword
from toolkit.errors import HostFailed, HostUnreachable
from toolkit.inventory.settings import Target
from toolkit.plan import ship

SECRET = "correct horse"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "id"
    paramiko.ECDSAKey.generate().write_private_key_file(str(path))
    return path


@pytest.fixture
def server(tmp_path: Path, key: Path) -> Iterator[Sshd]:
    with sshd(tmp_path, paramiko.ECDSAKey.from_private_key_file(str(key))) as running:
        yield running


@pytest.fixture
def asking(tmp_path: Path, key: Path) -> Iterator[Sshd]:
    accepted = paramiko.ECDSAKey.from_private_key_file(str(key))
    with sshd(tmp_path, accepted, sudo_password=SECRET) as running:
        yield running


@pytest.fixture
def known(tmp_path: Path) -> KnownHosts:
    return KnownHosts(path=tmp_path / "known_hosts", user=tmp_path / "none")


def connect(
    server: Sshd, known: KnownHosts, key: Path, *, password: str | None = None, timeout: float = 5
) -> Connection:
    target = Target("board", "127.0.0.1", server.port, "pi", str(key))
    return Connection(target, known, SudoPassword(known=password), timeout=timeout)


def test_a_command_gives_status_and_both_streams(
    server: Sshd, known: KnownHosts, key: Path
) -> None:
    known.give(server.line())
    with connect(server, known, key) as connection:
        done = connection.run("sh", "-c", "cat; echo err >&2; exit 3", stdin=b"in")
    assert (done.status, done.stdout, done.stderr) == (3, b"in", b"err\n")


def test_an_unknown_host_key_is_refused_with_its_fingerprint(
    server: Sshd, known: KnownHosts, key: Path
) -> None:
    with pytest.raises(HostUnreachable) as problem:
        connect(server, known, key).open()
    assert fingerprint(server.host_key) in problem.value.message
    assert "--accept-new" in problem.value.hint
    assert not known.path.exists()


def test_accept_new_keeps_the_key_and_later_runs_know_it(
    server: Sshd, known: KnownHosts, key: Path
) -> None:
    known.accept_new = True
    connect(server, known, key).open()
    later = KnownHosts(path=known.path, user=Path("/nonexistent"))
    connect(server, later, key).open()
    assert known.path.stat().st_mode & 0o077 == 0


def test_a_changed_host_key_is_refused_with_both_fingerprints_even_with_accept_new(
    server: Sshd, known: KnownHosts, key: Path
) -> None:
    old = paramiko.ECDSAKey.generate()
    known.give(f"[127.0.0.1]:{server.port} {old.get_name()} {old.get_base64()}")
    known.accept_new = True
    with pytest.raises(HostUnreachable) as problem:
        connect(server, known, key).open()
    assert fingerprint(old) in problem.value.message
    assert fingerprint(server.host_key) in problem.value.message
    assert "has changed" in problem.value.message


def test_known_hosts_of_a_person_may_have_damaged_lines_and_markers(
    server: Sshd, tmp_path: Path, key: Path
) -> None:
    user = tmp_path / "user_known_hosts"
    authority = "@cert-authority *.lab ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA"
    user.write_text(f"{authority}\nhost ssh-rsa !!!!\n# comment\n\nhalf\n{server.line()}\n")
    connect(server, KnownHosts(path=tmp_path / "ours", user=user), key).open()


def test_a_wrong_key_is_said_so(server: Sshd, known: KnownHosts, tmp_path: Path) -> None:
    known.give(server.line())
    other = tmp_path / "other"
    paramiko.ECDSAKey.generate().write_private_key_file(str(other))
    with pytest.raises(HostUnreachable, match="does not accept the user and key"):
        connect(server, known, other).open()


def test_nobody_listens(known: KnownHosts, key: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    target = Target("board", "127.0.0.1", port, "pi", str(key))
    with pytest.raises(HostUnreachable, match=r"board \(127.0.0.1\): .*refused|Unable to connect"):
        Connection(target, known, SudoPassword()).open()


def test_a_host_that_accepts_and_says_nothing(known: KnownHosts, key: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        target = Target("board", "127.0.0.1", mute.getsockname()[1], "pi", str(key))
        with pytest.raises(HostUnreachable, match="board"):
            Connection(target, known, SudoPassword(), timeout=0.3).open()


def test_a_silent_command_is_given_up(server: Sshd, known: KnownHosts, key: Path) -> None:
    known.give(server.line())
    server.silent = True
    with connect(server, known, key) as connection, pytest.raises(HostUnreachable, match="silent"):
        connection.run("true", timeout=0.2)


def test_passwordless_sudo_is_not_asked_about(server: Sshd, known: KnownHosts, key: Path) -> None:
    known.give(server.line())
    with connect(server, known, key) as connection:
        done = connection.run("cat", sudo=True, stdin=b"untouched")
    assert (done.status, done.stdout, done.stderr) == (0, b"untouched", b"")


def test_the_password_goes_to_sudo_and_nowhere_else(
    asking: Sshd, known: KnownHosts, key: Path
) -> None:
    known.give(asking.line())
    with connect(asking, known, key, password=SECRET) as connection:
        done = connection.run("cat", sudo=True, stdin=b"for the command")
    assert (done.status, done.stdout, done.stderr) == (0, b"for the command", b"")
    assert SECRET not in "".join(asking.received)


def test_a_wrong_password_is_tried_once(asking: Sshd, known: KnownHosts, key: Path) -> None:
    known.give(asking.line())
    with (
        connect(asking, known, key, password="wrong") as connection,
        pytest.raises(HostFailed, match="sudo does not accept the password"),
    ):
        connection.run("true", sudo=True)


def test_nobody_to_ask_for_a_password(
    asking: Sshd, known: KnownHosts, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known.give(asking.line())
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    with connect(asking, known, key) as connection, pytest.raises(HostFailed) as problem:
        connection.run("true", sudo=True)
    assert "nobody to ask" in problem.value.message
    assert "--ask-sudo-password" in problem.value.hint


def test_sudo_that_refuses_says_why(server: Sshd, known: KnownHosts, key: Path) -> None:
    known.give(server.line())
    (server.bin / "sudo").write_text(
        "#!/bin/sh\necho 'sudo: sorry, you must have a tty' >&2\nexit 1\n"
    )
    with (
        connect(server, known, key) as connection,
        pytest.raises(HostFailed, match="sudo refused: sudo: sorry, you must have a tty"),
    ):
        connection.run("true", sudo=True)


def test_the_agent_tells_facts_over_ssh_and_sudo(
    asking: Sshd, known: KnownHosts, key: Path
) -> None:
    known.give(asking.line())
    command = shlex.join(ship.command(sys.executable))
    with (
        connect(asking, known, key, password=SECRET) as connection,
        connection.start(command, sudo=True, timeout=20) as pipe,
    ):
        agent = ship.Agent("board", pipe)
        facts = agent.hello()
        agent.leave()
        assert pipe.wait() == 0
    assert facts["python"] == f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("sh -c 'echo welcome'", "it said 'welcome'"),
        ("sh -c 'exit 127'", "no Python there"),
        ("sh -c 'echo oops >&2; exit 1'", "it ended with status 1: oops"),
    ],
)
def test_an_agent_that_cannot_run_says_why(
    server: Sshd, known: KnownHosts, key: Path, command: str, message: str
) -> None:
    known.give(server.line())
    with (
        connect(server, known, key) as connection,
        connection.start(command, timeout=10) as pipe,
        pytest.raises(HostFailed, match=message),
    ):
        ship.Agent("board", pipe).hello()


def test_a_damaged_line_of_known_hosts_is_passed_over(
    server: Sshd, tmp_path: Path, key: Path
) -> None:
    user = tmp_path / "known_hosts"
    user.write_text("127.0.0.1 ssh-ed25519 AAAAdamaged\nonly two\n@cert-authority *.lab x\n\x00\n")
    known = KnownHosts(accept_new=True, path=tmp_path / "own", user=user)
    with connect(server, known, key) as connection:
        assert connection.run("true").status == 0
