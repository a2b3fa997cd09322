"""One host, from a file: the plan is not compiled here but taken as it was signed."""

from __future__ import annotations

import dataclasses
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from roles.context import Board, Release
from toolkit import console
from toolkit.airgap.archive import Opened
from toolkit.airgap.later import filled
from toolkit.airgap.plans import unpacked
from toolkit.errors import HostFailed
from toolkit.plan.model import Plan
from toolkit.provision.converge import Converge, lab
from toolkit.signing.keys import allowed_signers

Trust = Callable[[str, str], str]
"""The signers that a board without any is given, from its name and the file that the inventory names for it;
raises :class:`HostFailed` when it is to have none."""


class Offline(Converge):
    """A run whose plan and contents come from an opened file."""

    def __init__(self, opened: Opened, trust: Trust, *rest: Any) -> None:
        super().__init__(*rest)
        self._opened = opened
        self._trust = trust
        self._new = ""

    def _plan(self, facts: Mapping[str, Any]) -> Plan:
        self._new = (
            ""
            if facts.get("signers")
            else self._trust(self._target.name, self._settings.allowed_signers)
        )
        text = self._opened.plan_of(self._target.name)
        plan = unpacked(text, self._opened.contents)
        board = Board(
            name=self._target.name,
            settings=self._settings,
            facts=facts,
            release=lambda: _release(plan),
            lab=lab() if self._target.board else None,
        )
        self._late, self._secret = filled(plan, board)
        contents = {**plan.contents, **self._secret.contents}
        return dataclasses.replace(plan, contents=contents)

    def _plan_message(self, plan: Plan) -> dict[str, Any]:
        return {
            "index": self._opened.text,
            "signature": self._opened.signature,
            "plan": self._opened.plan_of(self._target.name),
            "host": self._target.name,
            "trust": self._new,
            "now": time.time(),
            "late": self._late,
            "keys": self._secret.wire().get("keys", {}),
        }


def _release(plan: Plan) -> Release:
    """The release in the plan, by its name alone: roles are asked here for what holds secrets."""
    found = next((e.resource.wire() for e in plan.entries if e.resource.wire()["kind"] == "bundle"), {})  # fmt: skip
    return Release(found.get("release", "none"), Path("/nonexistent"), found.get("unpacked", 0))


def trusted(accept_new: bool) -> Trust:
    """Signers for boards that trust nobody yet: with ``accept_new``, or when a person says so."""
    asking = threading.Lock()

    def answer(name: str, named: str) -> str:
        signers = Path(named) if named else allowed_signers()
        if not signers.exists():
            raise HostFailed(f"{name}: the board trusts no signers yet, and here are none to give it", hint=f"allowed_signers in the inventory names a file; {signers} of the machine that signs is one")  # fmt: skip
        if not accept_new:
            if not sys.stdin.isatty():
                raise HostFailed(f"{name}: the board trusts no signers yet", hint=f"--accept-new gives it those of {signers}")  # fmt: skip
            with asking:
                said = console.err.input(f"{name} trusts no signers yet. Give it those of {signers}? [y/N] ")  # fmt: skip
            if said.strip().lower() not in ("y", "yes"):
                raise HostFailed(f"{name}: the board trusts no signers")
        return signers.read_text()

    return answer
