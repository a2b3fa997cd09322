"""``./inv history``: who changed what on which boards, from this machine's journal."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from toolkit import console
from toolkit.provision import journal

_COLUMNS = ("RUN", "WHEN", "BY", "COMMAND", "HOSTS", "CHANGED", "ENDED")
_ENDED = {None: "cut off", 0: "ok", 1: "error", 2: "failed", 3: "drift", 4: "unreachable", 8: "stopped"}  # fmt: skip


def show(run: str = "", *, host: str = "", limit: int = 20, as_json: bool = False) -> None:
    """The last runs as a table, or all that one run did; raises :class:`UsageError` for an unknown one."""
    if run:
        _one(journal.find(run), as_json=as_json)
        return
    found = [one for one in journal.runs() if not host or host in one.hosts][:limit]
    if as_json:
        console.out.print_json(json.dumps([_summary(one) for one in found]))
    elif not found:
        console.note("no runs yet" if not host else f"no run on {host} yet")
    else:
        console.table(_COLUMNS, [[str(cell) for cell in _row(one)] for one in found])


def _summary(run: journal.Run) -> dict[str, Any]:
    return {"run": run.id, "at": run.at, "command": run.command, "by": run.by, "hosts": run.hosts, "status": run.status}  # fmt: skip


def _row(run: journal.Run) -> tuple[object, ...]:
    changed = sum(int(ended.get("changed", 0)) for ended in run.hosts.values())
    hosts = ",".join(run.hosts) if len(run.hosts) <= 3 else f"{len(run.hosts)} hosts"
    ended = "running" if run.going else _ENDED.get(run.status, run.status)
    return (run.id, _time(run.at), run.by, run.command, hosts, changed, ended)


def _one(run: journal.Run, *, as_json: bool) -> None:
    if as_json:
        console.out.print_json(json.dumps(list(run.events)))
        return
    console.out.print(f"{run.id}  {run.command}  {run.by}", soft_wrap=True)
    for event in run.events:
        text = _told(event)
        if text:
            console.out.print(f"{_time(event['at'])}  {text}", soft_wrap=True, markup=False)


def _told(event: Mapping[str, Any]) -> str:
    host = event.get("host", "")
    if event["event"] == "result":
        changes = ", ".join(
            f"{what}: {before} -> {after}" for what, before, after in event["changes"]
        )
        return f"{host}  {event['status']}  {event['id']}  {changes}"
    if event["event"] == "handler":
        return f"{host}  handler  {event['name']}"
    if event["event"] == "host":
        return f"{host}  ended  " + " ".join(f"{name}={value}" for name, value in event["ended"].items())  # fmt: skip
    return ""


def _time(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
