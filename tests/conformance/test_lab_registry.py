"""The lab registry as a client meets it: the real server, and Debian's skopeo as an independent client."""

import http.client
import json
import ssl
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolkit import debian_program, oci
from toolkit.arch import Arch
from toolkit.errors import PinnaceError
from toolkit.lab import images
from toolkit.lab.authority import Authority
from toolkit.lab.client import RegistryClient
from toolkit.lab.server import SUITE, RegistryServer
from toolkit.tree import Tree

pytestmark = pytest.mark.peer


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@pytest.fixture
def server(tmp_path: Path, authority: Authority) -> Iterator[RegistryServer]:
    certificate = authority.server(("127.0.0.1",))
    with RegistryServer(tmp_path / "registry", certificate=certificate) as running:
        yield running


@pytest.fixture
def client(server: RegistryServer, authority: Authority) -> Iterator[RegistryClient]:
    with RegistryClient(server.url, trust=authority.ca_certificate()) as connected:
        yield connected


def _image(platform: str, content: str = "world") -> oci.Image:
    tree = Tree()
    tree.file("hello", content)
    return oci.image(platform, [oci.layer(tree.tar())], {}, created=0)


def _skopeo(*arguments: str) -> subprocess.CompletedProcess[str]:
    skopeo = debian_program.command(SUITE, "skopeo", "usr/bin/skopeo")
    return subprocess.run(
        [*skopeo, "--insecure-policy", *arguments], capture_output=True, text=True, check=False
    )


def test_a_stranger_to_the_authority_is_refused(server: RegistryServer, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "stranger").ca_certificate()
    with (
        RegistryClient(server.url, trust=stranger) as client,
        pytest.raises(PinnaceError, match="certificate verify failed"),
    ):
        client.catalog()


def test_pushing_twice_changes_nothing(client: RegistryClient) -> None:
    image = _image("linux/amd64")
    client.push_image("lab/hello", image)
    client.push_image("lab/hello", image)
    assert client.has_manifest("lab/hello", image.manifest.digest)
    assert not client.has_manifest("lab/hello", f"sha256:{'0' * 64}")


def test_users_are_asked_for_their_password(tmp_path: Path) -> None:
    with RegistryServer(tmp_path, users={"ann": "secret"}) as server:
        statuses = []
        for word in ("secret", "wrong"):
            connection = http.client.HTTPConnection(server.address, server.port, timeout=5)
            token = b64encode(f"ann:{word}".encode()).decode()
            connection.request("GET", "/v2/", headers={"Authorization": f"Basic {token}"})
            statuses.append(connection.getresponse().status)
            connection.close()
    assert statuses == [200, 401]


def test_a_pull_through_cache_gives_what_its_upstream_has(
    server: RegistryServer, client: RegistryClient, authority: Authority, tmp_path: Path
) -> None:
    image = _image("linux/amd64")
    client.push_image("lab/hello", image)
    client.push_manifest("lab/hello", "v1", image.manifest)
    trust = authority.ca_certificate()
    with (
        RegistryServer(tmp_path / "cache", upstream=server.url, trust=trust) as cache,
        RegistryClient(cache.url) as other,
    ):
        assert other.manifest("lab/hello", "v1") == json.loads(image.manifest.data)


def test_a_taken_port_is_an_error_that_says_so(server: RegistryServer, tmp_path: Path) -> None:
    with pytest.raises(PinnaceError, match="address already in use"):
        RegistryServer(tmp_path / "second", port=server.port).start()


def test_the_server_is_gone_after_stop(server: RegistryServer, authority: Authority) -> None:
    assert server.healthy()
    pid = server.pid
    server.stop()
    assert not server.healthy()
    assert not Path(f"/proc/{pid}").exists()


def test_tls_is_what_the_server_speaks(server: RegistryServer, authority: Authority) -> None:
    context = ssl.create_default_context(cafile=str(authority.ca_certificate()))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    connection = http.client.HTTPSConnection(
        server.address, server.port, timeout=5, context=context
    )
    connection.request("GET", "/v2/")
    assert connection.getresponse().status == 200
    connection.close()


def test_skopeo_copies_each_platform_of_the_lab_images(
    server: RegistryServer, client: RegistryClient, authority: Authority, tmp_path: Path
) -> None:
    images.fill(client, list(Arch))
    certificates = tmp_path / "certs"
    certificates.mkdir()
    (certificates / "ca.crt").write_bytes(authority.ca_certificate().read_bytes())
    for image in ("library/busybox:latest", "library/nginx:latest", "pause:3.10"):
        for arch in Arch:
            target = tmp_path / f"{image.replace('/', '-')}-{arch.label}"
            system, architecture, variant = (*arch.facts.oci.split("/"), "")[:3]
            done = _skopeo(
                f"--override-os={system}",
                f"--override-arch={architecture}",
                *([f"--override-variant={variant}"] if variant else []),
                "copy",
                f"--src-cert-dir={certificates}",
                f"docker://{server.host}/{image}",
                f"dir:{target}",
            )
            assert done.returncode == 0, done.stderr
            manifest = json.loads((target / "manifest.json").read_text())
            config = json.loads((target / manifest["config"]["digest"][7:]).read_text())
            found = [config["os"], config["architecture"], config.get("variant", "")]
            assert found == [system, architecture, variant]


def test_filling_again_pushes_nothing(client: RegistryClient) -> None:
    assert images.fill(client, [Arch.AMD64]) > 0
    assert images.fill(client, [Arch.AMD64]) == 0


def test_another_architecture_joins_the_index(client: RegistryClient) -> None:
    images.fill(client, [Arch.AMD64])
    images.fill(client, [Arch.ARMV6L])
    index = client.manifest("library/busybox", "latest")
    assert index is not None
    found = {tuple(sorted(entry["platform"].items())) for entry in index["manifests"]}
    assert len(found) == 2
    assert images.fill(client, [Arch.AMD64, Arch.ARMV6L]) == 0
