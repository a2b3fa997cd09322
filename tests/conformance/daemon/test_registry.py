"""Pull and push with Debian's ctr through our daemon: its own client (1.x) and Transfer (2.x)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.ctr.daemons import IMAGE
from tests.conformance.daemon.world import World
from toolkit.lab.authority import Authority
from toolkit.lab.server import RegistryServer

pytestmark = [pytest.mark.root, pytest.mark.peer]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def registry(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[RegistryServer]:
    """A registry with TLS from the lab's CA, that wants a password."""
    certificate = authority.server(("127.0.0.1",))
    directory = tmp_path_factory.mktemp("registry")
    with RegistryServer(directory, certificate=certificate, users={"ann": "secret"}) as running:
        yield running


@pytest.fixture
def hosts(registry: RegistryServer, authority: Authority, tmp_path: Path) -> list[str]:
    """Options: a certs.d that trusts the lab's CA, and the password."""
    return _options(registry, tmp_path, f'ca = "{authority.ca_certificate()}"')


def _options(
    registry: RegistryServer, place: Path, how: str, user: str = "ann:secret"
) -> list[str]:
    folder = place / registry.host
    folder.mkdir()
    (folder / "hosts.toml").write_text(f'[host."{registry.url}"]\n{how}\n')
    return ["--hosts-dir", str(place), "--user", user]


@pytest.fixture
def pushed(world: World, registry: RegistryServer, hosts: list[str]) -> str:
    """An image in the registry, and nothing of it here."""
    reference = f"{registry.host}/library/busybox:{world.series}"
    world.ok("images", "import", world.archive)
    world.ok("images", "tag", IMAGE, reference)
    world.ok("images", "push", *hosts, reference)
    world.ok("images", "rm", "--sync", IMAGE, reference)
    assert world.ok("content", "ls", "-q") == ""
    return reference


def test_push_and_pull_with_tls_and_a_password(world: World, pushed: str, hosts: list[str]) -> None:
    world.ok("images", "pull", *hosts, pushed)
    assert len(world.first_column("snapshots", "ls")) == 1
    assert world.ok("images", "ls", "-q") == f"{pushed}\n"
    assert "containerd.io/distribution.source.127.0.0.1" in world.ok("content", "ls")


def test_a_pull_by_digest_and_of_what_is_there_already(
    world: World, pushed: str, hosts: list[str]
) -> None:
    world.ok("images", "pull", *hosts, pushed)
    digest = world.ok("images", "ls").splitlines()[1].split()[2]
    world.ok("images", "pull", *hosts, f"{pushed.rpartition(':')[0]}@{digest}")
    world.ok("images", "pull", *hosts, pushed)
    assert len(world.ok("images", "ls", "-q").split()) == 2


# Only where the daemon pulls: what older series say is their own.
@pytest.mark.parametrize("world", ["2.1"], indirect=True)
@pytest.mark.parametrize(
    ("user", "trusted", "name", "reason"),
    [
        ("ann:wrong", True, "", "login"),
        ("ann:secret", True, "library/none:1", "not found"),
        ("ann:secret", False, "", "certificate"),
    ],
)
def test_pulls_that_cannot_work_say_why_and_leave_nothing(
    world: World,
    registry: RegistryServer,
    authority: Authority,
    pushed: str,
    tmp_path: Path,
    user: str,
    trusted: bool,
    name: str,
    reason: str,
) -> None:
    place = tmp_path / "other"
    place.mkdir()
    trust = f'ca = "{authority.ca_certificate()}"' if trusted else ""
    reference = f"{registry.host}/{name}" if name else pushed
    options = _options(registry, place, trust, user)
    done = world.ctr("images", "pull", *options, reference)
    assert done.returncode == 1
    assert re.search(reason, done.stdout + done.stderr), done.stderr
    assert world.ok("images", "ls", "-q") == ""
    assert world.first_column("snapshots", "ls") == []
