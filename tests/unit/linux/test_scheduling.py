"""Scheduling words and lists; the calls themselves in a child that may keep what it was given."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from pinnace.linux import scheduling
from pinnace.runc.scheduling import Affinity, prepare


def _in_a_child(step: Callable[[], object]) -> str:
    """What ``step`` gives in a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, str(step()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with open(reading, "rb") as stream:
        return stream.read().decode()


def test_a_scheduler_is_set() -> None:
    def become_batch() -> tuple[int, int]:
        scheduling.set_scheduler("SCHED_BATCH", nice=7)
        return os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)

    assert _in_a_child(become_batch) == str((os.SCHED_BATCH, 7))


def test_a_personality_is_set() -> None:
    before = os.uname().machine

    def become_narrow() -> bool:
        scheduling.set_personality("LINUX32")
        return os.uname().machine != before or "64" not in before

    assert _in_a_child(become_narrow) == "True"


@pytest.mark.parametrize(
    ("process", "linux", "word"),
    [
        ({"scheduler": {"policy": "SCHED_NOSUCH"}}, {}, "SCHED_NOSUCH"),
        ({"scheduler": {"policy": "SCHED_OTHER", "flags": ["FLAG"]}}, {}, "FLAG"),
        ({"ioPriority": {"class": "IOPRIO_CLASS_X", "priority": 1}}, {}, "IOPRIO_CLASS_X"),
        ({}, {"personality": {"domain": "SOLARIS"}}, "SOLARIS"),
        ({}, {"memoryPolicy": {"mode": "MPOL_X", "nodes": "0"}}, "MPOL_X"),
        ({}, {"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "zero"}}, "zero"),
    ],
)
def test_an_unknown_word_is_named(
    process: dict[str, object], linux: dict[str, object], word: str
) -> None:
    steps = prepare(process, linux)
    assert steps is not None
    with pytest.raises(Exception, match=word):
        steps.apply()


def test_the_usual_configuration_asks_for_nothing() -> None:
    assert prepare({"args": ["true"]}, {"namespaces": []}) is None
    affinity = Affinity({})
    assert (affinity.initial, affinity.final) == (set(), set())


@pytest.mark.parametrize(
    ("text", "found"), [("", set()), ("0", {0}), ("0-2,5", {0, 1, 2, 5}), (" 1 , 3-3 ", {1, 3})]
)
def test_lists_of_numbers(text: str, found: set[int]) -> None:
    assert scheduling.ids(text) == found


@pytest.mark.parametrize("text", ["a", "3-1", "1-", "-1", "0-99999999999"])
def test_what_is_no_list(text: str) -> None:
    with pytest.raises(ValueError, match="is not a list"):
        scheduling.ids(text)
