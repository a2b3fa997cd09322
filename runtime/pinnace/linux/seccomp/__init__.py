"""Seccomp filters of the OCI configuration.

    profile.py   the JSON object, checked, in numbers
    library.py   libseccomp compiles it
    several.py   calls with several rules, which libseccomp gets wrong
    bpf.py       what is put before: calls too new for the profile do not exist (ENOSYS)
    cache.py     programs kept on disk
    loading.py   what the kernel can do, and loading

A system call that a profile can't have known gets ENOSYS instead of the default action, so that a C
library does without it: 32-bit Arm asks for the time with clock_gettime64 first.
"""

from __future__ import annotations

from typing import Any

from pinnace.linux.kernel import KERNEL, Kernel
from pinnace.linux.seccomp import cache, loading
from pinnace.linux.seccomp.profile import Profile


class Filter:
    """A compiled profile. Make it while the host's files can be opened, ``load`` it last."""

    __slots__ = ("flags", "listener", "metadata", "notifies", "program")

    def __init__(
        self, shape: dict[str, Any], *, kernel: Kernel = KERNEL, directory: str | None = None
    ) -> None:
        """
        Args:
            shape: the object ``linux.seccomp`` of a configuration.
            directory: where programs are kept, in place of the caller's usual one.

        Raises:
            InvalidArgument: a wrong profile.
            FailedPrecondition: the kernel can't hold it, or libseccomp is missing.
        """
        profile = Profile(shape)
        loading.require(kernel, profile)
        where = cache.directory_of_user() if directory is None else directory
        self.program = cache.compiled(profile, where)
        self.notifies = profile.notifies
        self.listener = profile.listener  # path of the supervisor's socket
        self.metadata = profile.metadata
        self.flags = profile.kernel_flags()

    def load(self, kernel: Kernel = KERNEL) -> int:
        """Apply it to the calling thread, for good; gives the listener's descriptor if it ``notifies``.

        Raises FailedPrecondition when the kernel refuses.
        """
        return loading.load(kernel, self.program, self.flags)


__all__ = ["Filter", "Profile"]
