"""One look at the registry, and what follows from it.

    tag -> manifest -> index, signature -> verified -> plan -> apply -> well and in reach? -> kept, or put back

Nothing of a release is used before its signature, its host and its age are good. The registry is nobody:
what it can do is to have nothing new.
"""

from __future__ import annotations

import json
import os
import time
import uuid

from toolkit.agent import confirm, facts, journal, signed
from toolkit.agent.contents import Arrived
from toolkit.agent.engine import Engine
from toolkit.agent.errors import AgentError, from_os
from toolkit.agent.follow import artifact, report
from toolkit.agent.follow.memory import AGAIN, APPLYING, CONFIRMING, DONE, Memory
from toolkit.agent.health import Health
from toolkit.agent.kinds import load_all
from toolkit.agent.registry import Registry, RegistryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from toolkit.agent.kinds.base import Contents
    from toolkit.agent.system import System

CONFIG = "/etc/pinnace/follow.json"
_PLACE = journal.DIRECTORY + "/follow"
_LARGEST_PLAN = 64 << 20
_STEADY_SECONDS = 3.0
_INTERVAL = 1.0
_ATTEMPTS = 3
"""Times that a release may be begun: one in whose middle the power fails each time is left alone."""
BY = "the registry"


class Follower:
    """Configured by :data:`CONFIG`: host, repository, tag, confirm (seconds), certificates (directory),
    authfile, library."""

    def __init__(self, system: System, say: Callable[[str], None]) -> None:
        self._system = system
        self._say = say
        self._configure()
        self.memory = Memory(system)

    def _configure(self) -> None:
        """Read the configuration; raises :class:`AgentError`."""
        try:
            self._config: dict[str, Any] = json.loads(self._system.read(CONFIG) or b"")
            self.host, self.repository = str(self._config["host"]), str(self._config["repository"])
            self._reference = f"{self.repository}:{self._config['tag']}"
        except (ValueError, KeyError, TypeError):
            raise AgentError(f"{CONFIG} is missing or damaged", "the role agent writes it") from None  # fmt: skip

    def registry(self) -> Registry:
        """A new client, with connections of its own."""
        config = self._config
        return Registry(config["library"], [config["certificates"]], config["authfile"])

    def resume(self) -> None:
        """After a reboot or a crash: what was begun is brought to an end."""
        if self.memory.phase == APPLYING:
            self._put_back("it was cut off in the middle")
        elif self.memory.phase == CONFIRMING:
            self._confirm()
        elif self.memory.phase == AGAIN:
            self.look()

    def look(self) -> None:
        """Take on what is new; raises :class:`AgentError` for what is refused or fails, and
        :class:`RegistryError` when the registry is out of reach, in which case all stays as it is."""
        memory = self.memory
        with self.registry() as registry:
            digest, _, data = registry.manifest(self._reference)
            known = memory.get("manifest") == digest
            if known and memory.phase == DONE:
                if memory.get("refused"):
                    memory.set(refused="", told=False)
                return
            self._seen(digest)
            plan, taken = self._fetch_plan(registry, data)
            attempts = memory.get("attempts", 0) if known else 0
            if not (known and memory.phase == AGAIN):
                if attempts >= _ATTEMPTS:
                    memory.set(phase=DONE, result="failed", message="it was begun three times and never ended", told=False)  # fmt: skip
                    return
                memory.begin(
                    manifest=digest, release=taken.release, run=uuid.uuid4().hex, attempts=attempts + 1,
                    before=sorted(report.look(self._system).working), phase="", seen=digest,
                )  # fmt: skip
            signed.remember(self._system, taken)
            self._say(f"release {taken.release}, signed by {taken.signer}")
            self._apply(plan, registry)
        self._confirm()

    def _seen(self, digest: str) -> None:
        if self.memory.get("seen") != digest:
            self.memory.set(seen=digest, refused="")

    def _fetch_plan(self, registry: Registry, data: bytes) -> tuple[dict[str, Any], signed.Taken]:
        index_at, signature_at = artifact.parts(data)
        index, signature = (self._fetched(registry, *at) for at in (index_at, signature_at))
        try:
            message = {"index": index.decode(), "signature": signature.decode("ascii"), "host": self.host}  # fmt: skip
        except UnicodeDecodeError:
            raise AgentError("what the registry has there is not a release of ours") from None
        taken = signed.take(self._system, message)
        size = int(taken.index["blobs"][taken.plan_digest])
        if size > _LARGEST_PLAN:
            raise AgentError("the plan is too large")
        text = self._fetched(registry, f"sha256:{taken.plan_digest}", size)
        plan = taken.plan(text, facts.gather(self._system))
        # Nobody is there whose clock counts, or who knows a secret: what holds one stays as it is.
        plan["resources"] = [each for each in plan["resources"] if each["kind"] != "clock" and "late" not in each]  # fmt: skip
        return plan, taken

    def _fetched(self, registry: Registry, digest: str, size: int) -> bytes:
        """A small content, in memory."""
        self._system.make_directory(_PLACE, 0o700)
        path = f"{_PLACE}/{digest.partition(':')[2]}"
        if self._system.lstat(path) is not None:
            os.unlink(self._system.path(path))  # of a look that was killed
        registry.fetch(self._reference, digest, size, self._system.path(path))
        try:
            return self._system.read(path) or b""
        finally:
            os.unlink(self._system.path(path))

    def _apply(self, plan: dict[str, Any], registry: Registry) -> None:
        memory, system = self.memory, self._system
        load_all()  # a change of the agent itself must not mix two of them
        run = {"id": memory.get("run"), "by": BY}
        risky = [f"{self._config['certificates']}/", "/etc/pinnace/"]
        message = {**plan, "run": run, "confirm": float(self._config["confirm"]), "risky": risky}
        arrived = Arrived(system, {})
        held = self._turn(run["id"])
        notes = journal.Journal(system, run)
        engine = Engine(message, system, self._event, notes)
        try:
            memory.set(phase=APPLYING)
            follows = engine.apply(lambda wanted: self._contents(registry, arrived, wanted))
        except (AgentError, OSError, RegistryError) as problem:
            said = from_os(problem) if isinstance(problem, OSError) else problem
            if isinstance(problem, RegistryError) and confirm.armed(system) is None:
                self._another_time()
                raise
            memory.set(phase=DONE, result="failed", message=said.message, counts=engine.counts, told=False)  # fmt: skip
            raise AgentError(said.message, said.hint) from None
        finally:
            system.notes = None
            arrived.clear()
            notes.close()
            os.close(held)
        armed = confirm.armed(system) is not None
        memory.set(
            phase=AGAIN if follows == "again" else CONFIRMING, counts=engine.counts, armed=armed
        )
        if follows != "done":
            self._say("reboot")
            system.check(["systemctl", "reboot"])
            raise SystemExit(0)

    def _turn(self, run: str) -> int:
        """The lock that keeps others out; raises :class:`AgentError` while somebody else is at work here."""
        held = -1
        try:
            held = journal.lock(self._system, BY)
            confirm.refuse_another(self._system, run)
        except AgentError:
            if held >= 0:
                os.close(held)
            self._another_time()
            raise
        return held

    def _another_time(self) -> None:
        """Nothing was changed: the next look tries again."""
        phase = AGAIN if self.memory.phase == AGAIN else ""
        self.memory.set(phase=phase, attempts=self.memory.get("attempts", 1) - 1)

    def _contents(
        self, registry: Registry, arrived: Arrived, wanted: list[tuple[str, int]]
    ) -> Contents:
        if wanted:
            arrived.prepare()
        for digest, size in wanted:
            registry.fetch(self._reference, f"sha256:{digest}", size, self._system.spooled(digest))
        return arrived.read

    def _confirm(self) -> None:
        """Keep what was changed when the board is well and the registry in reach; else it is put back."""
        memory, system = self.memory, self._system
        waiting = confirm.armed(system)
        if waiting is None or waiting["run"] != memory.get("run"):
            if waiting is None and memory.phase == CONFIRMING:
                well = not memory.get("armed", False)
                memory.set(phase=DONE, told=False, result="ok" if well else "reverted", message="" if well else "it was not confirmed in time")  # fmt: skip
            return
        self._configure()  # it may have been changed: the registry is to be in reach as it is now
        wrong = self._wrong(time.monotonic() + float(waiting["seconds"]) * 0.8)
        if wrong:
            self._put_back(wrong)
            return
        confirm.confirm(system, memory.get("run"))
        memory.set(phase=DONE, result="ok", message="", told=False)
        self._say("confirmed")

    def _wrong(self, deadline: float) -> str:
        """Why the board cannot keep what was changed; empty when it has been well for a moment."""
        before = Health(frozenset(self.memory.get("before", ())))
        since = None
        while True:
            try:
                with self.registry() as registry:
                    registry.manifest(self._reference)
                wrong = before.problem_after(report.look(self._system))
            except (RegistryError, AgentError) as problem:
                wrong = problem.message
            now = time.monotonic()
            since = None if wrong else (since or now)
            if since is not None and now - since >= _STEADY_SECONDS:
                return ""
            if now + _INTERVAL > deadline:
                return wrong or "its units started only a moment ago"
            time.sleep(_INTERVAL)

    def _put_back(self, why: str) -> None:
        memory, system = self.memory, self._system
        held = journal.lock(system, BY)
        notes = journal.Journal(system, {"id": memory.get("run"), "by": BY})
        try:
            count = confirm.put_back(system, memory.get("run"))
            notes.record(event="reverted", what=f"{count} things", why=why)
        finally:
            notes.close()
            os.close(held)
        self._configure()  # as it was
        cut = memory.phase == APPLYING
        memory.set(phase="" if cut else DONE, result="reverted", message=why, told=False)
        self._say(f"put back: {why}")

    def _event(self, event: str, **content: Any) -> None:
        if event == "result" and content["status"] != "ok":
            self._say(f"{content['status']}: {content['id']}")
        elif event == "handler":
            self._say(content["name"])
