"""Calls with several rules: the block's instructions do what the rules say, on every width of machine.

The kernel runs only this machine's programs (``test_seccomp.py``); here a block is interpreted instead.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from pinnace.linux.seccomp import bpf, several
from pinnace.linux.seccomp.profile import ARCHITECTURES, OPERATORS, Condition
from pinnace.linux.seccomp.several import Choice

_WIDE, _NARROW = ARCHITECTURES["SCMP_ARCH_AARCH64"], ARCHITECTURES["SCMP_ARCH_ARM"]
_DEFAULT, _BEYOND, _NUMBER = 0x7FFF0000, -1, 41
_COMPARE: dict[str, Callable[[int, int, int], bool]] = {
    "NE": lambda found, one, _: found != one,
    "LT": lambda found, one, _: found < one,
    "LE": lambda found, one, _: found <= one,
    "EQ": lambda found, one, _: found == one,
    "GE": lambda found, one, _: found >= one,
    "GT": lambda found, one, _: found > one,
    "MASKED_EQ": lambda found, one, two: found & one == two,
}
_words = st.sampled_from([0, 1, 2, 3, 2**31, 2**32 - 2, 2**32 - 1])
_values = st.builds(lambda high, low: high << 32 | low, _words, _words)
_conditions = st.builds(
    Condition, st.integers(0, 5), st.sampled_from(sorted(OPERATORS.values())), _values, _values
)
_rules = st.lists(
    st.builds(
        Choice, st.integers(0x50000, 0x50009), st.lists(_conditions, max_size=6).map(tuple)
    ),
    min_size=2, max_size=12,
)  # fmt: skip


def _interpreted(program: bytes, architecture: int, number: int, arguments: list[int]) -> int:
    """What a program returns, or _BEYOND when it leads on to what comes after it."""
    data = struct.pack("=IIQ6Q", number, architecture, 0, *arguments)
    code = list(bpf.INSTRUCTION.iter_unpack(program))
    register = place = 0
    jumps: dict[int, Callable[[int, int], bool]] = {
        bpf.JUMP_EQUAL: lambda one, two: one == two,
        bpf.JUMP_GREATER: lambda one, two: one > two,
        bpf.JUMP_GREATER_EQUAL: lambda one, two: one >= two,
    }
    while place < len(code):
        operation, if_true, if_false, value = code[place]
        place += 1
        if operation == bpf.LOAD:
            register = struct.unpack_from("=I", data, value)[0]
        elif operation == bpf.AND:
            register &= value
        elif operation == bpf.RETURN:
            return int(value)
        elif operation == bpf.JUMP:
            place += value
        else:
            place += if_true if jumps[operation](register, value) else if_false
    return _BEYOND


def _holds(condition: Condition, arguments: list[int], mask: int) -> bool:
    name = next(key for key, value in OPERATORS.items() if value == condition.operator)
    compare = _COMPARE[name.removeprefix("SCMP_CMP_")]
    found = arguments[condition.argument]
    return compare(found & mask, condition.value & mask, condition.other & mask)


@settings(max_examples=30, deadline=None)
@given(_rules, st.lists(_values, min_size=6, max_size=6), st.sampled_from([_WIDE, _NARROW]))
def test_the_first_rule_that_holds_decides(
    rules: list[Choice], arguments: list[int], architecture: int
) -> None:
    mask = (1 << 64) - 1 if architecture == _WIDE else (1 << 32) - 1
    expected = next(
        (
            rule.action
            for rule in rules
            if all(_holds(each, arguments, mask) for each in rule.conditions)
        ),
        _DEFAULT,
    )
    program = several.block(architecture, _NUMBER, rules, _DEFAULT)
    assert _interpreted(program, architecture, _NUMBER, arguments) == expected


@settings(max_examples=30, deadline=None)
@given(_rules, st.integers(0, 100), st.sampled_from([_WIDE, _NARROW]))
def test_other_calls_are_led_on(rules: list[Choice], number: int, architecture: int) -> None:
    program = several.block(_WIDE, _NUMBER, rules, _DEFAULT)
    found = _interpreted(program, architecture, number, [0] * 6)
    assert (found == _BEYOND) == ((architecture, number) != (_WIDE, _NUMBER))
