"""What works on a board, seen in one short command: units, the daemon, and containers.

Relative where the fleet decides (enabled units and running containers: what worked before must work
after), absolute for the runtime itself. The laptop looks over SSH, a board that follows a registry at itself.
"""

from __future__ import annotations

from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_DAEMON = "pinnaced.service"
_OURS = (_DAEMON, "pinnace-keeper.service")
_ANSWERS = "the daemon answers"
_ENABLED = ("enabled", "enabled-runtime")

COMMAND = f"""
systemctl show --property=Id,ActiveState,UnitFileState '*.service' || exit 1
echo ==
systemctl is-enabled --quiet {_DAEMON} 2>/dev/null || exit 0
timeout 20 ctr version >/dev/null 2>&1 || exit 0
echo answers
for space in $(timeout 20 ctr namespace ls -q); do
    timeout 20 ctr --namespace "$space" task ls | while read -r name pid state; do
        [ "$state" = RUNNING ] && echo "$space/$name"
    done
done
exit 0
"""
"""For a shell: the properties of all services, then what the daemon says when it does."""


class Health(NamedTuple):
    """What was seen on a host, as names of checks.

    working: what works; all of it must still work after a change. broken: what must always work, and
    does not.
    """

    working: frozenset[str] = frozenset()
    broken: frozenset[str] = frozenset()

    def problem_after(self, after: Health) -> str:
        """Why a host that was like this and is like ``after`` now is not healthy; empty when it is."""
        if after.broken:
            return f"does not work: {', '.join(sorted(after.broken))}"
        lost = self.working - after.working
        return f"worked before and does not now: {', '.join(sorted(lost))}" if lost else ""


def read(text: str) -> Health:
    """What :data:`COMMAND` printed."""
    units, _, rest = text.partition("\n==\n")
    states = dict(_units(units))
    working = {name for name, active in states.items() if active}
    broken = {name for name in _OURS if states.get(name) is False}
    if _DAEMON in states and not broken:
        words = rest.split("\n")
        if words[0] == "answers":
            working.update(f"container {word}" for word in words[1:] if word)
        else:
            broken.add(_ANSWERS)
    return Health(frozenset(working), frozenset(broken))


def _units(text: str) -> Iterator[tuple[str, bool]]:
    """Name, and whether it is active, of every unit that starts at boot."""
    for block in text.split("\n\n"):
        found = dict(line.partition("=")[::2] for line in block.strip().split("\n"))
        if found.get("UnitFileState") in _ENABLED:
            yield found.get("Id", ""), found.get("ActiveState") == "active"
