"""What a person sees of a converge: changed things as lines, each role's count, diffs on demand."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from rich.text import Text

from toolkit import console
from toolkit.plan.model import Plan
from toolkit.resources import Content
from toolkit.secrets.mask import masked

_STYLES = {"+": "green", "-": "red", "@": "cyan"}


class Report:
    """Follows the events of one host; ``prefix`` tells hosts apart where several run at once."""

    def __init__(self, plan: Plan, *, prefix: str, diff: bool, silent: bool = False) -> None:
        self._plan = plan
        self._prefix = prefix
        self._diff = diff
        self._silent = silent
        self._would: list[str] = []
        self._kinds: Counter[str] = Counter()
        self.roles: dict[str, dict[str, int]] = {}
        self._sending = ExitStack()
        self._upload: console.Step | None = None

    def sent(self, amount: int, total: int) -> None:
        """Bytes of contents on their way to the board; the first ones begin the step."""
        if self._upload is None:
            name = f"{self._prefix}send contents"
            self._upload = self._sending.enter_context(console.step(name, total=total))
            self._upload.detail = f"{total / 1024:.0f} KiB"
        self._upload.advance(amount)

    def event(self, event: Mapping[str, Any]) -> None:
        self._sending.close()
        if self._silent:
            return
        if event["event"] == "result":
            self._result(event)
        elif event["event"] == "handler":
            would = "would run" if event["would"] else ""
            if event["would"]:
                self._would.append(event["name"])
            console.line("changed", f"{self._prefix}{event['name']}", would)

    def close(self) -> None:
        """The count of each role, for roles in which nothing changed too."""
        self._sending.close()
        for role, counts in self.roles.items():
            status = next(name for name in ("failed", "changed", "ok") if counts.get(name))
            detail = " ".join(f"{name}={count}" for name, count in counts.items())
            console.line(status, f"{self._prefix}role {role}", detail)

    @property
    def drifted(self) -> bool:
        return bool(self._kinds or self._would)

    def summary(self) -> str:
        """What a plan comes to: ``2 file, 1 package, 1 unit; restart pinnaced.service, reboot``."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self._kinds.items())
        return "; ".join(part for part in (kinds, ", ".join(self._would)) if part) or "nothing"

    def _result(self, event: Mapping[str, Any]) -> None:
        role = self._plan.role_of(event["id"])
        counts = self.roles.setdefault(role, {"ok": 0, "changed": 0})
        counts[event["status"]] = counts.get(event["status"], 0) + 1
        if event["status"] == "ok":
            return
        self._kinds[event["id"].partition(" ")[0]] += 1
        said = ", ".join(_change(*change) for change in event["changes"])
        texts = event.get("texts", ()) if self._diff else ()
        diff = [line for text in texts for line in self._shown(event["id"], *text)]
        console.line(event["status"], f"{self._prefix}{role}: {event['id']}", said, below=diff)

    def _shown(
        self, identifier: str, path: str, before: str | None, after: str | None
    ) -> Iterator[Text]:
        wanted = None if after is None else Content(after.encode())
        if wanted is None:
            resource = next(e.resource for e in self._plan.entries if e.resource.id == identifier)
            wanted = next(iter(resource.contents), None)
        for line in unified(path, before, wanted):
            yield Text(masked(line), style=_STYLES.get(line[:1], ""))


def _change(what: str, before: str, after: str) -> str:
    return f"{what}: {before} -> {after}"


def unified(path: str, before: str | None, after: Content | None) -> list[str]:
    """A unified diff of a file's contents; ``before`` is ``None`` where it is absent or too large."""
    if after is None:
        return []
    try:
        text = after.data.decode()
    except UnicodeDecodeError:
        return [f"{path}: not text"]
    old = [] if before is None else _lines(before)
    source = "/dev/null" if before is None else path
    found = difflib.unified_diff(old, _lines(text), source, path, lineterm="")
    return [part for line in found for part in line.split("\n")]


def _lines(text: str) -> list[str]:
    """As diff(1) has them: a last line without a newline is another one than with it."""
    lines = text.split("\n")
    last = lines.pop()
    return [*lines, f"{last}\n\\ No newline at end of file"] if last else lines
