"""The journal of runs on this machine, and what ./inv history makes of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from toolkit import console
from toolkit.errors import UsageError
from toolkit.provision import history, journal
from toolkit.provision.journal import RunJournal


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "pinnace" / "runs"


def a_run(host: str = "pi", status: int | None = 0) -> RunJournal:
    notes = RunJournal("provision", "ann@laptop", hosts=[host])
    changes = [["content", "differs", "replaced"]]
    notes.record("result", host=host, id="file /etc/motd", status="changed", changes=changes)
    notes.record("handler", host=host, name="restart x.service")
    notes.record("host", host=host, ended={"ok": 3, "changed": 1, "failed": 0})
    if status is not None:
        notes.close(status)
    return notes


def test_a_run_is_read_as_it_was_written(state: Path) -> None:
    notes = a_run()
    [run] = journal.runs()
    assert (run.id, run.command, run.by, run.status) == (notes.id, "provision", "ann@laptop", 0)
    assert run.hosts == {"pi": {"ok": 3, "changed": 1, "failed": 0}}
    assert next(state.iterdir()).stat().st_mode & 0o077 == 0


def test_a_run_that_was_killed_is_told_up_to_its_end(state: Path) -> None:
    notes = a_run(status=None)
    path = state / f"{notes.id}.jsonl"
    path.write_text(path.read_text() + '{"at": 1, "eve')
    [run] = journal.runs()
    assert run.status is None
    assert run.hosts["pi"]["changed"] == 1


def test_a_run_that_goes_on_is_no_run_that_was_cut_off() -> None:
    notes = a_run(status=None)
    [run] = journal.runs()
    assert (run.status, run.going) == (None, True)
    os.close(notes._fd)  # as the end of its process does
    [run] = journal.runs()
    assert (run.status, run.going) == (None, False)


def test_the_latest_has_a_name() -> None:
    with pytest.raises(UsageError, match="no run 'latest'"):
        journal.find("latest")
    a_run()
    [run] = journal.runs()
    assert journal.find("latest").id == run.id


def test_a_run_without_a_word_leaves_no_file(state: Path) -> None:
    RunJournal("provision", "ann@laptop")
    assert not state.exists()


def test_the_oldest_runs_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "KEPT", 2)
    made = [a_run().id for _ in range(4)]
    assert {run.id for run in journal.runs()} <= set(made)
    assert len(list(journal.runs())) == 2


def test_the_table_and_its_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr(console, "out", console.Console(highlight=False, width=200))
    a_run("pi", 0)
    a_run("zero", 2)
    history.show()
    text = capsys.readouterr().out
    assert "failed" in text
    assert "zero" in text
    history.show(host="pi", as_json=True)
    [only] = json.loads(capsys.readouterr().out)
    assert only["hosts"] == {"pi": {"ok": 3, "changed": 1, "failed": 0}}


def test_one_run_is_told_whole(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr(console, "out", console.Console(highlight=False, width=200))
    notes = a_run()
    history.show(notes.id[:-2])
    text = capsys.readouterr().out
    assert "pi  changed  file /etc/motd  content: differs -> replaced" in text
    assert "pi  handler  restart x.service" in text
    with pytest.raises(UsageError, match="no run 'x'"):
        history.show("x")
