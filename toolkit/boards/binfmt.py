"""The kernel's table of emulators (binfmt_misc): ours are in it while boards need them.

The table belongs to the whole machine, so an entry matches what the file says of itself. 64-bit ARM
is one kind. For 32-bit ARM, ARMv6 and ARMv7 boards need different emulators and the file tells them
apart only by its float ABI (``e_flags``: Debian armel is soft-float, armhf hard-float). So:

- while boards of one 32-bit kind run, every 32-bit ARM program gets that kind's CPU;
- while both run, the first kind keeps the catch-all entry, and programs of the other kind's ABI get
  the other CPU. A hard-float program on the ARMv6 board then runs as ARMv7 would.

The newest matching entry wins, so ours come before those of the machine's own qemu packages, which
are left alone. Flags: P keeps argv[0], O hands over the open file (systemd executes /proc/self/fd/N),
C lets setuid programs be setuid, F opens the emulator now, so that it works in any root.

Facts: the kernel's Documentation/admin-guide/binfmt-misc.rst; ELF for the Arm architecture (aaelf32).
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.arch import Arch
from toolkit.boards.elf import tiny_program
from toolkit.boards.proof import flags, lacking
from toolkit.errors import MissingPrerequisite, PinnaceError
from toolkit.process import run

TABLE = Path("/proc/sys/fs/binfmt_misc")
_PREFIX = "pinnace-"
_OURS_MOUNTED = Path("/run/pinnace-boards/binfmt-mounted")

# An ELF header up to e_machine: class and data count, the ABI bytes do not, and e_type may be
# executable or shared (position-independent).
_MASK = bytes.fromhex("ffffffffffffff00fffffffffffffffffeffffff")
_HEADER = {
    "arm": bytes.fromhex("7f454c4601010100000000000000000002002800"),
    "aarch64": bytes.fromhex("7f454c460201010000000000000000000200b700"),
}
_FLAGS_AT = 36  # e_flags in a 32-bit header
_FLOAT = {Arch.ARMV6L: 0x200, Arch.ARMV7L: 0x400}  # EF_ARM_ABI_FLOAT_SOFT, _HARD


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the table: programs whose start is ``magic`` under ``mask`` go to ``emulator``."""

    name: str
    magic: bytes
    mask: bytes
    emulator: Path

    def line(self) -> str:
        """The text that registers it."""
        magic, mask = (
            "".join(f"\\x{byte:02x}" for byte in part) for part in (self.magic, self.mask)
        )
        return f":{self.name}:M:0:{magic}:{mask}:{self.emulator}:POCF"

    def matches(self, start: bytes) -> bool:
        """Whether a program that begins with ``start`` is this entry's."""
        return all(
            have & mask == want & mask
            for have, want, mask in zip(start, self.magic, self.mask, strict=False)
        ) and len(start) >= len(self.magic)


def any_entry(arch: Arch, emulator: Path) -> Entry:
    """Every program of the emulator's instruction set."""
    facts = arch.facts
    return Entry(f"{_PREFIX}{facts.qemu_cpu}", _HEADER[facts.qemu], _MASK, emulator)


def float_entry(arch: Arch, emulator: Path) -> Entry:
    """32-bit ARM programs with the float ABI of this kind of board."""
    gap = bytes(_FLAGS_AT - len(_MASK))
    flags = _FLOAT[arch].to_bytes(4, "little")
    magic, mask = _HEADER["arm"] + gap + flags, _MASK + gap + flags
    return Entry(f"{_PREFIX}{arch.facts.qemu_cpu}-float", magic, mask, emulator)


def plan(
    needed: Sequence[tuple[Arch, Path]], present: Iterable[str]
) -> tuple[list[str], list[Entry]]:
    """What to do for the boards in ``needed``, oldest first, given our entries in the table.

    Returns the names to remove and the entries to register after that, in order.
    """
    kinds = dict(needed)
    have = {name for name in present if name.startswith(_PREFIX)}
    wanted: list[Entry] = []
    if Arch.ARM64 in kinds:
        wanted.append(any_entry(Arch.ARM64, kinds[Arch.ARM64]))
    arm = [arch for arch in kinds if arch in _FLOAT]
    if arm:
        # Whoever has the catch-all entry keeps it: a newer one would come before the others.
        base = next((one for one in arm if any_entry(one, kinds[one]).name in have), arm[0])
        wanted.append(any_entry(base, kinds[base]))
        wanted += [float_entry(one, kinds[one]) for one in arm if one is not base]
    names = {entry.name for entry in wanted}
    return sorted(have - names), [entry for entry in wanted if entry.name not in have]


def reconcile(needed: Sequence[tuple[Arch, Path]]) -> None:
    """Bring our entries in line with the boards in ``needed``. Needs root.

    Raises :class:`MissingPrerequisite` where the kernel has no binfmt_misc.
    """
    if not needed and not TABLE.is_dir():
        return
    if needed:
        _mount()
    stale, fresh = plan(needed, os.listdir(TABLE))
    # First the new, so that no program is without an emulator in between.
    for entry in fresh:
        _register(entry)
    for name in stale:
        (TABLE / name).write_text("-1")
    if not needed and _OURS_MOUNTED.exists():
        run(["umount", TABLE], "unmounting binfmt_misc")
        _OURS_MOUNTED.unlink()


def prove(arch: Arch) -> None:
    """Raise unless the kernel gives programs of ``arch`` to an emulator that is exactly that."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "probe")
        program.write_bytes(tiny_program(arch.facts.qemu, lacking(arch), flags(arch)))
        program.chmod(0o755)
        status = subprocess.run([program], capture_output=True, check=False).returncode
    if status != -signal.SIGILL:
        raise PinnaceError(
            f"this machine runs {arch.label} programs with another emulator than the board's",
            hint=f"see which entry in {TABLE} comes before ours, and remove it",
        )


def _mount() -> None:
    if (TABLE / "register").exists():
        return
    if not TABLE.is_dir():
        subprocess.run(["modprobe", "binfmt_misc"], capture_output=True, check=False)
    try:
        run(["mount", "-t", "binfmt_misc", "binfmt_misc", TABLE], "mounting binfmt_misc")
    except (PinnaceError, OSError) as problem:
        raise MissingPrerequisite(
            f"the kernel offers no binfmt_misc, which runs foreign programs: {problem}",
            hint="load the module binfmt_misc, or use emu-amd64, which needs none",
        ) from None
    _OURS_MOUNTED.touch()


def _register(entry: Entry) -> None:
    if any(char in str(entry.emulator) for char in ":\\\n"):
        raise PinnaceError(
            f"binfmt_misc cannot take the path {entry.emulator}",
            hint="set XDG_CACHE_HOME to a path without colons and backslashes",
        )
    try:
        (TABLE / "register").write_text(entry.line())
    except OSError as problem:
        raise PinnaceError(
            f"cannot register {entry.name} in binfmt_misc: {problem.strerror}"
        ) from None
