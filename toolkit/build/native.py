"""The native helpers of the runtime: a few small C programs, cross-compiled for each architecture.

Each is compiled once per source, compiler and architecture; the result is kept in the cache and checked
to be static and for no newer processor than the board's.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from toolkit import console
from toolkit.arch import Arch
from toolkit.build import elf, zig
from toolkit.errors import PinnaceError
from toolkit.paths import RUNTIME, cache_dir

NATIVE = RUNTIME / "native"

PROGRAMS = ("doze", "init", "launch", "pause")
"""The helpers that a bundle carries; each is ``runtime/native/NAME.c``, and what else begins with ``NAME_``."""

_CPU = {Arch.ARMV6L: ("arm", "v6"), Arch.ARMV7L: ("arm", "v7"), Arch.ARM64: ("aarch64", ""), Arch.AMD64: ("x86_64", "")}  # fmt: skip


def build(name: str, arch: Arch, version: str) -> Path:
    """The path of helper ``name`` compiled for ``arch``; ``version`` is what it says with ``-v``.

    Raises :class:`PinnaceError` when it does not compile or came out for another processor.
    """
    sources = [NATIVE / f"{name}.c", *sorted(NATIVE.glob(f"{name}_*.c"))]
    headers = sorted(NATIVE.glob(f"{name}*.h"))
    recipe = (
        *(path.read_bytes() for path in (*sources, *headers)),
        Path(zig.__file__).read_bytes(),
    )
    key = hashlib.sha256(b"\0".join((*recipe, zig.LOCK.read_bytes(), version.encode())))
    program = cache_dir("native", key.hexdigest()[:16]) / f"{name}-{arch.label}"
    if not program.exists() or not _fits(program, arch):
        with console.step(f"compile {sources[0].name} for {arch.label}") as step:
            _compile(sources, program, arch, version)
            step.detail = f"{program.stat().st_size} bytes"
    return program


def _compile(sources: list[Path], program: Path, arch: Arch, version: str) -> None:
    handle, scratch = tempfile.mkstemp(prefix="new-", dir=program.parent)
    os.close(handle)
    try:
        zig.compile_static(sources, Path(scratch), arch, {"VERSION": version})
        if not _fits(Path(scratch), arch):
            raise PinnaceError(
                f"{sources[0].name} came out as {elf.inspect(Path(scratch).read_bytes())}, "
                f"which is not a static program for {arch.label}"
            )
        os.chmod(scratch, 0o755)  # noqa: S103  a program for everyone to run
        os.rename(scratch, program)
    finally:
        Path(scratch).unlink(missing_ok=True)


def _fits(program: Path, arch: Arch) -> bool:
    try:
        found = elf.inspect(program.read_bytes())
    except ValueError:
        return False
    return found.static and (found.machine, found.cpu) == _CPU[arch]
