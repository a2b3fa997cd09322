"""The bundle of a row: made anew, at the same place, for each runtime."""

from __future__ import annotations

import copy
import json
import os
import shutil
from pathlib import Path
from typing import Any

from pinnace.spec import oci
from toolkit.arena import remove_cgroups

ID = "pinnace-table"
"""Every runtime names its container so, one after the other."""


_TELL = """
{
  echo "$KIND in $(pwd)"
  printf 'state %s\\n' "$(cat | tr -d '\\n')"
  for each in mnt pid net uts ipc; do echo "$each $(readlink /proc/self/ns/$each)"; done
  env | grep -v -e ^LOG= -e ^PWD= -e ^OLDPWD= -e ^SHLVL= -e ^PATH=
} >> $LOG
"""
"""What a hook says of itself."""


APPLETS = ("cat", "env", "grep", "readlink", "sleep", "tr")


class Bundle:
    """``spec`` becomes config.json; ``root`` is the container's root, ``volume`` a directory beside it.

    Attributes:
        hook_log: where the hooks of a row write what they see, one JSON object a line.
    """

    def __init__(self, place: Path, cgroup: str, programs: dict[str, Path]) -> None:
        self.place = place
        self.root = place / "rootfs"
        self.volume = place / "volume"
        self.hook_log = place / "hooks.log"
        self._cgroup = cgroup
        self._programs = programs
        self.spec: dict[str, Any] = {}

    def renew(self) -> None:
        """An empty root but for ``/bin``, an empty volume, the default configuration."""
        shutil.rmtree(self.place, ignore_errors=True)
        remove_cgroups(self._cgroup)  # crun leaves one, with its limits, when it can't start
        for directory in ("bin", "dev", "etc", "proc", "sys", "tmp", "data"):
            (self.root / directory).mkdir(parents=True)
        for name, program in self._programs.items():
            os.link(program, self.root / "bin" / name)
        for name in APPLETS:
            (self.root / "bin" / name).symlink_to("sh")
        (self.root / "data/below").write_text("below\n")
        (self.root / "etc/passwd").write_text(
            "root:x:0:0::/root:/bin/sh\npi:x:1000:1000::/home/pi:/bin/sh\n"
        )
        (self.volume / "inner").mkdir(parents=True)
        (self.volume / "file").write_text("of the volume\n")
        self.spec = copy.deepcopy(oci.default_spec(ID, "pinnace-table"))
        self.spec["process"]["env"] = ["PATH=/bin", "ONE=1"]
        self.spec["linux"]["cgroupsPath"] = f"/{self._cgroup}/{ID}"

    def set(self, path: str, value: Any) -> None:
        """Set the value at a dotted path; None removes it."""
        *above, last = path.split(".")
        place = self.spec
        for name in above:
            place = place.setdefault(name, {})
        if value is None:
            place.pop(last, None)
        else:
            place[last] = copy.deepcopy(value)

    def give(self, owner: int) -> None:
        """Everything in the root belongs to user and group ``owner``; links keep theirs."""
        for place in (self.root, *self.root.rglob("*")):
            # The programs are links to files that all runs share.
            if place.parent != self.root / "bin":
                os.chown(place, owner, owner, follow_symlinks=False)

    def hook(self, kind: str, script: str = _TELL, timeout: int = 0) -> dict[str, Any]:
        """A hook that runs ``script`` in busybox's shell, beside the bundle or in the root."""
        programs = "/bin" if kind == "startContainer" else str(self.place.parent)
        environment = [f"PATH={programs}", f"KIND={kind}", f"LOG={self._log_of(kind)}"]
        item: dict[str, Any] = {
            "path": f"{programs}/sh", "args": ["sh", "-c", script], "env": environment,
        }  # fmt: skip
        return {**item, "timeout": timeout} if timeout else item

    def _log_of(self, kind: str) -> str:
        # In the container there is only its own root.
        return "/data/hooks.log" if kind == "startContainer" else str(self.hook_log)

    def hooks_seen(self) -> str:
        """What the hooks wrote, those on the host first."""
        places = (self.hook_log, self.root / "data/hooks.log")
        return "".join(place.read_text() for place in places if place.exists())

    def write(self) -> None:
        """Write config.json."""
        (self.place / "config.json").write_text(json.dumps(self.spec))
