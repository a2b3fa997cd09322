"""Every error of the runtime, and what each becomes at its edges.

    Error                        gRPC UNKNOWN (2)              exit 1
    ├── InvalidArgument          gRPC INVALID_ARGUMENT (3)     a request or a file is wrong
    ├── NotFound                 gRPC NOT_FOUND (5)            no such image, container, blob ...
    │   └── ImageNotFound                                      exit 2
    ├── AlreadyExists            gRPC ALREADY_EXISTS (6)
    ├── PermissionDenied         gRPC PERMISSION_DENIED (7)
    ├── ResourceExhausted        gRPC RESOURCE_EXHAUSTED (8)   disk full, too many ...
    ├── FailedPrecondition       gRPC FAILED_PRECONDITION (9)  wrong state for this operation
    ├── Aborted                  gRPC ABORTED (10)             a concurrent change won
    ├── OutOfRange               gRPC OUT_OF_RANGE (11)
    ├── Unimplemented            gRPC UNIMPLEMENTED (12)
    ├── Unavailable              gRPC UNAVAILABLE (14)         network, a daemon that is down
    ├── DataLoss                 gRPC DATA_LOSS (15)           a damaged blob or database
    └── DeadlineExceeded         gRPC DEADLINE_EXCEEDED (4)

The names and numbers are gRPC's status codes (https://grpc.github.io/grpc/core/md_doc_statuscodes.html).
A message names the thing, the reason and, in ``hint``, the remedy. Commands print
``command: message`` on standard error and exit with ``exit_status``.
"""

from __future__ import annotations

import errno
import os


class Error(Exception):
    """What went wrong with which thing and why; ``hint`` says what to do about it."""

    grpc_status = 2
    exit_status = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class InvalidArgument(Error):
    grpc_status = 3


class DeadlineExceeded(Error):
    grpc_status = 4


class NotFound(Error):
    grpc_status = 5


class ImageNotFound(NotFound):
    """A registry, or a store, does not have the image that a command is about; skopeo has an exit status for it."""

    exit_status = 2


class AlreadyExists(Error):
    grpc_status = 6


class PermissionDenied(Error):
    grpc_status = 7


class ResourceExhausted(Error):
    grpc_status = 8


class FailedPrecondition(Error):
    grpc_status = 9


class Aborted(Error):
    grpc_status = 10


class OutOfRange(Error):
    grpc_status = 11


class Unimplemented(Error):
    grpc_status = 12


class Unavailable(Error):
    grpc_status = 14


class DataLoss(Error):
    grpc_status = 15


BY_STATUS: dict[int, type[Error]] = {kind.grpc_status: kind for kind in Error.__subclasses__()}
"""Status code to error class, for clients that turn a status back into an error."""


SHORTAGES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN))
"""What the system says when descriptors, memory or processes are short: the same may be possible a moment later."""

_KINDS = {
    errno.EACCES: PermissionDenied,
    errno.EPERM: PermissionDenied,
    errno.ENOENT: NotFound,
    errno.EEXIST: AlreadyExists,
    errno.EROFS: FailedPrecondition,
    errno.EIO: DataLoss,
    errno.ENOSYS: Unimplemented,
    **dict.fromkeys(
        (errno.ENOSPC, errno.EDQUOT, *SHORTAGES),
        ResourceExhausted,
    ),
}

_HINTS = {
    errno.EROFS: "is the root file system mounted ro?",
    errno.EIO: "the disk or card fails; see dmesg",
    errno.ENOSYS: "a newer kernel has it; emulators may not",
    errno.ENOSPC: "the file system is full: make room on it",
    errno.EDQUOT: "the quota is used up",
    errno.ENOMEM: "memory is short",
    errno.ENOBUFS: "memory is short",
    errno.EMFILE: "too many files are open in one process: ulimit -n",
    errno.ENFILE: "too many files are open: sysctl fs.file-max",
    errno.EAGAIN: "too many processes: ulimit -u, or the limits of the control group",
}


def from_os(problem: OSError, doing: str = "") -> Error:
    """What the system refused, as an error of ours: the class goes by the errno, and so does the remedy.

    ``doing`` says what it was needed for, as in "write x".
    """
    number = problem.errno or 0
    words = [doing] if doing else []
    if isinstance(problem.filename, str | bytes):  # a call on a descriptor has its number here
        words.append(os.fsdecode(problem.filename))
    words.append(problem.strerror or str(problem) or type(problem).__name__)
    message = ": ".join(word for word in words if word)
    hint = _HINTS.get(number, "")
    if isinstance(problem, PermissionError) and os.geteuid():
        hint = "root may: use sudo"
    return _KINDS.get(number, Error)(message, hint=hint)


def described(problem: BaseException) -> Error:
    """Any exception as an error that can be shown in one line; one that nobody expected says so."""
    if isinstance(problem, Error):
        return problem
    if isinstance(problem, OSError):
        return from_os(problem)
    if isinstance(problem, MemoryError):
        return ResourceExhausted("out of memory", hint=_HINTS[errno.ENOMEM])
    if isinstance(problem, RuntimeError) and "start new thread" in str(problem):
        return ResourceExhausted(str(problem), hint=_HINTS[errno.EAGAIN])
    if isinstance(problem, RecursionError):
        return InvalidArgument("a document is nested too deeply")
    return Error(
        f"internal error: {type(problem).__name__}: {problem}".replace("\n", " "),
        hint="please report this; --debug shows where, where a command has it",
    )
