"""Secrets by attack: canaries go to a board in every way there is, and everything is searched for them.

Every program that is executed on both sides during the run (a native board's are this machine's), what was printed and
written on the laptop, every file and the journal of the board: they are where they have to be, and nowhere else.
``PINNACE_FULL=1``: with the whole runtime, not only its logins of registries.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.secrets.canaries import Canaries, Secretive, Strace, executed, keys, on
from tests.fresh import fresh
from toolkit.boards.catalogue import find
from toolkit.boards.emulated import EmulatedBoard

pytestmark = [
    pytest.mark.root, pytest.mark.emulated, pytest.mark.peer, pytest.mark.timeout(600),
    pytest.mark.usefixtures("state"),
]  # fmt: skip

FIRST = "runtime" if os.environ.get("PINNACE_FULL") else "logins"
NAME = "emu-amd64-secrets"
HASH = "$6$c4naryhash$" + "Q" * 86
VALUES = {
    way: f"c4nary-{way}-7f3a91" for way in ("env", "age", "command", "ini", "login", "rotated")
}
CANARIES = Canaries({**VALUES, "hash": HASH})
found_in, places, below = CANARIES.found_in, CANARIES.places, CANARIES.below
ROLE = '''
from toolkit.resources import *
from toolkit.resources import Credential, File, Handler, Unit, User, secret_text

SERVICE = """[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'sha256sum <"$CREDENTIALS_DIRECTORY/token" >/run/seen'
ExecStart=/bin/sh -c 'stat -c %%a:%%U "$CREDENTIALS_DIRECTORY/token" >>/run/seen'
[Install]
WantedBy=multi-user.target
"""

def recipe(board):
    yield File(path="/etc/demo/token", source=board.secret("env"))
    text = secret_text("key={{ key | toml }}\\n", key=board.secret("age"))
    yield File(path="/etc/demo/demo.conf", source=text, mode="0640", group="adm")
    yield File(path="/run/demo/token", source=board.secret("ini"))
    yield User(user="demo", password=board.secret("hash"))
    yield Credential(unit="demo.service", credential="token", source=board.secret("command"))
    yield Unit(unit="demo.service", source=SERVICE)
'''
LOGINS = """
from dataclasses import replace
from roles import runtime

def recipe(board):
    yield replace(runtime.logins(board), notify=())
"""
FAILING = """
from toolkit.resources import File, Handler

def recipe(board):
    check = Handler.command("sh", "-c", "cat /etc/demo/token >&2; exit 1")
    yield File(path="/etc/demo/token", source=board.secret("env"), notify=(check,))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, age: Path) -> Path:
    """A laptop's directory: an inventory whose secrets come in every way, and a role that uses them."""
    folder = tmp_path_factory.mktemp("laptop")
    public = keys(age, folder / "key.txt")
    plain = f"pi:\n  key: {VALUES['age']}\n  login: {VALUES['login']}\n"
    sealed = subprocess.run([age / "age", "-r", public, "-a"], input=plain, text=True, check=True, capture_output=True).stdout  # fmt: skip
    (folder / "vault.age").write_text(sealed)
    (folder / "group_vars").mkdir()
    (folder / "group_vars" / "all.yml").write_text(
        "secrets:\n"
        "  env: !secret env:CANARY\n"
        "  age: !secret age:vault.age#pi.key\n"
        f"  command: !secret command:printf {VALUES['command'][:9]}%s {VALUES['command'][9:]}\n"
        "  ini: !secret env:CANARY_INI\n"
        "  hash: !secret env:CANARY_HASH\n"
        "registry_auth:\n"
        "  registry.example:5000: {username: pi, password: !secret 'age:vault.age#pi.login'}\n"
    )
    (folder / "roles").mkdir()
    (folder / "roles" / "demo.py").write_text(ROLE)
    (folder / "roles" / "logins.py").write_text(LOGINS)
    (folder / "roles" / "failing.py").write_text(FAILING)
    return folder


@pytest.fixture(scope="module")
def laptop(folder: Path, age: Path) -> Secretive:
    made = Secretive(
        folder, PATH=f"{age}:{os.environ['PATH']}", PINNACE_AGE_IDENTITY=str(folder / "key.txt"),
        CANARY=VALUES["env"], CANARY_INI=VALUES["ini"], CANARY_HASH=HASH,
    )  # fmt: skip
    made.inventory(f"{NAME} board={NAME} roles={FIRST},demo\n")
    return made


@pytest.fixture(scope="module")
def board() -> Iterator[EmulatedBoard]:
    found = EmulatedBoard(find(NAME))
    with fresh(found):
        yield found


Provisioned = tuple[subprocess.CompletedProcess[bytes], dict[str, list[bytes]]]


@pytest.fixture(scope="module")
def provisioned(
    laptop: Secretive, board: EmulatedBoard, folder: Path, strace: Strace, tmp_path_factory: pytest.TempPathFactory
) -> Provisioned:  # fmt: skip
    """The first run, and what was executed on both sides of it."""
    traces = tmp_path_factory.mktemp("traces")
    here = [*strace, "--seccomp-bpf", "-o", str(traces / "laptop")]
    with executed(strace, board, traces / "board"):
        done = laptop.run("provision", "--host", NAME, "--diff", "--no-verify", "--junit", str(folder / "report.xml"), before=here)  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return done, {name: (traces / name).read_bytes().splitlines() for name in ("laptop", "board")}


def test_secrets_arrive(provisioned: Provisioned, board: EmulatedBoard) -> None:
    import hashlib

    digest = hashlib.sha256(VALUES["command"].encode()).hexdigest()
    seen = on(board, "cat /run/seen").decode().split()
    assert seen[0] == digest
    assert seen[2] in ("400:root", "440:root")
    said = on(board, "stat -c %n:%a:%U:%G /etc/demo/* /run/demo/token /etc/pinnace/conf.d/*")  # fmt: skip
    assert said.decode().split() == [
        "/etc/demo/demo.conf:640:root:adm", "/etc/demo/token:600:root:root", "/run/demo/token:600:root:root",
        "/etc/pinnace/conf.d/50-registry-auth.toml:600:root:root",
    ]  # fmt: skip


def test_they_are_where_they_must_be_and_nowhere_else_on_the_board(
    provisioned: Provisioned, board: EmulatedBoard
) -> None:
    assert places(board) == {
        "/etc/demo/token": {"env"},
        "/etc/demo/demo.conf": {"age"},
        "/run/demo/token": {"ini"},
        "/etc/shadow": {"hash"},
        "/etc/pinnace/conf.d/50-registry-auth.toml": {"login"},
        **({"/run/credentials/demo.service/token": {"command"}} if b"token" in on(board, "ls /run/credentials/demo.service || true") else {}),
    }  # fmt: skip
    assert found_in(on(board, "journalctl -o export --no-pager")) == set()
    assert b"demo.service" in on(board, "cat /var/lib/pinnace-agent/journal.jsonl")


def test_nothing_shows_them_on_the_laptop(provisioned: Provisioned, folder: Path, state: Path) -> None:  # fmt: skip
    done, _ = provisioned
    assert found_in(done.stdout + done.stderr) == set()
    assert b"/etc/demo/token" in done.stderr
    assert below(folder, state) == {}
    assert (state / "pinnace" / "runs").is_dir()
    assert (folder / "report.xml").exists()


def test_no_program_gets_them_as_arguments_or_inherits_them(provisioned: Provisioned) -> None:
    _, traces = provisioned
    first, *others = traces["laptop"]
    assert found_in(b"\n".join([*others, *traces["board"]])) == set()
    assert found_in(first) == {"env", "ini", "hash"}  # as it was started
    assert any(b'"age"' in line and b"--decrypt" in line for line in others)
    assert any(b"chpasswd" in line for line in traces["board"])
    assert any(b"systemd-creds" in line for line in traces["board"])


@pytest.mark.usefixtures("provisioned")
def test_a_second_run_finds_nothing_to_do_and_a_plan_shows_nothing(
    laptop: Secretive, board: EmulatedBoard
) -> None:
    again = laptop.run("plan", "--host", NAME)
    assert again.returncode == 0, again.stderr.decode()
    changed = laptop.run("plan", "--host", NAME, CANARY=VALUES["rotated"])
    assert changed.returncode == 3
    assert b"content: differs -> replaced" in changed.stderr
    assert found_in(again.stdout + again.stderr + changed.stdout + changed.stderr) == set()
    assert "rotated" not in set().union(*places(board).values())


@pytest.mark.usefixtures("provisioned")
def test_a_program_on_the_board_that_says_it_is_not_repeated(
    laptop: Secretive, board: EmulatedBoard, state: Path
) -> None:
    done = laptop.run("provision", "--host", NAME, "--role", "failing", "--no-verify", CANARY=VALUES["rotated"])  # fmt: skip
    assert done.returncode == 2
    assert b"(secret)" in done.stderr
    assert found_in(done.stdout + done.stderr) == set()
    assert below(state) == {}
    assert found_in(on(board, "journalctl -o export --no-pager")) == set()
    # What the file had before is kept for a rollback, as protected as the file itself.
    kept = {name: ways for name, ways in places(board).items() if "undo" in name}
    assert set().union(*kept.values()) <= {"env"}
    assert on(board, "find /var/lib/pinnace-agent /run/pinnace-agent-undo -perm /077 2>/dev/null || true") == b""  # fmt: skip


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({"CANARY": ""}, "all.yml:2:8: secret env:CANARY: the environment variable is not set"),
        ({"PINNACE_AGE_IDENTITY": "/nonexistent"}, "all.yml:3:8: secret age:vault.age#pi.key: there is no key"),
        ({"PATH": "/usr/bin:/bin"}, "all.yml:3:8: secret age:vault.age#pi.key: age is not installed"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("provisioned")
def test_one_that_is_missing_fails_before_anything_is_changed(
    laptop: Secretive, board: EmulatedBoard, variables: dict[str, str], why: str
) -> None:
    on(board, "echo by hand >/etc/demo/token; rm -f /run/seen")
    try:
        done = laptop.run("provision", "--host", NAME, "--role", "demo", "--no-verify", **variables)
        assert done.returncode == 1, done.stderr.decode()
        assert why in done.stderr.decode()
        assert b"Traceback" not in done.stderr
        assert found_in(done.stderr) == set()
        assert on(board, "cat /etc/demo/token; ls /run/seen 2>&1 || true").startswith(
            b"by hand\nls: "
        )
    finally:
        on(board, "echo later >/run/seen")


@pytest.mark.usefixtures("provisioned")
def test_a_damaged_file_or_a_wrong_key_is_told_without_what_is_in_it(
    laptop: Secretive, folder: Path, age: Path
) -> None:
    subprocess.run([age / "age-keygen", "-o", folder / "other.txt"], check=True, capture_output=True)  # fmt: skip
    done = laptop.run("plan", "--host", NAME, "--role", "demo", PINNACE_AGE_IDENTITY=str(folder / "other.txt"))  # fmt: skip
    assert done.returncode == 1
    assert "no identity matched any of the recipients" in done.stderr.decode()
