"""The laptop's half of the conversation with the agent (its protocol: ``toolkit/agent/main.py``).

The agent's source is sent compressed over the channel that it then talks on; nothing is installed.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Protocol

from toolkit.errors import HostFailed, NoPython
from toolkit.paths import PROJECT
from toolkit.resources import Content
from toolkit.secrets.mask import without_secrets

_FRAME = struct.Struct("!I")
PACKAGE = "toolkit.agent"
_SAID = frozenset({"message", "hint", "changes", "texts"})

# Modules come from a mapping of names to sources; a package is a name that others begin with.
_BOOTSTRAP = """
import json, sys, zlib
if sys.version_info < (3, 9):
    sys.exit('Python 3.9 or later is needed, this is %d.%d' % sys.version_info[:2])
from importlib.machinery import ModuleSpec
class Sources:
    def __init__(self, sources):
        self.sources = sources
    def find_spec(self, name, path=None, target=None):
        if name in self.sources:
            return ModuleSpec(name, self, is_package=any(n.startswith(name + '.') for n in self.sources))
    def create_module(self, spec):
        return None
    def get_source(self, name):
        return self.sources[name]
    def exec_module(self, module):
        exec(compile(self.sources[module.__name__], '<' + module.__name__ + '>', 'exec'), module.__dict__)
size = int(sys.stdin.buffer.readline())
sys.meta_path.insert(0, Sources(json.loads(zlib.decompress(sys.stdin.buffer.read(size)))))
from toolkit.agent.main import main
sys.exit(main(*sys.argv[1:]))
"""


class Pipe(Protocol):
    """The streams of a started agent: a :class:`toolkit.connection.channel.Process`, or a test's."""

    def send(self, data: bytes) -> None: ...
    def read_line(self) -> bytes: ...
    def wait(self) -> int: ...
    def stderr(self) -> bytes: ...


def command(python: str) -> list[str]:
    """The command that starts the agent: an isolated interpreter that reads it from its input."""
    return [python, "-I", "-S", "-B", "-c", _BOOTSTRAP]


@cache
def payload() -> bytes:
    """The agent's modules as the bootstrap reads them: a length line and compressed JSON."""
    root = PROJECT / "toolkit" / "agent"
    sources = {"toolkit": ""}
    for path in sorted(root.rglob("*.py")):
        # What follows a registry is on the boards that do.
        if path.is_relative_to(root / "follow") or path == root / "registry.py":
            continue
        parts = path.relative_to(PROJECT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        sources[name] = path.read_text(encoding="utf-8")
    data = zlib.compress(json.dumps(sources).encode(), 9)
    return b"%d\n%s" % (len(data), data)


class Agent:
    """A started agent: facts first, then one plan."""

    def __init__(self, host: str, pipe: Pipe) -> None:
        self._host = host
        self._pipe = pipe

    def hello(self) -> Mapping[str, Any]:
        """Send the agent; returns the board's facts."""
        self._pipe.send(payload())
        event = self._event()
        if event["event"] != "hello":
            raise self._broken(f"it began with {event['event']}")
        return dict(event["facts"])

    def leave(self) -> None:
        """End the conversation without a plan."""
        self._pipe.send(_FRAME.pack(0))

    def confirm(self, run: Mapping[str, str]) -> None:
        """Keep what ``run`` (its ``id``) changed; raises :class:`HostFailed` when it is put back already."""
        self._ask({"mode": "confirm", "run": dict(run)})

    def revert(self, run: Mapping[str, str], of: str = "") -> int:
        """Put back the board's latest run, or only ``of`` (an id) when it is that; how many things."""
        return int(self._ask({"mode": "revert", "run": dict(run), "of": of})["reverted"])

    def _ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """The ``end`` of a conversation of one question."""
        return list(self.converge(message, {}, lambda *_: None))[-1]

    def converge(
        self,
        plan: Mapping[str, Any],
        contents: Mapping[str, Content],
        sent: Callable[[int, int], None],
    ) -> Iterator[dict[str, Any]]:
        """Send the plan and give each event up to ``end``; contents are sent when asked for.

        ``sent(amount, total)`` is called with bytes before compression. Raises :class:`HostFailed` with
        the agent's own words when it fails.
        """
        self._send_frame(zlib.compress(json.dumps(plan).encode()))
        while True:
            event = self._event()
            if event["event"] == "need":
                self._send_contents([contents[digest] for digest in event["digests"]], sent)
            elif event["event"] == "error":
                raise HostFailed(f"{self._host}: {event['message']}", hint=event["hint"])
            else:
                yield event
                if event["event"] == "end":
                    return

    def _send_contents(self, wanted: list[Content], sent: Callable[[int, int], None]) -> None:
        total = sum(content.size for content in wanted)
        for content in wanted:
            squeeze = zlib.compressobj(6)
            for chunk in content.chunks():
                self._send_chunk(squeeze.compress(chunk))
                sent(len(chunk), total)
            self._send_chunk(squeeze.flush())
            self._send_frame(b"")

    def _send_chunk(self, data: bytes) -> None:
        # An empty frame would end the content.
        if data:
            self._send_frame(data)

    def _send_frame(self, data: bytes) -> None:
        self._pipe.send(_FRAME.pack(len(data)) + data)

    def _event(self) -> dict[str, Any]:
        line = self._pipe.read_line()
        if not line.endswith(b"\n"):
            raise self._ended()
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if not isinstance(event, dict) or "event" not in event:
            shown = line[:80].decode("utf-8", "replace").strip()
            raise self._broken(f"it said {shown!r}; does a start-up file of the shell print?")
        # What the board found or was told may be a secret; who it is about never is.
        return {name: without_secrets(value) if name in _SAID else value for name, value in event.items()}  # fmt: skip

    def _ended(self) -> HostFailed:
        status = self._pipe.wait()
        said = self._pipe.stderr().decode("utf-8", "replace").strip().splitlines()
        if status == 127 and "not found" in (said[-1] if said else "not found"):
            return NoPython(f"{self._host}: no Python there", hint="on the board: apt-get install python3; or set ansible_python_interpreter")  # fmt: skip
        if status in (-1, 139):
            return HostFailed(f"{self._host}: the agent was killed by a signal (an emulated board: the emulator may have crashed)", hint="run again")  # fmt: skip
        return self._broken(f"it ended with status {status}: {said[-1] if said else 'no output'}")

    def _broken(self, why: str) -> HostFailed:
        return HostFailed(f"{self._host}: the agent did not work: {why}")
