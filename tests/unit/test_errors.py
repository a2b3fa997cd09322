"""The error trees: every class has its own status or exit code."""

import errno

import pytest

from pinnace import errors as runtime_errors
from toolkit import console
from toolkit import errors as toolkit_errors


def test_grpc_statuses_are_distinct_and_known() -> None:
    kinds = runtime_errors.Error.__subclasses__()
    statuses = [kind.grpc_status for kind in kinds]
    assert len(set(statuses)) == len(kinds)
    assert all(0 < status <= 16 for status in statuses)
    assert runtime_errors.BY_STATUS[5] is runtime_errors.NotFound


def test_message_carries_its_remedy() -> None:
    problem = runtime_errors.Unavailable(
        "no daemon at /run/x.sock", hint="systemctl start pinnaced"
    )
    assert str(problem) == "no daemon at /run/x.sock (systemctl start pinnaced)"


def test_a_sentence_has_one_end(capsys: pytest.CaptureFixture[str]) -> None:
    for message in ("no such board", "which board?", "There is none."):
        console.error(toolkit_errors.UsageError(message, hint="one of: a, b"))
    assert capsys.readouterr().err.splitlines() == [
        "error: no such board. one of: a, b",
        "error: which board? one of: a, b",
        "error: There is none. one of: a, b",
    ]


def test_toolkit_exit_codes_are_the_documented_ones() -> None:
    kinds = toolkit_errors.PinnaceError.__subclasses__()
    # Others, where they are needed, are special cases of an error, and exit as it does.
    own = [kind for kind in kinds if kind.__module__ == toolkit_errors.__name__]
    codes = {kind.__name__: kind.exit_code for kind in own}
    assert codes == {
        "UsageError": 1,
        "MissingPrerequisite": 1,
        "HostFailed": 2,
        "DriftFound": 3,
        "HostUnreachable": 4,
        "MaxFailExceeded": 8,
    }


def test_what_the_system_refuses_names_the_thing_and_the_remedy() -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/state/x")
    told = runtime_errors.from_os(full, "cannot create the container")
    assert isinstance(told, runtime_errors.ResourceExhausted)
    assert str(told) == (
        "cannot create the container: /state/x: No space left on device (the file system is full: make room on it)"
    )
    assert str(runtime_errors.from_os(OSError(errno.EBUSY, "Device busy"))) == "Device busy"


def test_any_exception_is_one_line() -> None:
    known = runtime_errors.NotFound("no such thing")
    assert runtime_errors.described(known) is known
    assert isinstance(runtime_errors.described(RecursionError()), runtime_errors.InvalidArgument)
    odd = str(runtime_errors.described(KeyError("a\nb")))
    assert odd.startswith("internal error: KeyError")
    assert "\n" not in odd
