"""What a board's firmware and kernel make of ``cmdline.txt``, beyond what Debian's kernel does by itself."""

from __future__ import annotations

from toolkit.errors import UsageError

RASPBERRY_PI_OS = "raspberry-pi-os"


def checked(system: str) -> str:
    """``system``, empty for Debian as it is; raises :class:`UsageError` for one that no board can be."""
    if system not in ("", RASPBERRY_PI_OS):
        raise UsageError(
            f"a board cannot start as {system!r}", hint=f"it can as: {RASPBERRY_PI_OS}"
        )
    return system


def command_line(text: str, system: str) -> str:
    """The kernel command line for ``text`` of ``cmdline.txt`` on a board that is as ``system``.

    Raspberry Pi OS's kernel leaves the memory controller off unless ``cgroup_enable=memory`` is there
    (pi-gen#917, raspberrypi/linux#6980). Debian's kernel has it on and knows no such word: it is told
    to leave it off as long as the word is missing.
    """
    if system == RASPBERRY_PI_OS and "cgroup_enable=memory" not in text.split():
        return f"cgroup_disable=memory {text}"
    return text
