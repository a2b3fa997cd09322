"""Emulated boards without starting one: names, emulators, the binfmt table, cgroups, records."""

import json
import os
import shutil
import struct
import sys
from pathlib import Path

import pytest

from toolkit import boards, host
from toolkit.arch import Arch
from toolkit.boards import (
    binfmt,
    cgroups,
    command,
    elf,
    identity,
    machine,
    network,
    proof,
    supervisor,
)
from toolkit.boards.config import Config
from toolkit.boards.emulated import EmulatedBoard
from toolkit.boards.emulator import with_default_model
from toolkit.boards.root import PACKAGES
from toolkit.errors import MissingPrerequisite, PinnaceError, UsageError
from toolkit.process import start_time

# -- names ---------------------------------------------------------------------------------------


def test_one_board_for_each_architecture() -> None:
    assert boards.names()[:4] == ["emu-armv6l", "emu-armv7l", "emu-arm64", "emu-amd64"]
    assert {"sys-armv7l", "sys-arm64", "sys-arm64-16k"} <= set(boards.names()[4:])


@pytest.mark.parametrize(
    ("name", "arch", "release"),
    [
        ("emu-armv6l", Arch.ARMV6L, "bookworm"),  # the last release that has armel
        ("emu-armv7l", Arch.ARMV7L, "trixie"),
        ("emu-amd64-2", Arch.AMD64, "trixie"),
    ],
)
def test_a_name_says_what_the_board_is(name: str, arch: Arch, release: str) -> None:
    board = boards.get(name)
    assert (board.name, board.arch, board.release) == (name, arch, release)


@pytest.mark.parametrize(
    "name", ["pi", "emu-riscv64", "emu-amd64-", "emu-amd64-../x", "emu-amd64-A B", ""]
)
def test_other_names_are_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(UsageError, match="no board called") as caught:
        boards.get(name)
    assert "emu-armv6l" in caught.value.hint


def test_command_without_its_words() -> None:
    with pytest.raises(UsageError, match="no such action: strat"):
        command.run("strat", "emu-amd64", words=[], yes=False)
    with pytest.raises(UsageError, match="which board to start"):
        command.run("start", "", words=[], yes=False)


def test_ssh_to_a_stopped_board(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with pytest.raises(UsageError, match="emu-amd64 does not run"):
        command.run("ssh", "emu-amd64", words=["true"], yes=False)


# -- what a machine may lack ---------------------------------------------------------------------


def test_on_macos_one_line_says_what_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(MissingPrerequisite, match="needs a Linux machine"):
        boards.get("emu-armv6l").create()
    assert list(tmp_path.glob("pinnace/boards/emu-*")) == []


def test_without_root_nothing_is_begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(MissingPrerequisite, match="creating emu-armv6l needs root"):
        boards.get("emu-armv6l").create()
    assert list(tmp_path.glob("pinnace/boards/emu-*")) == []


def test_a_disk_on_an_overlay_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("toolkit.boards.emulated.need_machine", lambda *_, **__: None)
    monkeypatch.setattr(host, "filesystem_type", lambda _: "overlay")
    with pytest.raises(MissingPrerequisite, match="cannot be kept on overlay") as caught:
        boards.get("emu-amd64").create()
    assert "XDG_STATE_HOME" in caught.value.hint


def test_a_kernel_without_binfmt_misc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(binfmt, "TABLE", tmp_path / "binfmt_misc")
    monkeypatch.setattr("subprocess.run", lambda *_, **__: None)  # modprobe
    monkeypatch.setattr(
        binfmt, "run", lambda *_: (_ for _ in ()).throw(PinnaceError("unknown type"))
    )
    with pytest.raises(MissingPrerequisite, match="no binfmt_misc") as caught:
        binfmt.reconcile([(Arch.ARMV6L, Path("/e/qemu"))])
    assert "emu-amd64" in caught.value.hint


# -- emulators -----------------------------------------------------------------------------------


def fake_qemu(models: dict[str, int]) -> bytes:
    """A position-independent executable with a table of CPU models: name and address of initfn."""
    phdrs, text, data = 64, 0x400, 0x800
    names = b"".join(name.encode() + b"\0" for name in models)
    relocations = []
    offset = data
    for index, (_, initfn) in enumerate(models.items()):
        entry = 0x2000 + 32 * index
        relocations.append((entry, 8, offset))
        relocations.append((entry + 16, 8, initfn))
        offset += len(list(models)[index]) + 1
    rela = b"".join(struct.pack("<QQq", *one) for one in relocations)
    dynamic = struct.pack("<QQQQQQ", 7, 0x1000, 8, len(rela), 0, 0)
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, phdrs, 0, 0, 64, 56, 3, 0, 0, 0)  # fmt: skip
    segments = [
        (1, 5, 0, 0, 0, 0xC00, 0xC00, 0x1000),
        (1, 6, 0x1000, 0x1000, 0x1000, 0x1000, 0x2000, 0x1000),
        (2, 6, 0x1000 + len(rela), 0x1000 + len(rela), 0, len(dynamic), len(dynamic), 8),
    ]
    head = header + b"".join(struct.pack("<IIQQQQQQ", *one) for one in segments)
    image = bytearray(0x2000)
    image[: len(head)] = head
    image[data : data + len(names)] = names
    image[0x1000 : 0x1000 + len(rela)] = rela
    image[0x1000 + len(rela) : 0x1000 + len(rela) + len(dynamic)] = dynamic
    assert text < data
    return bytes(image)


def initfns(data: bytes) -> list[int]:
    """The second pointer of each table entry, in order."""
    found = elf.Image(data).relocations()
    return [found[address].addend for address in sorted(found) if address % 32 == 16]


def test_the_wanted_model_becomes_the_default() -> None:
    qemu = fake_qemu({"arm1176": 0x410, "cortex-a7": 0x420, "any": 0x430, "max": 0x440})
    assert initfns(with_default_model(qemu, "arm1176")) == [0x410, 0x420, 0x410, 0x410]


def test_a_name_in_other_data_is_not_a_model() -> None:
    qemu = fake_qemu({"cortex-a7": 0x420, "max": 0x440, "any": 0x99999})  # not in code
    assert initfns(with_default_model(qemu, "cortex-a7")) == [0x420, 0x420, 0x99999]


@pytest.mark.parametrize("models", [{"max": 0x440}, {"arm1176": 0x410}])
def test_an_emulator_that_is_not_as_expected(models: dict[str, int]) -> None:
    with pytest.raises(PinnaceError, match="table of CPU models"):
        with_default_model(fake_qemu(models), "arm1176")


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01" + bytes(60)])
def test_what_is_no_emulator(data: bytes) -> None:
    with pytest.raises(PinnaceError, match="not a 64-bit"):
        with_default_model(data, "arm1176")


# -- the kernel's table --------------------------------------------------------------------------

V6 = (Arch.ARMV6L, Path("/e/qemu-v6"))
V7 = (Arch.ARMV7L, Path("/e/qemu-v7"))
A64 = (Arch.ARM64, Path("/e/qemu-a64"))


def emulator_for(arch: Arch, table: list[binfmt.Entry]) -> str:
    """Which emulator the kernel gives Debian's programs for ``arch``: the newest match."""
    start = elf.tiny_program(arch.facts.qemu, "e3a00000", proof.flags(arch))[:128]
    return next(str(entry.emulator) for entry in reversed(table) if entry.matches(start))


def apply(table: list[binfmt.Entry], needed: list[tuple[Arch, Path]]) -> list[binfmt.Entry]:
    stale, fresh = binfmt.plan(needed, [entry.name for entry in table])
    return [entry for entry in [*table, *fresh] if entry.name not in stale]


def test_alone_a_board_gets_its_cpu_for_every_arm_program() -> None:
    table = apply([], [V6])
    assert emulator_for(Arch.ARMV6L, table) == emulator_for(Arch.ARMV7L, table) == "/e/qemu-v6"


@pytest.mark.parametrize("order", [[V6, V7], [V7, V6], [A64, V7, V6]])
def test_together_each_abi_gets_its_own_cpu(order: list[tuple[Arch, Path]]) -> None:
    table: list[binfmt.Entry] = []
    for count in range(1, len(order) + 1):
        table = apply(table, order[:count])
    assert emulator_for(Arch.ARMV6L, table) == "/e/qemu-v6"
    assert emulator_for(Arch.ARMV7L, table) == "/e/qemu-v7"


@pytest.mark.parametrize(("first", "second"), [(V6, V7), (V7, V6)])
@pytest.mark.parametrize("leaves", [0, 1])
def test_when_one_stops_the_other_has_all(
    first: tuple[Arch, Path], second: tuple[Arch, Path], leaves: int
) -> None:
    both = [first, second]
    stays = both[1 - leaves]
    table = apply(apply(apply([], [first]), both), [stays])
    assert {emulator_for(arch, table) for arch in (Arch.ARMV6L, Arch.ARMV7L)} == {str(stays[1])}
    assert apply(table, []) == []


def test_entries_of_others_are_left_alone() -> None:
    stale, fresh = binfmt.plan([], ["qemu-arm", "python3.11", "register", "status"])
    assert (stale, fresh) == ([], [])


def test_what_the_kernel_reads() -> None:
    entry = binfmt.float_entry(*V6)
    line = entry.line()
    assert line.startswith(":pinnace-arm1176-float:M:0:\\x7f\\x45\\x4c\\x46\\x01")
    assert line.endswith(":/e/qemu-v6:POCF")
    assert len(line) < 1920  # the kernel's MAX_REGISTER_LENGTH
    assert not entry.matches(elf.tiny_program("arm", "e3a00000", elf.HARD_FLOAT))
    assert not entry.matches(elf.tiny_program("aarch64", "d503201f"))


# -- cgroups -------------------------------------------------------------------------------------

HYBRID = """\
30 25 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
33 30 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
34 25 0:30 / /mnt/elsewhere rw - cgroup2 cgroup2 rw
"""
UNIFIED = "31 25 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


def test_hierarchies_of_a_hybrid_machine() -> None:
    assert [(one.mountpoint.name, one.options) for one in cgroups.hierarchies(HYBRID)] == [
        ("cpu,cpuacct", "cpu,cpuacct"),
        ("systemd", "name=systemd"),
        ("unified", ""),
    ]


def test_the_hierarchy_of_a_unified_machine() -> None:
    [found] = cgroups.hierarchies(UNIFIED)
    assert found.unified
    assert found.board("emu-1") == Path("/sys/fs/cgroup/pinnace-boards/emu-1")


# -- network -------------------------------------------------------------------------------------


def test_addresses_are_kept_where_free() -> None:
    assert network.free_address("", []) == "10.87.137.10"
    assert network.free_address("10.87.137.12", ["10.87.137.10"]) == "10.87.137.12"
    assert network.free_address("10.87.137.12", ["10.87.137.10", "10.87.137.12"]) == "10.87.137.11"
    assert network.free_address("192.168.0.5", []) == "10.87.137.10"  # the subnet was moved


def test_an_address_keeps_its_hardware_address() -> None:
    assert network.hardware_address("10.87.137.10") == "02:70:0a:57:89:0a"


@pytest.mark.parametrize(
    "subnet", ["10.87.137.1/24", "8.8.8.0/24", "10.0.0.0/30", "fd00::/64", "here"]
)
def test_a_subnet_that_will_not_do(monkeypatch: pytest.MonkeyPatch, subnet: str) -> None:
    monkeypatch.setenv("PINNACE_BOARD_SUBNET", subnet)
    with pytest.raises(UsageError, match="PINNACE_BOARD_SUBNET"):
        network.gateway()


def test_a_route_of_the_machine_in_the_way() -> None:
    routes = [{"dst": "default", "dev": "eth0"}, {"dst": "10.0.0.0/8", "dev": "tun0"}]
    assert network.clashing_route(json.dumps(routes)) == "10.0.0.0/8 dev tun0"
    assert network.clashing_route(json.dumps(routes[:1])) == ""


# -- a board's own files -------------------------------------------------------------------------


def config(directory: Path) -> Config:
    return Config(
        "emu-amd64", directory, "amd64", "trixie", Path("/cache/root"), "", "10.87.137.10"
    )


def test_configuration_survives(tmp_path: Path) -> None:
    config(tmp_path).write()
    assert Config.read(tmp_path) == config(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", '{"name": "x", "root": "/r", "more": 1}'])
def test_a_damaged_configuration_says_how_to_go_on(tmp_path: Path, text: str) -> None:
    (tmp_path / "board.json").write_text(text)
    with pytest.raises(PinnaceError, match="is damaged") as caught:
        Config.read(tmp_path)
    assert "./inv board destroy" in caught.value.hint


def test_a_record_of_a_process_that_is_gone_is_stale(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "RUN", tmp_path)
    alive = record(os.getpid(), start_time(os.getpid()))
    machine.write(alive)
    (tmp_path / "board-half.json").write_text('{"id": ')  # a machine that went down in between
    assert [one.alive for one in machine.records()] == [True]
    assert machine.record(alive.id) == alive
    assert machine.record("half") is None
    assert machine.record("nobody") is None
    machine.write(record(os.getpid(), 1))  # the pid is another process now
    assert [one.alive for one in machine.records()] == [False]
    assert alive.link == "pnb10"


def record(pid: int, started: int) -> machine.Record:
    return machine.Record(
        "emu-amd64-x", "emu-amd64", "/s", "amd64", "10.87.137.10", "", pid, started
    )


def test_same_names_in_two_state_directories_are_two_boards(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ids = set()
    for user in ("ann", "bob"):
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / user))
        board = boards.get("emu-amd64")
        assert isinstance(board, EmulatedBoard)
        ids.add(board.id)
    assert len(ids) == 2


def test_ssh_is_strict(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    directory = tmp_path / "pinnace/boards/emu-amd64"
    directory.mkdir(parents=True)
    config(directory).write()
    identity.make_key(directory / "ssh_host_key", "test")
    board = boards.get("emu-amd64")
    words = board.ssh_command(["sudo", "id"])
    assert "StrictHostKeyChecking=yes" in words
    assert words[-4:] == ["pi@10.87.137.10", "--", "sudo", "id"]
    assert board.host_key.startswith("ssh-ed25519 AAAA")
    assert board.known_hosts.read_text() == f"emu-amd64 {board.host_key}\n"


def test_the_launcher_stays_out_of_the_boards_cgroup() -> None:
    words = supervisor.launch_command(config(Path("/s/emu-amd64")), [Path("/c/a"), Path("/c/b")])
    assert words.index("--fork") < words.index("sh")  # the child joins, not unshare itself
    assert words[words.index("enter") :][1:4] == ["2", "/c/a", "/c/b"]


def test_the_package_list_has_what_a_provisioned_host_needs() -> None:
    assert {"openssh-server", "sudo", "python3", "systemd-sysv", "nftables"} <= set(PACKAGES)
