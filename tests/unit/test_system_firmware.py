"""A board that is like Raspberry Pi OS has the memory controller once its own cmdline.txt asks for it."""

from __future__ import annotations

import pytest

from toolkit.boards import get
from toolkit.boards.system import firmware
from toolkit.errors import UsageError

_LINE = "console=ttyAMA0,115200 root=/dev/mmcblk0p2"


@pytest.mark.parametrize(
    ("text", "system", "expected"),
    [
        (_LINE, "", _LINE),
        (_LINE, "raspberry-pi-os", f"cgroup_disable=memory {_LINE}"),
        (f"{_LINE} cgroup_enable=cpuset", "raspberry-pi-os", f"cgroup_disable=memory {_LINE} cgroup_enable=cpuset"),
        (f"{_LINE} cgroup_enable=memory cgroup_memory=1", "raspberry-pi-os", f"{_LINE} cgroup_enable=memory cgroup_memory=1"),
    ],
)  # fmt: skip
def test_the_memory_controller_is_off_until_it_is_asked_for(
    text: str, system: str, expected: str
) -> None:
    assert firmware.command_line(text, system) == expected


def test_a_system_that_no_board_can_be_is_refused() -> None:
    with pytest.raises(UsageError, match="windows"):
        firmware.checked("windows")


def test_a_board_on_this_machines_kernel_cannot_be_another_system() -> None:
    with pytest.raises(UsageError, match="kernel-cmdline"):
        get("emu-armv6l").create(system="raspberry-pi-os")
