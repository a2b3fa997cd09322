"""Digests, references, platforms and image documents, as tables of cases."""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from pinnace.errors import Error, InvalidArgument, Unimplemented
from pinnace.spec import digest, image, platform, reference
from pinnace.spec.digest import Digest
from pinnace.spec.platform import Platform
from pinnace.spec.reference import Reference
from toolkit.paths import RUNTIME

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_digest_of_nothing() -> None:
    assert digest.sha256(b"") == EMPTY
    assert Digest.parse(EMPTY).hex == EMPTY[7:]
    assert Digest.parse(EMPTY).verify(b"")
    assert not Digest.parse(EMPTY).verify(b"x")
    assert digest.sha512(b"").algorithm == "sha512"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        "md5:" + "0" * 32,
        EMPTY.upper(),
        EMPTY + "0",
        EMPTY + "\n",
        "sha256:../../etc",
    ],
)
def test_digest_refuses(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid digest"):
        Digest.parse(text)


@pytest.mark.parametrize(
    ("text", "locator", "hostname", "tag", "has_digest"),
    [
        ("docker.io/library/nginx:latest", "docker.io/library/nginx", "docker.io", "latest", False),
        ("registry.lab:5000/a/b", "registry.lab:5000/a/b", "registry.lab:5000", "", False),
        (f"localhost/x:1@{EMPTY}", "localhost/x", "localhost", "1", True),
        (f"[::1]:5000/x@{EMPTY}", "[::1]:5000/x", "[::1]:5000", "", True),
    ],
)
def test_reference_as_containerd_reads_it(
    text: str, locator: str, hostname: str, tag: str, has_digest: bool
) -> None:
    parsed = Reference.parse(text)
    assert (parsed.locator, parsed.hostname, parsed.tag) == (locator, hostname, tag)
    assert (parsed.digest == EMPTY) is has_digest
    assert str(parsed) == text


@pytest.mark.parametrize(
    "text", ["", "nginx", "nginx:latest", "https://docker.io/x", "a b/c", "docker.io/", "h/../x:1"]
)
def test_reference_needs_a_host(text: str) -> None:
    with pytest.raises(InvalidArgument):
        Reference.parse(text)


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ("user/app", "docker.io/user/app:latest"),
        ("index.docker.io/nginx", "docker.io/library/nginx:latest"),
        ("localhost/x", "localhost/x:latest"),
        ("reg:5000/x/y:z", "reg:5000/x/y:z"),
        (f"busybox@{EMPTY}", f"docker.io/library/busybox@{EMPTY}"),
    ],
)
def test_reference_as_docker_reads_it(short: str, full: str) -> None:
    assert str(reference.normalize(short)) == full


@pytest.mark.parametrize("text", ["Nginx", "a/B", "x:", "x@", "x:" + "t" * 129, "a" * 64, "x:-t"])
def test_docker_reading_refuses(text: str) -> None:
    with pytest.raises(InvalidArgument):
        reference.normalize(text)


@pytest.mark.parametrize(
    ("full", "short"),
    [
        ("docker.io/library/nginx:latest", "nginx:latest"),
        ("docker.io/user/app:1", "user/app:1"),
        ("registry.lab/x:1", "registry.lab/x:1"),
    ],
)
def test_familiar(full: str, short: str) -> None:
    assert reference.familiar(Reference.parse(full)) == short


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/arm/v6", "linux/arm/v6"),
        ("linux/arm", "linux/arm/v7"),
        ("armhf", "linux/arm/v7"),
        ("armel", "linux/arm/v6"),
        ("arm/6", None),
        ("aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/x86_64", "linux/amd64"),
        ("Linux/ARM/7", "linux/arm/v7"),
        ("linux/potato", None),
        ("a/b/c/d", None),
        ("linux//", None),
    ],
)
def test_platform_words(text: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(InvalidArgument, match="invalid platform"):
            platform.parse(text)
    else:
        assert str(platform.parse(text)) == expected


MULTI = [
    Platform("linux", "amd64"),
    Platform("linux", "arm", "v5"),
    Platform("linux", "arm", "v6"),
    Platform("linux", "arm", "v7"),
    Platform("linux", "arm64"),
]


@pytest.mark.parametrize(
    ("machine", "picked"),
    [
        ("linux/arm/v5", "linux/arm/v5"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("linux/arm/v7", "linux/arm/v7"),
        ("linux/arm/v8", "linux/arm/v7"),
        ("linux/arm64", "linux/arm64"),
        ("linux/amd64", "linux/amd64"),
        ("linux/riscv64", None),
        ("windows/amd64", None),
    ],
)
def test_newest_runnable_variant_wins(machine: str, picked: str | None) -> None:
    index = platform.best(platform.parse(machine), MULTI)
    assert (None if index is None else str(MULTI[index])) == picked


def test_armv6_never_gets_armv7() -> None:
    assert platform.parse("linux/arm/v6").match(Platform("linux", "arm", "v7")) is None


@pytest.mark.parametrize(
    ("elf_machine", "kernel", "expected"),
    [
        (40, "armv6l", "linux/arm/v6"),
        (40, "armv7l", "linux/arm/v7"),
        (40, "aarch64", "linux/arm/v8"),  # 32-bit programs under a 64-bit kernel
        (183, "aarch64", "linux/arm64"),
        (62, "x86_64", "linux/amd64"),
    ],
)
def test_userland_decides(tmp_path: Path, elf_machine: int, kernel: str, expected: str) -> None:
    program = tmp_path / "python"
    program.write_bytes(b"\x7fELF\x01\x01\x01" + bytes(9) + struct.pack("<HH", 2, elf_machine))
    assert str(platform.detect(str(program), kernel)) == expected


def descriptor(**changes: object) -> dict[str, object]:
    return {"mediaType": image.OCI_CONFIG, "digest": EMPTY, "size": 2, **changes}


def manifest(**changes: object) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": image.OCI_MANIFEST,
        "config": descriptor(),
        "layers": [descriptor(mediaType=image.OCI_LAYER_GZIP, size=10)],
        **changes,
    }
    return json.dumps(document).encode()


def test_manifest_is_read() -> None:
    parsed = image.parse_manifest(manifest())
    assert parsed.config.digest == EMPTY
    assert [layer.size for layer in parsed.layers] == [10]
    assert parsed.layers[0].to_json()["mediaType"] == image.OCI_LAYER_GZIP


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not valid JSON"),
        (b"[]", "not a JSON object"),
        (b"[" * 100_000, "JSON"),
        (b'{"a":"' + b"x" * image.MAX_DOCUMENT_BYTES + b'"}', "larger than"),
        (manifest(layers={}), "layers is not a list"),
        (manifest(layers=[descriptor()] * 501), "501 entries"),
        (manifest(layers=[descriptor(size=-1)]), r"layers\[0\].size"),
        (manifest(layers=[descriptor(size=True)]), r"layers\[0\].size"),
        (manifest(layers=[descriptor(size=1 << 60)]), r"layers\[0\].size"),
        (manifest(layers=[descriptor(digest="sha256:../../x")]), "invalid digest"),
        (manifest(layers=[descriptor(mediaType="")]), "no media type"),
        (manifest(config=None), "config is not an object"),
        (manifest(annotations={"a": 1}), "not a map of strings"),
        (manifest(manifests=[]), "ambiguous"),
        (manifest(mediaType=image.OCI_INDEX), "not what its media type says"),
        (manifest(schemaVersion=1), "schema 1"),
    ],
)
def test_hostile_manifests_are_refused(data: bytes, why: str) -> None:
    with pytest.raises((InvalidArgument, Unimplemented), match=why):
        image.parse_manifest(data)


def test_config_and_chain() -> None:
    layers = [str(digest.sha256(b"1")), str(digest.sha256(b"2"))]
    document = {
        "architecture": "arm",
        "variant": "v6",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": layers},
    }
    config = image.parse_config(json.dumps(document).encode())
    chain = image.chain_ids(config.diff_ids)
    assert str(config.platform) == "linux/arm/v6"
    assert chain[0] == layers[0]
    assert chain[1] == digest.sha256(f"{layers[0]} {layers[1]}".encode())


@pytest.mark.parametrize(
    "document", [{"rootfs": []}, {"rootfs": {"type": "x"}}, {"rootfs": {"diff_ids": ["x"]}}]
)
def test_hostile_configs_are_refused(document: object) -> None:
    with pytest.raises(Error):
        image.parse_config(json.dumps(document).encode())


@pytest.mark.parametrize("sizes", [[], [5], [9 << 20, 1], [3 << 20] * 4 + [7]])
def test_streams_have_their_digests_with_either_implementation(sizes: list[int]) -> None:
    """A process of its own, as each loads OpenSSL when it has hashed much, and not before."""
    program = (
        "import sys; from pinnace.spec import digest; hasher = digest.hasher_for('sha256');"
        "[hasher.update(memoryview(bytes([size % 251]) * size)) for size in map(int, sys.argv[1:])];"
        "other = digest.hasher_for('sha256'); other.update(b'x');"
        "print(digest.of(hasher).hex, other.hexdigest(), '_hashlib' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, sizes)], env={"PYTHONPATH": str(RUNTIME)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    fed = b"".join(bytes([size % 251]) * size for size in sizes)
    expected = [hashlib.sha256(fed).hexdigest(), hashlib.sha256(b"x").hexdigest()]
    assert done.stdout.split() == [*expected, str(len(fed) > 8 << 20)]


def test_a_stream_that_began_before_openssl_was_loaded_goes_on_with_it() -> None:
    program = (
        "from pinnace.spec import digest; first, second = (digest.hasher_for('sha256') for _ in range(2));"
        "first.update(b'begin'); second.update(bytes(9 << 20)); first.update(b'end'); print(first.hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(RUNTIME)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == hashlib.sha256(b"beginend").hexdigest()
