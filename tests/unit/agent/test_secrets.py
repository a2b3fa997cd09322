"""Secrets on the board's side: in memory only on their way, masked where programs repeat them, put back from memory."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from tests.unit.agent.board import OWNER, converge, counts, snapshot
from toolkit.agent import undo
from toolkit.agent.contents import Arrived, hasher
from toolkit.agent.errors import AgentError
from toolkit.agent.feed import feed
from toolkit.agent.system import SPOOL, System
from toolkit.agent.undo import Undo
from toolkit.paths import PROJECT
from toolkit.resources import Content, File
from toolkit.secrets.secret import Secret

VALUE = b"correct horse battery"
KEY = "ab" * 32


@pytest.fixture(autouse=True)
def _state(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


def secret(value: bytes = VALUE) -> File:
    return File(path="/etc/token", source=Secret("test:token", lambda: value), **OWNER)


def receive(arrived: Arrived, digest: str, size: int, data: bytes) -> None:
    waiting = [zlib.compress(data), b""]
    arrived.receive(digest, size, lambda: waiting.pop(0))


def test_a_secret_file_is_written_once_and_seen_to_be_right(tmp_path: Path) -> None:
    assert counts(converge(tmp_path, [secret()]))["changed"] == 1
    assert (tmp_path / "etc/token").read_bytes() == VALUE
    assert (tmp_path / "etc/token").stat().st_mode & 0o777 == 0o600
    before = snapshot(tmp_path)
    assert counts(converge(tmp_path, [secret()])) == {"ok": 1, "changed": 0, "failed": 0}
    assert snapshot(tmp_path) == before
    told = converge(tmp_path, [secret(b"another value")], mode="check")
    assert [event["changes"] for event in told if event["event"] == "result"] == [[["content", "differs", "replaced"]]]  # fmt: skip
    assert "correct horse" not in json.dumps(told)
    assert "another value" not in json.dumps(told)


def test_a_secret_waits_in_memory_and_all_else_on_disk(tmp_path: Path) -> None:
    plain, sealed = Content(b"plain"), Content(VALUE, KEY)
    arrived = Arrived(System(str(tmp_path)), {sealed.digest: KEY})
    arrived.prepare()
    receive(arrived, sealed.digest, len(VALUE), VALUE)
    receive(arrived, plain.digest, 5, b"plain")
    spool = tmp_path / SPOOL[1:]
    assert [path.name for path in spool.iterdir()] == [plain.digest]
    assert all(path.stat().st_mode & 0o077 == 0 for path in (spool, spool.parent))
    assert b"".join(arrived.read(sealed.digest)) == VALUE
    arrived.clear()
    assert not spool.exists()
    with pytest.raises(FileNotFoundError):
        next(arrived.read(sealed.digest))


@pytest.mark.parametrize(
    ("size", "data", "why"),
    [(21, b"x" * 21, "damaged"), (21, VALUE + b"more", "longer"), (30, VALUE, "damaged"), (2 << 20, VALUE, "too large")],
)  # fmt: skip
def test_a_secret_that_is_not_what_was_announced_is_refused(tmp_path: Path, size: int, data: bytes, why: str) -> None:  # fmt: skip
    digest = Content(VALUE, KEY).digest
    with pytest.raises(AgentError, match=why):
        receive(Arrived(System(str(tmp_path)), {digest: KEY}), digest, size, data)


def test_both_halves_make_the_same_digest() -> None:
    for key in ("", KEY):
        state = hasher(key)
        state.update(VALUE)
        assert state.hexdigest() == Content(VALUE, key).digest


def test_what_programs_say_is_masked_and_names_are_not() -> None:
    system = System("/")
    system.hidden = ["horse", "correct horse"]
    said = {"event": "horse", "message": "the correct horse", "changes": [["x", "horse", "y"]], "id": "file /horse"}  # fmt: skip
    assert system.masked(said) == {"event": "horse", "message": "the (secret)", "changes": [["x", "(secret)", "y"]], "id": "file /horse"}  # fmt: skip


def test_a_program_is_fed_and_its_failure_does_not_repeat_what_it_was_fed() -> None:
    assert feed(["cat"], b"x" * 300_000) == b"x" * 300_000
    with pytest.raises(AgentError, match="failed with status 3") as problem:
        feed(["sh", "-c", "cat >&2; exit 3"], VALUE)
    assert "correct" not in problem.value.message
    with pytest.raises(AgentError, match="not installed"):
        feed(["no-such-program"], VALUE)


def test_a_file_of_run_is_put_back_from_memory_and_forgotten_with_it(tmp_path: Path) -> None:
    system = System(str(tmp_path), runner=lambda argv, timeout: (0, ""))
    (tmp_path / "run").mkdir()
    (tmp_path / "run/token").write_bytes(VALUE)
    for run in ("r1", "r2"):
        notes = Undo(system, run)
        notes.begin()
        system.notes = notes.path
        system.rewrite("/run/token", f"of {run}".encode())
        system.notes = None
    on_disk = [path.read_bytes() for path in (tmp_path / "var").rglob("*") if path.is_file()]
    assert not any(b"Y29ycmVjdCBob3Jz" in data or VALUE in data for data in on_disk)
    undo.revert(system, undo.runs(system)[-1])
    assert (tmp_path / "run/token").read_bytes() == b"of r1"
    # After a reboot there is nothing in /run: nothing is put back, and nothing fails.
    for path in (tmp_path / "run").rglob("*"):
        if path.is_file():
            path.unlink()
    undo.revert(system, undo.runs(system)[-1])
    assert not (tmp_path / "run/token").exists()
    assert [path for path in (tmp_path / "run").rglob("*") if path.is_file()] == []


def test_neither_half_leaves_a_core_once_it_has_one(tmp_path: Path) -> None:
    program = (
        "import resource, sys\n"
        "from toolkit.agent.contents import Arrived\nfrom toolkit.agent.system import System\nfrom toolkit.secrets import mask\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (4096, 8192))\n"
        "Arrived(System('/'), {}); print(*resource.getrlimit(resource.RLIMIT_CORE))\n"
        "mask.hide(b'correct'); print(*resource.getrlimit(resource.RLIMIT_CORE))\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (4096, 8192))\n"
        "Arrived(System('/'), {'x': 'y'}); print(*resource.getrlimit(resource.RLIMIT_CORE))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=PROJECT)  # fmt: skip
    assert done.stdout.splitlines() == ["4096 8192", "0 8192", "0 8192"]
