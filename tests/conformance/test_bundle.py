"""Bundles as they are built: byte-identical, for the right processor, with byte code that is used."""

import hashlib
import json
import os
import select
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolkit import debian_program
from toolkit.arch import Arch
from toolkit.build import bundle, bytecode, native
from toolkit.build.version import runtime_version
from toolkit.paths import cache_dir
from toolkit.tree import extract

pytestmark = pytest.mark.peer

_HERE = Arch.from_machine(os.uname().machine)


@pytest.fixture
def second_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another cache, which shares only what was downloaded and compiled by others."""
    shared = {name: cache_dir(name) for name in ("debian", "zig", "native")}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "pinnace").mkdir()
    for name, folder in shared.items():
        (tmp_path / "pinnace" / name).symlink_to(folder)
    return tmp_path


@pytest.mark.parametrize("python", bytecode.RELEASES)
def test_two_builds_are_byte_identical(python: str, request: pytest.FixtureRequest) -> None:
    first = bundle.build(Arch.ARMV6L, python)
    data = first.path.read_bytes()
    request.getfixturevalue("second_cache")
    second = bundle.build(Arch.ARMV6L, python)
    assert second.path != first.path
    assert second.path.read_bytes() == data
    assert second.id == first.id


def test_a_damaged_archive_in_the_cache_is_made_again() -> None:
    made = bundle.build(Arch.AMD64, "3.11")
    made.path.write_bytes(made.path.read_bytes()[:1000])
    assert bundle.build(Arch.AMD64, "3.11").sha256 == made.sha256


def test_the_archive_holds_what_its_manifest_says(tmp_path: Path) -> None:
    made = bundle.build(Arch.AMD64, "3.11")
    with tarfile.open(made.path) as archive:
        extract(archive, tmp_path, "data")
        owners = {(member.uid, member.gid, member.mtime) for member in archive}
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert owners == {(0, 0, 0)}
    assert manifest["id"] == made.id
    for name, entry in manifest["files"].items():
        data = (tmp_path / name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == entry["sha256"], name


@pytest.mark.parametrize("python", bytecode.RELEASES)
def test_the_boards_python_uses_the_byte_code(python: str, tmp_path: Path) -> None:
    made = bundle.build(Arch.AMD64, python)
    with tarfile.open(made.path) as archive:
        extract(archive, tmp_path, "data")
    # Byte code whose source says something else: only unchecked byte code still has the old value.
    (tmp_path / "lib/pinnace/errors.py").write_text("changed = True\n")
    interpreter = debian_program.command(
        bytecode.RELEASES[python], f"python{python}-minimal", f"usr/bin/python{python}"
    )
    script = f"import sys; sys.path.insert(0, {str(tmp_path / 'lib')!r}); import pinnace.errors as e; print(e.NotFound.grpc_status, e.__doc__, e.described.__annotations__)"
    done = subprocess.run(
        [*interpreter, "-ISB", "-c", script], capture_output=True, text=True, check=False
    )
    # Neither documentation nor annotations of functions are carried along.
    assert done.stdout == "5 None {}\n", done.stderr


def _emulated(program: Path, cpu: str) -> subprocess.CompletedProcess[str]:
    emulator = debian_program.command("trixie", "qemu-user", "usr/bin/qemu-arm")
    return subprocess.run(
        [*emulator, str(program), "-v"],
        env={"QEMU_CPU": cpu},
        capture_output=True,
        text=True,
        check=False,
    )


def test_pause_runs_on_an_armv6_processor_and_an_armv7_program_does_not() -> None:
    old = native.build("pause", Arch.ARMV6L, runtime_version())
    new = native.build("pause", Arch.ARMV7L, runtime_version())
    assert _emulated(old, "arm1176").stdout == f"pause {runtime_version()}\n"
    assert _emulated(new, "cortex-a7").stdout == f"pause {runtime_version()}\n"
    # The emulated processor is old enough to tell the two apart.
    assert _emulated(new, "arm1176").returncode == -signal.SIGILL


@pytest.mark.parametrize("python", bytecode.RELEASES)
def test_ctr_starts_from_the_archive_without_a_keeper(python: str, tmp_path: Path) -> None:
    with tarfile.open(bundle.build(_HERE, python).path) as archive:
        extract(archive, tmp_path / "release", "data")
    (tmp_path / "ctr").symlink_to(tmp_path / "release/bin/ctr")
    done = subprocess.run(
        [tmp_path / "ctr", "--help"],
        env={"PINNACE_KEEPER": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "images" in done.stdout


@pytest.mark.parametrize("arch", Arch)
def test_pause_is_a_few_kilobytes(arch: Arch) -> None:
    assert native.build("pause", arch, runtime_version()).stat().st_size < 8192


@pytest.fixture
def sandbox() -> Iterator[int]:
    """Our pause as process 1 of a pid namespace; its pid out here."""
    program = native.build("pause", _HERE, runtime_version())
    holder = subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", str(program)])
    try:
        yield _only_child(holder.pid)
    finally:
        holder.kill()
        holder.wait()


def _only_child(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        found = children.read_text().split()
        if found and Path(f"/proc/{found[0]}/comm").read_text().startswith("pause"):
            return int(found[0])
        time.sleep(0.01)
    raise AssertionError("pause did not start")


@pytest.mark.root
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_pause_ends_on_a_signal(sandbox: int, number: signal.Signals) -> None:
    watched = os.pidfd_open(sandbox)
    time.sleep(0.1)  # its handlers are set right after the start
    os.kill(sandbox, number)
    ready, _, _ = select.select([watched], [], [], 5)
    os.close(watched)
    assert ready


@pytest.mark.root
def test_pause_reaps_orphans(sandbox: int) -> None:
    orphan = ["nsenter", f"--target={sandbox}", "--pid", "sh", "-c", "sleep 0.1 & exit 0"]
    subprocess.run(orphan, check=True)
    children = Path(f"/proc/{sandbox}/task/{sandbox}/children")
    assert children.read_text().split(), "the orphan was not handed to process 1"
    deadline = time.monotonic() + 5
    while children.read_text().split() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert children.read_text().split() == []
