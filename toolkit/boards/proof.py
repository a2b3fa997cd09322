"""Proof that an emulator is the processor it should be: programs of a few instructions.

One that the processor has, one that it has not (and that newer ones have), and uname(2).
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from pathlib import Path

from toolkit.arch import Arch
from toolkit.boards.elf import EABI5, HARD_FLOAT, SOFT_FLOAT, tiny_program
from toolkit.errors import PinnaceError

# Instructions from the Arm architecture reference manuals (A32 and A64 encodings).
_EXIT = {
    "arm": "e3a00000 e3a07001 ef000000",  # mov r0,#0; mov r7,#1; svc #0
    "aarch64": "d2800000 d2800ba8 d4000001",  # mov x0,#0; mov x8,#93; svc #0
}
_UNAME = {
    # uname(sp); write(1, sp + 4 * 65, 8): `machine` is the fifth of utsname's 65-byte strings.
    "arm": "e24ddc02 e1a0000d e3a0707a ef000000 e3a00001 e28d1f41 e3a02008 e3a07004 ef000000",
    "aarch64": "d10803ff 910003e0 d2801408 d4000001 d2800020 910413e1 d2800102 d2800808 d4000001",
}
_HAS = {
    "arm1176": "e6bf0f30",  # rev r0,r0: new in ARMv6
    "cortex-a7": "e3000001",  # movw r0,#1: new in ARMv7 (ARMv6T2)
    "cortex-a72": "d503201f",  # nop
}
_LACKS = {
    "arm1176": "e3000001",  # movw: an illegal instruction on ARMv6
    "cortex-a7": "e19d0c9f",  # lda r0,[sp]: new in ARMv8
    "cortex-a72": "b82003e1",  # ldadd w0,w1,[sp]: the atomics of ARMv8.1
}


def prove(emulator: Path, arch: Arch) -> None:
    """Run instructions on ``emulator``; raises :class:`PinnaceError` unless it is ``arch`` exactly."""
    facts = arch.facts
    model = facts.qemu_cpu
    if status := _run(emulator, facts.qemu, _HAS[model]).returncode:
        raise PinnaceError(f"the emulator for {model} fails on an instruction of its own: {status}")
    lacking = _run(emulator, facts.qemu, _LACKS[model]).returncode
    if lacking != -signal.SIGILL:
        raise PinnaceError(
            f"the emulator for {model} runs instructions that {model} lacks: {lacking}"
        )
    machine = _run(emulator, facts.qemu, _UNAME[facts.qemu]).stdout.split(b"\0")[0].decode()
    if machine != facts.machine:
        raise PinnaceError(f"the emulator for {model} says {machine}, not {facts.machine}")


def lacking(arch: Arch) -> str:
    """Code that dies with an illegal instruction on ``arch``, and ends well on anything newer."""
    facts = arch.facts
    return f"{_LACKS[facts.qemu_cpu]} {_EXIT[facts.qemu]}"


def running(arch: Arch) -> str:
    """Code that ends well on ``arch``, with an instruction that older processors lack."""
    facts = arch.facts
    return f"{_HAS[facts.qemu_cpu]} {_EXIT[facts.qemu]}"


def flags(arch: Arch) -> int:
    """The e_flags of Debian's programs for ``arch``."""
    return {Arch.ARMV6L: SOFT_FLOAT, Arch.ARMV7L: HARD_FLOAT}.get(arch, EABI5)


def _run(emulator: Path, qemu: str, code: str) -> subprocess.CompletedProcess[bytes]:
    with tempfile.NamedTemporaryFile(suffix=".elf") as file:
        file.write(tiny_program(qemu, f"{code} {_EXIT[qemu]}"))
        file.flush()
        os.fchmod(file.fileno(), 0o755)
        environ = {
            name: value for name, value in os.environ.items() if not name.startswith("QEMU_")
        }
        return subprocess.run(
            [emulator, file.name], env=environ, cwd=tempfile.gettempdir(), capture_output=True, check=False
        )  # fmt: skip
