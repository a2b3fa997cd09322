"""Reading from a program for which processor it was built, from small files made here."""

import struct

import pytest

from toolkit.build import elf


def _arm_program(cpu_arch: int, *, interpreter: bool = False) -> bytes:
    """An ARM ELF file with one program header and one section of build attributes."""
    text_tags = b"\x05arm1176jzf-s\0" + b"\x43" + b"2.09\0"  # CPU_name; conformance (67, a string)
    body = text_tags + bytes([6, cpu_arch])
    whole_file = b"\x01" + struct.pack("<I", len(body) + 5) + body
    vendor = b"aeabi\0" + whole_file
    attributes = b"A" + struct.pack("<I", len(vendor) + 4) + vendor
    program = struct.pack("<8I", 3 if interpreter else 1, 0, 0, 0, 0, 0, 0, 0)
    at_program, at_section = 52, 52 + 32
    at_attributes = at_section + 40
    section = struct.pack("<10I", 0, 0x70000003, 0, 0, at_attributes, len(attributes), 0, 0, 1, 0)
    header = b"\x7fELF\x01\x01\x01" + b"\0" * 9
    header += struct.pack("<HHIIIII", 2, 40, 1, 0, at_program, at_section, 0x05000400)
    header += struct.pack("<6H", 52, 32, 1, 40, 1, 0)
    return header + program + section + attributes


@pytest.mark.parametrize(("value", "cpu"), [(6, "v6"), (10, "v7"), (14, "newer than v7")])
def test_the_processor_of_an_arm_program(value: int, cpu: str) -> None:
    assert elf.inspect(_arm_program(value)) == elf.Program("arm", cpu, static=True)


def test_a_program_with_an_interpreter_is_not_static() -> None:
    assert not elf.inspect(_arm_program(6, interpreter=True)).static


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", _arm_program(6)[:60], _arm_program(6)[:130]])
def test_what_is_not_a_whole_program_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="ELF"):
        elf.inspect(data)
