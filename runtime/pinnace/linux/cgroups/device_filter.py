"""Device rules on cgroup version 2: a small BPF program that the kernel asks before a device is opened or made.

Version 2 has no device files as version 1 has; BPF_PROG_TYPE_CGROUP_DEVICE takes their place
(Documentation/admin-guide/cgroup-v2.rst, "Device controller"; include/uapi/linux/bpf.h).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
from typing import Any

from pinnace.linux import libc
from pinnace.linux.cgroups.setting import Unsupported

_SYS_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280}
_SYS_BPF_ARM = 386
_PROG_LOAD, _PROG_ATTACH = 5, 8
_PROG_TYPE_CGROUP_DEVICE, _CGROUP_DEVICE, _ALLOW_MULTI = 15, 6, 2

_TYPES = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}
_ALL = 7

# Opcodes of include/uapi/linux/bpf_common.h and bpf.h.
_LOAD_WORD, _MOVE, _MOVE_REGISTER, _AND, _SHIFT_RIGHT = 0x61, 0xB7, 0xBF, 0x57, 0x77
_JUMP_IF_NOT, _JUMP_IF_NOT_REGISTER, _JUMP_IF, _EXIT = 0x55, 0x5D, 0x15, 0x95
# Registers: what is returned, the context, then the parts of it.
_RESULT, _CONTEXT, _TYPE, _WANTED, _MAJOR, _MINOR = range(6)

_TRIES = 20
"""How often a program is loaded while signals come."""

_was_available = False


def _instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:  # fmt: skip
    return struct.pack("<BBhi", code, target | source << 4, offset, value)


def program(rules: list[dict[str, Any]]) -> bytes:
    """The BPF instructions for OCI device rules, of which a later one wins; what none names is denied.

    Raises Unsupported for a rule that is none.
    """
    code = b"".join(
        (
            _instruction(_LOAD_WORD, _TYPE, _CONTEXT, 0),
            _instruction(_MOVE_REGISTER, _WANTED, _TYPE),
            _instruction(_AND, _TYPE, value=0xFFFF),
            _instruction(_SHIFT_RIGHT, _WANTED, value=16),
            _instruction(_LOAD_WORD, _MAJOR, _CONTEXT, 4),
            _instruction(_LOAD_WORD, _MINOR, _CONTEXT, 8),
        )
    )
    for rule in reversed(rules):
        part, is_final = _rule(rule)
        code += part
        if is_final:
            return code  # the kernel refuses a program with instructions that nothing reaches
    return code + _answer(allow=False)


def _answer(*, allow: bool) -> bytes:
    return _instruction(_MOVE, _RESULT, value=int(allow)) + _instruction(_EXIT)


def _rule(rule: dict[str, Any]) -> tuple[bytes, bool]:
    """One rule: conditions that jump behind it when they do not hold, then its answer.

    The second value tells that there are no conditions.
    """
    allow, kind, access = bool(rule.get("allow")), rule.get("type") or "a", rule.get("access")
    letters = access or "rwm"
    if kind not in ("a", *_TYPES) or set(letters) - set(_ACCESS):
        raise Unsupported(f"device rule {kind} {letters} is not one the kernel knows")
    answer = _answer(allow=allow)
    tests: list[
        tuple[bytes, int, int, int]
    ] = []  # before the jump; the jump: opcode, register, value
    if kind != "a":
        tests.append((b"", _JUMP_IF_NOT, _TYPE, _TYPES[kind]))
    mask = sum(_ACCESS[letter] for letter in set(letters))
    if mask != _ALL:
        copy = _instruction(_MOVE_REGISTER, _CONTEXT, _WANTED)
        copy += _instruction(_AND, _CONTEXT, value=mask)
        # To be allowed, all that is wanted must be named; to be denied, any of it.
        tests.append((copy, _JUMP_IF_NOT_REGISTER if allow else _JUMP_IF, _CONTEXT, 0))
    for register, number in ((_MAJOR, rule.get("major")), (_MINOR, rule.get("minor"))):
        if number is not None and number >= 0:
            tests.append((b"", _JUMP_IF_NOT, register, int(number)))
    code = answer
    for before, jump, register, value in reversed(tests):
        source = _WANTED if jump == _JUMP_IF_NOT_REGISTER else 0
        code = before + _instruction(jump, register, source, len(code) // 8, value) + code
    return code, not tests


def is_available() -> bool:
    """Whether this kernel takes such programs: not without CONFIG_CGROUP_BPF, nor under user emulation.

    One that did still does: should the next be refused, then that is an error, and not a container without its rules.
    """
    global _was_available
    if not _was_available:
        try:
            os.close(_load(_answer(allow=True)))
        except OSError:
            return False
        _was_available = True
    return True


def attach(directory: str, rules: list[dict[str, Any]]) -> None:
    """Hold everything in the cgroup ``directory`` to ``rules``. Raises OSError, Unsupported."""
    filter_fd = _load(program(rules))
    try:
        place = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            wanted = struct.pack("=4I", place, filter_fd, _CGROUP_DEVICE, _ALLOW_MULTI)
            _bpf(_PROG_ATTACH, wanted, directory)
        finally:
            os.close(place)
    finally:
        os.close(filter_fd)  # the cgroup holds it


def _load(code: bytes) -> int:
    """A descriptor of the program. Raises OSError.

    The kernel's verifier gives up, with EAGAIN, when a signal is pending (kernel/bpf/verifier.c), as that of a child that
    has just ended: when the call is through it is pending no longer.
    """
    for _ in range(_TRIES - 1):
        with contextlib.suppress(BlockingIOError):
            return _load_once(code)
    return _load_once(code)


def _load_once(code: bytes) -> int:
    instructions = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"Apache-2.0")
    wanted = struct.pack(
        "=IIQQIIQII",
        _PROG_TYPE_CGROUP_DEVICE, len(code) // 8,
        ctypes.addressof(instructions), ctypes.addressof(licence),
        0, 0, 0, 0, 0,
    )  # fmt: skip
    return _bpf(_PROG_LOAD, wanted, "device filter")


def _bpf(command: int, attributes: bytes, about: str) -> int:
    machine = os.uname().machine
    number = _SYS_BPF_ARM if machine.startswith("armv") else _SYS_BPF.get(machine)
    if number is None:
        raise OSError(errno.ENOSYS, f"bpf: its number is not known on {machine}", about)
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    return libc.syscall("bpf", number, command, buffer, len(attributes), about=about)
