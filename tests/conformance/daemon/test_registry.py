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


def test_a_mirror_from_a_tutorial_counts_after_a_reload(
    world: World, registry: RegistryServer, authority: Authority, pushed: str
) -> None:
    """The keys of version 2 in a drop-in beside the file, and SIGHUP."""
    drop_in = world.arena.scratch / "conf.d/10-mirror.toml"
    drop_in.parent.mkdir(exist_ok=True)
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    drop_in.write_text(
        f'version = 2\n[{cri}]\nsandbox_image = "{registry.host}/pause:3.2"\n'
        f'[{cri}.registry.mirrors."docker.io"]\nendpoint = ["{registry.url}"]\n'
        f'[{cri}.registry.configs."{registry.host}".tls]\nca_file = "{authority.ca_certificate()}"\n'
        f'[{cri}.registry.configs."{registry.host}".auth]\nusername = "ann"\npassword = "secret"\n'
    )
    try:
        assert "registry.mirrors" in world.reload()
        if (
            world.series == "2.1"
        ):  # the clients of 1.x pull by themselves, without the daemon's settings
            image = f"docker.io/library/busybox:{world.series}"
            world.ok("images", "pull", image)
            assert world.ok("images", "ls", "-q") == f"{image}\n"
    finally:
        drop_in.unlink()
        world.reload()


def test_a_mistake_in_a_reloaded_file_changes_nothing(world: World) -> None:
    drop_in = world.arena.scratch / "conf.d/20-wrong.toml"
    drop_in.parent.mkdir(exist_ok=True)
    drop_in.write_text("[debug]\nlevel = 5\n")
    try:
        assert f"{drop_in}:2: debug.level: must be a string, not 5" in world.reload(
            "stays as it was"
        )
        assert world.ok("version")
    finally:
        drop_in.unlink()
