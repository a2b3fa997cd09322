"""From a pattern on the command line to hosts whose variables are all right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import HostFailed, PinnaceError, UsageError
from toolkit.inventory import parser, patterns
from toolkit.inventory.settings import Settings, Target, resolve
from toolkit.paths import PROJECT
from toolkit.plan.compile import check_roles
from toolkit.provision import hosts


@dataclass(frozen=True, slots=True)
class Selected:
    """A host that was chosen, with what the inventory says about it, checked."""

    target: Target
    settings: Settings


def select(pattern: str, inventory: str = "") -> list[Selected]:
    """The hosts that ``pattern`` names; raises :class:`UsageError` for anything wrong about them."""
    if not pattern:
        raise UsageError("which host?", hint="--host NAME, a group, or a pattern like 'boards:!pi'")
    found = parser.load(Path(inventory) if inventory else PROJECT / "inventory.ini")
    chosen = [Selected(*resolve(found, name)) for name in patterns.select(found, pattern)]
    for roles in dict.fromkeys(host.settings.roles for host in chosen):
        check_roles(roles)
    for host in chosen:
        hosts.check(host.target)
    return chosen


def exit_status(results: Sequence[object]) -> int:
    """The exit status of a command over several hosts, from what each ended with.

    A host that failed counts more than one that could not be reached.
    """
    problems = [result for result in results if isinstance(result, PinnaceError)]
    if not problems:
        return 0
    if any(isinstance(problem, HostFailed) for problem in problems):
        return HostFailed.exit_code
    return max(problem.exit_code for problem in problems)
