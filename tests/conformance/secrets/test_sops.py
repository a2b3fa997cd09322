"""Secrets in files that sops encrypted, with sops itself: they arrive, and nothing shows them on the way."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.secrets import sops
from tests.conformance.secrets.canaries import Canaries, Secretive, Strace, executed, keys, on
from tests.fresh import fresh
from toolkit.boards.catalogue import find
from toolkit.boards.emulated import EmulatedBoard

# Building sops takes its time, once.
pytestmark = [
    pytest.mark.root, pytest.mark.emulated, pytest.mark.peer, pytest.mark.timeout(3600),
    pytest.mark.usefixtures("state"),
]  # fmt: skip

NAME = "emu-amd64-sops"
VALUES = {way: f"c4nary-{way}-52b8e0" for way in ("value", "dotenv", "whole", "rotated")}
CANARIES = Canaries(VALUES)
BINARY = b"\xff\xfe" + VALUES["whole"].encode()
ROLE = """
from toolkit.resources import File, secret_text

def recipe(board):
    yield File(path="/etc/demo/mqtt.conf", source=secret_text("password={{ password }}\\npin={{ pin }}\\n", password=board.secret("password"), pin=board.secret("pin")))
    yield File(path="/etc/demo/token", source=board.secret("token"))
    yield File(path="/run/demo/key", source=board.secret("key"))
"""


class Files:
    """A laptop's directory: files that sops encrypted, an inventory that names them, and a role."""

    def __init__(self, folder: Path, program: Path, age: Path) -> None:
        self.folder = folder
        self._sops = program / "sops"
        self._recipient = keys(age, folder / "keys.txt")
        self.environment = {
            "PATH": f"{program}:{os.environ['PATH']}",
            "SOPS_AGE_KEY_FILE": str(folder / "keys.txt"),
        }
        self.yaml(VALUES["value"])
        self.encrypt("mqtt.env", f"TOKEN={VALUES['dotenv']}\n".encode())
        self.encrypt("key.bin", BINARY)
        (folder / "plain.yaml").write_text("x: in clear\n")
        (folder / "group_vars").mkdir()
        self.reference("mqtt.yaml#mqtt.password")
        (folder / "roles").mkdir()
        (folder / "roles" / "demo.py").write_text(ROLE)

    def reference(self, password: str) -> None:
        (self.folder / "group_vars" / "all.yml").write_text(
            f"secrets:\n  password: !secret sops:{password}\n  pin: !secret sops:mqtt.yaml#mqtt.pins.0\n"
            "  token: !secret sops:mqtt.env#TOKEN\n  key: !secret sops:key.bin\n"
        )

    def yaml(self, password: str) -> None:
        self.encrypt("mqtt.yaml", f"mqtt:\n  password: {password}\n  pins: [480213]\n".encode())

    def encrypt(self, name: str, plain: bytes) -> None:
        """Write ``name``, encrypted for this laptop."""
        words = [self._sops, "--encrypt", "--age", self._recipient, "--filename-override", name, "/dev/stdin"]  # fmt: skip
        done = subprocess.run(words, input=plain, capture_output=True, check=True, timeout=60)
        (self.folder / name).write_bytes(done.stdout)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, age: Path) -> Files:
    return Files(tmp_path_factory.mktemp("laptop"), sops.program(), age)


@pytest.fixture(scope="module")
def laptop(files: Files) -> Secretive:
    made = Secretive(files.folder, **files.environment)
    made.inventory(f"{NAME} board={NAME} roles=demo\n")
    return made


@pytest.fixture(scope="module")
def board(laptop: Secretive) -> Iterator[EmulatedBoard]:
    found = EmulatedBoard(find(NAME))
    with fresh(found):
        yield found


def test_they_arrive_and_are_nowhere_else(
    laptop: Secretive, board: EmulatedBoard, files: Files, state: Path, strace: Strace, tmp_path: Path
) -> None:  # fmt: skip
    here = [*strace, "--seccomp-bpf", "-o", str(tmp_path / "laptop")]
    with executed(strace, board, tmp_path / "board"):
        done = laptop.run("provision", "--host", NAME, "--diff", "--no-verify", "--junit", str(files.folder / "report.xml"), "--report", str(files.folder / "page.html"), before=here)  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert on(board, "cat /etc/demo/mqtt.conf").decode() == f"password={VALUES['value']}\npin=480213\n"  # fmt: skip
    assert on(board, "cat /etc/demo/token").decode() == VALUES["dotenv"]
    assert on(board, "cat /run/demo/key") == BINARY
    assert CANARIES.places(board) == {
        "/etc/demo/mqtt.conf": {"value"}, "/etc/demo/token": {"dotenv"}, "/run/demo/key": {"whole"},
    }  # fmt: skip
    assert on(board, "stat -c %a:%U /etc/demo/* /run/demo/key").decode().split() == ["600:root"] * 3
    assert CANARIES.found_in(on(board, "journalctl -o export --no-pager")) == set()
    assert CANARIES.found_in(done.stdout + done.stderr) == set()
    assert CANARIES.below(files.folder, state) == {}
    executions = [(tmp_path / side).read_bytes() for side in ("laptop", "board")]
    assert CANARIES.found_in(b"".join(executions)) == set()
    # The YAML is decrypted once for both of its values.
    asked = [line for line in executions[0].splitlines() if b'"sops", "--decrypt"' in line and b"= 0" in line]  # fmt: skip
    assert len(asked) == 3


def test_a_plan_shows_that_one_was_changed_and_not_how(
    laptop: Secretive, board: EmulatedBoard, files: Files
) -> None:
    again = laptop.run("plan", "--host", NAME)
    assert again.returncode == 0, again.stderr.decode()
    files.yaml(VALUES["rotated"])
    try:
        changed = laptop.run("plan", "--host", NAME)
    finally:
        files.yaml(VALUES["value"])
    assert changed.returncode == 3
    assert b"/etc/demo/mqtt.conf  content: differs -> replaced" in changed.stderr
    assert CANARIES.found_in(again.stderr + changed.stdout + changed.stderr) == set()


@pytest.mark.parametrize(
    ("password", "variables", "why"),
    [
        ("mqtt.yaml#mqtt.user", {}, "there is no mqtt.user in it"),
        ("key.bin#data", {}, "data is not text"),
        ("plain.yaml#x", {}, "plain.yaml is not decrypted: sops metadata not found"),
        ("mqtt.yaml#mqtt.password", {"SOPS_AGE_KEY_FILE": "/nonexistent"}, "mqtt.yaml is not decrypted: Failed to get the data key required to decrypt the SOPS file"),
        ("mqtt.yaml#mqtt.password", {"PATH": "/usr/bin:/bin"}, "sops is not installed"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_before_anything_is_changed(
    laptop: Secretive, board: EmulatedBoard, files: Files, password: str, variables: dict[str, str], why: str
) -> None:  # fmt: skip
    files.reference(password)
    try:
        done = laptop.run("provision", "--host", NAME, "--no-verify", **variables)
    finally:
        files.reference("mqtt.yaml#mqtt.password")
    assert done.returncode == 1, done.stderr.decode()
    assert f"all.yml:2:13: secret sops:{password}: " in done.stderr.decode()
    assert why in done.stderr.decode()
    assert CANARIES.found_in(done.stdout + done.stderr) == set()
