"""Calls with several rules, compiled here: libseccomp 2.5.4 merges conditional ones wrongly.

Two of them with NE or LT on one argument, for example, come out as one of the two, and whether a rule without conditions
or one with some decides depends on more than the rules. So each such call gets a block of instructions of its own before
libseccomp's program, which decides it for good:

    is it this architecture and this number?   else on to the next block
    for each rule: do all of its conditions hold?   then its action
    the default action

Of several rules that hold the strictest decides, in the kernel's own order of actions (seccomp(2)); of two as strict the
first. What a profile forbids is forbidden, whatever else it says of the call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pinnace.linux.seccomp import bpf
from pinnace.linux.seccomp.profile import OPERATORS, Condition, Profile

_ARGUMENTS = 16  # offset in struct seccomp_data, of six 64-bit words
_LOW_WORD = 0xFFFFFFFF
_WIDE = 0x80000000  # in an audit number: 64 bits
_NAMES = {number: name.removeprefix("SCMP_CMP_") for name, number in OPERATORS.items()}
_FAIL = -1  # as a jump: to the next rule
_PASS = -2  # as a jump: to the next condition

Conditions = tuple[Condition, ...]


class Choice(NamedTuple):
    """What a rule does when all of its conditions hold."""

    action: int
    conditions: Conditions


class _Step(NamedTuple):
    """An instruction whose jumps may lead to an end that is not placed yet."""

    code: int
    value: int
    if_true: int = 0
    if_false: int = 0


def choices(
    profile: Profile, alternatives: Callable[[Conditions], Sequence[Conditions]]
) -> dict[str, list[Choice]]:
    """Calls that need a block, and their rules with the strictest first.

    ``alternatives`` gives the sets of conditions that a rule's stand for, of which one must hold.
    """
    found: dict[str, list[Choice]] = {}
    for rule in profile.rules:
        if rule.action == profile.default:
            continue
        for name in rule.names:
            found.setdefault(name, []).extend(
                Choice(rule.action, each) for each in alternatives(rule.conditions)
            )
    return {
        name: sorted(dict.fromkeys(each), key=lambda choice: _strictness(choice.action))
        for name, each in found.items()
        if len(set(each)) > 1
    }


def block(architecture: int, number: int, rules: Sequence[Choice], default: int) -> bytes:
    """The instructions that decide call ``number`` of an architecture (an audit number)."""
    body = b"".join(_rule(rule, wide=bool(architecture & _WIDE)) for rule in rules)
    body += bpf.INSTRUCTION.pack(bpf.RETURN, 0, 0, default)
    beyond = len(body) // bpf.INSTRUCTION.size
    # A conditional jump reaches 255 instructions, one without a condition all of them.
    head = (
        bpf.INSTRUCTION.pack(bpf.LOAD, 0, 0, bpf.ARCHITECTURE),
        bpf.INSTRUCTION.pack(bpf.JUMP_EQUAL, 0, 2, architecture),
        bpf.INSTRUCTION.pack(bpf.LOAD, 0, 0, bpf.NUMBER),
        bpf.INSTRUCTION.pack(bpf.JUMP_EQUAL, 1, 0, number),
        bpf.INSTRUCTION.pack(bpf.JUMP, 0, 0, beyond),
    )
    return b"".join(head) + body


def _strictness(action: int) -> int:
    """Smaller is stricter: the kernel compares actions, without their data, as signed numbers."""
    signed = action & 0xFFFF0000
    return signed - (1 << 32) if signed & 0x80000000 else signed


def _rule(rule: Choice, *, wide: bool) -> bytes:
    parts = [_condition(each, wide=wide) for each in rule.conditions]
    total = sum(map(len, parts)) + 1  # with the return, which those that fail pass over
    done, program = 0, b""
    for steps in parts:
        for index, step in enumerate(steps):
            jumps = [
                {_FAIL: total - done - 1, _PASS: len(steps) - index - 1}.get(jump, jump)
                for jump in (step.if_true, step.if_false)
            ]
            program += bpf.INSTRUCTION.pack(step.code, *jumps, step.value)
            done += 1
    return program + bpf.INSTRUCTION.pack(bpf.RETURN, 0, 0, rule.action)


def _condition(condition: Condition, *, wide: bool) -> list[_Step]:
    """Compare an argument, a word at a time: high, then low; 32-bit machines have low ones only."""
    name = _NAMES[condition.operator]
    low = _ARGUMENTS + 8 * condition.argument
    if name == "MASKED_EQ":
        steps = _masked(low, condition.value & _LOW_WORD, condition.other & _LOW_WORD)
        if wide:
            steps = [*_masked(low + 4, condition.value >> 32, condition.other >> 32), *steps]
        return steps
    value = condition.value & _LOW_WORD
    steps = [_Step(bpf.LOAD, low), _LAST[name]._replace(value=value)]
    if wide:
        high = [step._replace(value=condition.value >> 32) for step in _FIRST[name]]
        steps = [_Step(bpf.LOAD, low + 4), *high, *steps]
    return steps


def _masked(offset: int, mask: int, wanted: int) -> list[_Step]:
    return [
        _Step(bpf.LOAD, offset),
        _Step(bpf.AND, mask),
        _Step(bpf.JUMP_EQUAL, wanted, 0, _FAIL),
    ]


_GREATER = (_Step(bpf.JUMP_GREATER, 0, _PASS, 0), _Step(bpf.JUMP_EQUAL, 0, 0, _FAIL))
_LESS = (_Step(bpf.JUMP_GREATER, 0, _FAIL, 0), _Step(bpf.JUMP_EQUAL, 0, 0, _PASS))
_FIRST: dict[str, tuple[_Step, ...]] = {
    "EQ": (_Step(bpf.JUMP_EQUAL, 0, 0, _FAIL),),
    "NE": (_Step(bpf.JUMP_EQUAL, 0, 0, _PASS),),
    "GT": _GREATER, "GE": _GREATER, "LT": _LESS, "LE": _LESS,
}  # fmt: skip
"""What the high word decides; where it is equal, the low one does."""
_LAST = {
    "EQ": _Step(bpf.JUMP_EQUAL, 0, 0, _FAIL),
    "NE": _Step(bpf.JUMP_EQUAL, 0, _FAIL, 0),
    "GT": _Step(bpf.JUMP_GREATER, 0, 0, _FAIL),
    "GE": _Step(bpf.JUMP_GREATER_EQUAL, 0, 0, _FAIL),
    "LT": _Step(bpf.JUMP_GREATER_EQUAL, 0, _FAIL, 0),
    "LE": _Step(bpf.JUMP_GREATER, 0, _FAIL, 0),
}
