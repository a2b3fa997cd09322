"""What the probe saw, with what differs from run to run (numbers of mounts and namespaces) taken out."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping

from pinnace.linux import mountinfo
from tests.conformance.runc.differential.runtimes import Observed

_NUMBERED = re.compile(r"\[\d+\]")
Report = dict[str, str]


def read(observed: Observed, host: Mapping[str, str]) -> Report:
    """Sections by name; ``host`` are the runtime's own namespaces.

    Two sections are not the probe's: ``status``, of the command, and ``refused`` in place of everything
    else when the program did not run.
    """
    sections = _sections(observed.output)
    if not sections:
        result = "error" if observed.status else "ended"
        return {"result": result, "hooks": _hooks(observed.hooks, host)}
    if "end" not in sections:  # ended from outside while it spoke
        return {"result": "ended", "hooks": _hooks(observed.hooks, host)}
    sections["mounts"] = _mounts(sections["mounts"])
    sections["namespaces"] = _namespaces(sections["namespaces"], host)
    sections["descriptors"] = _NUMBERED.sub("", sections["descriptors"])
    for name in sections:
        if name.endswith("/devices.list"):  # of rules that only allow, whose order says nothing
            sections[name] = "\n".join(sorted(sections[name].splitlines()))
    sections["result"] = f"exit status {observed.status}"
    sections["hooks"] = _hooks(observed.hooks, host)
    return sections


def _sections(output: str) -> Report:
    found: Report = {}
    for part in f"\n{output}".split("\n== ")[1:]:
        name, _, text = part.partition("\n")
        found[name] = text.rstrip("\n")
    return found


def _mounts(text: str) -> str:
    if text.startswith("refused"):
        return text
    try:
        points = mountinfo.parse(text)
    except ValueError:
        return text  # somebody else's words got in between
    lines = []
    for point in points:
        propagation = sorted(word.partition(":")[0] for word in point.propagation)
        words = [
            point.target, point.root, point.type, point.source, ",".join(sorted(point.options)),
            ",".join(sorted(point.super_options)), *propagation,
        ]  # fmt: skip
        lines.append((point.target, " ".join(words)))
    return "\n".join(line for _, line in sorted(lines, key=lambda pair: pair[0]))


def _namespaces(text: str, host: Mapping[str, str]) -> str:
    lines = []
    for line in text.splitlines():
        name, _, target = line.partition(" -> ")
        kind = name.split()[0]
        lines.append(f"{kind} {_whose(host.get(kind), target)}")
    return "\n".join(lines)


def _whose(host: str | None, found: str) -> str:
    return "the host's" if host == found else "its own"


def _hooks(text: str, host: Mapping[str, str]) -> str:
    """The state each hook was told, key by key; which namespaces it was in."""
    lines: list[str] = []
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "state":
            state = json.loads(rest)
            state["pid"] = bool(state.get("pid"))
            state.pop("ociVersion")  # each says its own
            lines += [f"state.{key} {state[key]}" for key in sorted(state)]
        elif rest.startswith(f"{kind}:["):
            lines.append(f"{kind} {_whose(host.get(kind), rest)}")
        else:
            lines.append(line)
    return "\n".join(lines)


def differing(ours: Report, theirs: Report) -> list[tuple[str, str]]:
    """(section, line) of every line that only one has: ``-`` before ours, ``+`` before theirs.

    One that ran and one that did not differ in ``result`` alone.
    """
    if ("status" in ours) != ("status" in theirs):
        return [("result", f"-{ours['result']}"), ("result", f"+{theirs['result']}")]
    found = []
    for section in sorted(ours.keys() | theirs.keys()):
        mine, other = (each.get(section, "").splitlines() for each in (ours, theirs))
        for line in difflib.ndiff(mine, other):
            if line[:1] in "-+":
                found.append((section, line[:1] + line[2:]))
    return found
