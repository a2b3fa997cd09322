"""Debian's ctr, three series of it, against our daemon: what needs no running container."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tarfile
import time

import pytest

from tests.conformance.ctr.daemons import IMAGE
from tests.conformance.daemon.world import ADDRESS, World

pytestmark = [pytest.mark.root, pytest.mark.peer]


def test_version_and_plugins(world: World) -> None:
    shown = world.ok("version")
    assert re.search(r"Server:\n +Version: +v2\.", shown)
    assert "UUID:" in shown
    assert re.search(r"snapshotter.v1 +overlayfs +linux/\S+ +ok", world.ok("plugins", "ls"))


def test_namespaces(world: World) -> None:
    name = f"ns-{world.series.replace('.', '-')}"
    world.ok("namespaces", "create", name, "team=boats")
    assert re.search(rf"^{name} +team=boats", world.ok("namespaces", "ls"), re.M)
    world.ok("namespaces", "label", name, "team=")
    assert not re.search(rf"^{name} +team", world.ok("namespaces", "ls"), re.M)
    assert world.ok("namespaces", "rm", name) == f"{name}\n"
    unknown = world.ctr("namespaces", "label", name, "a=b")
    assert unknown.returncode == 1
    assert "not found" in unknown.stderr


def test_import_tag_export_and_remove(world: World) -> None:
    world.ok("images", "import", world.archive)
    assert re.search(rf"^{re.escape(IMAGE)} .*linux/", world.ok("images", "ls"), re.M)
    (snapshot,) = world.first_column("snapshots", "ls")
    assert snapshot.startswith("sha256:")
    assert len(world.ok("content", "ls", "-q").split()) >= 4
    world.ok("images", "tag", IMAGE, "registry.lab/other:1")
    assert set(world.ok("images", "ls", "-q").split()) == {IMAGE, "registry.lab/other:1"}
    refused = world.ctr("images", "tag", "registry.lab/none:1", "registry.lab/x:1")
    assert refused.returncode == 1
    assert "not found" in refused.stderr
    out = world.arena.scratch / "out.tar"
    world.ok("images", "export", out, IMAGE)
    with tarfile.open(out) as archive:
        index = archive.extractfile("index.json")
        assert index is not None
        assert IMAGE in index.read().decode()
    world.ok("images", "rm", "--sync", IMAGE, "registry.lab/other:1")
    assert world.first_column("snapshots", "ls") == []
    assert world.ok("content", "ls", "-q") == ""
    world.ok("images", "import", out)
    assert IMAGE in world.ok("images", "ls", "-q")
    world.ok("images", "rm", "--sync", IMAGE)


def test_labels_and_check(world: World) -> None:
    world.ok("images", "import", world.archive)
    world.ok("images", "label", IMAGE, "color=blue")
    assert "color=blue" in world.ok("images", "ls", f"name=={IMAGE}")
    assert re.search(r"complete \(\d+/\d+\).*true", world.ok("images", "check"))
    world.ok("images", "rm", "--sync", IMAGE)


def test_content_is_ingested_read_labelled_and_removed(world: World) -> None:
    ref, data = f"ref-{world.series}", "some content\n"
    world.ok("content", "ingest", ref, input=data)
    digest = world.ok("content", "ls", "-q").strip()
    assert world.ok("content", "get", digest) == data
    world.ok("content", "label", digest, "a=b")
    assert "a=b" in world.ok("content", "ls")
    world.ok("content", "rm", digest)
    assert world.ctr("content", "get", digest).returncode == 1


def test_snapshots(world: World) -> None:
    world.ok("images", "import", world.archive)
    (base,) = world.first_column("snapshots", "ls")
    world.ok("snapshots", "prepare", "mine", base)
    assert "upperdir=" in world.ok("snapshots", "mounts", "/mnt", "mine")
    assert json.loads(world.ok("snapshots", "info", "mine"))["Parent"] == base
    world.ok("snapshots", "commit", "kept", "mine")
    assert set(world.first_column("snapshots", "ls")) == {base, "kept"}
    refused = world.ctr("snapshots", "rm", base)
    assert refused.returncode == 1
    assert "cannot remove snapshot with child" in refused.stderr
    world.ok("snapshots", "rm", "kept")
    world.ok("images", "rm", "--sync", IMAGE)


def test_a_layer_is_made_of_a_snapshot(world: World) -> None:
    world.ok("images", "import", world.archive)
    (base,) = world.first_column("snapshots", "ls")
    done = world.ctr("snapshots", "diff", base, text=False)
    listed = subprocess.run(["tar", "tz"], input=done.stdout, capture_output=True, check=True)
    assert b"bin/busybox" in listed.stdout
    world.ok("images", "rm", "--sync", IMAGE)


def test_leases(world: World) -> None:
    name = world.ok("leases", "create", "--id", f"l-{world.series}", "why=test").strip()
    assert name in world.ok("leases", "ls")
    world.ok("leases", "rm", name)
    assert name not in world.ok("leases", "ls", "-q")


def test_events_are_seen_as_they_happen(world: World) -> None:
    log = f"events-{world.series}.log"
    watching = world.arena.start(world.words("events"), log=log)
    name = f"seen-{world.series.replace('.', '-')}"
    seen = ""
    deadline = time.monotonic() + 10
    # The first events may pass before the command listens.
    while "/namespaces/create" not in seen and time.monotonic() < deadline:
        world.ok("namespaces", "create", name)
        world.ok("namespaces", "rm", name)
        seen = (world.arena.scratch / log).read_text()
    watching.send_signal(signal.SIGKILL)
    watching.wait()
    assert re.search(rf'{name} /namespaces/create {{"name": ?"{name}"}}', seen), seen


def test_containers(world: World) -> None:
    world.ok("images", "import", world.archive)
    world.ok("containers", "create", "--label", "app=web", IMAGE, "web")
    assert "io.containerd.runc.v2" in world.ok("containers", "ls")
    info = json.loads(world.ok("containers", "info", "web"))
    assert (info["Image"], info["Labels"]["app"]) == (IMAGE, "web")
    assert info["Spec"]["process"]["args"] == ["sh"]
    again = world.ctr("containers", "create", IMAGE, "web")
    assert again.returncode == 1
    assert "already exists" in again.stderr
    world.ok("containers", "label", "web", "app=db")
    assert world.ok("containers", "ls", "-q", 'labels."app"==db') == "web\n"
    world.ok("containers", "rm", "web")
    assert world.first_column("containers", "ls") == []
    world.ok("images", "rm", "--sync", IMAGE)
    assert world.first_column("snapshots", "ls") == []


def test_the_socket_is_for_root_alone(shared: World) -> None:
    shown = shared.arena.run(["stat", "-c", "%a %u %F", ADDRESS]).stdout
    assert shown == "600 0 socket\n"
    assert re.search(r"connection from pid \d+ uid 0", shared.log())


def test_a_second_daemon_is_refused(shared: World) -> None:
    import sys

    from tests.conformance.ctr.daemons import environment

    words = [sys.executable, "-m", "pinnace.cli.main", "pinnaced", "--config"]
    done = shared.arena.run([*words, str(shared.arena.scratch / "config.toml")], env=environment())
    assert done.returncode == 1
    assert "in use by another daemon (pid" in done.stderr
    assert done.stderr.count("\n") == 1


def test_it_ends_cleanly_and_starts_again_over_a_stale_socket(shared: World) -> None:
    assert shared.stop("TERM") == 0
    shared.start()
    shared.stop("KILL")
    shared.start()
    assert os.path.basename(ADDRESS) in shared.arena.run(["ls", "/run/pinnace"]).stdout
