"""Boards that follow tags as a fleet for rollouts: to apply is to move a tag and to wait for what the board says."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from toolkit.agent.registry import Registry
from toolkit.connection.hostkeys import KnownHosts
from toolkit.errors import HostFailed, PinnaceError
from toolkit.follow import releases, statuses
from toolkit.follow.places import tag_of
from toolkit.follow.releases import Pushed
from toolkit.follow.statuses import Status
from toolkit.provision.health import Health
from toolkit.provision.selection import Selected
from toolkit.report.events import Say
from toolkit.rollout.model import Applied
from toolkit.signing.keys import Signer

_INTERVAL = 2.0
"""Seconds between two looks at a status."""


class Followers:
    """A :class:`toolkit.rollout.model.Fleet`. One client serves all threads, one question at a time."""

    def __init__(
        self,
        hosts: list[Selected],
        registry: Registry,
        pushed: Pushed,
        signer: Signer,
        known: KnownHosts,
    ) -> None:
        self._hosts = {host.target.name: host for host in hosts}
        self._registry = registry
        self._asking = threading.Lock()
        self._pushed = pushed
        self._signer = signer
        self._known = known
        self._before: dict[str, Mapping[str, Any] | None] = {}
        self._given_up: set[str] = set()

    def probe(self, host: str) -> Health:
        """What the board said last."""
        found = self._status(host)
        return found.health if found else Health()

    def apply(self, host: str, say: Say) -> Applied:
        """Move the host's tag, and wait until it took the release on."""
        chosen, last = self._hosts[host], self._status(host)
        pushed = self._anew(host) if last is not None and _tried(last, self._pushed) else self._pushed  # fmt: skip
        with self._asking:
            self._before[host] = releases.current(self._registry, chosen.settings.follow, tag_of(chosen))  # fmt: skip
        found = self._move(host, pushed, say)
        counts = dict(found.document.get("counts") or {})
        before = last.health if last is not None else Health()
        return Applied(counts, str(found.document.get("run") or ""), before)

    def revert(self, host: str, say: Say) -> None:
        """What it had before, signed anew: boards take on nothing older than what they saw."""
        before = self._before.get(host)
        if before is None or host not in before["hosts"]:
            raise HostFailed(f"{host}: there was no release before this one", hint="./inv rollback puts it back over SSH")  # fmt: skip
        self._given_up.discard(host)
        with self._asking:
            old = releases.again(self._registry, self._hosts[host].settings.follow, before, host, self._signer)  # fmt: skip
        self._move(host, old, say)

    def abandon(self, host: str) -> None:
        """Nobody waits for it any more."""
        self._given_up.add(host)

    def _anew(self, host: str) -> Pushed:
        """The release under a new number: a board does not try the same one again that it failed with."""
        repository = self._hosts[host].settings.follow
        with self._asking:
            index = releases.current(self._registry, repository, f"release-{self._pushed.release}")
            if index is None:
                raise HostFailed(f"{host}: {repository} lost release {self._pushed.release}", hint="start the rollout again")  # fmt: skip
            return releases.again(self._registry, repository, index, host, self._signer)

    def _move(self, host: str, pushed: Pushed, say: Say) -> Status:
        chosen = self._hosts[host]
        with self._asking:
            releases.move(self._registry, chosen.settings.follow, tag_of(chosen), pushed)
        say(f"waits for release {pushed.release}")
        while host not in self._given_up:
            found = self._status(host)
            if found is not None:
                told = found.document
                if told["manifest"] == pushed.digest and told["result"]:
                    if told["result"] == "ok":
                        return found
                    raise HostFailed(f"{host}: {told['result']}: {told['message']}")
                if told["seen"] == pushed.digest and told["refused"]:
                    raise HostFailed(f"{host}: refused: {told['refused']}")
            time.sleep(_INTERVAL)
        raise HostFailed(f"{host}: it did not take the release on in time")

    def _status(self, host: str) -> Status | None:
        try:
            with self._asking:
                return statuses.read(self._registry, self._hosts[host], self._known)
        except PinnaceError as problem:
            raise type(problem)(f"{host}: {problem.message}", hint=problem.hint) from None


def _tried(last: Status, pushed: Pushed) -> bool:
    """Whether the board had this release, and failed with it or refused it."""
    told = last.document
    failed = told["manifest"] == pushed.digest and told["result"] not in ("", "ok")
    return failed or bool(told["seen"] == pushed.digest and told["refused"])
