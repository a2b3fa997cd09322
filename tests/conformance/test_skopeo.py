"""``skopeo`` against Debian's docker-registry, and beside Debian's skopeo: what one writes the other reads."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinnace.cli import skopeo
from pinnace.errors import Error, NotFound, PermissionDenied, Unavailable
from pinnace.registry.resolver import Resolver
from pinnace.spec import image as images
from tests.images import TestImage
from tests.layers import LayerBuilder
from toolkit import debian_program
from toolkit.lab.authority import Authority
from toolkit.lab.server import SUITE, RegistryServer

pytestmark = pytest.mark.peer
IMAGE = TestImage(layers=[LayerBuilder().add("big", os.urandom(200_000)).bytes()])
ARM = ["--override-arch=arm", "--override-variant=v6"]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RegistryServer]:
    with RegistryServer(tmp_path / "registry") as running:
        IMAGE.push(Resolver(), f"{running.host}/library/a:1")
        yield running


@pytest.fixture(autouse=True)
def own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's logins, policies or signatures but the test's."""
    for name in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG", "TMPDIR"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    places = tmp_path / "XDG_CONFIG_HOME" / "containers" / "registries.d"
    places.mkdir(parents=True)
    (places / "test.yaml").write_text(
        f"default-docker:\n  lookaside: file://{tmp_path}/signatures\n"
        "  use-sigstore-attachments: true\n"
    )


def ours(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    assert skopeo.main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def theirs(*words: object, status: int = 0) -> str:
    command = debian_program.command(SUITE, "skopeo", "usr/bin/skopeo")
    done = subprocess.run(
        [*command, "--registries.d", f"{os.environ['XDG_CONFIG_HOME']}/containers/registries.d",
         *map(str, words)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    return done.stdout


def test_inspect_says_what_theirs_says(
    registry: RegistryServer, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"docker://{registry.host}/library/a:1"
    words = [*ARM, "inspect", name, "--tls-verify=false"]
    assert json.loads(ours(capsys, *words)) == json.loads(theirs(*words))
    for more in (["--raw"], ["--config", "--raw"], ["--format", "{{.Name}} {{.Digest}} {{.Os}}"]):
        assert ours(capsys, *words, *more).strip() == theirs(*words, *more).strip()
    tags = ["list-tags", name.rpartition(":")[0], "--tls-verify=false"]
    assert json.loads(ours(capsys, *tags)) == json.loads(theirs(*tags))


@pytest.mark.parametrize("kind", ["oci", "oci-archive", "docker-archive", "dir"])
def test_what_one_writes_the_other_reads(
    registry: RegistryServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """From registry to file by one, from file to registry by the other, both ways."""
    source = f"docker://{registry.host}/library/a:1"
    tag = {"oci": ":x", "oci-archive": ":x", "docker-archive": ":a/x:1", "dir": ""}[kind]
    configs = []
    for number, (write, read) in enumerate([("ours", "theirs"), ("theirs", "ours")]):
        place = f"{kind}:{tmp_path}/{number}{tag}"
        target = f"docker://{registry.host}/from/{kind}:{number}"
        for who, words in (
            (write, [*ARM, "copy", "--src-tls-verify=false", source, place]),
            (read, [*ARM, "copy", "--dest-tls-verify=false", place, target]),
        ):
            if who == "ours":
                ours(capsys, *words)
            else:
                theirs("--insecure-policy", *words)
        configs.append(json.loads(ours(capsys, *ARM, "inspect", "--config", target)))
    assert configs[0]["rootfs"] == configs[1]["rootfs"]
    assert configs[0]["architecture"] == "arm"


@pytest.mark.parametrize("kind", ["oci", "dir"])
def test_whole_indexes_are_the_same_files(
    registry: RegistryServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    source = f"docker://{registry.host}/library/a:1"
    tag = ":x" if kind == "oci" else ""
    ours(capsys, "copy", "--all", source, f"{kind}:{tmp_path}/ours{tag}")
    words = ["copy", "--all", "--src-tls-verify=false", source, f"{kind}:{tmp_path}/theirs{tag}"]
    theirs("--insecure-policy", *words)
    found = [_content(tmp_path / who) for who in ("ours", "theirs")]
    assert found[0] == found[1]


def _content(root: Path) -> dict[str, object]:
    return {
        str(path.relative_to(root)): json.loads(path.read_bytes())
        if path.name in ("index.json", "oci-layout")
        else path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def test_conversion_to_docker_and_back(
    registry: RegistryServer, capsys: pytest.CaptureFixture[str]
) -> None:
    host = registry.host
    ours(
        capsys,
        "copy",
        "--all",
        "-f",
        "v2s2",
        f"docker://{host}/library/a:1",
        f"docker://{host}/b:d",
    )
    raw = json.loads(theirs("inspect", "--tls-verify=false", "--raw", f"docker://{host}/b:d"))
    assert raw["mediaType"] == images.DOCKER_INDEX
    ours(capsys, "copy", "--all", "-f", "oci", f"docker://{host}/b:d", f"docker://{host}/b:o")
    again = ours(capsys, "inspect", "--raw", f"docker://{host}/b:o")
    assert again == ours(capsys, "inspect", "--raw", f"docker://{host}/library/a:1")


def test_zstd_layers_are_read_by_theirs(
    registry: RegistryServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host = registry.host
    words = ["--dest-compress-format=zstd", f"docker://{host}/library/a:1", f"docker://{host}/z:1"]
    ours(capsys, "copy", *words)
    theirs(
        "--insecure-policy", "copy", "--src-tls-verify=false", f"docker://{host}/z:1",
        f"docker-archive:{tmp_path}/z.tar",
    )  # fmt: skip
    names = subprocess.run(["tar", "-tf", tmp_path / "z.tar"], capture_output=True, text=True)
    for diff_id in json.loads(ours(capsys, "inspect", "--config", f"docker://{host}/z:1"))["rootfs"]["diff_ids"]:  # fmt: skip
        assert f"{diff_id.partition(':')[2]}.tar" in names.stdout


def test_delete(registry: RegistryServer, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"docker://{registry.host}/library/a:1"
    ours(capsys, "delete", name)
    with pytest.raises(NotFound) as caught:
        skopeo.main(["inspect", name])
    assert caught.value.exit_status == 2
    theirs("inspect", "--tls-verify=false", name, status=2)


def test_login_is_kept_for_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RegistryServer(tmp_path / "private", users={"pi": "raspberry"}) as private:
        host, authfile = private.host, tmp_path / "auth.json"
        with pytest.raises(PermissionDenied):
            ours(capsys, "login", "-u", "pi", "-p", "wrong", "--authfile", authfile, host)
        assert not authfile.exists()
        ours(capsys, "login", "-u", "pi", "-p", "raspberry", "--authfile", authfile, host)
        assert authfile.stat().st_mode & 0o777 == 0o600
        shown = ours(capsys, "login", "--get-login", "--authfile", authfile, host)
        assert shown == "pi\n"
        assert theirs("login", "--get-login", "--authfile", authfile, host) == "pi\n"
        target = f"docker://{host}/x:1"
        IMAGE.push(Resolver(credentials=lambda _: ("pi", "raspberry")), f"{host}/x:1")
        for words in (["--authfile", authfile], ["--creds", "pi:raspberry"]):
            ours(capsys, "inspect", target, *words)
        for words in ([], ["--no-creds", "--authfile", authfile], ["--creds", "pi:no"]):
            with pytest.raises(PermissionDenied, match="wants a login"):
                ours(capsys, "inspect", target, *words)
        ours(capsys, "logout", "--authfile", authfile, host)
        assert json.loads(authfile.read_text()) == {"auths": {}}


def test_tls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    authority = Authority(tmp_path / "ca")
    certificate = authority.server(("127.0.0.1",))
    with RegistryServer(tmp_path / "r", certificate=certificate) as registry:
        name = f"docker://{registry.host}/a:1"
        (tmp_path / "certs").mkdir()
        (tmp_path / "certs" / "ca.crt").write_bytes(authority.ca_certificate().read_bytes())
        IMAGE.push(Resolver(certificates=str(tmp_path / "certs")), f"{registry.host}/a:1")
        ours(capsys, "inspect", name, "--cert-dir", tmp_path / "certs")
        ours(capsys, "inspect", name, "--tls-verify=false")
        (tmp_path / "none").mkdir()
        with pytest.raises(Error):
            ours(capsys, "inspect", name, "--cert-dir", tmp_path / "none")


def test_sync_there_and_back(
    registry: RegistryServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host = registry.host
    ours(capsys, "copy", "--all", f"docker://{host}/library/a:1", f"docker://{host}/library/a:2")
    common = ["sync", "--all", "--src-tls-verify=false"]
    words = ["--src", "docker", "--dest", "dir", f"{host}/library/a"]
    (tmp_path / "theirs").mkdir()
    ours(capsys, *common, *words, tmp_path / "ours")
    theirs("--insecure-policy", *common, *words, tmp_path / "theirs")
    assert _content(tmp_path / "ours") == _content(tmp_path / "theirs")
    assert {path.name for path in (tmp_path / "ours").iterdir()} == {"a:1", "a:2"}
    back = ["--src", "dir", "--dest", "docker", tmp_path / "ours", f"{host}/back"]
    digests = tmp_path / "digests"
    ours(capsys, "sync", "--all", *back, "--append-suffix=-x", "--digestfile", digests)
    tags = json.loads(ours(capsys, "list-tags", f"docker://{host}/back/a"))["Tags"]
    assert tags == ["1-x", "2-x"]
    assert len(digests.read_text().splitlines()) == 2
    listed = tmp_path / "list.yaml"
    listed.write_text(f'{host}:\n  images-by-tag-regex:\n    library/a: "^2$"\n')
    ours(capsys, "sync", "--src=yaml", "--dest=dir", "--scoped", listed, tmp_path / "y")
    assert (tmp_path / "y" / host / "library" / "a:2" / "manifest.json").exists()
    assert not (tmp_path / "y" / host / "library" / "a:1").exists()


def test_a_registry_that_is_not_there_is_one_line() -> None:
    with pytest.raises(Unavailable) as caught:
        skopeo.main(["inspect", "docker://127.0.0.1:1/a:1"])
    assert "\n" not in str(caught.value)
