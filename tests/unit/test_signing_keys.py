"""Keys and signatures of sigstore, against the ``cryptography`` package and published vectors."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from pinnace.errors import InvalidArgument, PermissionDenied
from pinnace.images.signing import keys, p256, secretbox

SECRET = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721  # RFC 6979, A.2.5
KEY = p256.public(SECRET)


def test_the_published_signature_of_rfc_6979() -> None:
    r, s = p256.sign(SECRET, b"sample")
    assert r == 0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716
    assert s == 0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8
    assert p256.verify(KEY, b"sample", r, s)


def theirs() -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(SECRET, ec.SECP256R1())


def test_theirs_is_verified_and_ours_by_them() -> None:
    for number in range(5):
        message = bytes([number]) * number
        signature = theirs().sign(message, ec.ECDSA(hashes.SHA256()))
        assert p256.verify(KEY, message, *keys.parse_signature(signature))
        assert not p256.verify(KEY, message + b"x", *keys.parse_signature(signature))
        ours = keys.dump_signature(*p256.sign(SECRET, message))
        theirs().public_key().verify(ours, message, ec.ECDSA(hashes.SHA256()))
        with pytest.raises(InvalidSignature):
            theirs().public_key().verify(ours, message + b"x", ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize("pair", [(0, 1), (1, 0), (p256.N, 1), (1, p256.N), (1, 1), (-1, 5)])
def test_numbers_outside_the_group_are_no_signature(pair: tuple[int, int]) -> None:
    assert not p256.verify(KEY, b"sample", *pair)


def test_public_keys_travel() -> None:
    pem = theirs().public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    assert keys.load_public(pem, "x") == KEY
    assert keys.dump_public(KEY) == pem


def test_private_keys_travel() -> None:
    pem = keys.dump_private(SECRET, b"word")
    assert keys.load_private(pem, b"word", "x") == SECRET
    with pytest.raises(PermissionDenied, match="passphrase is wrong"):
        keys.load_private(pem, b"other", "x")


def test_other_kinds_of_keys_are_refused() -> None:
    made = (
        ed25519.Ed25519PrivateKey.generate().public_key(),
        ec.generate_private_key(ec.SECP384R1()).public_key(),
    )
    for key in made:
        pem = key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        with pytest.raises(InvalidArgument, match="P-256, the only kind"):
            keys.load_public(pem, "x")


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----\n", keys.dump_public(KEY)[:-60]],
)  # fmt: skip
def test_damaged_keys_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgument):
        keys.load_public(data, "x")


def test_a_point_off_the_curve_is_refused() -> None:
    point = bytearray(KEY.to_bytes())
    point[-1] ^= 1
    with pytest.raises(InvalidArgument, match="not a point of P-256"):
        p256.parse_point(bytes(point))


@pytest.mark.parametrize(
    "text", ["", "30", "3006020101020101ff", "30060201ff020101", "3007020200010201 01", "0500"]
)
def test_malformed_signatures_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        keys.parse_signature(bytes.fromhex(text))


def test_the_published_box_of_nacl() -> None:
    """From "Cryptography in NaCl", sections 8 to 10."""
    key = bytes.fromhex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389")
    nonce = bytes.fromhex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37")
    message = bytes.fromhex(
        "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c"
        "61296cdc3c01233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f"
        "21af1fde048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f937763848645e0705"
    )
    sealed = secretbox.seal(message, key, nonce)
    assert sealed.hex().startswith(
        "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce"
    )
    assert secretbox.open_(sealed, key, nonce) == message
    assert secretbox.open_(sealed[:-1] + b"\0", key, nonce) is None
