"""``./inv publish``, ``./inv rollout --pull`` and ``./inv status --pull``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from toolkit import console
from toolkit.airgap import command as airgap
from toolkit.airgap.command import Access, Wanted
from toolkit.connection.hostkeys import KnownHosts
from toolkit.errors import PinnaceError, UsageError
from toolkit.follow import releases, statuses
from toolkit.follow.fleet import Followers
from toolkit.follow.places import client, repository_of, tag_of
from toolkit.provision.selection import Selected, select
from toolkit.signing.keys import choose


def publish(wanted: Wanted, access: Access, *, to: str = "", hold: bool = False) -> int:
    """Make a release of the hosts' plans, push it, and move their tags unless ``hold``."""
    hosts = select(wanted.limit, wanted.inventory)
    repository = repository_of(hosts, to)
    made = airgap.collect(wanted, access)
    with client(hosts) as registry:
        sizes = sum(content.size for content in made.contents.values())
        with console.step(f"push to {repository}", total=sizes) as step:
            pushed = releases.push(registry, repository, made, step.advance)
            step.detail = f"release-{pushed.release} {pushed.digest[:19]}"
        if not hold:
            with console.step("move tags") as step:
                tags = sorted({tag_of(host) for host in hosts})
                for tag in tags:
                    releases.move(registry, repository, tag, pushed)
                step.detail = ", ".join(tags)
    airgap.show(made.contents, made.names)
    return 0


def status(pattern: str, inventory: str, *, as_json: bool) -> int:
    """What boards said of themselves, without a connection to any; returns the exit status."""
    hosts = select(pattern, inventory)
    repository_of(hosts)
    known = KnownHosts()
    found: dict[str, tuple[Selected, statuses.Status | PinnaceError | None]] = {}
    with client(hosts) as registry:
        for host in hosts:
            try:
                found[host.target.name] = (host, statuses.read(registry, host, known))
            except PinnaceError as problem:
                found[host.target.name] = (host, problem)
    statuses.show(found, as_json=as_json)
    problems = [status for _, status in found.values() if isinstance(status, PinnaceError)]
    return max((problem.exit_code for problem in problems), default=0)


@contextmanager
def followers(hosts: list[Selected], wanted: Wanted, access: Access) -> Iterator[Followers]:
    """The hosts as a fleet whose tags are moved; the release is pushed before any is."""
    repository = repository_of(hosts)
    tags = [tag_of(host) for host in hosts]
    if len(set(tags)) < len(tags):
        raise UsageError("rollout --pull: several hosts follow one tag", hint="without follow_tag each has its own")  # fmt: skip
    made = airgap.collect(wanted, access)
    with client(hosts) as registry:
        with console.step(f"push to {repository}") as step:
            pushed = releases.push(registry, repository, made, step.advance)
            step.detail = f"release-{pushed.release}"
        known = KnownHosts(accept_new=access.accept_new)
        yield Followers(hosts, registry, pushed, choose(wanted.sign_key), known)
