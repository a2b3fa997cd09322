"""Rows of the table on a board with cgroup version 2, under a kernel and processor of its own, beside that board's runtimes.

The rows are made here and run there in one go. ``PINNACE_TABLE_BOARD`` names the board, ``PINNACE_TABLE_ROWS`` is an
expression for the names of rows (``.*``: all that need nothing but the bundle).
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.runc.differential import report
from tests.conformance.runc.differential.board_differences import KNOWN, OF_BOOKWORM, SLAVES
from tests.conformance.runc.differential.bundle import Bundle
from tests.conformance.runc.differential.rows import (
    devices,
    identity,
    mounts,
    process,
    seccomp,
    unified,
)
from tests.conformance.runc.differential.runtimes import Observed
from tests.conformance.runc.differential.table import Row
from tests.fresh import fresh
from toolkit import boards
from toolkit.arch import Arch
from toolkit.boards.system.board import SystemBoard
from toolkit.build import bundle as releases
from toolkit.build import zig
from toolkit.debian import Archive

KIND = os.environ.get("PINNACE_TABLE_BOARD", "sys-arm64")
_CHOSEN = os.environ.get(
    "PINNACE_TABLE_ROWS",
    "unified-.*|default|seccomp-error|users-plain|capabilities-two|bind-read-only",
)
_LIMIT_SECONDS = 3 * 3600 if "PINNACE_TABLE_ROWS" in os.environ else 900
_ELSEWHERE = Path("/var/tmp/pinnace-table")
_SUITES = {Arch.ARMV6L: ("bookworm", "3.11")}  # others: trixie

pytestmark = [
    pytest.mark.root, pytest.mark.peer, pytest.mark.emulated, pytest.mark.system, pytest.mark.timeout(_LIMIT_SECONDS),
]  # fmt: skip


def _rows() -> list[Row]:
    """Those that need nothing but the bundle, and are chosen."""
    from tests.conformance.runc.differential.rows import namespaces

    every = [
        *unified.ROWS, *process.ROWS, *identity.ROWS, *mounts.ROWS, *devices.ROWS, *namespaces.ROWS, *seccomp.ROWS,
    ]  # fmt: skip
    plain = [
        row
        for row in every
        if not row.terminal and row.process is None and "joined" not in row.name
    ]
    return [row for row in plain if re.fullmatch(_CHOSEN, row.name)]


@pytest.fixture(scope="module")
def board() -> Iterator[SystemBoard]:
    found = boards.get(f"{KIND}-table{os.getpid()}")
    assert isinstance(found, SystemBoard)
    with fresh(found):
        yield found


def _send(board: SystemBoard, script: str, data: bytes = b"") -> str:
    done = subprocess.run(
        board.ssh_command([script]), input=data, capture_output=True, check=False, timeout=_LIMIT_SECONDS - 100
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    return done.stdout.decode(errors="replace")


def _tar(members: dict[str, tuple[bytes, int]]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, (content, mode) in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def _rows_tar(rows: list[Row], place: Path) -> bytes:
    """Every row's bundle, without its programs, as a tar of tars; made where the board will have it."""
    made: dict[str, tuple[bytes, int]] = {}
    for row in rows:
        bundle = Bundle(place / "bundle", f"pinnace-table-{os.getpid()}", {})
        bundle.renew()
        row.apply(bundle)
        bundle.spec["ociVersion"] = "1.0.2"  # bookworm's crun takes nothing newer
        bundle.write()
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            archive.add(bundle.place, arcname=".")
        made[f"rows/{row.name}.tar"] = (stream.getvalue(), 0o644)
    return _tar(made)


def _programs(arch: Arch, suite: str, scratch: Path) -> dict[str, tuple[bytes, int]]:
    """What a container's root has, the peers with the libraries that a board may lack, and our runner."""
    probe = scratch / "probe"
    zig.compile_static([Path(__file__).with_name("probe.c")], probe, arch, {})
    archive = Archive(suite, arch.facts.debian)
    busybox = next(archive.unpack(["busybox-static"]).rglob("bin/busybox"))
    found = {
        "programs/probe": (probe.read_bytes(), 0o755),
        "programs/sh": (busybox.read_bytes(), 0o755),
        "board_rows.py": (Path(__file__).with_name("board_rows.py").read_bytes(), 0o644),
    }
    for package, program in (("crun", "usr/bin/crun"), ("runc", "usr/sbin/runc")):
        root = archive.unpack([package], dependencies=True)
        found[f"peers/{package}"] = ((root / program).read_bytes(), 0o755)
        for library in root.glob("usr/lib/*-linux-gnu*/lib*.so.*"):
            if re.match(r"lib(yajl|seccomp|cap|json-c)\.", library.name):
                found[f"peers/lib/{library.name}"] = (library.read_bytes(), 0o644)
    return found


@pytest.fixture(scope="module")
def observed(board: SystemBoard, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What every row gave under every runtime of the board."""
    suite, python = _SUITES.get(board.arch, ("trixie", "3.13"))
    _ELSEWHERE.mkdir(mode=0o755, exist_ok=True)
    rows = _rows_tar(_rows(), _ELSEWHERE)
    subprocess.run(["rm", "-rf", _ELSEWHERE], check=True)
    peers = {"LD_LIBRARY_PATH": f"{_ELSEWHERE}/peers/lib"}
    runtimes = [
        {"name": "ours", "command": [f"{_ELSEWHERE}/release/bin/runc"], "environment": {"PINNACE_KEEPER": f"{_ELSEWHERE}/keeper.sock"}},
        {"name": "crun", "command": [f"{_ELSEWHERE}/peers/crun", "--cgroup-manager", "cgroupfs"], "environment": peers},
        {"name": "runc", "command": [f"{_ELSEWHERE}/peers/runc"], "environment": peers},
    ]  # fmt: skip
    programs = _programs(board.arch, suite, tmp_path_factory.mktemp("programs"))
    programs["runtimes.json"] = (json.dumps(runtimes).encode(), 0o644)
    release = releases.build(board.arch, python).path.read_bytes()
    _send(
        board, f"sudo mkdir -p {_ELSEWHERE}/release && sudo tar -C {_ELSEWHERE} -x", _tar(programs)
    )
    _send(board, f"sudo tar -C {_ELSEWHERE}/release -xz", release)
    keeper = f"{_ELSEWHERE}/release/bin/pinnace-keeper --address {_ELSEWHERE}/keeper.sock"
    _send(
        board,
        f"sudo systemd-run -q -p LimitCORE=0 -p LimitMEMLOCK=infinity {keeper} && while ! sudo test -S {_ELSEWHERE}/keeper.sock; do sleep 0.1; done",
    )
    found: dict[str, Any] = json.loads(
        _send(board, f"sudo python3 {_ELSEWHERE}/board_rows.py {_ELSEWHERE}", rows)
    )
    return found


def test_every_row_ran(observed: dict[str, Any]) -> None:
    assert set(observed["rows"]) == {row.name for row in _rows()}
    ran = report.read(Observed(**observed["rows"]["default"]["ours"]), observed["namespaces"])
    assert ran["result"] == "exit status 0"


@pytest.mark.parametrize("row", _rows(), ids=lambda row: row.name)
def test_a_program_on_a_board_sees_the_same(
    row: Row, board: SystemBoard, observed: dict[str, Any]
) -> None:
    found = {name: Observed(**it) for name, it in observed["rows"][row.name].items()}
    reports = {name: report.read(it, observed["namespaces"]) for name, it in found.items()}
    known = KNOWN
    if board.arch in _SUITES:
        known = OF_BOOKWORM
        if "mounts" in reports["runc"]:
            reports["runc"]["mounts"] = re.sub(SLAVES, r"\1", reports["runc"]["mounts"])
    unexplained = [
        f"{peer} {section}: {line}"
        for peer in ("crun", "runc")
        for section, line in report.differing(reports["ours"], reports[peer])
        if not any(it.explains(peer, section, row.name, line[1:]) for it in known)
    ]
    errors = [f"{name}: {it.error.strip()}" for name, it in found.items() if it.error]
    assert not unexplained, "\n".join(
        ["not explained ('-' ours, '+' theirs):", *unexplained, *errors]
    )
