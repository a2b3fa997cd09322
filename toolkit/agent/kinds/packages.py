"""Debian packages: installed when missing; those that come as files also when they are of another version."""

from __future__ import annotations

from toolkit.agent.errors import AgentError
from toolkit.agent.kinds import pool
from toolkit.agent.kinds.base import Change, Kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.agent.kinds.base import Contents, Resource, State
    from toolkit.agent.system import System

_APT_SECONDS = 1800
_FORM = "${Package} ${db:Status-Status} ${Version}\n"


class Package(Kind):
    """``names``: the packages to have; ``debs``: package files, each package, version, digest, size.

    ``pool``: where the board has no network, the package files that it may need for both, as ``debs``, each
    with the fields of its control file in ``control``.
    """

    def inspect(self, resources: Sequence[Resource], system: System) -> list[State]:
        wanted = sorted({name for resource in resources for name in _all_names(resource)})
        if not wanted:
            return [{"installed": {}} for _ in resources]
        status, output = system.run(["dpkg-query", "-W", "-f", _FORM, *wanted])
        if status == 127:
            raise AgentError("dpkg-query is missing: the board does not run Debian or a relative of it")  # fmt: skip
        rows = [line.split() for line in output.splitlines()]
        found = {row[0]: row[2] for row in rows if len(row) == 3 and row[1] == "installed"}
        self._installed = found
        return [{"installed": found} for _ in resources]

    def diff(self, resource: Resource, state: State) -> list[Change]:
        installed = state["installed"]
        changes = [Change(name, "absent", "installed") for name in resource["names"] if name not in installed]  # fmt: skip
        return changes + [
            Change(deb["package"], installed.get(deb["package"], "absent"), deb["version"])
            for deb in resource["debs"]
            if installed.get(deb["package"]) != deb["version"]
        ]

    def wants(self, resource: Resource, changes: Sequence[Change]) -> list[tuple[str, int]]:
        changing = {change.what for change in changes}
        debs = [deb for deb in resource["debs"] if deb["package"] in changing]
        if changes:
            debs += [deb for deb in resource.get("pool", ()) if self._installed.get(deb["package"]) != deb["version"]]  # fmt: skip
        return [(deb["digest"], deb["size"]) for deb in debs]

    def places(self, resource: Resource, changes: Sequence[Change]) -> list[tuple[str, int]]:
        return [("/var/lib/dpkg/status", 32 << 20), ("/var/cache/apt/archives", 16 << 20)]

    def apply(self, resource: Resource, system: System, contents: Contents) -> None:
        # What an interrupted run left half installed stops apt until this was done.
        system.check(["dpkg", "--configure", "-a"], _APT_SECONDS)
        [state] = self.inspect([resource], system)
        changing = {change.what for change in self.diff(resource, state)}
        names = [name for name in resource["names"] if name in changing]
        debs = [deb for deb in resource["debs"] if deb["package"] in changing]
        if "pool" in resource:
            pool.install(resource, names, debs, system)
            return
        if debs:
            self._install_files(debs, system)
        if names:
            self._install(names, system)

    @staticmethod
    def _install_files(debs: list[Resource], system: System) -> None:
        """All of them in one transaction; what they need besides comes from the board's sources."""
        import os

        files = []
        for deb in debs:
            # apt tells package files by their names.
            link = f"{system.spooled(deb['digest'])}.deb"
            if not os.path.lexists(link):
                os.link(system.spooled(deb["digest"]), link)
            files.append(link[len(system.root) :])
        # Without the sandbox user, who may not read the directory.
        system.check(["apt-get", "install", "-q", "-y", "--no-install-recommends", "--allow-downgrades", "-o", "APT::Sandbox::User=root", *files], _APT_SECONDS)  # fmt: skip

    @staticmethod
    def _install(names: list[str], system: System) -> None:
        install = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *names]
        status, _ = system.run(install, _APT_SECONDS)
        if status:
            # Package lists are absent on a fresh image, or older than what the mirror still has.
            system.check(["apt-get", "update", "-q"], _APT_SECONDS)
            system.check(install, _APT_SECONDS)


def _all_names(resource: Resource) -> list[str]:
    files = [*resource["debs"], *resource.get("pool", ())]
    return [*resource["names"], *(deb["package"] for deb in files)]
