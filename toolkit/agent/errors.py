"""The one way in which the agent says no."""

from __future__ import annotations

import errno
import os

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EIO: "the disk reports input/output errors",
    errno.EACCES: "permission denied",
    errno.EPERM: "operation not permitted",
}


class AgentError(Exception):
    """What failed and why in one sentence, and what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def from_os(problem: OSError) -> AgentError:
    """One line for a failed system call, with the path it was about."""
    reason = _REASONS.get(problem.errno or 0) or os.strerror(problem.errno or 0)
    where = problem.filename
    if isinstance(where, bytes):
        where = os.fsdecode(where)
    return AgentError(f"{where}: {reason}" if where else reason)
