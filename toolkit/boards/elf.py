"""Just enough ELF: relocations of an executable, and executables of a few instructions.

Facts: the System V ABI's object file format (ELF-32, ELF-64), its x86-64 and AArch64 supplements, and
ELF for the Arm architecture (aaelf32).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from toolkit.errors import PinnaceError

_PT_LOAD, _PT_DYNAMIC = 1, 2
_PF_X = 1
_DT_RELA, _DT_RELASZ = 7, 8
_RELATIVE = {62: 8, 183: 1027}  # R_X86_64_RELATIVE, R_AARCH64_RELATIVE by e_machine
_RELA = struct.Struct("<QQq")

EABI5 = 0x05000000
SOFT_FLOAT = EABI5 | 0x200
HARD_FLOAT = EABI5 | 0x400


@dataclass(frozen=True, slots=True)
class Segment:
    kind: int
    flags: int
    offset: int
    address: int
    file_size: int


@dataclass(frozen=True, slots=True)
class Relocation:
    position: int  # of the entry in the file
    addend: int


class Image:
    """A 64-bit little-endian position-independent executable: its segments and relocations."""

    def __init__(self, data: bytes) -> None:
        if data[:6] != b"\x7fELF\x02\x01":
            raise PinnaceError("the file is not a 64-bit little-endian ELF file")
        self.data = data
        self.machine = struct.unpack_from("<H", data, 18)[0]
        table, count = struct.unpack_from("<Q", data, 32)[0], struct.unpack_from("<H", data, 56)[0]
        self.segments = [
            Segment(*(struct.unpack_from("<IIQQQQ", data, table + 56 * index)[i] for i in (0, 1, 2, 3, 5)))
            for index in range(count)
        ]  # fmt: skip

    def relocations(self) -> dict[int, Relocation]:
        """The relative relocations by the address they fill."""
        dynamic = next((one for one in self.segments if one.kind == _PT_DYNAMIC), None)
        relative = _RELATIVE.get(self.machine)
        if dynamic is None or relative is None:
            raise PinnaceError("the file is not a position-independent executable of a known kind")
        tags = dict(
            struct.iter_unpack("<QQ", self.data[dynamic.offset :][: dynamic.file_size // 16 * 16])
        )
        start = self.offset(tags.get(_DT_RELA, 0))
        found = {}
        for position in range(start, start + tags.get(_DT_RELASZ, 0), _RELA.size):
            address, info, addend = _RELA.unpack_from(self.data, position)
            if info == relative:
                found[address] = Relocation(position, addend)
        return found

    def segment(self, address: int) -> Segment | None:
        for one in self.segments:
            if one.kind == _PT_LOAD and one.address <= address < one.address + one.file_size:
                return one
        return None

    def offset(self, address: int) -> int:
        found = self.segment(address)
        if found is None:
            raise PinnaceError(f"the file has no file content for address {address:#x}")
        return address - found.address + found.offset

    def is_code(self, address: int) -> bool:
        found = self.segment(address)
        return found is not None and bool(found.flags & _PF_X)

    def names_at(self, address: int, names: tuple[bytes, ...]) -> bytes | None:
        """Which of ``names`` is the C string at ``address``."""
        if self.segment(address) is None:
            return None
        start = self.offset(address)
        for name in names:
            if self.data[start : start + len(name) + 1] == name + b"\0":
                return name
        return None


def tiny_program(qemu: str, code: str, flags: int = EABI5) -> bytes:
    """A static executable for ``arm`` or ``aarch64`` with ``code``, hexadecimal 32-bit words.

    ``flags`` is the e_flags of a 32-bit one.
    """
    words = b"".join(struct.pack("<I", int(word, 16)) for word in code.split())
    base = 0x10000
    ident = b"\x7fELF" + (b"\x01" if qemu == "arm" else b"\x02") + b"\x01\x01" + bytes(9)
    if qemu == "arm":
        start = 52 + 32
        size = start + len(words)
        header = struct.pack("<HHIIIIIHHHHHH", 2, 40, 1, base + start, 52, 0, flags, 52, 32, 1, 0, 0, 0)  # fmt: skip
        segment = struct.pack("<IIIIIIII", _PT_LOAD, 0, base, base, size, size, 5, 0x1000)
    else:
        start = 64 + 56
        size = start + len(words)
        header = struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, base + start, 64, 0, 0, 64, 56, 1, 0, 0, 0)  # fmt: skip
        segment = struct.pack("<IIQQQQQQ", _PT_LOAD, 5, 0, base, base, size, size, 0x1000)
    return ident + header + segment + words
