"""Policies, names in signatures, ``registries.d``, and the YAML that it is written in."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from pinnace.errors import Error, InvalidArgument, PermissionDenied, Unimplemented
from pinnace.images import yaml
from pinnace.images.signing import (  # fmt: skip
    identity,
    keys,
    p256,
    payload,
    policy,
    registriesd,
    signature,
    sigstore,
)
from pinnace.spec import reference as references
from pinnace.spec.digest import Digest, sha256

SECRET = 12345
DIGEST = sha256(b"manifest")
NAME = "lab.example/a/b:1"


def image(name: str = NAME) -> policy.Image:
    reference = references.normalize(name)
    return policy.Image(
        f"docker://{name}", "docker", registriesd.scopes_of(name), reference, DIGEST
    )


def load(tmp_path: Path, document: Any) -> policy.Policy:
    path = tmp_path / "policy.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return policy.load(str(path))


def of_docker(tmp_path: Path, **scopes: str) -> policy.Policy:
    """Scope to type of requirement; anything else is rejected."""
    table = {scope: [{"type": kind}] for scope, kind in scopes.items()}
    return load(tmp_path, {"default": [{"type": "reject"}], "transports": {"docker": table}})


@pytest.mark.parametrize(
    "scope",
    ["lab.example/a/b:1", "lab.example/a/b", "lab.example/a", "lab.example", "*.example", ""],
)
def test_the_narrowest_scope_counts(tmp_path: Path, scope: str) -> None:
    of_docker(tmp_path, **{scope: policy.ACCEPT}).check(image(), [])
    wider = {"": policy.ACCEPT, scope: policy.REJECT} if scope else {scope: policy.REJECT}
    with pytest.raises(PermissionDenied):
        of_docker(tmp_path, **wider).check(image(), [])


@pytest.mark.parametrize("scope", ["lab.example/a/b:2", "lab.example/a/bc", "b.example", "*.lab.example"])  # fmt: skip
def test_other_scopes_do_not(tmp_path: Path, scope: str) -> None:
    with pytest.raises(PermissionDenied, match="allows no such images"):
        of_docker(tmp_path, **{scope: policy.ACCEPT}).check(image(), [])


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ("{", "policy.json"),
        ("[]", "not an object"),
        ({}, "default is missing"),
        ({"default": []}, "not a list of requirements"),
        ({"default": [{"type": "reject"}], "extra": 1}, "'extra' is not known"),
        ({"default": [{"type": "trustMe"}]}, "not a type of requirement"),
        ({"default": [{"type": "reject", "x": 1}]}, "'x' is not known"),
        ({"default": [{"type": "signedBy", "keyData": ""}]}, "keyType must be GPGKeys"),
        ({"default": [{"type": "signedBy", "keyType": "GPGKeys"}]}, "give one of"),
        ({"default": [{"type": "sigstoreSigned", "keyPath": "/x", "keyData": ""}]}, "give one of"),
        ({"default": [{"type": "sigstoreSigned", "keyData": "!"}]}, "not valid base64"),
        ({"default": [{"type": "sigstoreSigned", "keyDatas": []}]}, "is empty"),
        ('{"default":[{"type":"reject"}],"default":[{"type":"insecureAcceptAnything"}]}', "twice"),
        ({"default": [{"type": "sigstoreSigned", "keyData": "", "signedIdentity": {"type": "x"}}]}, "unknown type"),
    ],
)  # fmt: skip
def test_policies_are_read_strictly(tmp_path: Path, document: object, why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        load(tmp_path, document)


def sigstore_policy(tmp_path: Path, secret: int = SECRET, **more: object) -> policy.Policy:
    (tmp_path / "key.pub").write_bytes(keys.dump_public(p256.public(secret)))
    requirement = {"type": "sigstoreSigned", "keyPath": str(tmp_path / "key.pub"), **more}
    return load(tmp_path, {"default": [requirement]})


def signed(digest: Digest = DIGEST, name: str = NAME, secret: int = SECRET) -> signature.Signature:
    return sigstore.sign(payload.Claim(digest, name), secret)


def test_a_good_signature_is_enough(tmp_path: Path) -> None:
    wanted = sigstore_policy(tmp_path)
    wanted.check(image(), [signed()])
    wanted.check(image(), [signed(secret=7), signed()])  # one of several
    through_a_file = signature.parse(signed().to_bytes())
    wanted.check(image(), [through_a_file])


def _with(document: dict[str, Any]) -> signature.Signature:
    """A signature of any document at all, by the right key."""
    body = json.dumps(document).encode()
    pair = keys.dump_signature(*p256.sign(SECRET, body))
    text = base64.b64encode(pair).decode()
    return signature.Signature(body, signature.SIMPLE_SIGNING_TYPE, {signature.SIGNATURE_ANNOTATION: text})  # fmt: skip


def _document(**critical: Any) -> dict[str, Any]:
    usual = {
        "type": payload.SIGSTORE,
        "image": {"docker-manifest-digest": DIGEST},
        "identity": {"docker-reference": NAME},
    }
    return {"critical": {**usual, **critical}, "optional": {}}


BAD = {
    "none": ([], "it has none"),
    "another key": ([signed(secret=7)], "not by any of the trusted keys"),
    "another manifest": ([signed(sha256(b"other"))], "signature is for sha256"),
    "another name": ([signed(name="lab.example/a/b:2")], "is for the name lab.example/a/b:2"),
    "another type": ([_with(_document(type=payload.SIMPLE))], "of type"),
    "a condition that is not known": ([_with(_document(expires="2020"))], "exactly"),
    "no identity": ([_with({"critical": {"type": payload.SIGSTORE}})], "exactly"),
    "changed payload": ([signed()._replace(payload=b"{}")], "not by any of the trusted keys"),
    "no signature in it": ([signed()._replace(annotations={})], "damaged DER"),
    "only OpenPGP": ([signature.Signature(b"\x90")], "it has none"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_signatures_are_not(tmp_path: Path, case: str) -> None:
    signatures, why = BAD[case]
    with pytest.raises(PermissionDenied, match=why):
        sigstore_policy(tmp_path).check(image(), signatures)


def test_what_cannot_be_checked_is_refused(tmp_path: Path) -> None:
    requirement = {
        "type": "sigstoreSigned",
        "fulcio": {"oidcIssuer": "x"},
        "rekorPublicKeyPath": "/x",
    }
    wanted = load(tmp_path, {"default": [requirement]})
    with pytest.raises(Unimplemented, match="asks for fulcio"):
        wanted.check(image(), [signed()])


@pytest.mark.parametrize(
    ("match", "wanted", "name", "accepted"),
    [
        (identity.DEFAULT, NAME, NAME, True),
        (identity.DEFAULT, NAME, "lab.example/a/b:2", False),
        (identity.DEFAULT, NAME, "lab.example/a/b", False),
        (identity.DEFAULT, f"lab.example/a/b@{DIGEST}", "lab.example/a/b:9", True),
        (identity.DEFAULT, f"lab.example/a/b@{DIGEST}", "lab.example/a/c:9", False),
        (identity.Match("matchExact"), f"lab.example/a/b@{DIGEST}", "lab.example/a/b:9", False),
        (identity.Match("matchRepository"), NAME, "lab.example/a/b:9", True),
        (identity.Match("matchRepository"), NAME, "lab.example/a/b", True),
        (identity.Match("exactReference", "x/y:1"), NAME, "x/y:1", True),
        (identity.Match("exactReference", "x/y:1"), NAME, "x/y:2", False),
        (identity.Match("exactRepository", "x/y"), NAME, "x/y:2", True),
        (identity.Match("remapIdentity", "lab.example/a", "up.example"), NAME, "up.example/b:1", True),
        (identity.Match("remapIdentity", "lab.example/a", "up.example"), NAME, NAME, False),
        (identity.Match("remapIdentity", "lab.exam", "up.example"), NAME, NAME, True),
        (identity.DEFAULT, NAME, "NOT A NAME", False),
    ],
)  # fmt: skip
def test_names(match: identity.Match, wanted: str, name: str, accepted: bool) -> None:
    assert match.accepts(references.normalize(wanted), name) is accepted


def test_an_image_without_a_name_has_no_signed_one() -> None:
    assert not identity.DEFAULT.accepts(None, NAME)


@pytest.mark.parametrize("data", [b"\0other\n{}", b"\0sigstore-json\n{", b"\0sigstore-json\n{}"])
def test_damaged_signature_files(data: bytes) -> None:
    with pytest.raises(InvalidArgument):
        signature.parse(data)


def test_registries_d(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "default-docker:\n  lookaside: https://all.example\n"
        "docker:\n  lab.example/a:\n    sigstore: https://a.example\n    use-sigstore-attachments: true\n"
        "  lab.example:\n    lookaside: https://lab.example\n    lookaside-staging: file:///up\n"
    )
    (tmp_path / "ignored.yml").write_text("!")
    entries = registriesd.load(str(tmp_path))
    found = {
        name: registriesd.place_for(entries, name) for name in (NAME, "lab.example/c:1", "x.y/z:1")
    }
    assert found[NAME] == ("https://a.example", "https://a.example", True)
    assert found["lab.example/c:1"] == ("https://lab.example", "file:///up", False)
    assert found["x.y/z:1"] == ("https://all.example", "https://all.example", False)
    (tmp_path / "b.yaml").write_text("docker:\n  lab.example:\n    lookaside: x\n")
    with pytest.raises(InvalidArgument, match=r"b.yaml: lab.example stands in another file"):
        registriesd.load(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("a: 1\nb:\n  c: 'it''s'  # why\n  d: \"x\\ty\"\n", {"a": 1, "b": {"c": "it's", "d": "x\ty"}}),
        ("a:\n- 1\n- b: 2\n  c: 3\n-\n  - x\n", {"a": [1, {"b": 2, "c": 3}, ["x"]]}),
        ('a: [1, "b,c", true]\nb: {x: y}\nc: []\nd: ~\n', {"a": [1, "b,c", True], "b": {"x": "y"}, "c": [], "d": None}),
        ("---\n# only\nhost:5000/x:\n  y: http://z:1/#f\n", {"host:5000/x": {"y": "http://z:1/#f"}}),
        ("- a\n- b\n", ["a", "b"]),
    ],
)  # fmt: skip
def test_yaml(text: str, value: object) -> None:
    assert yaml.parse(text.encode(), "x") == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: &x 1\n", "x:1: & is not supported"),
        ("a: |\n  text\n", "x:1: | is not supported"),
        ("a: 1\na: 2\n", "twice"),
        ("a: 1\n   b: 2\n", "x:2: wrong indentation"),
        ("a:\n\tb: 1\n", "x:2: indented with tabs"),
        ("a: [1\n", "not closed"),
        ("a: 'x\n", "not closed"),
        ("a: 1\nnonsense\n", "x:2"),
        ("a:\n" + "".join(f"{' ' * n}x{n}:\n" for n in range(1, 80)), "too deeply"),
        ("\xff", None),
    ],
)
def test_other_yaml_is_refused_with_its_line(text: str, why: str | None) -> None:
    with pytest.raises(Error, match=why):
        yaml.parse(text.encode("latin-1"), "x")
