"""Full-system boards without starting one: names, records, monitor, boot partition, what they say."""

import itertools
import json
import os
import socket
import struct
import subprocess
import threading
import time
from io import BytesIO
from pathlib import Path

import pytest

from toolkit import boards
from toolkit.boards import capability, catalogue, command, machine
from toolkit.boards.system import board as system_board
from toolkit.boards.system import choice, fat, login, tools
from toolkit.boards.system.board import SystemBoard
from toolkit.boards.system.launch import Run
from toolkit.boards.system.launch import command as qemu_command
from toolkit.boards.system.qmp import Monitor
from toolkit.errors import MissingPrerequisite, PinnaceError, UsageError
from toolkit.process import start_time


@pytest.fixture(autouse=True)
def _places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


# -- names and what they show ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("sys-arm64", "arm64"),
        ("sys-arm64-2", "arm64"),
        ("sys-arm64-16k", "arm64-16k"),
        ("sys-arm64-16k-ci", "arm64-16k"),
        ("sys-armv7l-canary", "armv7l"),
    ],
)
def test_a_name_says_the_machine(name: str, label: str) -> None:
    found = catalogue.find_model(name)
    assert found is not None
    assert found.label == label


@pytest.mark.parametrize("name", ["sys-mips", "sys-arm64-", "sys-arm64-a/b", "sys-arm64.booting"])
def test_a_name_of_no_machine_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no board called"):
        boards.get(name)


def test_a_full_system_board_shows_all_there_is() -> None:
    assert boards.get("sys-arm64").shows == capability.FULL_SYSTEM


def test_the_list_explains_every_board_and_every_word(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "records", list)  # other people's boards of this machine
    command.run("list", "", words=[], yes=False)
    table, _, words = capsys.readouterr().out.partition("can show")
    rows = {line.split()[0]: line.split()[1:] for line in table.splitlines()[1:] if line.strip()}
    assert rows["sys-arm64-16k"] == ["-", "system", "arm64", "trixie", "arm64", "cortex-a76", "linux-image-arm64-16k"]  # fmt: skip
    assert rows["emu-armv6l"][1:6] == ["user", "armv6l", "bookworm", "armel", "arm1176"]
    explained = {line.split()[0]: line.split() for line in words.splitlines()[1:]}
    assert explained.keys() == capability.MEANING.keys()
    assert words.split()[:3] == ["user", "native", "system"]
    assert explained["power-cut"][1:4] == ["-", "-", "yes"]


@pytest.mark.parametrize(
    ("action", "name", "problem"),
    [
        ("", "", "what about boards.*create, start"),
        ("bogus", "", "no such action: bogus"),
        ("start", "", "which board to start.*emu-armv6l"),
    ],
)
def test_a_missing_word_is_asked_for_with_the_choice(action: str, name: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        command.run(action, name, words=[], yes=False)


@pytest.mark.parametrize("action", ["snapshot", "restore", "reset", "power-cut", "console"])
def test_a_user_emulated_board_says_what_it_cannot_do(action: str) -> None:
    with pytest.raises(UsageError, match="emu-armv6l does not show"):
        command.run(action, "emu-armv6l", words=[], yes=False)


def test_a_board_that_was_not_created_is_said_so() -> None:
    with pytest.raises(UsageError, match=r"sys-arm64 does not exist .*board create sys-arm64"):
        boards.get("sys-arm64").start()


@pytest.mark.parametrize("action", ["snapshot", "reset", "power-cut"])
def test_what_needs_a_running_board_says_so(action: str) -> None:
    with pytest.raises(UsageError, match="sys-arm64 does not run"):
        command.run(action, "sys-arm64", words=[], yes=False)


def test_a_board_that_cannot_be_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_old(program: str) -> None:
        raise MissingPrerequisite(f"{program} is QEMU 7.2")

    monkeypatch.setattr(system_board, "need_machine", lambda *, yes: None)
    monkeypatch.setattr(tools, "check_qemu", too_old)
    with pytest.raises(MissingPrerequisite, match=r"qemu-system-aarch64 is QEMU 7\.2"):
        boards.get("sys-arm64").create()
    assert list((tmp_path / "state/pinnace/boards").iterdir()) == []


def test_a_snapshot_has_a_plain_name() -> None:
    board = SystemBoard("sys-arm64", boards.get("sys-arm64").model)  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="letters, digits and dashes"):
        board.restore("../../x")


# -- the record of a run ---------------------------------------------------------------------------


def run_of(folder: Path, pid: int, started: int) -> Run:
    return Run("arm64", "/image", "/layer", str(folder), "/log", 20022, "", pid, started)


def test_a_record_lives_as_long_as_its_supervisor(tmp_path: Path) -> None:
    record = tmp_path / "run.json"
    run_of(tmp_path, os.getpid(), start_time(os.getpid())).write(record)
    found = Run.read(record)
    assert found is not None
    assert found.alive
    assert not run_of(tmp_path, os.getpid(), 1).alive
    assert not run_of(tmp_path, 0, 0).alive


@pytest.mark.parametrize("text", ["", "{", "[]", '{"label": 1}'])
def test_a_damaged_record_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    assert Run.read(tmp_path / "run.json") is None


def test_a_board_has_no_way_out_but_the_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolkit.boards.system.tools.qemu", lambda program: [program])
    words = qemu_command(run_of(tmp_path, 0, 0), "", "root=/dev/vda2", "forward record")
    network = next(word for word in words if word.startswith("user,"))
    assert "restrict=on" in network.split(",")
    assert "hostfwd=tcp:127.0.0.1:20022-10.0.2.15:22" in network
    assert network.endswith("guestfwd=tcp:10.0.2.100:443-cmd:forward record")
    assert words[words.index("-append") + 1] == "root=/dev/vda2"


# -- the monitor -----------------------------------------------------------------------------------


def test_the_monitor_answers_refuses_and_tells_events(tmp_path: Path) -> None:
    path = tmp_path / "monitor"
    answers = [
        [{"return": {}}],
        [{"event": "RESUME"}, {"return": {"status": "running"}}],
        [{"error": {"desc": "no such thing"}}],
    ]

    def pretend() -> None:
        connection, _ = server.accept()
        with connection, connection.makefile("rb") as lines:
            connection.sendall(b'{"QMP": {}}\n')
            for messages in answers:
                lines.readline()
                for message in messages:
                    connection.sendall(json.dumps(message).encode() + b"\r\n")
            connection.sendall(b'{"event": "SHUTDOWN", "data": {"reason": "guest-reset"}}\n')

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        thread = threading.Thread(target=pretend)
        thread.start()
        with Monitor(path, seconds=5) as monitor:
            assert monitor.execute("query-status") == {"status": "running"}
            with pytest.raises(PinnaceError, match="refused device_add: no such thing"):
                monitor.execute("device_add")
            assert monitor.wait_for("SHUTDOWN", 5)["data"]["reason"] == "guest-reset"
            with pytest.raises(PinnaceError, match="QEMU ended"):
                monitor.wait_for("RESUME", 5)
        thread.join()


def test_a_monitor_that_is_not_there_is_not_waited_for_forever(tmp_path: Path) -> None:
    with pytest.raises(PinnaceError, match="no monitor at"):
        Monitor(tmp_path / "none", seconds=0.05)


# -- the boot partition ----------------------------------------------------------------------------


def partition(chain: list[int], size: int, *, wide: bool) -> bytes:
    """A FAT with clusters of 512 bytes; the file's cluster N holds the letter N as often as it fits."""
    clusters, width = (70000, 4) if wide else (5000, 2)
    fat_sectors = -(-(clusters + 2) * width // 512)
    boot = bytearray(512)
    root_entries = 0 if wide else 16
    total = 1 + fat_sectors + root_entries * 32 // 512 + clusters
    struct.pack_into("<HBHBHH", boot, 11, 512, 1, 1, 1, root_entries, 0)
    struct.pack_into("<I", boot, 32, total)
    struct.pack_into("<H" if not wide else "<xx", boot, 22, *([] if wide else [fat_sectors]))
    if wide:
        struct.pack_into("<I", boot, 36, fat_sectors)
        struct.pack_into("<I", boot, 44, 2)
    boot[510:] = b"\x55\xaa"
    table = bytearray(fat_sectors * 512)
    code = "<I" if wide else "<H"
    end = 0x0FFFFFFF if wide else 0xFFFF
    struct.pack_into(code, table, 2 * width, end)
    for here, after in itertools.pairwise([*chain, end]):
        struct.pack_into(code, table, here * width, after)
    entry = bytearray(32)
    entry[:11], entry[11] = b"CMDLINE TXT", 0x20
    struct.pack_into("<H", entry, 20, 0)
    struct.pack_into("<HI", entry, 26, chain[0] if chain else 0, size)
    long_name = bytes([0x41]) + bytes(10) + bytes([0x0F]) + bytes(20)
    directory = (long_name + bytes(entry)).ljust(512, b"\0")
    data = bytearray(clusters * 512)
    if wide:
        data[:512] = directory
    for cluster in chain:
        data[(cluster - 2) * 512 : (cluster - 1) * 512] = bytes([(64 + cluster) % 256]) * 512
    return bytes(boot + table + (b"" if wide else directory) + data)


@pytest.mark.parametrize("wide", [False, True])
def test_a_file_is_read_along_its_chain(wide: bool) -> None:
    image = BytesIO(partition([5, 3, 9], 1100, wide=wide))
    assert fat.read_file(image, "cmdline.txt") == b"E" * 512 + b"C" * 512 + b"I" * 76


def test_an_empty_file_has_no_cluster() -> None:
    assert fat.read_file(BytesIO(partition([], 0, wide=False)), "cmdline.txt") == b""


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (b"", "damaged|no FAT"),
        (bytes(4096), "no FAT"),
        (partition([5], 1 << 30, wide=False), "has 1073741824 bytes"),
        (partition([7, 0], 1024, wide=False), "outside"),
        (partition([5], 100, wide=False).replace(b"CMDLINE ", b"CMDLIN~1"), "has no cmdline.txt"),
    ],
)
def test_a_damaged_boot_partition_is_an_error(image: bytes, reason: str) -> None:
    with pytest.raises(PinnaceError, match=reason):
        fat.read_file(BytesIO(image), "cmdline.txt")


def test_a_chain_that_bites_its_tail_ends() -> None:
    image = partition([5, 3, 5], 1 << 20, wide=False)
    assert len(fat.read_file(BytesIO(image), "cmdline.txt")) <= 1 << 20


# -- what is remembered, what is said --------------------------------------------------------------


def test_a_choice_is_remembered_until_its_inputs_or_its_result_change(tmp_path: Path) -> None:
    from toolkit.debian import kept_tree

    asked = []

    def choose() -> Path:
        asked.append(1)
        return kept_tree(tmp_path / "entry", lambda tree: (tree / "file").write_text("x") and None)

    assert choice.remembered("thing", ["a"], choose) == choice.remembered("thing", ["a"], choose)
    assert len(asked) == 1
    choice.remembered("thing", ["b"], choose)
    assert len(asked) == 2
    (tmp_path / "entry/files/file").write_text("broken")
    choice.remembered("thing", ["b"], choose)
    assert len(asked) == 3


def test_a_hung_board_is_reported_with_the_end_of_its_console(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    log.write_bytes(b"first\r\n" + b"x\n" * 3000 + b"\x1b[1mOops\x1b[0m\r\nKernel panic\r\n\n")
    assert login.last_words(log).endswith("x | x | x | Oops | Kernel panic")
    assert login.last_words(tmp_path / "none").endswith("nothing")


@pytest.mark.parametrize(
    ("board", "restored", "is_set"),
    [
        (1000, False, False),  # right, with a quick login
        (1020, False, False),  # right, with one of twenty seconds
        (990, False, True),
        (9000, False, True),
        (0, False, True),  # no clock chip
        (1000, True, True),
        (500, True, True),
    ],
)
def test_a_clock_that_is_right_is_not_set_back(
    board: int, restored: bool, is_set: bool, tmp_path: Path
) -> None:
    date = tmp_path / "date"
    date.write_text(f'#!/bin/sh\n[ $1 = +%s ] && echo {board} || echo "$@" >{tmp_path}/said\n')
    date.chmod(0o755)
    script = login.set_clock(1000, restored=restored)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run(["sh", "-ec", script], env=environment, check=True)
    assert (tmp_path / "said").exists() is is_set
    assert not is_set or (tmp_path / "said").read_text() == "-u -s @1000\n"


class Silent(SystemBoard):
    """A board that answers nobody; its console is a file."""

    def __init__(self, log: Path) -> None:
        self.name, self._log = "sys-arm64", log

    @property
    def console(self) -> Path:
        return self._log


def test_waiting_for_a_board_that_does_not_start_ends(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    log.write_text("Booting Linux\n")
    run = run_of(tmp_path, os.getpid(), start_time(os.getpid()))
    with pytest.raises(PinnaceError, match=r"takes no command after 0 s .*Booting Linux"):
        login.wait(Silent(log), run, 0.2)


def test_a_slow_board_has_longer_for_its_command_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that never came through in the first limit would not on the tenth try either."""
    (tmp_path / "ready").touch()
    limits: list[float] = []

    def slow(_: SystemBoard, __: str, seconds: float) -> subprocess.CompletedProcess[str]:
        limits.append(seconds)
        if seconds > 0.3:
            return subprocess.CompletedProcess([], 0, "", "")
        time.sleep(seconds)
        return subprocess.CompletedProcess([], 255, "", "the command took too long")

    monkeypatch.setattr(login, "command", slow)
    monkeypatch.setattr(login, "_COMMAND_SECONDS", 0.1)
    me = os.getpid()
    run = Run(
        "arm64", "", "", str(tmp_path), "", 22, incoming="memory", supervisor=me, supervisor_started=start_time(me)
    )  # fmt: skip
    login.wait(Silent(tmp_path / "log"), run, 60)
    assert limits == [0.1, 0.2, 0.4]


@pytest.mark.parametrize(
    ("said", "panic", "server"),
    [
        ("[  OK  ] Starting ssh.service\n", False, False),
        ("Started \x1b[0;1;39mssh.service\x1b[0m - OpenBSD\n", False, True),
        ("sys-arm64 login: ", False, True),
        ("Kernel panic - not syncing\n", False, False),  # and then it may restart
        ("---[ end Kernel panic - not syncing: x ]---\n", True, False),
    ],
)
def test_only_what_a_board_says_in_this_life_counts(
    said: str, panic: bool, server: bool, tmp_path: Path
) -> None:
    log = tmp_path / "console.log"
    new = login.Heard(log)
    assert (new.panic(), new.server()) == (False, False)
    log.write_text("---[ end Kernel panic - not syncing\nStarted ssh.service\n")
    assert (new.panic(), new.server()) == (True, True)
    again = login.Heard(log)
    assert (again.panic(), again.server()) == (False, False)
    with log.open("a") as stream:
        stream.write(said)
    assert (again.panic(), again.server()) == (panic, server)


def test_a_qemu_that_is_gone_is_not_waited_for(tmp_path: Path) -> None:
    begin = time.monotonic()
    with pytest.raises(PinnaceError, match="QEMU has no monitor"):
        Monitor(tmp_path / "none", seconds=60, alive=lambda: False)
    assert time.monotonic() - begin < 30
