"""The little of classic BPF that is needed here, and the answer to system calls that a profile is too old for.

A program of a filter reads struct seccomp_data (include/uapi/linux/seccomp.h) and returns an action;
jumps are forward and relative, so that instructions may be put before a program without touching it.
Opcodes are those of include/uapi/linux/bpf_common.h.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping

from pinnace.linux.seccomp.profile import ERRNO

INSTRUCTION = struct.Struct("=HBBI")
MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS

LOAD, AND, RETURN = 0x20, 0x54, 0x06
JUMP, JUMP_EQUAL, JUMP_GREATER, JUMP_GREATER_EQUAL = 0x05, 0x15, 0x25, 0x35
NUMBER, ARCHITECTURE = 0, 4  # offsets in struct seccomp_data


def unknown_calls(known: Mapping[int, int], limits: Mapping[int, int]) -> bytes:
    """Instructions that answer ENOSYS to numbers above those that a profile knows.

    Args:
        known: for each architecture (audit number) the highest system call that the profile names.
        limits: for some of them the number from which calls are private to the architecture.
    """
    program = b""
    for architecture, highest in known.items():
        limit = limits.get(architecture, 0xFFFFFFFF)
        program += b"".join(
            (
                INSTRUCTION.pack(LOAD, 0, 0, ARCHITECTURE),
                INSTRUCTION.pack(JUMP_EQUAL, 0, 4, architecture),
                INSTRUCTION.pack(LOAD, 0, 0, NUMBER),
                INSTRUCTION.pack(JUMP_GREATER_EQUAL, 2, 0, limit),
                INSTRUCTION.pack(JUMP_GREATER, 0, 1, highest),
                INSTRUCTION.pack(RETURN, 0, 0, ERRNO | errno.ENOSYS),
            )
        )
    return program


def looks_whole(program: bytes) -> bool:
    """Whether this may be a program: whole instructions, not too many, a return as the last."""
    count, rest = divmod(len(program), INSTRUCTION.size)
    if rest or not 0 < count <= MAX_INSTRUCTIONS:
        return False
    code: int = INSTRUCTION.unpack_from(program, len(program) - INSTRUCTION.size)[0]
    return code & 0x07 == RETURN
