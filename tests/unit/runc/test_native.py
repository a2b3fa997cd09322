"""The native init, with the compiler's checks built in: which descriptions it takes, and what it says of others.

Nothing here needs a right: the steps used change nothing but the process itself.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import socket
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pinnace.errors import Error
from pinnace.runc import native
from pinnace.runc.channel import EXECUTED, LOOKED_UP, verified
from pinnace.runc.native import Description
from toolkit.paths import RUNTIME

COMPILER = shutil.which("gcc") or shutil.which("cc")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wshadow"]
SANITIZERS = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("native") / "init"
    sources = sorted((RUNTIME / "native").glob("init*.c"))
    base = [str(COMPILER), "-std=gnu11", *WARNINGS, *map(str, sources), "-o", str(made)]
    if subprocess.run([*base, *SANITIZERS], capture_output=True, check=False).returncode:
        subprocess.run(base, check=True)  # no sanitizer libraries on this machine
    return made


class Ended:
    """What became of it: exit status, what it told, what its program wrote."""

    def __init__(self, status: int, told: list[dict[str, Any]], output: str) -> None:
        self.status = status
        self.told = told
        self.output = output


def run(program: Path, data: bytes) -> Ended:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    steps = os.memfd_create("steps")
    os.write(steps, data)
    with ours, theirs:
        done = subprocess.run(
            [program, str(theirs.fileno()), str(steps)], pass_fds=(theirs.fileno(), steps),
            capture_output=True, text=True, timeout=20, check=False,
            env={"ASAN_OPTIONS": "detect_leaks=0"},
        )  # fmt: skip
        theirs.close()
        told = []
        while record := ours.recv(1 << 16):
            told.append(json.loads(record))
    os.close(steps)
    assert "Sanitizer" not in done.stderr, done.stderr
    return Ended(done.returncode, told, done.stdout)


def _harmless() -> Description:
    """Every kind of field, in steps that change nothing, then a program."""
    to = Description()
    to.about("a test: ")
    to.add("tell", '{"ready":true}')
    to.add("environment", ("A=1", "B=two words", "C="), "")
    to.about('exec: "env": ', style=LOOKED_UP)
    to.add("program", ("env",), 0, ("/nothing/env", "/usr/bin/env", "/bin/env"), ("a", "b", "c"))  # fmt: skip
    to.about("", style=EXECUTED)
    to.add("execute")
    return to


def test_a_description_is_carried_out(program: Path) -> None:
    ended = run(program, _harmless().data())
    assert ended.told == [{"ready": True}]
    assert ended.output.splitlines() == ["A=1", "B=two words", "C="]


def test_a_description_that_ends_early_is_refused(program: Path) -> None:
    whole = _harmless().data()
    for size in range(0, len(whole), 8):
        ended = run(program, whole[:size])
        assert ended.status == 1
        assert ended.told[-1]["error"].endswith("malformed description")
        assert ended.output == ""


@pytest.mark.parametrize(
    "words",
    [
        pytest.param([0], id="no-step"),
        pytest.param([len(native._STEPS)], id="a-step-too-many"),
        pytest.param([1 << 63], id="a-huge-step"),
        pytest.param([27, 1 << 20, 0], id="a-text-longer-than-the-file"),
        pytest.param([27, (1 << 64) - 1, 0], id="a-length-that-wraps-around"),
        pytest.param([27, (1 << 64) - 8, 0], id="a-length-that-wraps-when-padded"),
        pytest.param([27, 8, 0x4141414141414141, 0x41], id="a-text-without-its-end"),
        pytest.param([27, 7, 0x0041414100414141], id="a-text-with-a-zero-inside"),
        pytest.param([33, 1 << 40, 0], id="more-texts-than-fit"),
        pytest.param([33, (1 << 64) - 1, 0], id="a-count-that-wraps-around"),
        pytest.param([3, 2, 5, 4], id="descriptors-out-of-order"),
        pytest.param([3, 1, 1 << 40], id="a-descriptor-that-is-none"),
        pytest.param([2, 27, 1 << 20, 0], id="also-in-an-optional-step"),
    ],
)  # fmt: skip
def test_a_malformed_description_is_refused(program: Path, words: list[int]) -> None:
    data = Description().data() + b"".join(struct.pack("=Q", word) for word in words)
    ended = run(program, data)
    assert ended.status == 1
    assert [record["error"] for record in ended.told] in ([], ["malformed description"])


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 15, b"\0" * 64, Description().data()[:7] + b"\0" * 9]
)
def test_what_is_no_description_is_refused(program: Path, data: bytes) -> None:
    ended = run(program, data)
    assert ended.status == 1
    assert ended.told[0]["error"] == "malformed description"


def test_without_descriptors_nothing_is_done(program: Path) -> None:
    for words in ([], ["x", "y"], ["x"], ["3", "4", "5"]):
        assert subprocess.run([program, *words], check=False).returncode == 125


def test_an_error_is_told_with_the_words_that_were_given(program: Path) -> None:
    to = Description()
    to.about('limit of "me"\n\x01: ')
    to.add("limit", 1 << 20, 1, 1)
    (told,) = run(program, to.data()).told
    with pytest.raises(Error) as caught:
        verified(told, "")
    assert caught.value.message == 'limit of "me"\n\x01: ' + os.strerror(errno.EINVAL)


def test_an_optional_step_may_fail_and_the_next_may_not(program: Path) -> None:
    to = Description()
    to.add("optional")
    to.add("directory", "/nowhere")
    to.add("tell", '{"went":"on"}')
    to.add("directory", "/nowhere")
    first, second = run(program, to.data()).told
    assert first == {"went": "on"}
    assert second["errno"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nothing-there", r'exec: "nothing-there": executable file not found in \$PATH'),
        ("/nothing", r'exec: "/nothing": stat /nothing: no such file or directory'),
        ("/tmp", r'exec: "/tmp": is a directory'),
        ("/etc/passwd", r'exec: "/etc/passwd": permission denied'),
    ],
)
def test_a_program_that_cannot_be_run_is_named(program: Path, name: str, reason: str) -> None:
    to = Description()
    native._program(to, [name], {"PATH": "/usr/bin:/bin"})
    (told,) = run(program, to.data()).told
    with pytest.raises(Error, match=reason):
        verified(told, "")


def test_what_no_program_is_in_is_an_error(program: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF and nothing else")
    broken.chmod(0o755)
    to = Description()
    to.add("environment", (), "")
    native._program(to, [str(broken)], {})
    native._execute(to)
    (told,) = run(program, to.data()).told
    with pytest.raises(Error, match=f"exec {broken}: exec format error"):
        verified(told, "")


def test_both_sides_have_the_same_steps() -> None:
    source = (RUNTIME / "native/init.c").read_text()
    table = re.search(r"steps\[\]\)\(void\) = \{(.*?)\}", source, re.DOTALL)
    assert table
    names = [word.removeprefix("step_").replace("_", " ") for word in re.findall(r"\w+", table[1])]
    assert names[1:] == list(native._STEPS[1:])


def test_a_text_with_a_zero_byte_is_left_to_python() -> None:
    with pytest.raises(native._Unfit):
        Description().add("name", "a\0b")


def _spoken_to(program: Path, to: Description, *said: bytes, fds: tuple[int, ...] = ()) -> list[dict[str, Any]]:  # fmt: skip
    """What an init tells whose creator says something, with descriptors, and then ends."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    steps = os.memfd_create("steps")
    os.write(steps, to.data())
    with ours, theirs:
        for record in said:
            socket.send_fds(ours, [record], fds)
        ours.shutdown(socket.SHUT_WR)
        words = [program, str(theirs.fileno()), str(steps)]
        done = subprocess.run(words, pass_fds=(theirs.fileno(), steps), timeout=20, check=False, capture_output=True)  # fmt: skip
        theirs.close()
        assert b"Sanitizer" not in done.stderr, done.stderr
        told = [json.loads(record) for record in iter(lambda: ours.recv(1 << 16), b"")]
    os.close(steps)
    return told


def _with_groups(program: Path, expected: int, came: int) -> tuple[list[dict[str, Any]], bytes]:
    """What an init tells that expects so many groups and is sent so many, and what it writes to one of them."""
    to = Description()
    to.add("groups", expected)
    to.add("wait", 0)
    to.add("tell", '{"ready":true}')
    group, inside = os.pipe()
    told = _spoken_to(program, to, b'{"groups": true}', fds=(inside,) * came)
    os.close(inside)
    with os.fdopen(group, "rb") as file:
        return told, file.read()


def test_groups_that_come_later_are_entered(program: Path) -> None:
    (ready, _), written = _with_groups(program, 3, 3)
    assert ready == {"ready": True}  # and then its description ends
    assert written == b"000"


def test_other_groups_than_expected_are_not(program: Path) -> None:
    (told,), written = _with_groups(program, 3, 2)
    assert told["error"] == "an unexpected record came"
    assert written == b""


def test_who_is_attended_waits_for_it(program: Path) -> None:
    to = Description()
    to.add("wait", 1)
    to.add("tell", '{"ready":true}')
    assert _spoken_to(program, to) == [{"waiting": True}]
    assert _spoken_to(program, to, b'{"joined": true}')[:2] == [{"waiting": True}, {"ready": True}]
