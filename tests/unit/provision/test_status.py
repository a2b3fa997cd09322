"""How a board says it is, and how that is shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from toolkit.agent import status as agent
from toolkit.agent.system import System
from toolkit.provision import status
from toolkit.provision.status import Seen


def programs(argv: Sequence[str], _: float) -> tuple[int, str]:
    answers = {
        "is-active": (3, "active\nfailed\n"),
        "list-units": (0, "pinnace-keeper.service loaded failed failed x\nssh.service loaded failed failed y\n"),
    }  # fmt: skip
    return answers.get(argv[1], (127, "")) if argv[0] == "systemctl" else (127, "")


@pytest.fixture
def pi(tmp_path: Path) -> dict[str, Any]:
    """A Raspberry Pi made of files."""
    for path, text in {
        "proc/uptime": "180061.5 1.0\n",
        "proc/meminfo": "MemTotal: 1000 kB\nMemAvailable: 250 kB\n",
        "sys/class/thermal/thermal_zone0/temp": "48312\n",
        "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
        "opt/pinnace/releases/r7/x": "",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "opt/pinnace/current").symlink_to("releases/r7")
    return agent.gather(System(str(tmp_path), programs), list(status.UNITS))


def test_a_board_tells_of_itself(pi: dict[str, Any]) -> None:
    assert (pi["release"], pi["temperature"], pi["memory"]) == ("r7", 48.312, [256000, 1024000])
    assert pi["throttled"] == ["undervoltage", "throttled", "undervoltage has occurred", "throttling has occurred"]  # fmt: skip
    assert pi["disks"]["/"][0] > 0
    assert not pi["synchronised"]


def test_a_board_that_says_nothing_is_no_error(tmp_path: Path) -> None:
    found = agent.gather(System(str(tmp_path), lambda *_: (127, "")), ["x.service"])
    assert (found["release"], found["uptime"], found["temperature"], found["throttled"]) == (None,) * 4  # fmt: skip
    assert status.health(found) == "no systemd"


def test_the_table_says_what_is_wrong(pi: dict[str, Any]) -> None:
    assert status.health(pi) == "pinnace-keeper failed, ssh.service failed"
    assert status.temperature(pi).startswith("48 °C, undervoltage, throttled")
    assert status.clock(Seen(pi, 0, -3600.0)) == "3600 s behind"
    assert status.clock(Seen(pi, 0, 0.2)) == "right, not synchronised"
    assert status._row(Seen(pi, 2, 0.0))[1] == "2 differ"
    assert status._row(Seen(pi, 0, 0.0))[-1] == "2 d 2 h"
