"""Every error the toolkit shows to a person.

    PinnaceError                 exit 1   anything that stops a command
    ├── UsageError               exit 1   a wrong flag, an unknown host, a bad file of ours
    ├── MissingPrerequisite      exit 1   this machine lacks something a step needs
    ├── HostFailed               exit 2   a board refused or failed a step
    │   └── NoPython             exit 2   a board has no Python for the agent to run on
    ├── DriftFound               exit 3   --check found something to change
    ├── HostUnreachable          exit 4   no connection could be made
    └── MaxFailExceeded          exit 8   too many boards failed; the rest was not touched

An error says what happened to which thing, why, and (``hint``) what to do about it. It is printed as
one line by :mod:`toolkit.cli`; a traceback shown to a user is a bug. The value of a secret is in none.
"""

from __future__ import annotations

from toolkit.secrets.mask import masked


class PinnaceError(Exception):
    """What happened and why, in one sentence; ``hint`` is what to do about it."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = masked(message)
        self.hint = masked(hint)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(PinnaceError):
    """A command, an inventory or a variable is wrong; nothing was started."""


class MissingPrerequisite(PinnaceError):
    """This machine lacks root, a kernel feature, a program or a package that a step needs."""


class HostFailed(PinnaceError):
    """A board was reached, and a step on it failed."""

    exit_code = 2


class NoPython(HostFailed):
    """A board has no Python for the agent to run on."""


class DriftFound(PinnaceError):
    """A ``--check`` run found differences."""

    exit_code = 3


class HostUnreachable(PinnaceError):
    """No connection: network, host key or authentication."""

    exit_code = 4


class MaxFailExceeded(PinnaceError):
    """More boards failed than allowed."""

    exit_code = 8
