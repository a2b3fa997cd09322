"""The conversation with the laptop over standard input and output.

agent  -> laptop   lines of JSON, each with "event": hello, need, doing, result, handler, end, error
laptop -> agent    frames: length (32 bits, big endian) and zlib-compressed JSON: the plan;
                   then for each content asked for, chunks of a zlib stream, each a frame, closed
                   by an empty one

A message with ``index`` and ``signature`` instead of resources brings a plan that somebody signed
(``toolkit/agent/signed.py``).
"""

from __future__ import annotations

import json
import os
import select
import struct
import sys
import zlib

from toolkit.agent import confirm, facts, journal
from toolkit.agent.contents import Arrived
from toolkit.agent.engine import Engine
from toolkit.agent.errors import AgentError, from_os
from toolkit.agent.system import System

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

    from toolkit.agent.kinds.base import Contents

_FRAME = struct.Struct("!I")
_LARGEST = 64 << 20


class Agent:
    """One conversation; ``root`` is where the board's file system is (``/`` but for tests)."""

    def __init__(self, reading: BinaryIO, writing: BinaryIO, system: System) -> None:
        self._reading = reading
        self._writing = writing
        self._system = system
        self._arrived = Arrived(system, {})

    def emit(self, event: str, **content: Any) -> None:
        self._still_there()
        line = json.dumps({"event": event, **self._system.masked(content)}) + "\n"
        self._writing.write(line.encode())
        self._writing.flush()

    def _still_there(self) -> None:
        """Raises :class:`BrokenPipeError` when the laptop went away.

        Writing alone tells this late: sudo and sshd take a few lines more, and each is a change.
        """
        poll = select.poll()
        poll.register(self._reading, select.POLLRDHUP)  # and POLLHUP, which a pipe has
        if poll.poll(0):
            raise BrokenPipeError

    def run(self) -> int:
        """Exit status: 0 done, 1 an error was told, 3 the laptop went away."""
        try:
            return self._converse()
        except (EOFError, BrokenPipeError):
            return 3

    def _converse(self) -> int:
        try:
            self.emit("hello", facts=facts.gather(self._system))
            message = self._frame()
            if message:
                self._answer(json.loads(zlib.decompress(message)))
        except AgentError as problem:
            self.emit("error", message=problem.message, hint=problem.hint)
            return 1
        except BrokenPipeError:
            raise
        except OSError as problem:
            self.emit("error", message=from_os(problem).message, hint="")
            return 1
        return 0

    def _answer(self, message: dict[str, Any]) -> None:
        """``mode``: ``check`` or ``apply`` a plan, ``confirm`` what a run changed, or ``revert`` it."""
        if message["mode"] == "confirm":
            confirm.confirm(self._system, message["run"]["id"])
            self.emit("end")
        elif message["mode"] == "revert":
            self._revert(message["run"], message.get("of", ""))
        else:
            self._converge(message)

    def _revert(self, run: dict[str, Any], of: str) -> None:
        held = journal.lock(self._system, run["by"])
        notes = journal.Journal(self._system, run)
        try:
            count = confirm.put_back(self._system, of)
            if count:
                notes.record(event="reverted", what=f"{count} things", why="asked for")
        finally:
            notes.close()
            os.close(held)
        self.emit("end", reverted=count)

    def _signed(self, message: dict[str, Any]) -> dict[str, Any]:
        """The message with the plan that it brings, signed; remembered when it is to be applied."""
        from toolkit.agent import signed

        taken = signed.take(self._system, message)
        plan = taken.plan(message["plan"].encode(), facts.gather(self._system))
        for resource in plan["resources"]:
            if resource["kind"] == "clock":  # the time at which it was signed is over
                resource["now"] = message["now"]
        signed.fill(plan, message.get("late", {}))
        if message["mode"] == "apply":
            signed.remember(self._system, taken, message.get("trust", ""))
        return {**message, **plan}

    def _converge(self, plan: dict[str, Any]) -> None:
        if "signature" in plan:
            plan = self._signed(plan)
        if plan.get("status"):
            from toolkit.agent import status

            self.emit("status", **status.gather(self._system, plan["status"]))
        notes = journal.Journal(self._system, plan["run"])
        self._system.hidden = list(plan.get("hidden", ()))
        self._arrived = Arrived(self._system, plan.get("keys", {}))
        engine = Engine(plan, self._system, self.emit, notes)
        if plan["mode"] == "check":
            engine.check()
            self.emit("end", counts=engine.counts, next="done", handlers=engine.handled)
            return
        held = journal.lock(self._system, plan["run"]["by"])
        try:
            confirm.refuse_another(self._system, plan["run"]["id"])
            follows = engine.apply(self._fetch)
        finally:
            self._arrived.clear()
            notes.close()
            os.close(held)
        armed = confirm.armed(self._system) is not None
        self.emit("end", counts=engine.counts, next=follows, handlers=engine.handled, armed=armed)

    def _frame(self) -> bytes:
        size = _FRAME.unpack(self._exactly(_FRAME.size))[0]
        if size > _LARGEST:
            raise AgentError(f"a message of {size} bytes is too large")
        return self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        data = self._reading.read(size)
        if len(data) != size:
            raise EOFError
        return data

    def _fetch(self, wanted: list[tuple[str, int]]) -> Contents:
        """Ask for contents and keep them, verified; returns how to read them."""
        if wanted:
            self._arrived.prepare()
            self.emit("need", digests=[digest for digest, _ in wanted])
        for digest, size in wanted:
            self._arrived.receive(digest, size, self._frame)
        return self._arrived.read


def main(root: str = "/") -> int:
    """Converse over this process's standard streams."""
    os.umask(0o022)
    return Agent(sys.stdin.buffer, sys.stdout.buffer, System(root)).run()
