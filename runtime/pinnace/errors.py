"""Every error of the runtime, and what each becomes at its edges.

    Error                        gRPC UNKNOWN (2)              exit 1
    ├── InvalidArgument          gRPC INVALID_ARGUMENT (3)     a request or a file is wrong
    ├── NotFound                 gRPC NOT_FOUND (5)            no such image, container, blob ...
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
