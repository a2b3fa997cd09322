"""Import and export of archives, tags, and what hostile archives get."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinnace.errors import AlreadyExists, DataLoss, Error, InvalidArgument, NotFound
from pinnace.images import names
from pinnace.images.archive import export, import_
from pinnace.spec import platform as platforms
from pinnace.store import gc
from pinnace.store.store import Store
from tests.images import TestImage, rootfs
from tests.layers import LayerBuilder

NS = "default"
ARMV6 = platforms.parse("linux/arm/v6")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "store")
    yield opened
    opened.close()


def bring(store: Store, data: bytes, **options: object) -> list[str]:
    options.setdefault("platform", ARMV6)
    made = import_(store, NS, io.BytesIO(data), **options)  # type: ignore[arg-type]
    return [image.name for image in made]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_oci_layout_is_imported_and_unpacked(store: Store, pack: type[bytes]) -> None:
    image = TestImage(layers=[LayerBuilder().add("base", b"1").bytes()])
    assert bring(store, pack(image.layout("registry.lab/a:1"))) == ["registry.lab/a:1"]
    assert store.images.get(NS, "registry.lab/a:1").target.digest == image.root.digest
    assert rootfs(store) == {"base": b"1", "platform": b"linux/arm/v6"}
    assert store.leases.list(NS) == []
    before = {info.digest for info in store.content.walk(NS)}
    gc.collect(store.db, store.content, store.snapshotters)
    assert {info.digest for info in store.content.walk(NS)} <= before
    assert rootfs(store) == {"base": b"1", "platform": b"linux/arm/v6"}


def test_names_of_imported_images(store: Store) -> None:
    image = TestImage()
    assert bring(store, image.layout("v1"), base_name="my/app") == ["my/app:v1"]
    assert bring(store, image.layout("v1"), base_name="b", digests=True) == [
        "b:v1",
        f"b@{image.root.digest}",
    ]
    assert bring(store, image.layout(), base_name="b") == [f"b@{image.root.digest}"]


def docker_archive(image: TestImage, tags: list[str] | None = None) -> bytes:
    """As old versions of docker save wrote it: plain layers under names of their own, links."""
    by_digest = {str(item.digest): data for item, data in image.blobs}
    manifest = json.loads(by_digest[image.root.digest])
    builder = LayerBuilder()
    layers = []
    for number, layer in enumerate(manifest["layers"]):
        name = f"layer{number}/layer.tar"
        builder.directory(f"layer{number}").add(name, gzip.decompress(by_digest[layer["digest"]]))
        layers.append(name)
    builder.directory("again").symlink("again/layer.tar", "../layer0/layer.tar")
    layers[0] = "again/layer.tar"
    builder.add("config.json", by_digest[manifest["config"]["digest"]])
    entry = {"Config": "config.json", "RepoTags": tags or [], "Layers": layers}
    return builder.add("manifest.json", json.dumps([entry]).encode()).bytes()


def test_a_docker_archive_is_imported(store: Store) -> None:
    image = TestImage(["linux/arm/v6"], [LayerBuilder().add("a", b"1").bytes()], indexed=False)
    made = bring(store, docker_archive(image, ["app:1", "reg.lab/app:2"]))
    assert made == ["docker.io/library/app:1", "reg.lab/app:2"]
    assert rootfs(store) == {"a": b"1", "platform": b"linux/arm/v6"}


def test_what_is_exported_is_the_same_each_time_and_comes_back(
    store: Store, tmp_path: Path
) -> None:
    bring(store, TestImage().layout("registry.lab/a:1"))
    first, second = io.BytesIO(), io.BytesIO()
    export(store, NS, ["registry.lab/a:1"], first, platform=ARMV6)
    export(store, NS, ["registry.lab/a:1"], second, platform=ARMV6)
    assert first.getvalue() == second.getvalue()
    with tarfile.open(fileobj=io.BytesIO(first.getvalue())) as archive:
        members = archive.getnames()
        (docker,) = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
    assert members[-3:] == ["index.json", "manifest.json", "oci-layout"]
    assert docker["RepoTags"] == ["registry.lab/a:1"]
    assert {docker["Config"], *docker["Layers"]} <= set(members)
    other = Store(tmp_path / "other")
    made = import_(other, NS, io.BytesIO(first.getvalue()), platform=ARMV6)
    assert [image.name for image in made] == ["registry.lab/a:1"]
    assert rootfs(other) == {"platform": b"linux/arm/v6"}
    other.close()


def test_export_says_what_is_missing_or_damaged(store: Store) -> None:
    image = TestImage()
    bring(store, image.layout("registry.lab/a:1"))
    with pytest.raises(NotFound, match=r'image "registry\.lab/b:1"'):
        export(store, NS, ["registry.lab/b:1"], io.BytesIO())
    other = platforms.parse("linux/riscv64")
    with pytest.raises(NotFound, match="no image for linux/riscv64") as caught:
        export(store, NS, ["registry.lab/a:1"], io.BytesIO(), platform=other)
    assert caught.value.hint == "it exists for linux/amd64, linux/arm/v6"
    layer = next(item for item, _ in image.blobs if "layer" in item.media_type)
    path = Path(store.content.blobs.path(layer.digest))
    path.chmod(0o600)
    path.write_bytes(bytes(layer.size))
    with pytest.raises(DataLoss, match="damaged"):
        export(store, NS, ["registry.lab/a:1"], io.BytesIO(), all_platforms=True)


def test_a_missing_platform_lists_those_that_exist(store: Store) -> None:
    with pytest.raises(NotFound, match="no image for linux/s390x") as caught:
        bring(store, TestImage().layout("x:1"), platform=platforms.parse("linux/s390x"))
    assert caught.value.hint == "it exists for linux/amd64, linux/arm/v6"
    assert store.images.list(NS) == []


def test_tags(store: Store) -> None:
    bring(store, TestImage().layout("registry.lab/a:1"))
    bring(store, TestImage(["linux/arm/v6"]).layout("registry.lab/b:1"))
    made = names.tag(store, NS, "registry.lab/a:1", "registry.lab/a:2")
    assert made.target == store.images.get(NS, "registry.lab/a:1").target
    with pytest.raises(AlreadyExists):
        names.tag(store, NS, "registry.lab/b:1", "registry.lab/a:2")
    names.tag(store, NS, "registry.lab/b:1", "registry.lab/a:2", force=True)
    assert store.images.get(NS, "registry.lab/a:2").target != made.target
    with pytest.raises(NotFound):
        names.tag(store, NS, "nobody", "x")


def layout(index: object = None, **files: bytes) -> bytes:
    builder = LayerBuilder().add("oci-layout", b"{}")
    builder.add(
        "index.json", json.dumps(index if index is not None else {"manifests": []}).encode()
    )
    for name, data in files.items():
        builder.add(name.replace("__", "/"), data)
    return builder.bytes()


def docker(entry: object) -> bytes:
    return LayerBuilder().add("manifest.json", json.dumps(entry).encode()).bytes()


LINK = LayerBuilder().symlink("config.json", "/etc/passwd").symlink("l", "l")
HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "no tar": b"x" * 4096,
    "another tar": LayerBuilder().add("a", b"1").bytes(),
    "empty layout": layout(),
    "index is a list": layout([]),
    "blob of another digest": layout(blobs__sha256__=b"") + b"",
    "wrong digest": LayerBuilder().add(f"blobs/sha256/{'0' * 64}", b"x").bytes(),
    "malformed digest": LayerBuilder().add("blobs/sha256/..hidden", b"x").bytes(),
    "unknown algorithm": LayerBuilder().add("blobs/md5/0", b"x").bytes(),
    "cut off": TestImage().layout("x:1")[:3000],
    "names what is not there": docker([{"Config": "../../etc/passwd", "Layers": []}]),
    "link to a file of the host": LINK.add(
        "manifest.json", b'[{"Config":"config.json","Layers":["l"]}]'
    ).bytes(),
    "manifest.json is an object": docker({}),
    "entries are no objects": docker([1]),
    "no config": docker([{"Layers": []}]),
    "layers are no list": docker([{"Config": "a", "Layers": "b"}]),
    "deep JSON": LayerBuilder().add("manifest.json", b"[" * 200_000).bytes(),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives_are_refused_and_leave_nothing(store: Store, case: str) -> None:
    with pytest.raises(Error) as caught:
        bring(store, HOSTILE[case])
    assert isinstance(caught.value, InvalidArgument | DataLoss | NotFound)
    assert store.images.list(NS) == []
    assert store.leases.list(NS) == []
    assert list(store.snapshotter().walk(NS)) == []
    gc.collect(store.db, store.content, store.snapshotters)
    assert list(store.content.blobs.walk()) == []
    assert store.content.statuses(NS) == []


def test_an_index_may_have_a_name(store: Store) -> None:
    """The archive's own: the same bytes, tied to the images in it, which live on with it alone."""
    image = TestImage(layers=[LayerBuilder().add("base", b"1").bytes()])
    made = bring(store, image.layout("registry.lab/a:1"), index_name="registry.lab/all:1")
    assert made == ["registry.lab/all:1", "registry.lab/a:1"]
    target = store.images.get(NS, "registry.lab/all:1").target
    index = json.loads(store.content.read(NS, target.digest, target.size))
    assert [item["digest"] for item in index["manifests"]] == [str(image.root.digest)]
    store.images.delete(NS, "registry.lab/a:1")
    gc.collect(store.db, store.content, store.snapshotters)
    assert store.content.info(NS, image.root.digest)
    assert rootfs(store) == {"base": b"1", "platform": b"linux/arm/v6"}


def test_an_index_is_made_for_an_archive_of_docker(store: Store) -> None:
    image = TestImage(["linux/arm/v6"], [LayerBuilder().add("a", b"1").bytes()], indexed=False)
    made = bring(store, docker_archive(image, ["app:1"]), index_name="registry.lab/all:1")
    assert made == ["registry.lab/all:1", "docker.io/library/app:1"]
    target = store.images.get(NS, "registry.lab/all:1").target
    [listed] = json.loads(store.content.read(NS, target.digest, target.size))["manifests"]
    assert listed["annotations"] == {"io.containerd.image.name": "docker.io/library/app:1"}
