"""Random profiles, loaded, and their calls really made: the kernel must answer as the profile reads.

``expected`` is what a profile means (config-linux.md; several rules for a call: ``several.py``), written without BPF
or libseccomp.
"""

from __future__ import annotations

import errno
import os
import platform
import signal
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pinnace.errors import FailedPrecondition
from pinnace.linux.seccomp import Filter, profile
from pinnace.linux.seccomp.library import Library
from tests.calls import LIVING, Outcome, attempt

try:
    _LIBRARY = Library()
except FailedPrecondition as missing:
    pytest.skip(str(missing), allow_module_level=True)

_RUNS = int(os.environ.get("PINNACE_SECCOMP_RUNS", "12"))

# Calls that do nothing to this process whatever their arguments are.
_HARMLESS = (
    "getpgid", "getsid", "getpriority", "sched_getscheduler", "sched_getparam", "sched_get_priority_max",
    "sched_get_priority_min", "kcmp", "getcpu", "mincore", "readahead", "flock", "fsync", "getppid",
)  # fmt: skip
_COMPARE: dict[str, Any] = {
    "SCMP_CMP_NE": lambda found, one, _: found != one,
    "SCMP_CMP_LT": lambda found, one, _: found < one,
    "SCMP_CMP_LE": lambda found, one, _: found <= one,
    "SCMP_CMP_EQ": lambda found, one, _: found == one,
    "SCMP_CMP_GE": lambda found, one, _: found >= one,
    "SCMP_CMP_GT": lambda found, one, _: found > one,
    "SCMP_CMP_MASKED_EQ": lambda found, one, two: found & one == two,
}
_ACTIONS = (
    "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP",
    "SCMP_ACT_ERRNO", "SCMP_ACT_TRACE", "SCMP_ACT_ALLOW", "SCMP_ACT_LOG",
)  # fmt: skip

_STRICTEST_FIRST = (
    "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP", "SCMP_ACT_ERRNO",
    "SCMP_ACT_TRACE", "SCMP_ACT_LOG", "SCMP_ACT_ALLOW",
)  # fmt: skip

# Values near each other and near the borders of 32 bits, so that comparisons come out both ways.
_values = st.one_of(
    st.integers(0, 8),
    st.sampled_from([2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**63, 2**64 - 1]),
    st.integers(0, 2**64 - 1),
)


@st.composite
def _conditions(draw: st.DrawFn) -> list[dict[str, Any]]:
    found = []
    for index in draw(st.sets(st.integers(0, 5), max_size=3)):
        operator = draw(st.sampled_from(sorted(_COMPARE)))
        value, other = draw(_values), draw(_values)
        if operator == "SCMP_CMP_MASKED_EQ":
            other &= value  # bits outside of the mask are a contradiction
        found.append({"index": index, "op": operator, "value": value, "valueTwo": other})
    return found


def _with_data(action: str, number: int) -> dict[str, Any]:
    rule: dict[str, Any] = {"action": action}
    if action == "SCMP_ACT_ERRNO":
        rule["errnoRet"] = number
    return rule


@st.composite
def _profiles(draw: st.DrawFn) -> dict[str, Any]:
    default = draw(st.sampled_from(["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_LOG"]))
    shape: dict[str, Any] = {"defaultAction": default, "syscalls": []}
    if default == "SCMP_ACT_ERRNO":
        shape["defaultErrnoRet"] = 2001
    shape["syscalls"].append({"names": LIVING, "action": "SCMP_ACT_ALLOW"})
    for name in draw(st.sets(st.sampled_from(_HARMLESS), min_size=1, max_size=5)):
        for _ in range(draw(st.sampled_from([1, 1, 2, 4]))):
            rule = _with_data(draw(st.sampled_from(_ACTIONS)), draw(st.integers(1000, 2000)))
            shape["syscalls"].append({"names": [name], **rule, "args": draw(_conditions())})
    return shape


def expected(shape: dict[str, Any], name: str, arguments: list[int]) -> dict[str, Any]:
    """The rule that decides a call, or the default as one."""
    default = {"action": shape["defaultAction"], "errnoRet": shape.get("defaultErrnoRet")}
    rules = [
        rule
        for rule in shape["syscalls"]
        if name in rule["names"]
        and (rule["action"], rule.get("errnoRet")) != (default["action"], default["errnoRet"])
    ]
    holding = [
        rule
        for rule in rules
        if all(
            _COMPARE[one["op"]](arguments[one["index"]], one["value"], one["valueTwo"])
            for one in rule.get("args", [])
        )
    ]
    return min(holding, key=lambda rule: _STRICTEST_FIRST.index(rule["action"]), default=default)


def _agrees(rule: dict[str, Any], outcome: Outcome) -> bool:
    action = rule["action"]
    if action == "SCMP_ACT_ERRNO":
        return (outcome.result, outcome.errno) == (-1, rule["errnoRet"])
    if action == "SCMP_ACT_TRACE":  # nobody traces
        return (outcome.result, outcome.errno) == (-1, errno.ENOSYS)
    if action == "SCMP_ACT_TRAP":
        return outcome.signal == signal.SIGSYS
    if "KILL" in action:
        return outcome.signal == -signal.SIGSYS
    return not outcome.signal and outcome.errno < 1000 and outcome.errno != errno.ENOSYS


@settings(max_examples=_RUNS, deadline=None, phases=[Phase.generate])
@given(_profiles(), st.data())
def test_the_kernel_answers_as_the_profile_reads(
    shape: dict[str, Any], data: st.DataObject
) -> None:
    held = Filter(shape, directory="")
    named = sorted({name for rule in shape["syscalls"][1:] for name in rule["names"]})
    for name in named:
        conditions = [
            one
            for rule in shape["syscalls"]
            if name in rule["names"]
            for one in rule.get("args", [])
        ]
        arguments = [data.draw(_values, label=f"argument {index}") for index in range(6)]
        for one in conditions:  # hit the values that rules are about, too
            if data.draw(st.booleans()):
                wanted = one["valueTwo"] if "MASKED" in one["op"] else one["value"]
                arguments[one["index"]] = wanted
        outcome = attempt(held, _LIBRARY.number(name, _LIBRARY.native()), arguments)
        rule = expected(shape, name, arguments)
        assert _agrees(rule, outcome), (name, arguments, rule, outcome)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the other architecture is 32-bit x86")
@settings(max_examples=_RUNS // 2, deadline=None, phases=[Phase.generate])
@given(_profiles(), st.booleans(), st.data())
def test_calls_of_another_architecture_are_held_to_the_same_rules(
    shape: dict[str, Any], named: bool, data: st.DataObject
) -> None:
    """With the architecture in the profile its calls follow it; without, they end the process."""
    shape["architectures"] = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"][: 1 + named]
    name = data.draw(st.sampled_from(sorted(shape["syscalls"][-1]["names"])))
    number = _LIBRARY.number(name, profile.ARCHITECTURES["SCMP_ARCH_X86"])
    small = [data.draw(st.integers(0, 8), label="argument") for _ in range(6)]
    for rule in shape["syscalls"]:
        for one in rule.get("args", []):
            one["value"] %= 9
            one["valueTwo"] %= 9
            if "MASKED" in one["op"]:
                one["valueTwo"] &= one["value"]
    held = Filter(shape, directory="")
    outcome = attempt(held, number, small, legacy=True)
    if not named:
        assert outcome.signal == -signal.SIGSYS
        return
    rule = expected(shape, name, small)
    assert _agrees(rule, outcome), (name, small, rule, outcome)
