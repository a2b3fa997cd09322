"""The table at the end of a verification."""

from __future__ import annotations

from toolkit.verify.command import _rows
from toolkit.verify.session import Case


def test_checks_that_were_skipped_for_one_reason_are_one_row() -> None:
    why = "emu-armv6l cannot show cgroup2"
    cases = [
        Case("limits", "memory", "skipped", why, 0.0),
        Case("units", "daemon answers", "passed", "", 0.42),
        Case("limits", "pids", "skipped", why, 0.0),
        Case("reboot", "it comes back", "skipped", "not wanted", 0.0),
    ]
    assert list(_rows(cases)) == [
        ("units: daemon answers", "passed", "0.4", ""),
        ("limits: 2 checks", "skipped", "", why),
        ("reboot: it comes back", "skipped", "", "not wanted"),
    ]
