"""What provision shows and leaves behind: events, the table, the recap, JUnit, the page."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from rich.console import Console

from toolkit import console
from toolkit.console import Doing
from toolkit.errors import HostFailed, HostUnreachable, PinnaceError
from toolkit.inventory.settings import Settings, Target
from toolkit.provision.command import _each
from toolkit.provision.converge import Outcome
from toolkit.provision.follow import Follower, Noted, Output, Say, counts
from toolkit.provision.journal import RunJournal
from toolkit.provision.selection import Selected
from toolkit.report.events import Event, Status
from toolkit.report.live import Shown
from toolkit.report.together import Told
from toolkit.secrets import mask

VALUE = "c4nary-value"
HOSTS = ["good", "fails", "away", "buggy"]
SUITE = f'<testsuites><testsuite name="good" tests="1"><testcase name="a"><failure message="{VALUE}"/></testcase></testsuite></testsuites>'


@pytest.fixture(autouse=True)
def _state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(mask, "_known", set())
    monkeypatch.setattr(mask, "_pattern", None)
    mask.hide(VALUE.encode())


def converge(follower: Follower, notes: RunJournal) -> Callable[[Selected, Say], Outcome]:
    def work(host: Selected, say: Say) -> Outcome:
        name = host.target.name
        with follower.listening(say):
            console.doing("file /etc/x", 0.5)
            console.line("changed", f"{name}: file /etc/x", f"psk {VALUE}")
            if name == "fails":
                raise HostFailed(f"fails: psk {VALUE} is wrong", hint="another one")
            if name == "away":
                raise HostUnreachable("away: no route")
            if name == "buggy":
                raise KeyError(VALUE)
            Noted(notes, say).record("result", host=name, id="file /etc/x", status="changed", changes=[["content", VALUE, "b"]])  # fmt: skip
        return Outcome({"ok": 2, "changed": 1, "failed": 0}, "plan")

    return work


def run(output: Output, hosts: list[str] = HOSTS) -> tuple[Follower, dict[str, Outcome | PinnaceError]]:  # fmt: skip
    follower = Follower("provision", hosts, output, looking=False)
    notes = RunJournal("provision", "me@here")
    chosen = [Selected(Target(name), Settings()) for name in hosts]
    with follower.working():
        results = _each(chosen, converge(follower, notes), 4, follower.hear)
    follower.recap()
    follower.close(2)
    notes.close(2)
    return follower, results


def test_events_are_json_lines_and_nothing_else_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    _, results = run(Output(json=True))
    said = capsys.readouterr()
    events = [json.loads(line) for line in said.out.splitlines()]
    assert said.err == ""
    assert [events[0]["event"], events[-1]["event"]] == ["begin", "end"]
    assert events[-1]["counts"] == {"ok": 0, "changed": 1, "failed": 2, "unreachable": 1}
    ends = {event["host"]: event["status"] for event in events if event["event"] == "host"}
    assert ends == {"good": "changed", "fails": "failed", "away": "unreachable", "buggy": "failed"}
    [result] = [event for event in events if event["event"] == "result"]
    assert (result["host"], result["id"], result["result"]) == ("good", "file /etc/x", "changed")
    assert [type(results[name]).__name__ for name in HOSTS] == ["Outcome", "HostFailed", "HostUnreachable", "HostFailed"]  # fmt: skip


def test_lines_and_a_recap_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    run(Output())
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert "error: fails: psk (secret) is wrong. another one" in lines
    assert [line.split("  ")[:5] for line in lines[-5:-3]] == [
        ["good", "ok=2", "changed=1", "failed=0", "unreachable=0"],
        ["fails", "ok=0", "changed=0", "failed=1", "unreachable=0"],
    ]  # fmt: skip
    assert lines[-1].startswith("4 hosts  ok=0  changed=1  failed=2  unreachable=1  ")


def test_no_secret_is_in_what_is_shown_or_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    (tmp_path / "good.xml").write_text(SUITE)
    for output in (Output(json=True), Output(junit=str(tmp_path / "out" / "j.xml"), html=str(tmp_path / "out" / "r.html"))):  # fmt: skip
        follower, _ = run(output)
        follower.write([tmp_path / "good.xml"])
    said = capsys.readouterr()
    left = [path.read_text() for path in (*(tmp_path / "out").iterdir(), *(tmp_path / "state").rglob("*.jsonl"))]  # fmt: skip
    assert len(left) == 4
    assert "c4nary" not in said.out + said.err + "".join(left)


def test_junit_has_the_hosts_and_the_tests_of_each(tmp_path: Path) -> None:
    (tmp_path / "good.xml").write_text(SUITE)
    follower, _ = run(Output(json=True, junit=str(tmp_path / "j.xml")))
    follower.write([tmp_path / "good.xml", tmp_path / "nosuch.xml"])
    suites = list(Xml.parse(tmp_path / "j.xml").getroot())
    assert [(suite.get("name"), suite.get("tests")) for suite in suites] == [("provision", "4"), ("good", "1")]  # fmt: skip
    failed = [case.get("name") for case in suites[0] if case.find("failure") is not None]
    assert failed == ["fails", "away", "buggy"]


def test_a_host_that_is_verified_afterwards_may_fail_then(tmp_path: Path) -> None:
    follower, results = run(Output(json=True, html=str(tmp_path / "r.html")), ["good"])
    follower.verifying("good")
    follower.ended("good", HostFailed("good: 2 checks failed"))
    line = follower.timeline.lines["good"]
    assert (line.status, line.problem) == (Status.FAILED, "2 checks failed")
    assert [str(span.status) for span in line.spans] == ["changing", "verifying"]
    assert counts(results["good"])["changed"] == 1
    follower.write([])
    text = (tmp_path / "r.html").read_text()
    assert 'class="verifying"' in text
    assert "file /etc/x" in text
    assert "Batch" not in text


def test_the_table_has_a_bar_for_each_host_and_fits_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    said = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=said, force_terminal=True, width=60, color_system=None))  # fmt: skip
    shown = Shown(name="provision")
    names = [f"pi-{number}" for number in range(20)]
    shown(Event(1, "begin", data={"batches": [{"name": "", "hosts": names}]}))
    for name in names[:15]:
        shown(Event(1, "host", name, Status.CHANGING))
        shown(Event(1, "doing", name, detail="file /etc/a/very/long/name/" * 4, data={"share": 0.5}))  # fmt: skip
    console.err.print(shown._table())
    lines = said.getvalue().splitlines()
    assert all(len(line) <= 60 for line in lines)
    assert sum(line.startswith("pi-") for line in lines) == 12
    assert "━━━━━━━━" in lines[0]
    assert "…" in lines[0]
    assert lines[-2].strip() == "and 3 more"
    assert lines[-1].rstrip().endswith("0 of 20 hosts")


def test_a_question_stands_alone_and_the_table_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=said, force_terminal=True, width=60, color_system=None))  # fmt: skip
    with console.told_to(lambda _: None), console.live(lambda: "TABLE"):
        with console.asking():
            said.truncate(0)
            console.note("Is that the board's key?")
            time.sleep(0.4)  # several pictures of the table
            assert "TABLE" not in said.getvalue()
        console.note("not printed: a word of this thread")
        time.sleep(0.4)
        assert "TABLE" in said.getvalue()
    assert "Is that the board's key?" in said.getvalue()
    assert "not printed" not in said.getvalue()


def test_how_far_a_host_is_follows_its_words() -> None:
    follower = Follower("provision", ["a", "b"], Output(json=True), looking=False)
    follower.hear(Told("a", word=Doing("a: x", 0.25)))
    line = follower.timeline.lines["a"]
    assert (line.doing, line.share) == ("x", 0.25)
