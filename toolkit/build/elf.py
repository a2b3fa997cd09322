"""What an ELF program needs of a processor, read from the file itself.

A compiler flag that got lost makes a program that runs on every board but the oldest, so each helper
is checked for its architecture after it is compiled. Layout: System V ABI; the ARM build attributes:
"Addenda to, and Errata in, the ABI for the Arm Architecture" (ARM IHI 0045).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_ATTRIBUTES = 0x70000003  # SHT_ARM_ATTRIBUTES
_MACHINES = {40: "arm", 62: "x86_64", 183: "aarch64"}
_PT_INTERP = 3
# Tag_CPU_arch (6): the value is a point in this list, not a number of a version.
_CPU_ARCH = ("pre-v4", "v4", "v4T", "v5T", "v5TE", "v5TEJ", "v6", "v6KZ", "v6T2", "v6K", "v7")
_TEXT_TAGS = (4, 5)  # CPU_raw_name, CPU_name: strings, though their numbers are below 32


@dataclass(frozen=True, slots=True)
class Program:
    """An executable: ``machine`` (arm, aarch64, x86_64), ``cpu`` (v6, v7; ARM only), ``static``."""

    machine: str
    cpu: str
    static: bool


def inspect(data: bytes) -> Program:
    """Read a little-endian ELF file; raises ``ValueError`` when it is not one of ours."""
    if data[:4] != b"\x7fELF" or data[5] != 1:
        raise ValueError("not a little-endian ELF file")
    wide = data[4] == 2
    machine = _MACHINES.get(struct.unpack_from("<H", data, 18)[0])
    if machine is None:
        raise ValueError("built for another machine")
    try:
        static = _PT_INTERP not in _program_headers(data, wide)
        cpu = _cpu(data, wide) if machine == "arm" else ""
    except (struct.error, IndexError, ValueError):
        raise ValueError("a truncated ELF file") from None
    return Program(machine, cpu, static)


def _program_headers(data: bytes, wide: bool) -> list[int]:
    """The types of the program headers."""
    start = struct.unpack_from("<Q", data, 32)[0] if wide else struct.unpack_from("<I", data, 28)[0]
    size, count = struct.unpack_from("<HH", data, 54 if wide else 42)
    return [struct.unpack_from("<I", data, start + size * index)[0] for index in range(count)]


def _cpu(data: bytes, wide: bool) -> str:
    for kind, offset, size in _sections(data, wide):
        if kind == _ATTRIBUTES:
            for tag, value in _attributes(data[offset : offset + size]):
                if tag == 6:
                    return _CPU_ARCH[value] if value < len(_CPU_ARCH) else "newer than v7"
    return ""


def _sections(data: bytes, wide: bool) -> Iterator[tuple[int, int, int]]:
    """Type, offset and size of each section."""
    assert not wide, "only 32-bit ARM has these attributes"
    start = struct.unpack_from("<I", data, 32)[0]
    size, count = struct.unpack_from("<HH", data, 46)
    for index in range(count):
        header = struct.unpack_from("<10I", data, start + size * index)
        yield header[1], header[4], header[5]


def _attributes(section: bytes) -> Iterator[tuple[int, int]]:
    """Number-valued attributes of the file: ``A``, then vendor ``aeabi``, then the whole-file part."""
    at = 1 + 4 + section[5:].index(b"\0") + 1
    tag, length = section[at], struct.unpack_from("<I", section, at + 1)[0]
    if tag != 1:  # Tag_File
        return
    end, at = at + length, at + 5
    while at < end:
        tag, at = _uleb128(section, at)
        if tag in _TEXT_TAGS or (tag > 32 and tag % 2):
            at = section.index(b"\0", at) + 1
        else:
            value, at = _uleb128(section, at)
            yield tag, value
            if tag == 32:  # Tag_compatibility: a number and a string
                at = section.index(b"\0", at) + 1


def _uleb128(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
