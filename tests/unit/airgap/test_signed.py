"""What a board takes on: real signatures of ssh-keygen, and what an attacker makes of them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolkit.agent import signed
from toolkit.agent.errors import AgentError
from toolkit.agent.system import System
from toolkit.airgap import command, make
from toolkit.airgap.plans import Packed
from toolkit.errors import UsageError
from toolkit.signing import keys
from toolkit.signing.keys import Signer

PLAN = b'{"handlers":[],"resources":[],"roles":{}}'
FACTS = {"machine": "armv6l", "python": "3.11"}


@pytest.fixture(scope="module")
def make_key(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Signer]:
    folder = tmp_path_factory.mktemp("keys")

    def make(name: str) -> Signer:
        path = folder / name
        if not path.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)], check=True)  # fmt: skip
        return keys._of_file(path)

    return make


class Board:
    """A board made of a directory, which trusts the signers it is given."""

    def __init__(self, root: Path, *lines: str) -> None:
        self.root = root
        self.system = System(str(root))
        if lines:
            self.write(signed.SIGNERS, "".join(lines).encode())

    def write(self, path: str, data: bytes) -> None:
        target = Path(f"{self.root}{path}")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        target.chmod(0o644)

    def take(self, index: bytes, signature: str, host: str = "pi", **more: Any) -> signed.Taken:
        message = {"index": index.decode(), "signature": signature, "host": host, **more}
        taken = signed.take(self.system, message)
        taken.plan(PLAN, FACTS)
        signed.remember(self.system, taken, more.get("trust", ""))
        return taken

    def refuses(self, why: str, index: bytes, signature: str, host: str = "pi", **more: Any) -> None:  # fmt: skip
        before = self.state()
        with pytest.raises(AgentError, match=why):
            self.take(index, signature, host, **more)
        assert self.state() == before

    def state(self) -> list[tuple[str, bytes]]:
        return [(str(path), path.read_bytes()) for path in sorted(self.root.rglob("*")) if path.is_file()]  # fmt: skip


def index(release: int = 100, hosts: tuple[str, ...] = ("pi",), **more: Any) -> bytes:
    entry = {"plan": hashlib.sha256(PLAN).hexdigest(), "facts": FACTS}
    return json.dumps({"format": 1, "release": release, "hosts": dict.fromkeys(hosts, entry), "blobs": {}, **more}).encode()  # fmt: skip


@pytest.fixture
def anna(make_key: Callable[[str], Signer]) -> Signer:
    return make_key("anna")


@pytest.fixture
def board(tmp_path: Path, anna: Signer) -> Board:
    return Board(tmp_path / "board", anna.line)


def test_a_good_one_is_taken_and_taken_again(board: Board, anna: Signer) -> None:
    data = index()
    taken = board.take(data, keys.sign(data, anna))
    assert (taken.release, taken.signer) == (100, "anna")
    board.take(data, keys.sign(data, anna))


def test_every_altered_byte_is_seen(board: Board, anna: Signer) -> None:
    data = index()
    signature = keys.sign(data, anna)
    for at in range(0, len(data), 37):
        changed = bytearray(data)
        changed[at] ^= 1
        board.refuses("is not good", bytes(changed), signature)


def test_a_signature_that_is_cut_short_or_missing(board: Board, anna: Signer) -> None:
    data = index()
    signature = keys.sign(data, anna)
    board.refuses("not signed by anybody", data, signature[: len(signature) // 2])
    board.refuses("is not signed", data, "")


def test_another_key(board: Board, make_key: Callable[[str], Signer]) -> None:
    data = index()
    board.refuses("not signed by anybody this board trusts", data, keys.sign(data, make_key("eve")))


def test_a_signature_for_something_else(board: Board, anna: Signer, tmp_path: Path) -> None:
    """The right key signed the same bytes, as a mail or a commit."""
    file = tmp_path / "data"
    file.write_bytes(index())
    subprocess.run(["ssh-keygen", "-Y", "sign", "-q", "-f", str(anna.path), "-n", "file", str(file)], check=True)  # fmt: skip
    other = file.with_name("data.sig").read_text()
    # Also where the board's file does not restrict the key to our namespace.
    for line in (anna.line, f"anna {anna.public}\n"):
        board.write(signed.SIGNERS, line.encode())
        board.refuses("is not good", index(), other)


def test_an_older_one_and_another_of_the_same_number(board: Board, anna: Signer) -> None:
    old, new, twin = index(100), index(200), index(200, ("pi", "other"))
    board.take(new, keys.sign(new, anna))
    board.refuses("took on 200 before", old, keys.sign(old, anna))
    board.refuses("took on 200 before", twin, keys.sign(twin, anna))
    newer = index(201)
    assert board.take(newer, keys.sign(newer, anna)).release == 201


def test_a_number_of_a_clock_that_was_ahead_is_told(board: Board, anna: Signer) -> None:
    now = int(time.time())
    ahead, today = index(2_000_000_000), index(now)
    board.take(ahead, keys.sign(ahead, anna))
    board.refuses("a number of 2033-05-18: the clock", today, keys.sign(today, anna))
    with pytest.raises(AgentError) as problem:
        board.take(today, keys.sign(today, anna))
    assert "--release 2000000001" in problem.value.hint
    soon = index(2_000_000_001, expires=now + 3600)
    board.refuses("by a clock that was ahead", soon, keys.sign(soon, anna))
    # A board without a clock cannot say who is wrong.
    board.refuses("took on 2000000000 before", today, keys.sign(today, anna), now=1000.0)
    mended = index(2_000_000_001)
    assert board.take(mended, keys.sign(mended, anna)).release == 2_000_000_001


def test_numbers_count_on_from_one_that_was_chosen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    first = make.number("a")
    assert make.number("a") == first
    assert make.number("b", 2_000_000_001) == 2_000_000_001
    assert make.number("b") == 2_000_000_001
    assert make.number("c") == 2_000_000_002
    assert make.number("d", 7) == 7
    assert make.number("e") == 2_000_000_003


def test_a_damaged_memory_of_the_newest_is_no_memory_of_nothing(board: Board, anna: Signer) -> None:
    data = index()
    board.write("/var/lib/pinnace-agent/signed.json", b"{")
    board.refuses("damaged", data, keys.sign(data, anna))


def test_for_another_host(board: Board, anna: Signer) -> None:
    data, both = index(), index(300, ("pi", "other"))
    board.refuses("not for other", data, keys.sign(data, anna), host="other")
    board.take(data, keys.sign(data, anna))
    # The laptop means another board than the one that has this address today.
    board.refuses("this board is pi", both, keys.sign(both, anna), host="other")


def test_another_plan_or_another_machine(board: Board, anna: Signer) -> None:
    data = index()
    taken = signed.take(board.system, {"index": data.decode(), "signature": keys.sign(data, anna), "host": "pi"})  # fmt: skip
    with pytest.raises(AgentError, match="not the one that was signed"):
        taken.plan(PLAN + b" ", FACTS)
    with pytest.raises(AgentError, match=r"whose python is '3.11'.*'3.13'"):
        taken.plan(PLAN, {**FACTS, "python": "3.13"})


def test_one_that_expired(board: Board, anna: Signer) -> None:
    data = index(expires=int(time.time()) - 10)
    board.refuses("expired", data, keys.sign(data, anna))
    # A board whose clock stands in 1970 is told the time by who provisions it.
    board.refuses("expired", data, keys.sign(data, anna), now=time.time())
    board.take(data, keys.sign(data, anna), now=time.time() - 100)


def test_a_key_whose_time_is_over(board: Board, anna: Signer) -> None:
    data = index()
    board.write(signed.SIGNERS, f'anna valid-before="20200101" {anna.public}\n'.encode())
    board.refuses("not signed by anybody|is not good", data, keys.sign(data, anna))
    board.take(data, keys.sign(data, anna), now=1500000000.0)


def test_a_revoked_key(board: Board, anna: Signer, tmp_path: Path) -> None:
    data, krl = index(), tmp_path / "krl"
    public = anna.path.with_name("anna.pub")
    subprocess.run(["ssh-keygen", "-q", "-k", "-f", str(krl), str(public)], check=True)
    for revoked in (krl.read_bytes(), public.read_bytes()):
        board.write(signed.REVOKED, revoked)
        board.refuses("is not good", data, keys.sign(data, anna))
    board.write(signed.REVOKED, b"rubbish")
    board.refuses("is not good", data, keys.sign(data, anna))


def test_rotation(board: Board, anna: Signer, make_key: Callable[[str], Signer]) -> None:
    bert = make_key("bert")
    board.write(signed.SIGNERS, (anna.line + bert.line).encode())
    for release, signer in ((1, anna), (2, bert)):
        data = index(release)
        assert board.take(data, keys.sign(data, signer)).signer == signer.name
    board.write(signed.SIGNERS, bert.line.encode())
    data = index(3)
    board.refuses("anybody this board trusts", data, keys.sign(data, anna))


def test_first_contact(tmp_path: Path, anna: Signer, make_key: Callable[[str], Signer]) -> None:
    board, data = Board(tmp_path / "new"), index()
    board.root.mkdir()
    board.refuses("trusts no signers yet", data, keys.sign(data, anna))
    board.take(data, keys.sign(data, anna), trust=anna.line)
    # From then on what comes with a bundle counts for nothing.
    eve, worse = make_key("eve"), index(400)
    board.refuses("anybody this board trusts", worse, keys.sign(worse, eve), trust=eve.line)


def test_signers_that_others_can_write_count_for_nothing(board: Board, anna: Signer) -> None:
    data = index()
    os.chmod(f"{board.root}{signed.SIGNERS}", 0o666)
    board.refuses("only root can write", data, keys.sign(data, anna))
    os.unlink(f"{board.root}{signed.SIGNERS}")
    os.symlink("/dev/null", f"{board.root}{signed.SIGNERS}")
    with pytest.raises(AgentError, match="only root can write"):
        board.take(data, keys.sign(data, anna))


def test_a_key_of_the_agent(tmp_path: Path, anna: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    started = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    found = dict(part.split("=", 1) for part in started.replace("\n", "").split(";") if "=" in part)
    monkeypatch.setenv("SSH_AUTH_SOCK", found["SSH_AUTH_SOCK"])
    monkeypatch.setenv("SSH_AGENT_PID", found["SSH_AGENT_PID"])
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    try:
        with pytest.raises(UsageError, match="no identities"):
            keys.choose("agent")
        subprocess.run(["ssh-add", "-q", str(anna.path)], check=True)
        board, data = Board(tmp_path / "board", anna.line), index()
        assert board.take(data, keys.sign(data, keys.choose("agent:ann"))).signer == "anna"
        with pytest.raises(UsageError, match="whose comment"):
            keys.choose("agent:nobody")
    finally:
        subprocess.run(["ssh-agent", "-k"], capture_output=True, check=True)


def test_our_own_key_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    first = keys.choose()
    assert "made a key to sign with" in capsys.readouterr().err
    assert keys.choose().public == first.public
    assert capsys.readouterr().err == ""
    assert first.path.stat().st_mode & 0o077 == 0
    assert keys.allowed_signers().read_text() == first.line


def test_keys_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    (tmp_path / "x.pub").write_text("hello world")
    with pytest.raises(UsageError, match="not a public key"):
        keys.choose(str(tmp_path / "x"))
    with pytest.raises(UsageError, match="No such file"):
        keys.choose(str(tmp_path / "y"))


def test_of_what_comes_beside_a_plan_only_what_it_left_open_counts() -> None:
    plan = {"resources": [{"id": "a", "path": "/a", "late": ["digest"]}, {"id": "b", "path": "/b"}]}
    signed.fill(plan, {"a": {"digest": "x", "path": "/etc/shadow"}, "b": {"path": "/etc/shadow"}})
    assert plan["resources"] == [{"id": "a", "path": "/a", "digest": "x"}, {"id": "b", "path": "/b"}]  # fmt: skip
    with pytest.raises(AgentError, match="needs a secret"):
        signed.fill({"resources": [{"id": "a", "late": ["digest"]}]}, {})


def test_every_host_has_its_plan_in_the_table(
    make_key: Callable[[str], Signer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    plans = {f"pi{number}": Packed(PLAN, FACTS, {}, {}) for number in range(1, 6)}
    plans["zero"] = Packed(PLAN + b" ", FACTS, {}, {})
    made = make.make(plans, make_key("ann"))
    command.show(made.contents, made.names)
    rows = [re.split(r"  +", line.strip())[:2] for line in capsys.readouterr().out.splitlines()]
    assert rows[1:3] == [["plan", "pi1, pi2, pi3 and 2 more"], ["plan", "zero"]]
