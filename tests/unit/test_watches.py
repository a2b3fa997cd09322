"""The machine's limit of inotify instances: raised for many boards, and put back after the last."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.boards import watches


def test_many_boards_have_room_and_the_last_one_puts_the_limit_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit, note = tmp_path / "limit", tmp_path / "note"
    limit.write_text("200\n")
    monkeypatch.setattr(watches, "LIMIT", limit)
    watches.fit(1, note)
    assert limit.read_text() == "200\n"
    for boards in (40, 99, 3):
        watches.fit(boards, note)
    assert int(limit.read_text()) >= 99 * watches.PER_BOARD
    watches.fit(0, note)
    assert limit.read_text().strip() == "200"
    watches.fit(0, note)
    assert limit.read_text().strip() == "200"
    assert not note.exists()
