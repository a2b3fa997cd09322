"""Work in a fork that ends with it, so that a shim stays as small as it began.

Creating a container reads its configuration, builds mounts and control groups, and in doing so writes to pages that
were shared with the keeper: some 3 MB that a shim would keep for as long as its container runs. In a child they
go away. The container's process becomes the shim's child when its creator ends (PR_SET_CHILD_SUBREAPER).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import traceback
from typing import TYPE_CHECKING, Any

from pinnace.errors import BY_STATUS, Error
from pinnace.linux.kernel import KERNEL, PR_SET_PDEATHSIG

if TYPE_CHECKING:
    from collections.abc import Callable

    Outcome = tuple[dict[str, Any], int | None]
    """What came of it, and a descriptor that goes with it, or None."""

_MAX_ANSWER = 1 << 20


def run(work: Callable[[], Outcome]) -> Outcome:
    """Do ``work`` in a child and return what it returns; raises the Error that it raises."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        here.close()
        _work(work, there)
    there.close()
    try:
        data, fds, _, _ = socket.recv_fds(here, _MAX_ANSWER, 1, socket.MSG_CMSG_CLOEXEC)
    finally:
        here.close()
        os.waitpid(pid, 0)
    if not data:
        raise Error("the process that was to do it has ended; see shim.log")
    answer = json.loads(data)
    if "error" in answer:
        kind = BY_STATUS.get(answer["status"], Error)
        raise kind(answer["error"])
    return answer, fds[0] if fds else None


def _work(work: Callable[[], Outcome], answer_to: socket.socket) -> None:
    """In the child: work, answer, end."""
    signal.set_wakeup_fd(-1)
    # A shim that is killed takes it along: what it began is removed by others, who would wait for it.
    KERNEL.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        answer, fd = work()
        socket.send_fds(answer_to, [json.dumps(answer).encode()], [] if fd is None else [fd])
    except Error as problem:
        _fail(answer_to, str(problem), problem.grpc_status)
    except OSError as problem:
        _fail(answer_to, str(problem), Error.grpc_status)
    except BaseException as problem:
        traceback.print_exc()
        _fail(answer_to, f"internal error: {problem!r}", Error.grpc_status)
    finally:
        os._exit(0)


def _fail(answer_to: socket.socket, message: str, status: int) -> None:
    # A shim that is gone hears nothing, and needs nothing.
    with contextlib.suppress(OSError):
        answer_to.send(json.dumps({"error": message[:65536], "status": status}).encode())
