"""What is left of a rollout: the journal, JUnit, the page, and the lines on the way."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from tests.unit.rollout.fleet import Heard, Simulated, fails
from toolkit.errors import HostFailed, UsageError
from toolkit.report import html, junit
from toolkit.report.events import Event, Status
from toolkit.report.live import Shown
from toolkit.report.timeline import Timeline
from toolkit.rollout import journal
from toolkit.rollout.batches import amounts, split
from toolkit.rollout.model import Applied, Rules
from toolkit.rollout.runner import Rollout

EVIL = "<script>alert(1)</script>"


def _nasty(fleet: Simulated, host: str) -> Applied:
    raise HostFailed(f"{host}: {EVIL}")


def _run(*sinks: object, script: object = fails) -> Rollout:
    fleet = Simulated({"b": script})  # type: ignore[dict-item]
    rules = Rules(tuple(split(["a", "b", "c", "d"], amounts("1,2", "--batch"))))

    def sink(event: Event) -> None:
        for each in sinks:
            each(event)  # type: ignore[operator]

    rollout = Rollout(rules, fleet, sink)
    rollout.run()
    return rollout


@pytest.fixture(autouse=True)
def _state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_a_journal_says_what_is_left_to_do() -> None:
    record = journal.begin({"limit": "all"})
    rollout = _run(record.record)
    record.close()
    again = journal.find()
    assert again.id == record.id
    assert again.asked == {"limit": "all"}
    ends = {host: status for host, status in rollout.status.items() if status.ended}
    assert journal.ends(again) == ends
    assert journal.done(again) == {"a": Status.CHANGED}


def test_a_line_that_was_cut_off_does_not_count() -> None:
    record = journal.begin({})
    _run(record.record)
    record.close()
    path = record.path / "events.jsonl"
    whole = len(journal.events(record))
    path.write_text(path.read_text() + '{"at": 1, "event": "ho')
    assert len(journal.events(record)) == whole


def test_two_rollouts_in_one_second_are_two() -> None:
    names = {journal.begin({}).id for _ in range(3)}
    assert len(names) == 3
    assert journal.find().id == max(names)


def test_an_unknown_rollout_is_named() -> None:
    with pytest.raises(UsageError, match="no rollout to go on"):
        journal.find()
    journal.begin({})
    with pytest.raises(UsageError, match="nosuch"):
        journal.find("nosuch")


def test_events_are_read_as_they_were_written() -> None:
    heard = Heard()
    _run(heard)
    assert [Event.read(event.wire()).wire() for event in heard] == [e.wire() for e in heard]


def test_junit_has_a_case_for_each_host(tmp_path: Path) -> None:
    timeline = Timeline()
    _run(timeline)
    junit.write(tmp_path / "sub" / "report.xml", timeline, "rollout")
    suite = Xml.parse(tmp_path / "sub" / "report.xml").getroot()[0]
    assert suite.attrib["tests"] == "4"
    assert suite.attrib["failures"] == suite.attrib["skipped"] == "1"
    failed = [case.attrib["name"] for case in suite if case.find("failure") is not None]
    assert failed == ["b"]


def test_the_page_shows_every_host_and_runs_nothing_that_a_host_said(tmp_path: Path) -> None:
    timeline = Timeline()
    _run(timeline, script=_nasty)
    html.write(tmp_path / "report.html", timeline, "Rollout of boards")
    text = (tmp_path / "report.html").read_text()
    assert EVIL not in text
    assert "&lt;script&gt;alert(1)" in text
    assert text.count("<tr>") == 1 + 4
    assert "Stopped: 1 failed, --max-fail is 0: b" in text
    assert "http" not in text.replace("http-equiv", "")


def test_lines_and_a_table_of_what_failed(capsys: pytest.CaptureFixture[str]) -> None:
    with Shown() as shown:
        _run(shown)
    shown.recap()
    said = capsys.readouterr()
    assert "✗ b  no" in said.err
    assert "~ a  ok=3 changed=1" in said.err
    assert "rollout  ok=0  changed=1  failed=1  unreachable=0  waiting=1  reverted=2  " in said.err
    assert [line.split() for line in said.out.splitlines()] == [
        ["HOST", "STATUS", "WHY"], ["b", "reverted", "no"],
    ]  # fmt: skip
