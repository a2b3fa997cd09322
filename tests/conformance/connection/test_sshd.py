"""Connections to Debian's own sshd and sudo, direct and through a jump host."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conformance.connection.sshd import PASSWORD, USER, Sshd, connections, sshd, wait_for
from toolkit.connection.hostkeys import KnownHosts
from toolkit.connection.limits import PER_JUMP_HOST
from toolkit.connection.ssh import Connection
from toolkit.connection.sudo import LoginPassword, SudoPassword
from toolkit.errors import HostUnreachable, NoPython
from toolkit.inventory.settings import Target
from toolkit.paths import PROJECT
from toolkit.plan import ship
from toolkit.plan.model import Planned, make
from toolkit.provision import bootstrap
from toolkit.resources import File, Package, Resource

pytestmark = [pytest.mark.root, pytest.mark.peer]


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


@pytest.fixture(scope="module")
def board(key: Path) -> Iterator[Sshd]:
    with sshd(key.with_suffix(".pub").read_text().strip()) as running:
        yield running


@pytest.fixture(scope="module")
def jump(key: Path) -> Iterator[Sshd]:
    """A jump host as Debian configures it: of ten that log in at once, some are dropped."""
    options = "-o MaxStartups=2:100:4 -o MaxSessions=2"
    with sshd(key.with_suffix(".pub").read_text().strip(), options=options) as running:
        yield running


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: Path) -> Path:
    """A home directory whose SSH configuration these tests write."""
    (tmp_path / ".ssh").mkdir(mode=0o700)
    (tmp_path / ".ssh/id_ed25519").write_bytes(key.read_bytes())
    (tmp_path / ".ssh/id_ed25519").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return tmp_path


def known(home: Path, *lines: str) -> KnownHosts:
    found = KnownHosts(path=home / "ours", user=home / ".ssh/known_hosts")
    for line in lines:
        found.give(line)
    return found


def target(board: Sshd, key: Path | None = None, **more: object) -> Target:
    return Target("board", "127.0.0.1", board.port, USER, str(key) if key else None, **more)  # type: ignore[arg-type]


def says(connection: Connection, *words: str, sudo: bool = False) -> str:
    with connection:
        done = connection.run(*words, sudo=sudo)
    assert done.status == 0, done.stderr
    return done.stdout.decode().strip()


def test_a_named_key(board: Sshd, home: Path, key: Path) -> None:
    connection = Connection(target(board, key), known(home, board.known()), SudoPassword())
    assert says(connection, "id", "-un") == USER


def test_the_keys_of_the_home_directory(board: Sshd, home: Path) -> None:
    connection = Connection(target(board), known(home, board.known()), SudoPassword())
    assert says(connection, "id", "-un") == USER


def test_the_agent(board: Sshd, home: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".ssh/id_ed25519").unlink()
    socket = home / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL) as agent:
        try:
            wait_for(socket.exists)
            monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
            subprocess.run(["ssh-add", "-q", key], check=True, stderr=subprocess.DEVNULL)
            connection = Connection(target(board), known(home, board.known()), SudoPassword())
            assert says(connection, "id", "-un") == USER
        finally:
            agent.terminate()


def test_a_password_where_no_key_is_accepted(board: Sshd, home: Path) -> None:
    (home / ".ssh/id_ed25519").unlink()
    trusted = known(home, board.known())
    password = SudoPassword(login=LoginPassword(known=PASSWORD))
    assert says(Connection(target(board), trusted, password), "id", "-un") == USER
    with pytest.raises(HostUnreachable, match="does not accept the user and key"):
        Connection(target(board), trusted, SudoPassword()).open()
    wrong = SudoPassword(login=LoginPassword(known="wrong"))
    with pytest.raises(HostUnreachable, match="does not accept the user and password"):
        Connection(target(board), trusted, wrong).open()


def test_sudo_takes_its_password_once_and_shows_it_nowhere(board: Sshd, home: Path, key: Path) -> None:  # fmt: skip
    trusted = known(home, board.known())
    password = SudoPassword(known=PASSWORD)
    with Connection(target(board, key), trusted, password) as connection:
        for _ in range(2):
            done = connection.run("sh", "-c", "id -u; cat; ps axww", sudo=True, stdin=b"input\n")
            lines = done.stdout.decode().splitlines()
            assert lines[:2] == ["0", "input"]
            assert PASSWORD not in done.stdout.decode() + done.stderr.decode()
    assert PASSWORD not in board.log()


def test_the_agent_runs_as_root_over_ssh_and_sudo(board: Sshd, home: Path, key: Path) -> None:
    command = shlex.join(ship.command("python3"))
    with (
        Connection(target(board, key), known(home, board.known()), SudoPassword(known=PASSWORD)) as connection,
        connection.start(command, sudo=True, timeout=60) as pipe,
    ):  # fmt: skip
        agent = ship.Agent("board", pipe)
        facts = agent.hello()
        agent.leave()
        assert pipe.wait() == 0
    assert (facts["uid"], facts["codename"]) == (0, "bookworm")


def test_ssh_config_names_the_board_and_the_way_to_it(board: Sshd, jump: Sshd, home: Path) -> None:
    (home / ".ssh/config").write_text(
        f"Host kitchen\n  HostName 127.0.0.1\n  Port {board.port}\n  User {USER}\n  ProxyJump hop\n"
        f"Host hop\n  HostName 127.0.0.1\n  Port {jump.port}\n  User {USER}\n"
    )
    trusted = known(home, board.known(), jump.known())
    before = jump.log().count("Accepted publickey")
    assert says(Connection(Target("kitchen"), trusted, SudoPassword()), "id", "-un") == USER
    assert jump.log().count("Accepted publickey") == before + 1


def test_a_jump_host_with_an_unknown_key_is_refused(board: Sshd, jump: Sshd, home: Path, key: Path) -> None:  # fmt: skip
    way = target(board, key, jump=(f"{USER}@127.0.0.1:{jump.port}",))
    with pytest.raises(
        HostUnreachable, match=rf"host key of \[127.0.0.1\]:{jump.port} is not known"
    ):
        Connection(way, known(home, board.known()), SudoPassword()).open()


def test_many_boards_behind_one_jump_host(board: Sshd, jump: Sshd, home: Path, key: Path) -> None:
    """It drops what comes too fast: every connection is made all the same, eight at a time at most."""
    way = target(board, key, jump=(f"{USER}@127.0.0.1:{jump.port}",))
    trusted = known(home, board.known(), jump.known())
    most, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            most[0] = max(most[0], connections(jump.port))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with ThreadPoolExecutor(12) as pool:
            made = [pool.submit(says, Connection(way, trusted, SudoPassword(), timeout=60), "hostname") for _ in range(12)]  # fmt: skip
            assert len([one.result() for one in made]) == 12
    finally:
        done.set()
        watcher.join()
    assert 1 < most[0] <= PER_JUMP_HOST


def test_a_revoked_host_key_is_refused_also_with_accept_new(board: Sshd, home: Path, key: Path) -> None:  # fmt: skip
    (home / ".ssh/known_hosts").write_text(f"@revoked * {board.host_key}\n")
    for trusted in (known(home), known(home, board.known())):
        trusted.accept_new = True
        with pytest.raises(HostUnreachable, match="is revoked: ED25519 SHA256:"):
            Connection(target(board, key), trusted, SudoPassword()).open()


_FIRST_CONTACT = """
from pathlib import Path
from toolkit.connection.hostkeys import KnownHosts
from toolkit.connection.ssh import Connection
from toolkit.connection.sudo import SudoPassword
from toolkit.errors import PinnaceError
from toolkit.inventory.settings import Target
try:
    with Connection(Target("board", "127.0.0.1", {port}, "pi", "{key}"), KnownHosts(), SudoPassword()) as connection:
        print("user", connection.run("id", "-un").stdout.decode())
except PinnaceError as problem:
    print("error", problem)
"""


def first_contact(board: Sshd, key: Path, answer: str) -> str:
    """What a person at a terminal sees and types."""
    script = _FIRST_CONTACT.format(port=board.port, key=key)
    ours, theirs = os.openpty()
    with subprocess.Popen([sys.executable, "-c", script], cwd=PROJECT, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "COLUMNS": "200"}) as person:  # fmt: skip
        os.close(theirs)
        seen = b""
        try:
            while chunk := _read(ours):
                if b"[y/N]" in chunk:
                    os.write(ours, answer.encode() + b"\n")
                seen += chunk
        finally:
            person.wait(60)
            os.close(ours)
    return seen.decode()


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 4096)
    except OSError:
        return b""  # the other end of a terminal is gone


def test_first_contact_shows_the_fingerprint_and_asks(board: Sshd, home: Path, key: Path) -> None:
    fingerprint = board.sh("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub").split()[1]
    refused = first_contact(board, key, "n")
    assert fingerprint in refused
    assert "error the host key" in refused
    accepted = first_contact(board, key, "y")
    assert fingerprint in accepted
    assert f"user {USER}" in accepted
    again = first_contact(board, key, "")
    assert "[y/N]" not in again
    assert f"user {USER}" in again


def test_a_board_whose_key_changed_is_refused(board: Sshd, home: Path, key: Path) -> None:
    trusted = known(home, board.known())
    board.new_host_key()
    board.serve()
    trusted.accept_new = True
    with pytest.raises(HostUnreachable, match="has changed: known is ED25519 SHA256:"):
        Connection(target(board, key), trusted, SudoPassword()).open()


def test_a_board_without_python_gets_it_first(board: Sshd, home: Path, key: Path) -> None:
    trusted = known(home, f"[127.0.0.1]:{board.port} {board.host_key}")
    apt = '#!/bin/sh\\n[ "$1" = install ] && [ -e /run/lists ] && exec mv /srv/python3 /usr/bin/python3\\n[ "$1" = update ] && exec touch /run/lists\\nexit 100\\n'
    board.sh(f"mv /usr/bin/python3 /srv/; printf '{apt}' >/usr/local/bin/apt-get; chmod +x /usr/local/bin/apt-get")  # fmt: skip
    with Connection(target(board, key), trusted, SudoPassword(known=PASSWORD)) as connection:
        with pytest.raises(NoPython), bootstrap.agent(connection, install=False):
            pass
        with bootstrap.agent(connection, install=True) as (agent, facts):
            agent.leave()
            assert facts["python"] == "3.11"


def test_a_connection_that_breaks_leaves_what_the_next_run_finishes(board: Sshd, home: Path, key: Path) -> None:  # fmt: skip
    """It breaks while apt-get works: what was done stays done, what comes after is not begun."""
    trusted = known(home, f"[127.0.0.1]:{board.port} {board.host_key}")
    password = SudoPassword(known=PASSWORD)
    # sshd and sudo need a moment to hand on that nobody is there any more.
    apt = "#!/bin/sh\\nuntil [ -e /run/go ]; do sleep 0.05; done; sleep 1\\n"
    board.sh(f"printf '{apt}' >/usr/local/bin/apt-get; chmod +x /usr/local/bin/apt-get")
    files = [File(path=f"/srv/cut/{number:02}", source=b"x" * 10000) for number in range(20)]
    wanted: list[Resource] = [*files[:10], Package(names=("pinnace-no-such",)), *files[10:]]
    plan = make(Planned("test", resource) for resource in wanted)
    message = {**plan.wire(), "mode": "apply", "run": {"id": "1", "by": "ann@laptop"}}

    def events(until: str = "") -> list[str]:
        found = []
        with (
            Connection(target(board, key), trusted, password) as connection,
            bootstrap.agent(connection, install=False) as (agent, _),
        ):
            for event in agent.converge(message, plan.contents, lambda *_: None):
                found.append(event.get("status", event["event"]))
                if event == {"event": "doing", "id": until}:
                    break  # the laptop goes away
        return found

    events(until="package pinnace-no-such")
    assert board.sh("ls -A /srv/cut | wc -l") == "10"
    board.sh("touch /run/go")
    # Until the agent noticed, the board counts as being provisioned.
    wait_for(lambda: board.sh("flock -n /run/pinnace-agent.lock true && echo free || echo held") == "free")  # fmt: skip
    assert board.sh("ls -A /srv/cut | wc -l") == "10"
    finished = events()
    assert (finished.count("ok"), finished.count("changed"), finished[-1]) == (10, 11, "end")
    assert board.sh("cat /srv/cut/* | wc -c") == "200000"
