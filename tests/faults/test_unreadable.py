"""Blobs that the disk cannot read any more (EIO): one clear error, the copy put aside, the next pull heals."""

from __future__ import annotations

import io
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pinnace.daemon import differ
from pinnace.errors import DataLoss, Error, ResourceExhausted
from pinnace.images import fetch, verify
from pinnace.images.archive import export
from pinnace.images.push import push
from pinnace.registry.resolver import Resolver
from pinnace.spec import image as images
from pinnace.spec import oci
from pinnace.spec.image import Descriptor
from pinnace.store import gc
from pinnace.store.store import Store
from tests.disks import own_mounts
from tests.fakeregistry import FakeRegistry, Handler
from tests.faults.bad_blocks import BadDisk, bad_disk
from tests.faults.test_store import NOISE, NS, check_whole, get
from tests.images import rootfs
from toolkit.arch import Arch
from toolkit.arena import remove_cgroups
from toolkit.debian import Archive
from toolkit.paths import RUNTIME

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True)
def own_namespace() -> Iterator[None]:
    with own_mounts():
        yield


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "PAUSE_SECONDS", 0.01)


@pytest.fixture
def registry(own_namespace: None) -> Iterator[FakeRegistry]:
    with FakeRegistry(NOISE) as running:
        yield running


@pytest.fixture
def disk(own_namespace: None, tmp_path: Path) -> Iterator[BadDisk]:
    with bad_disk(tmp_path) as made:
        yield made


@pytest.fixture
def store(disk: BadDisk) -> Iterator[Store]:
    with closing(Store(disk.root / "store")) as opened:
        yield opened


def blob(kind: str) -> Descriptor:
    is_kind = {"manifest": images.is_manifest, "config": images.is_config, "layer": images.is_layer}
    return next(item for item, _ in NOISE.blobs if is_kind[kind](item.media_type))


def lose(disk: BadDisk, store: Store, item: Descriptor) -> None:
    disk.lose(Path(store.content.blobs.path(item.digest)))


def as_export(store: Store, registry: FakeRegistry) -> None:
    export(store, NS, [registry.reference], io.BytesIO())


def as_push(store: Store, registry: FakeRegistry) -> None:
    registry.faults.append(_empty_registry)
    try:
        with closing(Resolver(sleep=0.01)) as resolver:
            push(store, NS, registry.reference, f"{registry.host}/library/copy:1", resolver)
    finally:
        registry.faults.clear()


def _empty_registry(handler: Handler, path: str) -> bool:
    """It has nothing yet, and takes everything."""
    if not path.startswith("/v2/library/copy/"):
        return False
    handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
    if handler.command == "HEAD":
        return handler.reply(404, b"")
    status = 202 if handler.command == "POST" else 201
    return handler.reply(status, b"", {"Location": f"{path}1", "Content-Length": "0"})


def as_apply(store: Store, registry: FakeRegistry) -> None:
    mounts = store.snapshotter().prepare(NS, "again")
    try:
        differ.apply(store.content, NS, blob("layer"), mounts)
    finally:
        store.snapshotter().remove(NS, "again")


@pytest.mark.parametrize("use", [as_export, as_push, as_apply])
def test_a_layer_of_an_image_that_is_unpacked(
    disk: BadDisk, store: Store, registry: FakeRegistry, use: Callable[[Store, FakeRegistry], None]
) -> None:
    get(store, registry)
    lose(disk, store, blob("layer"))
    with pytest.raises(DataLoss, match="Input/output error") as caught:
        use(store, registry)
    assert str(blob("layer").digest) in caught.value.message
    assert "dmesg" in caught.value.hint
    assert "pull the image again" in caught.value.hint
    assert store.content.blobs.damaged() == [blob("layer").digest]
    get(store, registry)
    assert store.content.blobs.damaged() == []
    check_whole(store)
    use(store, registry)


@pytest.mark.parametrize("kind", ["manifest", "config", "layer"])
def test_a_pull_heals_what_it_reads(
    disk: BadDisk, store: Store, registry: FakeRegistry, kind: str
) -> None:
    """The layers are gone as snapshots: they are unpacked from the blobs again."""
    get(store, registry)
    for info in reversed(_from_below(store)):
        store.snapshotter().remove(NS, info)
    lose(disk, store, blob(kind))
    get(store, registry)
    check_whole(store)
    gc.collect(store.db, store.content, store.snapshotters)
    assert store.content.blobs.damaged() == []
    assert len(rootfs(store)) == 7


def _from_below(store: Store) -> list[str]:
    found = {info.parent: info.name for info in store.snapshotter().walk(NS)}
    chain, name = [], ""
    while name := found.get(name, ""):
        chain.append(name)
    return chain


def test_a_download_that_was_broken_off(
    disk: BadDisk, store: Store, registry: FakeRegistry
) -> None:
    """What is there of it cannot be read: it begins anew, and once."""
    registry.faults.append(_half_a_layer)
    with pytest.raises(Error):
        get(store, registry)
    registry.faults.clear()
    found = (disk.root / "store").glob("**/ingest/*/data")
    parts = [path for path in found if path.stat().st_size]
    assert parts
    for part in parts:
        disk.lose(part)
    get(store, registry)
    check_whole(store)
    assert not list((disk.root / "store").glob("**/ingest/*"))


def _half_a_layer(handler: Handler, path: str) -> bool:
    if not path.endswith(str(blob("layer").digest)):
        return False
    handler.send_response(200)
    handler.send_header("Content-Length", str(blob("layer").size))
    handler.end_headers()
    data = next(data for item, data in NOISE.blobs if item == blob("layer"))
    handler.wfile.write(data[:100_000])
    handler.close_connection = True
    return True


def test_a_good_blob_stays_where_it_is(store: Store, registry: FakeRegistry) -> None:
    """That no file can be opened any more says nothing about the blob."""
    get(store, registry)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(ResourceExhausted, match="Too many open files"):
            store.content.examine(blob("layer").digest)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert store.content.blobs.damaged() == []
    check_whole(store)


def test_an_unpacked_file(disk: BadDisk, store: Store, registry: FakeRegistry) -> None:
    """Told by comparing it with its layer, which goes on to the end."""
    get(store, registry)
    top = next(info.name for info in store.snapshotter().walk(NS) if not info.parent)
    folder = Path(store.snapshotter().paths(NS, top)[0])
    os.sync()
    disk.lose(folder / "f0")
    with store.content.open(NS, str(blob("layer").digest)) as stream:
        found = verify.compare(stream, str(folder))
    assert found.faults == [verify.Fault("/f0", "cannot be read: Input/output error")]


def test_a_container_whose_program_cannot_be_read(disk: BadDisk) -> None:
    """One line, with the reason; and the disk's failure is not taken for a missing program."""
    group = f"pinnace-unreadable-{os.getpid()}"
    busybox = next(
        Archive("trixie", Arch.from_machine(os.uname().machine).facts.debian)
        .unpack(["busybox-static"])
        .rglob("bin/busybox")
    )
    spec = oci.default_spec("lost", group)
    spec["process"]["args"] = ["/bin/busybox", "true"]
    program = disk.root / "rootfs/bin/busybox"
    program.parent.mkdir(parents=True)
    shutil.copy(busybox, program)
    (disk.root / "config.json").write_text(json.dumps(spec))
    words = [sys.executable, "-m", "pinnace.cli.main", "runc", "--root", str(disk.root / "state")]
    words += ["run", "--bundle", str(disk.root), "lost"]

    def run() -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(RUNTIME)}
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)

    try:
        good = run()
        assert good.returncode == 0, good.stderr
        disk.lose(program)
        lost = run()
        assert lost.returncode == 1
        assert re.fullmatch(r"runc: .*exec.*busybox.*: input/output error.*\n", lost.stderr)
        assert "dmesg" in lost.stderr
        assert not list((disk.root / "state").iterdir())
    finally:
        remove_cgroups(group)
