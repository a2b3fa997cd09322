"""Keys of sigstore ("cosign-style"): PEM files with an ECDSA key on P-256.

The private one is encrypted with a passphrase: scrypt makes a key of it, and NaCl's secretbox holds a
PKCS #8 document. Sources: sigstore's documentation of its key format; RFC 5280 and RFC 5480 (SubjectPublicKeyInfo),
RFC 5208 and RFC 5915 (PKCS #8, ECPrivateKey), X.690 (DER).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from typing import Any

from pinnace.errors import InvalidArgument, PermissionDenied
from pinnace.images.signing import p256, secretbox

_PUBLIC = "PUBLIC KEY"
_PRIVATE = "ENCRYPTED SIGSTORE PRIVATE KEY"
_OLD_PRIVATE = "ENCRYPTED COSIGN PRIVATE KEY"
# AlgorithmIdentifier: id-ecPublicKey with the named curve prime256v1.
_ALGORITHM = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")
_SEQUENCE, _INTEGER, _BITS, _OCTETS = 0x30, 0x02, 0x03, 0x04
_SCRYPT = {"N": 65536, "r": 8, "p": 1}
_MAX_SCRYPT_BYTES = 160 << 20
"""What deriving a key may take: a key file that asks for more is refused, not obeyed."""


def load_public(data: bytes, where: str) -> p256.Point:
    """The public key in a PEM file; raises InvalidArgument, also for other kinds of keys."""
    label, body = _unwrap(data, where)
    if label != _PUBLIC:
        raise InvalidArgument(f"{where}: is a {label.lower()}, not a public key")
    algorithm, bits = _children(_content(body, _SEQUENCE, where), where)
    if algorithm != _ALGORITHM:
        raise InvalidArgument(
            f"{where}: not an ECDSA key on P-256, the only kind that is supported",
            hint="skopeo generate-sigstore-key makes one",
        )
    return p256.parse_point(_content(bits, _BITS, where)[1:])


def dump_public(key: p256.Point) -> bytes:
    """A public key as a PEM file."""
    return _wrap(_PUBLIC, _tlv(_SEQUENCE, _ALGORITHM + _tlv(_BITS, b"\0" + key.to_bytes())))


def load_private(data: bytes, passphrase: bytes, where: str) -> int:
    """The private key in an encrypted PEM file.

    Raises InvalidArgument, PermissionDenied for a wrong passphrase.
    """
    label, body = _unwrap(data, where)
    if label not in (_PRIVATE, _OLD_PRIVATE):
        raise InvalidArgument(f"{where}: is a {label.lower()}, not a sigstore private key")
    try:
        document: Any = json.loads(body)
        kdf, cipher = document["kdf"], document["cipher"]
        known = kdf["name"] == "scrypt" and cipher["name"] == "nacl/secretbox"
        key = _derived(passphrase, base64.b64decode(kdf["salt"]), kdf["params"], where)
        nonce = base64.b64decode(cipher["nonce"])
        sealed = base64.b64decode(document["ciphertext"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InvalidArgument(f"{where}: damaged sigstore private key") from None
    if not known or len(nonce) != secretbox.NONCE_BYTES:
        raise InvalidArgument(f"{where}: encrypted in an unknown way")
    plain = secretbox.open_(sealed, key, nonce)
    if plain is None:
        raise PermissionDenied(f"{where}: the passphrase is wrong")
    return _from_pkcs8(plain, where)


def dump_private(secret: int, passphrase: bytes) -> bytes:
    """A private key as an encrypted PEM file."""
    salt, nonce = os.urandom(32), os.urandom(secretbox.NONCE_BYTES)
    key = _derived(passphrase, salt, _SCRYPT, "")
    sealed = secretbox.seal(_to_pkcs8(secret), key, nonce)
    document = {
        "kdf": {"name": "scrypt", "params": _SCRYPT, "salt": _base64(salt)},
        "cipher": {"name": "nacl/secretbox", "nonce": _base64(nonce)},
        "ciphertext": _base64(sealed),
    }
    return _wrap(_PRIVATE, json.dumps(document).encode())


def _derived(passphrase: bytes, salt: bytes, parameters: Any, where: str) -> bytes:
    n, r, p = (int(parameters[name]) for name in ("N", "r", "p"))
    # RFC 7914: 128 * r * N bytes, and somewhat more.
    if min(n, r, p) < 1 or p > 16 or 128 * r * n > _MAX_SCRYPT_BYTES // 2:
        raise InvalidArgument(f"{where}: asks for too much work to be decrypted")
    return hashlib.scrypt(
        passphrase, salt=salt, n=n, r=r, p=p, maxmem=_MAX_SCRYPT_BYTES, dklen=secretbox.KEY_BYTES
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


# Signatures as DER: SEQUENCE of two INTEGERs (RFC 3279, 2.2.3).


def parse_signature(data: bytes) -> tuple[int, int]:
    """r and s; raises InvalidArgument for what is not exactly a signature."""
    where = "signature"
    first, second = _children(_content(data, _SEQUENCE, where), where)
    return _integer(first, where), _integer(second, where)


def dump_signature(r: int, s: int) -> bytes:
    """The signature as DER."""
    return _tlv(_SEQUENCE, _dump_integer(r) + _dump_integer(s))


def _integer(data: bytes, where: str) -> int:
    body = _content(data, _INTEGER, where)
    if not body or body[0] & 0x80 or (len(body) > 1 and body[0] == 0 and not body[1] & 0x80):
        raise InvalidArgument(f"{where}: malformed integer")
    return int.from_bytes(body, "big")


def _dump_integer(value: int) -> bytes:
    return _tlv(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


# PKCS #8.


def _from_pkcs8(data: bytes, where: str) -> int:
    _, algorithm, octets, *_ = _children(_content(data, _SEQUENCE, where), where, at_least=3)
    if algorithm != _ALGORITHM:
        raise InvalidArgument(f"{where}: not an ECDSA key on P-256, the only kind supported")
    inner = _content(_content(octets, _OCTETS, where), _SEQUENCE, where)
    _, secret, *_ = _children(inner, where, at_least=2)
    value = int.from_bytes(_content(secret, _OCTETS, where), "big")
    if not 0 < value < p256.N:
        raise InvalidArgument(f"{where}: not a private key of P-256")
    return value


def _to_pkcs8(secret: int) -> bytes:
    point = _tlv(0xA1, _tlv(_BITS, b"\0" + p256.public(secret).to_bytes()))
    inner = _tlv(_INTEGER, b"\x01") + _tlv(_OCTETS, secret.to_bytes(32, "big")) + point
    body = _tlv(_INTEGER, b"\0") + _ALGORITHM + _tlv(_OCTETS, _tlv(_SEQUENCE, inner))
    return _tlv(_SEQUENCE, body)


# DER and PEM.


def _tlv(tag: int, body: bytes) -> bytes:
    size = len(body)
    length = bytes([size]) if size < 0x80 else bytes([0x81, size])
    return bytes([tag]) + length + body


def _split(data: bytes, where: str) -> tuple[bytes, bytes, bytes]:
    """The first element, its content, and what follows; lengths of up to two bytes."""
    if len(data) < 2:
        raise InvalidArgument(f"{where}: damaged DER")
    size, start = data[1], 2
    if size & 0x80:
        count = size & 0x7F
        start = 2 + count
        size = int.from_bytes(data[2:start], "big")
        if count not in (1, 2) or size < (0x80 if count == 1 else 0x100):
            raise InvalidArgument(f"{where}: damaged DER")
    if start + size > len(data):
        raise InvalidArgument(f"{where}: damaged DER")
    return data[: start + size], data[start : start + size], data[start + size :]


def _content(data: bytes, tag: int, where: str) -> bytes:
    _, body, rest = _split(data, where)
    if data[0] != tag or rest:
        raise InvalidArgument(f"{where}: damaged DER")
    return body


def _children(data: bytes, where: str, *, at_least: int = 0) -> list[bytes]:
    found = []
    while data:
        element, _, data = _split(data, where)
        found.append(element)
    if len(found) < at_least or (not at_least and len(found) != 2):
        raise InvalidArgument(f"{where}: damaged DER")
    return found


def _unwrap(data: bytes, where: str) -> tuple[str, bytes]:
    """Label and content of a PEM file (RFC 7468) with one document."""
    lines = [line.strip() for line in data.decode(errors="replace").strip().splitlines()]
    first, last = (lines[0], lines[-1]) if len(lines) > 2 else ("", "")
    label = first.removeprefix("-----BEGIN ").removesuffix("-----")
    if first != f"-----BEGIN {label}-----" or last != f"-----END {label}-----":
        raise InvalidArgument(f"{where}: is not a PEM file with one key")
    try:
        return label, base64.b64decode("".join(lines[1:-1]), validate=True)
    except binascii.Error:
        raise InvalidArgument(f"{where}: damaged PEM file") from None


def _wrap(label: str, body: bytes) -> bytes:
    text = _base64(body)
    lines = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n".encode()
