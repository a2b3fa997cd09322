"""Verbs on snapshots, content and images, with Debian's containerd and with ours."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.conformance.ctr.daemons import IMAGE, Daemon

pytestmark = [pytest.mark.root, pytest.mark.peer]


def chain(daemon: Daemon) -> str:
    """The snapshot of the image's layer."""
    listed = json.loads(daemon.ctr("snapshot", "ls", "--format", "json").stdout)
    return str(next(each["key"] for each in listed if each["key"].startswith("sha256:")))


@pytest.fixture
def snapshots(daemon: Daemon) -> Iterator[Daemon]:
    yield daemon
    for name in ("work", "again", "done"):
        daemon.ctr("snapshot", "rm", name)


def test_a_snapshot_is_prepared_mounted_committed_and_read_as_a_layer(snapshots: Daemon) -> None:
    ctr, parent = snapshots.ctr, chain(snapshots)
    commands = ctr("snapshot", "prepare", "--target", "/mnt", "work", parent).stdout
    assert snapshots.theirs("snapshot", "mounts", "/mnt", "work").stdout == commands
    script = f"{commands}\necho new > /mnt/etc/motd && umount /mnt"
    assert snapshots.arena.run(["sh", "-c", script]).returncode == 0
    assert ctr("snapshot", "--snapshotter", "overlayfs", "commit", "done", "work").returncode == 0
    view = json.loads(ctr("snapshot", "view", "--mounts", "look", "done").stdout)
    ctr("snapshot", "rm", "look")  # if it is still there: nothing refers to a view
    assert ctr("snapshot", "prepare", "again", "done").returncode == 0
    assert {mount["Type"] for mount in view} == {"overlay"}
    labelled = ctr("snapshot", "label", "done", "why=test").stdout
    assert labelled.endswith(",why=test\n")
    tree = ctr("snapshot", "tree").stdout
    assert tree == f" {parent}\n  \\_ done\n    \\_ again\n"
    assert snapshots.theirs("snapshot", "tree").stdout == tree
    layer = snapshots.ctr("snapshot", "diff", "done", text=False).stdout
    listing = subprocess.run(["tar", "tz"], input=layer, capture_output=True, check=True)
    assert b"etc/motd\n" in listing.stdout


def test_what_is_ingested_is_checked_read_and_edited(daemon: Daemon) -> None:
    ctr = daemon.ctr
    wrong = ctr("content", "ingest", "--expected-size", "5", "small", input="too long")
    assert (wrong.returncode, "8" in wrong.stderr) == (1, True)
    assert re.search(r"^small\t", ctr("content", "active").stdout, re.M)
    assert ctr("content", "active", "^other").stdout == "REF\tSIZE\tAGE\t\n"
    digest = "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    for _ in range(20):  # the collector may take what nothing refers to between two commands
        assert ctr("content", "ingest", "--expected-digest", digest, "hello", input="hello\n").returncode == 0  # fmt: skip
        if ctr("content", "get", digest).stdout == "hello\n":
            break
    refused = ctr("content", "edit", "--validate", "json", "--editor", "sed -i s/e/a/", digest)
    assert "not valid JSON" in refused.stderr
    edited = ctr("content", "edit", "--editor", "sed -i s/hello/bye/", digest)
    assert edited.stdout == "sha256:abc6fd595fc079d3114d4b71a4d84b1d1d0f79df1e70f8813212f2a65d8916df\n"  # fmt: skip


def test_an_image_is_mounted_and_unmounted(daemon: Daemon) -> None:
    target = daemon.arena.scratch / "root"
    target.mkdir(exist_ok=True)
    mounted = daemon.ctr("image", "mount", IMAGE, str(target))
    assert mounted.stdout == f"{chain(daemon)}\n{target}\n"
    assert daemon.arena.run(["cat", target / "etc/passwd"]).stdout.startswith("root:")
    assert daemon.arena.run(["touch", target / "x"]).returncode != 0
    assert str(target) in daemon.ctr("leases", "ls", "-q").stdout
    assert daemon.ctr("image", "unmount", "--rm", str(target)).stdout == f"{target}\n"
    assert str(target) not in daemon.ctr("snapshot", "ls").stdout
    assert daemon.ctr("leases", "ls", "-q").stdout == ""


def test_a_converted_image_runs_and_is_the_one_containerd_makes(daemon: Daemon) -> None:
    ours = daemon.ctr("image", "convert", "--uncompress", IMAGE, "registry.lab/plain:ours")
    theirs = daemon.theirs("image", "convert", "--uncompress", IMAGE, "registry.lab/plain:theirs")
    assert ours.stdout == theirs.stdout
    done = daemon.ctr("run", "--rm", "registry.lab/plain:ours", "plain", "echo", "runs")
    assert done.stdout == "runs\n", done.stderr
    shown = daemon.ctr("image", "inspect", "registry.lab/plain:ours").stdout
    assert "application/vnd.oci.image.layer.v1.tar @sha256:" in shown
    refused = daemon.ctr("image", "convert", "--erofs", IMAGE, "registry.lab/x:1")
    assert "--erofs: this daemon has no EROFS layers" in refused.stderr
    daemon.ctr("image", "rm", "--sync", "registry.lab/plain:ours", "registry.lab/plain:theirs")


@pytest.mark.parametrize(
    "words",
    ["image ls", "image check", "image usage", "container ls", "content ls", "content active", "lease ls", "task ls",
     "namespace ls", "snapshot ls", "snapshot usage", "plugin ls", "deprecations list"],
)  # fmt: skip
def test_every_list_is_printed_as_json_too(pinnaced: Daemon, words: str) -> None:
    words = words.replace("lease ", "leases ")
    done = pinnaced.ctr(*words.split(), "--format", "json")
    assert isinstance(json.loads(done.stdout), list), done.stderr
