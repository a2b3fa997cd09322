"""Where the disk went, and getting it back: usage and prune, against Debian's containerd and our daemon."""

from __future__ import annotations

import re
import secrets

import pytest

from tests.conformance.ctr.daemons import IMAGE, Daemon

pytestmark = [pytest.mark.root, pytest.mark.peer]
COPY = "registry.lab/library/copy:1"


@pytest.fixture
def namespace(daemon: Daemon, request: pytest.FixtureRequest) -> str:
    """A namespace of this run's own, with the image."""
    name = f"space-{request.node.originalname.rpartition('_')[2]}-{secrets.token_hex(3)}"
    archive = str(daemon.arena.scratch / "busybox.tar")
    assert daemon.theirs("--namespace", name, "image", "import", archive).returncode == 0
    return name


def lines(daemon: Daemon, namespace: str, *words: str) -> list[list[str]]:
    done = daemon.ctr("--namespace", namespace, *words)
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


def test_usage_of_one_image_is_of_its_snapshots(daemon: Daemon) -> None:
    shown = daemon.ctr("images", "usage", IMAGE)
    assert shown.returncode == 0, shown.stderr
    heading, layer = shown.stdout.splitlines()
    assert re.fullmatch(r"KEY +SIZE +INODES *", heading)
    assert re.fullmatch(r"sha256:\w{64} [\d.]+ MiB \d+ +", layer)
    # Debian's ctr 1.6 has no `images usage`; it has the same of one snapshot.
    assert shown.stdout == daemon.theirs("snapshots", "usage", layer.split()[0]).stdout


def test_usage_of_all_tells_what_is_shared(daemon: Daemon, namespace: str) -> None:
    (_, content, snapshots, shared, unique) = lines(daemon, namespace, "image", "usage", "-b")[1]
    assert int(shared) == 0
    assert int(unique) == int(content) + int(snapshots) > 100_000
    lines(daemon, namespace, "image", "tag", IMAGE, COPY)
    both = lines(daemon, namespace, "image", "usage", "-b")[1:]
    assert [row[0] for row in both] == [IMAGE, COPY]
    assert [row[3:] for row in both] == [[unique, "0"]] * 2


def test_prune_deletes_what_no_container_uses(daemon: Daemon, namespace: str) -> None:
    lines(daemon, namespace, "image", "tag", IMAGE, COPY)
    lines(daemon, namespace, "container", "create", COPY, "user")
    idle = daemon.ctr("--namespace", namespace, "images", "prune")
    assert (idle.returncode, idle.stdout) == (0, "")
    assert "needs --all" in idle.stderr
    assert lines(daemon, namespace, "images", "prune", "--all") == [["deleted", "image:", IMAGE]]
    assert lines(daemon, namespace, "images", "ls", "-q") == [[COPY]]
    lines(daemon, namespace, "container", "rm", "user")
    lines(daemon, namespace, "images", "prune", "--all")
    assert lines(daemon, namespace, "content", "ls", "-q") == []
    assert lines(daemon, namespace, "snapshots", "ls")[1:] == []


def test_prune_references_gives_fetched_layers_back(daemon: Daemon, namespace: str) -> None:
    def space() -> int:
        return int(lines(daemon, namespace, "images", "usage", "-b")[1][1])

    before = space()
    dry = lines(daemon, namespace, "content", "prune", "references", "--dry")
    assert [label for _, label in dry] == ["containerd.io/gc.ref.content.l.0"]
    assert space() == before
    assert lines(daemon, namespace, "content", "prune", "references") == []
    assert space() < before / 2
    run = lines(daemon, namespace, "run", "--rm", IMAGE, "still", "echo", "runs")
    assert run == [["runs"]]
