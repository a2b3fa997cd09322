"""Our ctr against our daemon: images pulled from a real registry over TLS, imported and exported."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.conformance.ctr.daemons import IMAGE, environment
from tests.conformance.ctr.test_ctr import Terminal
from tests.conformance.daemon.world import ADDRESS, World
from toolkit import oci
from toolkit.arch import Arch
from toolkit.arena import Arena
from toolkit.lab.authority import Authority
from toolkit.lab.client import RegistryClient
from toolkit.lab.server import RegistryServer
from toolkit.tree import Tree

pytestmark = [pytest.mark.root, pytest.mark.peer]


class Ours:
    """Our ctr in the arena of the daemon."""

    def __init__(self, world: World) -> None:
        self.world = world

    def words(self, *words: str) -> list[str]:
        python = [sys.executable, "-m", "pinnace.cli.main", "ctr"]
        return [*python, "--address", ADDRESS, "--namespace", self.world.namespace, *words]

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.world.arena.run(self.words(*words), env=environment())

    def ok(self, *words: str) -> str:
        done = self(*words)
        assert done.returncode == 0, f"{done.stderr}\n{self.world.complaints()}"
        return done.stdout


@pytest.fixture(scope="module")
def ctr() -> Iterator[Ours]:
    if os.geteuid() != 0:
        pytest.skip("needs root for namespaces")
    with Arena() as arena:
        world = World(arena)
        world.start()
        yield Ours(world)


class Registry:
    """A registry with TLS that has one image for this machine's and a board's platform."""

    def __init__(self, server: RegistryServer, authority: Authority) -> None:
        self.ca = str(authority.ca_certificate())
        self.name = f"{server.host}/lab/hello:1"
        self.host = server.host
        images = [self._image(Arch.from_machine(os.uname().machine).facts.oci), self._image("linux/arm/v6")]  # fmt: skip
        with RegistryClient(server.url, trust=authority.ca_certificate()) as client:
            for image in images:
                client.push_image("lab/hello", image)
            index = oci.index([image.descriptor() for image in images], {})
            client.push_manifest("lab/hello", "1", index)

    def _image(self, platform: str) -> oci.Image:
        tree = Tree()
        tree.file("hello", f"for {platform}" * 1000)
        return oci.image(platform, [oci.layer(tree.tar())], {"Cmd": ["/hello"]}, created=0)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    place = tmp_path_factory.mktemp("registry")
    authority = Authority(place / "ca")
    certificate = authority.server(("127.0.0.1",))
    with RegistryServer(place / "data", certificate=certificate) as server:
        yield Registry(server, authority)


def test_pull_list_check_and_remove(ctr: Ours, registry: Registry) -> None:
    shown = ctr.ok("image", "pull", "--tlscacert", registry.ca, registry.name)
    assert "layer-sha256:" in shown
    assert shown.splitlines()[-1].startswith("done: ")
    assert ctr.ok("image", "ls", "-q") == f"{registry.name}\n"
    assert "linux/arm/v6" in ctr.ok("image", "ls")
    checked = ctr.ok("image", "check")
    assert "complete (2/2)" in checked
    assert checked.rstrip().endswith("true")
    assert ctr.ok("container", "create", registry.name, "c1") == ""
    assert ctr.ok("container", "rm", "c1") == ""
    assert ctr.ok("image", "rm", "--sync", registry.name) == f"{registry.name}\n"
    assert ctr.ok("content", "ls", "-q") == ""
    assert ctr.ok("snapshot", "ls").count("\n") == 1


def test_on_a_terminal_the_progress_is_redrawn(ctr: Ours, registry: Registry) -> None:
    words = ctr.words("image", "pull", "--tlscacert", registry.ca, registry.name)
    terminal = Terminal(ctr.world.arena.command(words))
    assert terminal.status() == 0
    assert "\x1b[K" in terminal.seen
    assert "|++++++" in terminal.seen
    assert "elapsed: " in terminal.seen
    ctr.ok("image", "rm", registry.name)


def test_one_platform_of_several(ctr: Ours, registry: Registry) -> None:
    ctr.ok("image", "pull", "--tlscacert", registry.ca, "--platform", "linux/arm/v6", registry.name)
    refused = ctr("image", "pull", "--skip-verify", "--platform", "windows/amd64", registry.name)
    assert refused.returncode == 1
    assert "linux/arm/v6" in refused.stderr.splitlines()[-1]
    ctr.ok("image", "rm", "--sync", registry.name)


def test_an_unknown_authority_is_one_clear_line(
    ctr: Ours, registry: Registry, tmp_path: Path
) -> None:
    stranger = str(Authority(tmp_path / "ca").ca_certificate())
    done = ctr("image", "pull", "--tlscacert", stranger, registry.name)
    assert done.returncode == 1
    assert "unknown authority" in done.stderr
    assert done.stderr.count("\n") == 1
    assert ctr.ok("image", "ls", "-q") == ""
    assert ctr("image", "pull", "--skip-verify", registry.name).returncode == 0
    ctr.ok("image", "rm", "--sync", registry.name)


def test_credentials(ctr: Ours, tmp_path: Path) -> None:
    with RegistryServer(tmp_path / "data", users={"ann": "secret"}) as server:
        name = f"{server.host}/lab/private:1"
        wrong = ctr("image", "pull", "--plain-http", "--user", "ann:wrong", name)
        assert wrong.returncode == 1
        assert "secret" not in wrong.stderr
        # Nothing was pushed: with the right password the image is what is missing.
        right = ctr("image", "pull", "--plain-http", "--user", "ann:secret", name)
        assert "not found" in right.stderr


def test_push_under_another_name_and_pull_it_back(ctr: Ours, tmp_path: Path) -> None:
    ctr.ok("image", "import", str(ctr.world.archive))
    with RegistryServer(tmp_path / "data", users={"ann": "secret"}) as server:
        name = f"{server.host}/lab/pushed:1"
        login = ("--plain-http", "--user", "ann:secret")
        shown = ctr.ok("image", "push", *login, name, IMAGE)
        assert "done: " in shown
        assert ctr("image", "push", "--plain-http", name, IMAGE).returncode == 1
        missing = ctr("image", "push", *login, name)
        assert missing.returncode == 1
        assert f'image "{name}": not found' in missing.stderr
        ctr.ok("image", "rm", "--sync", IMAGE)
        ctr.ok("image", "pull", *login, name)
        assert ctr.ok("image", "ls", "-q") == f"{name}\n"
    ctr.ok("image", "rm", "--sync", name)


def test_import_tag_export(ctr: Ours, tmp_path: Path) -> None:
    shown = ctr.ok("image", "import", str(ctr.world.archive))
    assert f"unpacking {IMAGE} (sha256:" in shown
    other = "registry.lab/library/other:2"
    assert ctr.ok("image", "tag", IMAGE, other) == f"{other}\n"
    again = ctr("image", "tag", IMAGE, other)
    assert again.returncode == 1
    assert "already exists" in again.stderr
    assert ctr.ok("image", "tag", "--force", IMAGE, other) == f"{other}\n"
    out = tmp_path / "out.tar"
    ctr.ok("image", "export", str(out), other)
    with tarfile.open(out) as archive:
        assert {"oci-layout", "index.json", "manifest.json"} <= set(archive.getnames())
    ctr.ok("image", "rm", "--sync", IMAGE, other)
    assert ctr.ok("content", "ls", "-q") == ""
    ctr.ok("image", "import", str(out))
    assert ctr.ok("image", "ls", "-q") == f"{other}\n"
    ctr.ok("image", "rm", "--sync", other)


def test_import_of_an_archive_with_a_long_end(ctr: Ours, tmp_path: Path) -> None:
    """tar fills its last record with zeros; what is behind the end is not waited for."""
    archive = tmp_path / "long.tar"
    archive.write_bytes(Path(ctr.world.archive).read_bytes() + bytes(1 << 20))
    assert f"unpacking {IMAGE} (sha256:" in ctr.ok("image", "import", str(archive))
    ctr.ok("image", "rm", "--sync", IMAGE)


def test_export_to_where_nothing_can_be_written(ctr: Ours) -> None:
    ctr.ok("image", "import", str(ctr.world.archive))
    for target in ("/proc/out.tar", "/nonexistent/out.tar"):
        done = ctr("image", "export", target, IMAGE)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
    missing = ctr("image", "export", "/dev/null", "registry.lab/nope:1")
    assert "not found" in missing.stderr
    ctr.ok("image", "rm", IMAGE)


def test_a_hint_where_the_image_is(ctr: Ours) -> None:
    ctr.ok("image", "import", str(ctr.world.archive))
    done = ctr("--namespace", "elsewhere", "container", "create", IMAGE, "c1")
    assert done.returncode == 1
    assert f"it is in namespace {ctr.world.namespace}" in done.stderr
    ctr.ok("image", "rm", IMAGE)


def test_skopeo_carries_images_into_the_store_and_out(
    ctr: Ours, registry: Registry, tmp_path: Path
) -> None:
    python = [sys.executable, "-m", "pinnace.cli.main", "skopeo", "--override-arch=arm", "--override-variant=v6"]  # fmt: skip
    own = {
        **environment(),
        "CONTAINERD_ADDRESS": ADDRESS,
        "CONTAINERD_NAMESPACE": ctr.world.namespace,
    }
    name = "registry.lab/from/skopeo:1"

    def skopeo(*words: str) -> subprocess.CompletedProcess[str]:
        return ctr.world.arena.run([*python, *words], env=own)

    pulled = skopeo(
        "copy", "--all", "--src-tls-verify=false", f"docker://{registry.name}", f"oci:{tmp_path}/in"
    )
    assert pulled.returncode == 0, pulled.stderr
    for words in (
        ["copy", "--all", f"oci:{tmp_path}/in", f"containerd:{name}"],
        ["copy", "--all", f"containerd:{name}", f"oci:{tmp_path}/out"],
    ):
        done = skopeo(*words)
        assert done.returncode == 0, done.stderr
    assert name in ctr.ok("images", "ls", "-q").split()
    before, after = (sorted(p.name for p in tmp_path.glob(f"{d}/blobs/*/*")) for d in ("in", "out"))
    assert before == after
    missing = skopeo("inspect", "containerd:registry.lab/no:1")
    assert missing.returncode == 2
    assert len(missing.stderr.splitlines()) == 1


def test_this_command_fetches_and_sends_by_itself(ctr: Ours, registry: Registry, tmp_path: Path) -> None:  # fmt: skip
    """--local and the verbs on content: registry and content store, without the daemon's Transfer service."""
    trust = ("--tlscacert", registry.ca)
    ctr.ok("content", "fetch", *trust, registry.name, f"{registry.host}/fetched:1")
    inspected = ctr.ok("image", "inspect", f"{registry.host}/fetched:1")
    manifest, layer = (re.search(rf"{kind}\S* @(sha256:\S+)", inspected) for kind in ("manifest.v1", "layer.v1"))  # fmt: skip
    assert manifest
    assert layer
    ctr.ok("image", "pull", "--local", *trust, registry.name)
    assert "true" in ctr.ok("image", "check", f"name=={registry.name}")
    index = ctr.ok("content", "fetch-object", *trust, registry.name)
    assert layer[1] not in index
    assert manifest[1] in index
    blob = ctr.world.arena.run(
        ctr.words("content", "fetch-blob", *trust, registry.name, layer[1]), env=environment(), text=False
    )  # fmt: skip
    assert f"sha256:{sha256(blob.stdout).hexdigest()}" == layer[1]
    copied = f"{registry.host}/lab/copied:1"
    platform = Arch.from_machine(os.uname().machine).facts.oci
    ctr.ok("image", "push", "--local", *trust, "--platform", platform, copied, registry.name)
    assert layer[1] in ctr.ok("content", "fetch-object", *trust, copied)
    kind = "application/vnd.oci.image.manifest.v1+json"
    pushed = ctr.ok("content", "push-object", *trust, f"{registry.host}/lab/copied:2", manifest[1], kind)  # fmt: skip
    assert pushed == f"Pushed {manifest[1]} {kind}\n"
    told = ctr("content", "fetch-object", "--http-dump", *trust, copied).stderr
    assert re.search(r"GET https://\S+/v2/lab/copied/manifests/", told)
    refused = ctr("image", "pull", "--http-dump", *trust, registry.name)
    assert "the daemon does the asking" in refused.stderr
    ctr.ok("image", "rm", "--sync", registry.name, f"{registry.host}/fetched:1")
