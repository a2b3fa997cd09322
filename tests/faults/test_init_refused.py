"""Every system call of the native init refused, one at a time: one line says so, or the container is what it would be otherwise.

``PINNACE_REFUSALS=all`` refuses every call of a container's and of a further process's init, with several errnos;
without it each kind of call once in each process.
"""

from __future__ import annotations

import difflib
import errno
import itertools
import os
import re
from pathlib import Path

import pytest

from tests.faults import test_runc_refused as refused
from tests.faults.test_runc_refused import ID, Machine
from toolkit.build import bundle

pytestmark = pytest.mark.root
_ALL = os.environ.get("PINNACE_REFUSALS") == "all"
_NUMBERS = [errno.EIO, errno.EPERM, errno.ENOSYS, errno.ENOMEM] if _ALL else [errno.EIO]
_NEVER_REFUSED = {13, 14, 95}
"""rt_sigaction, rt_sigprocmask and umask of x86-64: no kernel refuses them with valid arguments."""
_SEEN = (
    r"cut -d' ' -f4-6,8- /proc/self/mountinfo; grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp:|SigIgn|SigBlk)' /proc/self/status;"
    "cat /proc/self/limits; env; pwd; umask; hostname; ls /proc/self/fd | wc -l"
)
"""What a container tells of itself."""
_MAY_DIFFER = re.compile(
    r"/sys/fs/cgroup/unified|^HOME="
    r"|^/null /(proc|sys)/"  # hidden behind the host's null device, read-only, in place of the container's own
)
"""Without these a container is as safe and as usable as with them."""
_BOUND = re.compile(r"^/(null|zero|full|random|urandom|tty) /dev/\1 ")
"""A device that comes from the host where making one is not permitted (EPERM)."""


@pytest.fixture(scope="module")
def init(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(bundle.unpack_here(tmp_path_factory.mktemp("release") / "files") / "libexec/init")


machine = refused.machine
_RUNNING = ["run", "--detach", "--bundle", "native-stays", ID]
_CASES: dict[str, tuple[list[list[str]], list[str]]] = {
    "run": ([], ["run", "--bundle", "native", ID]),
    "exec": ([_RUNNING], ["exec", ID, "sh", "-c", _SEEN]),
}


@pytest.mark.parametrize("case", _CASES)
def test_a_refused_call_of_init_is_one_line_or_changes_nothing(
    machine: Machine, init: str, tmp_path: Path, case: str
) -> None:
    before, words = _CASES[case]
    machine.set_program("native", ["sh", "-c", _SEEN])
    report = tmp_path / "report"
    more = {"site": "none", "init": init, "report": str(report)}
    for _ in range(2):  # the first makes directories in the root, which stay
        machine.prepare(before)
        status, _, said = machine.runc(words, **more)
        assert status == 0, said
        expected = machine.printed()
        assert machine.clear() == ""
    assert any("CapEff" in line for line in expected)
    wrong = []
    for (who, place, call), number in itertools.product(_chosen(report), _NUMBERS):
        machine.prepare(before)
        status, _, said = machine.runc(words, number=number, call=(who, place), **more)
        problem = machine.wrong(words, status, said) if status else ""
        if status == 0:
            problem = "; ".join(_differences(expected, machine.printed(), number))
        if problem:
            wrong.append(f"call {call} ({who}, {place}) {errno.errorcode[number]}: {problem}")
        if left := machine.clear():
            wrong.append(f"call {call} ({who}, {place}) {errno.errorcode[number]}: left {left}")
    assert not wrong, "\n".join(wrong)


def _chosen(report: Path) -> list[tuple[int, int, int]]:
    """Calls to refuse: process, place and number of each."""
    every = [tuple(map(int, line.split())) for line in report.read_text().splitlines()]
    calls = [(who, place, call) for who, place, call in every if call not in _NEVER_REFUSED]
    assert {who for who, *_ in calls} == {0, 1}
    if _ALL:
        return calls
    # The last of each kind: the first are those that set up the program itself.
    return sorted({(who, call): (who, place, call) for who, place, call in calls}.values())


def _differences(expected: list[str], found: list[str], number: int) -> list[str]:
    """Lines of only one of both that may not differ."""
    return [
        line
        for line in difflib.unified_diff(expected, found, lineterm="", n=0)
        if not line.startswith(("---", "+++", "@@"))
        and not _MAY_DIFFER.search(line[1:])
        and not (number == errno.EPERM and _BOUND.search(line[1:]))
    ]
