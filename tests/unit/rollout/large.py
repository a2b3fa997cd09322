"""``./inv rollout`` over very many hosts: all of it but the transport. Run as a program in a process of its own.

Arguments: a folder of its own, and how many hosts. Prints JSON: seconds of processor time, bytes of memory at most.
"""

from __future__ import annotations

import json
import resource
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from roles.context import Board, Release
from tests.unit.rollout.fleet import Simulated, fails
from toolkit.plan.compile import compile_plan
from toolkit.provision.selection import Selected
from toolkit.report.events import Say
from toolkit.rollout import command, journal
from toolkit.rollout.model import Applied

FAILS = "pi00100"
_FACTS = {"modules": True, "cmdline": "/boot/cmdline.txt", "containerd": False}


class Planned(Simulated):
    """Each host's plan is compiled and written as it would be sent; the board agrees to all of it."""

    def __init__(self, chosen: list[Selected], *_: Any) -> None:
        super().__init__({FAILS: fails})
        self._chosen = {host.target.name: host for host in chosen}
        self._archive = Path(sys.argv[1], "bundle.tar.gz")
        self._archive.write_bytes(b"bundle")

    def apply(self, host: str, say: Say) -> Applied:
        settings = self._chosen[host].settings
        release = Release("r1", self._archive, 1)
        plan = compile_plan(settings.roles, Board(host, settings, _FACTS, lambda: release))
        assert len(json.dumps(plan.wire())) > 1000
        for entry in plan.entries:
            say(entry.resource.id)
        return super().apply(host, say)


def main() -> None:
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    inventory = folder / "inventory.ini"
    inventory.write_text(
        f"[cabins]\npi[00001:{count:05}] ansible_user=pi\n[fleet:children]\ncabins\n[fleet:vars]\npackages=tree,jq\n"
    )
    fleets: list[Planned] = []

    def fleet(*rest: Any) -> Planned:
        fleets.append(Planned(*rest))
        return fleets[0]

    command.Hosts = fleet  # type: ignore[misc, assignment]
    asked = command.Asked(limit="fleet:!pi00007", inventory=str(inventory), canary="pi00001", max_fail="1", health_time="0s")  # fmt: skip
    reports = command.Reports(junit=str(folder / "junit.xml"), html=str(folder / "page.html"))
    command.run(asked, command.Access(), reports)
    used = resource.getrusage(resource.RUSAGE_SELF)
    record = journal.find()
    counts = Counter(str(status) for status in journal.ends(record).values())
    found = {
        "counts": counts,
        "most": fleets[0].most,
        "reverted": fleets[0].reverted,
        "seconds": used.ru_utime + used.ru_stime,
        "memory": used.ru_maxrss << 10,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
