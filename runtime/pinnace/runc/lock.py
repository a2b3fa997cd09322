"""One command at a time on one container: an advisory lock (flock(2)) on its state directory.

The lock is the directory's own, so there is no file to leave behind, and the kernel lets go of it when its holder dies,
however it dies. A directory that was removed, or removed and made again, while we waited is noticed.
"""

from __future__ import annotations

import fcntl
import os
import time

from pinnace.errors import FailedPrecondition

WAIT_SECONDS = 60.0
"""How long a command waits for another one; a creation with slow hooks is the longest there is."""

_LONGEST_PAUSE = 0.02


class Lock:
    """A held lock; ends with :meth:`release`, or with the process."""

    __slots__ = ("_fd",)

    def __init__(self, directory: str, *, shared: bool = False, wait: float = WAIT_SECONDS) -> None:
        """Wait for the lock of ``directory``, at most ``wait`` seconds.

        With ``shared`` others may share it. Raises FileNotFoundError when the directory is gone, or
        goes while we wait; FailedPrecondition when the time is up.
        """
        self._fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._wait(directory, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, wait)
            # A directory made again under this name is another container.
            if not os.path.samestat(os.fstat(self._fd), os.stat(directory)):
                raise FileNotFoundError(directory)
        except BaseException:
            self.release()
            raise

    def _wait(self, directory: str, kind: int, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        pause = 0.0005
        while True:
            try:
                fcntl.flock(self._fd, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise FailedPrecondition(
                        f"another command works on container {os.path.basename(directory)}",
                        hint=f"waited {seconds:.0f} s for it",
                    ) from None
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                return

    def release(self) -> None:
        """Let the next one in; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def is_held(directory: str) -> bool:
    """Whether somebody holds the lock of ``directory`` for himself now; false when it is gone."""
    try:
        Lock(directory, shared=True, wait=0.0).release()
    except FailedPrecondition:
        return True
    except FileNotFoundError:
        return False
    return False
