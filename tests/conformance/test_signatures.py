"""Signatures and policies, ours and those of Debian's skopeo: what one signs the other believes, and no more."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinnace.cli import skopeo
from pinnace.errors import Error, PermissionDenied
from pinnace.registry.resolver import Resolver
from tests.images import TestImage
from toolkit import debian_program
from toolkit.lab.server import SUITE, RegistryServer

pytestmark = pytest.mark.peer
IMAGE = TestImage(["linux/amd64"], indexed=False)
WHO = ["ours", "theirs"]


class Place:
    """A registry, keys, and both programs with the same configuration."""

    def __init__(self, tmp_path: Path, host: str) -> None:
        self.tmp = tmp_path
        self.host = host
        self.signed = f"docker://{host}/signed/x:1"
        self.places = tmp_path / "registries.d"
        self.places.mkdir()
        (self.places / "x.yaml").write_text(
            f"docker:\n  {host}:\n    lookaside: file://{tmp_path}/lookaside\n"
            "    use-sigstore-attachments: true\n"
        )
        (tmp_path / "word").write_text("secret\n")

    def policy(self, requirement: dict[str, object], scope: str = "") -> Path:
        path = self.tmp / "policy.json"
        document = {
            "default": [{"type": "reject"}],
            "transports": {"docker": {scope or self.host: [requirement]}},
        }
        path.write_text(json.dumps(document))
        return path

    def run(self, who: str, policy: Path | None, *words: object) -> None:
        """Raises PermissionDenied when the program refuses."""
        trust = ["--policy", policy] if policy else ["--insecure-policy"]
        line = [str(w) for w in ("--registries.d", self.places, *trust, *words)]
        if who == "ours":
            assert skopeo.main(line) == 0
            return
        command = debian_program.command(SUITE, "skopeo", "usr/bin/skopeo")
        done = subprocess.run([*command, *line], capture_output=True, text=True, check=False)
        if done.returncode:
            raise PermissionDenied(done.stderr)

    def copy(self, who: str, policy: Path | None, source: str, target: str, *more: object) -> None:
        tls = [
            f"--{side}-tls-verify=false"
            for side, name in (("src", source), ("dest", target))
            if name.startswith("docker:")
        ]
        self.run(who, policy, "copy", *tls, *more, source, target)

    def take(self, who: str, policy: Path, source: str = "") -> None:
        """Copy the signed image away, as a policy allows."""
        shutil.rmtree(self.tmp / "taken", ignore_errors=True)
        self.copy(who, policy, source or self.signed, f"dir:{self.tmp}/taken")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("GNUPGHOME", str(tmp_path / "gnupg"))
    with RegistryServer(tmp_path / "registry") as running:
        IMAGE.push(Resolver(), f"{running.host}/library/a:1")
        yield Place(tmp_path, running.host)


@pytest.mark.parametrize("signer", WHO)
@pytest.mark.parametrize("keys", WHO)
def test_sigstore(place: Place, signer: str, keys: str) -> None:
    key = place.tmp / "key"
    place.run(
        keys, None, "generate-sigstore-key", "--output-prefix", key, "--passphrase-file", place.tmp / "word"
    )  # fmt: skip
    source = f"docker://{place.host}/library/a:1"
    sign = ["--sign-by-sigstore-private-key", f"{key}.private", "--sign-passphrase-file", place.tmp / "word"]  # fmt: skip
    place.copy(signer, None, source, place.signed, *sign)
    policy = place.policy({"type": "sigstoreSigned", "keyPath": f"{key}.pub"})
    for who in WHO:
        place.take(who, policy)
        with pytest.raises(PermissionDenied):
            place.take(who, policy, source)  # not signed
    # A copy into a directory keeps the signature, and the other reads it there.
    other = place.tmp / "other"
    place.run(
        "ours", None, "generate-sigstore-key", "--output-prefix", other, "--passphrase-file", place.tmp / "word"
    )  # fmt: skip
    policy = place.policy({"type": "sigstoreSigned", "keyPath": f"{other}.pub"})
    for who in WHO:
        with pytest.raises(PermissionDenied):
            place.take(who, policy)


@pytest.fixture
def fingerprint(place: Place) -> str:
    if not shutil.which("gpg"):
        pytest.skip("gpg is not installed")
    (place.tmp / "gnupg").mkdir(mode=0o700)
    parameters = (
        "%no-protection\nKey-Type: eddsa\nKey-Curve: ed25519\nName-Email: pi@lab\n%commit\n"
    )
    subprocess.run(["gpg", "--batch", "--gen-key"], input=parameters.encode(), check=True, capture_output=True)  # fmt: skip
    exported = subprocess.run(["gpg", "--armor", "--export"], check=True, capture_output=True)
    (place.tmp / "keys.asc").write_bytes(exported.stdout)
    listed = subprocess.run(
        ["gpg", "--with-colons", "-k"], check=True, capture_output=True, text=True
    )
    return next(line.split(":")[9] for line in listed.stdout.splitlines() if line.startswith("fpr"))


@pytest.fixture(autouse=True)
def _no_agent(place: Place) -> Iterator[None]:
    """gpg starts an agent for its home; it ends with the test."""
    yield
    if (place.tmp / "gnupg").exists():
        subprocess.run(["gpgconf", "--kill", "all"], check=False)


@pytest.mark.parametrize("signer", WHO)
def test_simple_signing(place: Place, fingerprint: str, signer: str) -> None:
    source = f"docker://{place.host}/library/a:1"
    place.copy(signer, None, source, place.signed, "--sign-by", fingerprint)
    policy = place.policy(
        {"type": "signedBy", "keyType": "GPGKeys", "keyPath": str(place.tmp / "keys.asc")}
    )
    for who in WHO:
        place.take(who, policy)
        with pytest.raises(PermissionDenied):
            place.take(who, policy, source)
    # The same manifest under another name is another claim.
    place.copy("ours", None, source, f"docker://{place.host}/signed/x:2")
    with pytest.raises(PermissionDenied, match=r"signed/x:1|Signature for identity"):
        place.take("ours", policy, f"docker://{place.host}/signed/x:2")


def test_signatures_of_files(
    place: Place, fingerprint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = place.tmp / "manifest.json"
    manifest.write_bytes(IMAGE.blobs[-1][1])
    name, made = "lab/x:1", [place.tmp / who for who in WHO]
    for who, path in zip(WHO, made, strict=True):
        place.run(who, None, "standalone-sign", manifest, name, fingerprint, "--output", path)
    keys = ["--public-key-file", place.tmp / "keys.asc"]
    for path in made:
        for who in WHO:
            place.run(who, None, "standalone-verify", manifest, name, fingerprint, path, *keys)
            with pytest.raises(Error):
                place.run(who, None, "standalone-verify", manifest, "lab/y:1", fingerprint, path, *keys)  # fmt: skip
        place.run("ours", None, "standalone-verify", manifest, name, "any", path, *keys)
        with pytest.raises(PermissionDenied, match="not one of"):
            place.run("ours", None, "standalone-verify", manifest, name, "A" * 40, path, *keys)
    assert f"fingerprint {fingerprint}" in capsys.readouterr().out
    spoiled = bytearray(made[0].read_bytes())
    spoiled[len(spoiled) // 2] ^= 1
    made[0].write_bytes(spoiled)
    with pytest.raises(Error, match=r"not good"):
        place.run("ours", None, "standalone-verify", manifest, name, fingerprint, made[0], *keys)


def test_a_signed_image_is_not_changed_unawares(place: Place) -> None:
    word = place.tmp / "word"
    place.run("ours", None, "generate-sigstore-key", "--output-prefix", place.tmp / "k", "--passphrase-file", word)  # fmt: skip
    sign = ["--sign-by-sigstore-private-key", place.tmp / "k.private", "--sign-passphrase-file", word]  # fmt: skip
    place.copy("ours", None, f"docker://{place.host}/library/a:1", place.signed, *sign)
    target = f"docker://{place.host}/other/x:1"
    with pytest.raises(Error, match="signatures would not fit"):
        place.copy("ours", None, place.signed, target, "--format=v2s2")
    place.copy("ours", None, place.signed, target, "--format=v2s2", "--remove-signatures")
    with pytest.raises(Error, match="no place for signatures"):
        place.copy("ours", None, place.signed, f"oci:{place.tmp}/layout")
    assert not os.path.exists(place.tmp / "layout" / "index.json")


def test_reject_and_require_signed(place: Place) -> None:
    source = f"docker://{place.host}/library/a:1"
    with pytest.raises(PermissionDenied, match="allows no such images"):
        place.take("ours", place.policy({"type": "reject"}), source)
    anything = place.policy({"type": "insecureAcceptAnything"})
    place.take("ours", anything, source)
    with pytest.raises(PermissionDenied, match="one is required"):
        place.run("ours", anything, "--require-signed", "copy", source, f"dir:{place.tmp}/d")
