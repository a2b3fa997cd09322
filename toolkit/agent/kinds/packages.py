"""Debian packages: installed when missing, never upgraded or removed."""

from __future__ import annotations

from toolkit.agent.errors import AgentError
from toolkit.agent.kinds.base import Change, Kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.agent.kinds.base import Contents, Resource, State
    from toolkit.agent.system import System

_APT_SECONDS = 1800


class Package(Kind):
    """``names``: the packages to have."""

    def inspect(self, resources: Sequence[Resource], system: System) -> list[State]:
        wanted = sorted({name for resource in resources for name in resource["names"]})
        if not wanted:
            return [{"installed": []} for _ in resources]
        form = "${Package} ${db:Status-Status}\n"
        status, output = system.run(["dpkg-query", "-W", "-f", form, *wanted])
        if status == 127:
            raise AgentError("dpkg-query is missing: the board does not run Debian or a relative of it")  # fmt: skip
        rows = [line.split() for line in output.splitlines()]
        found = {row[0] for row in rows if len(row) == 2 and row[1] == "installed"}
        return [{"installed": sorted(found & set(resource["names"]))} for resource in resources]

    def diff(self, resource: Resource, state: State) -> list[Change]:
        missing = [name for name in resource["names"] if name not in state["installed"]]
        return [Change(name, "absent", "installed") for name in missing]

    def places(self, resource: Resource) -> list[tuple[str, int]]:
        return [("/var/lib/dpkg/status", 32 << 20), ("/var/cache/apt/archives", 16 << 20)]

    def apply(self, resource: Resource, system: System, contents: Contents) -> None:
        install = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *resource["names"]]
        status, _ = system.run(install, _APT_SECONDS)
        if status:
            # Package lists are absent on a fresh image, or older than what the mirror still has.
            system.check(["apt-get", "update", "-q"], _APT_SECONDS)
            system.check(install, _APT_SECONDS)
