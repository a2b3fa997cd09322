"""Images against real peers: Debian's docker-registry, skopeo and umoci."""

from __future__ import annotations

import io
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinnace.errors import DataLoss, NotFound, PermissionDenied, Unavailable
from pinnace.images.archive import export, import_
from pinnace.images.pull import pull
from pinnace.images.push import push
from pinnace.linux import mount
from pinnace.registry.resolver import Resolver
from pinnace.spec import image as images
from pinnace.spec import platform as platforms
from pinnace.store.store import Store
from tests.images import TestImage, rootfs
from tests.layers import LayerBuilder, listing
from toolkit.arch import Arch
from toolkit.debian import Archive
from toolkit.lab.authority import Authority
from toolkit.lab.server import SUITE, RegistryServer

pytestmark = [pytest.mark.peer, pytest.mark.root]
NS = "default"
ARMV6 = platforms.parse("linux/arm/v6")
IMAGE = TestImage(layers=[LayerBuilder().add("big", os.urandom(200_000)).bytes()])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "store")
    yield opened
    opened.close()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RegistryServer]:
    with RegistryServer(tmp_path / "registry") as running:
        yield running


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def certs_d(tmp_path: Path, host: str, ca: Path) -> list[str]:
    folder = tmp_path / "certs.d" / host
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hosts.toml").write_text(f'server = "https://{host}"\nca = "{ca}"\n')
    return [str(tmp_path / "certs.d")]


def test_push_and_pull(store: Store, registry: RegistryServer, tmp_path: Path) -> None:
    reference = f"{registry.host}/library/a:1"
    resolver = Resolver()
    IMAGE.push(resolver, reference)
    assert resolver.resolve(reference)[1].digest == IMAGE.root.digest
    assert resolver.tags(f"{registry.host}/library/a") == ["1"]
    made = pull(store, NS, reference, resolver, platform=ARMV6)
    assert made.target.digest == IMAGE.root.digest
    assert rootfs(store)["platform"] == b"linux/arm/v6"
    by_digest = f"{registry.host}/library/a@{IMAGE.root.digest}"
    assert pull(store, NS, by_digest, resolver, platform=ARMV6).name == by_digest
    # All of it, pushed again under another name; the blobs are mounted, not sent.
    pull(store, NS, reference, resolver, all_platforms=True, unpack=False)
    push(store, NS, reference, f"{registry.host}/other/b:2", resolver)
    other = Store(tmp_path / "other")
    assert pull(other, NS, f"{registry.host}/other/b:2", resolver, platform=ARMV6)
    assert rootfs(other) == rootfs(store)
    other.close()


def test_tls_and_login(store: Store, tmp_path: Path, authority: Authority) -> None:
    certificate = authority.server(("127.0.0.1",))
    with RegistryServer(
        tmp_path / "registry", certificate=certificate, users={"pi": "raspberry"}
    ) as registry:
        reference = f"{registry.host}/library/a:1"
        directories = certs_d(tmp_path, registry.host, authority.ca_certificate())
        IMAGE.push(Resolver(directories, credentials=lambda _: ("pi", "raspberry")), reference)
        with pytest.raises(PermissionDenied, match="wants a login"):
            pull(store, NS, reference, Resolver(directories), platform=ARMV6)
        wrong = Resolver(directories, credentials=lambda _: ("pi", "wrong"))
        with pytest.raises(PermissionDenied):
            pull(store, NS, reference, wrong, platform=ARMV6)
        right = Resolver(directories, credentials=lambda _: ("pi", "raspberry"))
        pull(store, NS, reference, right, platform=ARMV6)
        assert rootfs(store)["platform"] == b"linux/arm/v6"


def test_an_unknown_ca_is_a_sentence(store: Store, tmp_path: Path, authority: Authority) -> None:
    with RegistryServer(
        tmp_path / "registry", certificate=authority.server(("127.0.0.1",))
    ) as registry:
        reference = f"{registry.host}/library/a:1"
        folder = tmp_path / "certs.d" / registry.host
        folder.mkdir(parents=True)
        (folder / "hosts.toml").write_text(f'server = "https://{registry.host}"\n')
        with pytest.raises(Unavailable, match="signed by an unknown authority") as caught:
            pull(store, NS, reference, Resolver([str(tmp_path / "certs.d")]), platform=ARMV6)
        assert registry.address in caught.value.message
        assert 'ca = "ca.crt"' in caught.value.hint
        insecure = Resolver([str(tmp_path / "certs.d")], skip_verify=True)
        with pytest.raises(NotFound):
            pull(store, NS, reference, insecure, platform=ARMV6)


def test_a_pull_through_mirror(store: Store, tmp_path: Path) -> None:
    with RegistryServer(tmp_path / "upstream") as upstream:
        IMAGE.push(Resolver(), f"{upstream.host}/library/a:1")
        with RegistryServer(tmp_path / "mirror", upstream=upstream.url) as mirror:
            folder = tmp_path / "certs.d" / "registry.example"
            folder.mkdir(parents=True)
            (folder / "hosts.toml").write_text(
                f'server = "http://127.0.0.1:1"\n[host."{mirror.url}"]\n'
            )
            resolver = Resolver([str(tmp_path / "certs.d")])
            pull(store, NS, "registry.example/library/a:1", resolver, platform=ARMV6)
    assert rootfs(store)["platform"] == b"linux/arm/v6"


def test_a_blob_damaged_in_the_registry(
    store: Store, registry: RegistryServer, tmp_path: Path
) -> None:
    reference = f"{registry.host}/library/a:1"
    IMAGE.push(Resolver(), reference)
    manifest = images.parse_manifest(
        next(data for item, data in IMAGE.blobs if item.digest == IMAGE.manifests[1].digest)
    )
    layer = manifest.layers[0]
    (path,) = registry.data.glob(f"**/blobs/sha256/*/{layer.digest.hex}/data")
    path.write_bytes(bytes(layer.size))
    with pytest.raises(DataLoss, match="sent a corrupt layer"):
        pull(store, NS, reference, Resolver(), platform=ARMV6)
    assert store.images.list(NS) == []
    assert not store.content.intact(NS, layer.digest)


# Debian's tools.


@pytest.fixture(scope="module")
def tools() -> Path:
    machine = Arch.from_machine(os.uname().machine)
    return Archive(SUITE, machine.facts.debian).unpack(["skopeo", "umoci"], dependencies=True)


def run(tools: Path, program: str, *arguments: object) -> None:
    """Run a program of the unpacked packages with their own loader and libraries."""
    libraries = next((tools / "usr/lib").glob("*-linux-gnu*"))
    loader = next(libraries.glob("ld-linux*"))
    command = [loader, "--library-path", libraries, tools / "usr/bin" / program, *arguments]
    done = subprocess.run(
        [str(word) for word in command],
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def skopeo(tools: Path, tmp_path: Path, *arguments: object) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
    run(tools, "skopeo", "--policy", policy, "--tmpdir", tmp_path, *arguments)


@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
def test_archives_of_skopeo_are_imported(
    store: Store, registry: RegistryServer, tools: Path, tmp_path: Path, kind: str
) -> None:
    reference = f"{registry.host}/library/a:1"
    IMAGE.push(Resolver(), reference)
    archive = tmp_path / "image.tar"
    name = f"{archive}:docker.io/library/a:1"
    source = ["--override-arch=arm", "--override-variant=v6", "copy", "--src-tls-verify=false"]
    skopeo(tools, tmp_path, *source, f"docker://{reference}", f"{kind}:{name}")
    with archive.open("rb") as stream:
        made = import_(store, NS, stream, platform=ARMV6)
    assert [image.name for image in made] == ["docker.io/library/a:1"]
    assert rootfs(store)["platform"] == b"linux/arm/v6"


@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
def test_skopeo_reads_what_we_export(
    store: Store, registry: RegistryServer, tools: Path, tmp_path: Path, kind: str
) -> None:
    import_(store, NS, io.BytesIO(IMAGE.layout("registry.lab/a:1")), all_platforms=True)
    archive = tmp_path / "image.tar"
    with archive.open("wb") as out:
        export(store, NS, ["registry.lab/a:1"], out, platform=ARMV6)
    name = f"{archive}:registry.lab/a:1" if kind == "docker-archive" else f"{archive}:1"
    target = f"docker://{registry.host}/from/skopeo:1"
    arch = ["--override-arch=arm", "--override-variant=v6"]
    skopeo(tools, tmp_path, *arch, "copy", "--dest-tls-verify=false", f"{kind}:{name}", target)
    other = Store(tmp_path / "other")
    reference = f"{registry.host}/from/skopeo:1"
    pull(other, NS, reference, Resolver(), platform=ARMV6)
    assert rootfs(other)["platform"] == b"linux/arm/v6"
    other.close()


def test_trees_are_those_of_umoci(store: Store, tools: Path, tmp_path: Path) -> None:
    """The same image unpacked by both, compared entry by entry."""
    layers = [
        LayerBuilder()
        .directory("etc", 0o751, owner=(1, 1))
        .add("etc/passwd", b"root", mode=0o640, owner=(0, 42), mtime=12.5)
        .add("etc/gone", b"1")
        .add("bin/su", b"x", mode=0o4755)
        .directory("var/d")
        .add("var/d/hidden", b"1")
        .symlink("link", "/etc/passwd")
        .hard_link("hard", "etc/passwd"),
        LayerBuilder()
        .directory("etc", 0o751, owner=(1, 1))
        .add("etc/.wh.gone")
        .directory("var/d", 0o700)
        .add("var/d/.wh..wh..opq")
        .add("var/d/new", b"2"),
    ]
    image = TestImage(["linux/amd64"], [layer.bytes() for layer in layers], indexed=False)
    layout = tmp_path / "layout"
    subprocess.run(["mkdir", "-p", layout], check=True)
    subprocess.run(["tar", "-xf", "-", "-C", layout], input=image.layout("one"), check=True)
    run(tools, "umoci", "raw", "unpack", "--image", f"{layout}:one", tmp_path / "theirs")
    amd64 = platforms.parse("linux/amd64")
    import_(store, NS, io.BytesIO(image.layout("one")), platform=amd64, base_name="x")
    snapshotter = store.snapshotter()
    (top,) = {i.name for i in snapshotter.walk(NS)} - {i.parent for i in snapshotter.walk(NS)}
    ours = tmp_path / "ours"
    ours.mkdir()
    mount.mount_all(snapshotter.view(NS, "view", top), str(ours))
    try:
        mine, other = listing(ours), listing(tmp_path / "theirs")
    finally:
        mount.unmount_all(str(ours))
    for tree in (mine, other):  # implied directories have the time they were made at
        for path in ("bin", "var"):
            tree[path] = (*tree[path][:3], 0, *tree[path][4:])
    assert mine == other
