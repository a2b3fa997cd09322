"""ECDSA over NIST's curve P-256 with SHA-256, in plain Python.

Why not a library: the runtime has no dependencies, and a board need not have the ``openssl`` program.
Verifying handles nothing secret and takes some 5 ms on a PC, a fraction of a second on an ARMv6 board,
once per image. Signing makes its nonce from key and message (RFC 6979), so that a weak source of random
numbers cannot give the key away; its time depends on the key, which is why it is meant for the machine
of who signs, and not for a service that strangers may ask.

Sources: FIPS 186-5 (ECDSA), SEC 1 version 2 (points), RFC 6979 (nonces); curve parameters from SEC 2.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import NamedTuple

from pinnace.errors import InvalidArgument

P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
_SIZE = 32


class Point(NamedTuple):
    """A point of the curve that is not at infinity."""

    x: int
    y: int

    def to_bytes(self) -> bytes:
        """Uncompressed form (SEC 1, 2.3.3)."""
        return b"\x04" + self.x.to_bytes(_SIZE, "big") + self.y.to_bytes(_SIZE, "big")


G = Point(
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
_Jacobian = tuple[int, int, int]
_INFINITY: _Jacobian = (0, 1, 0)


def parse_point(data: bytes) -> Point:
    """A public key in uncompressed form; raises InvalidArgument unless it is on the curve."""
    if len(data) != 1 + 2 * _SIZE or data[0] != 4:
        raise InvalidArgument("public key is not an uncompressed point of P-256")
    x, y = int.from_bytes(data[1:33], "big"), int.from_bytes(data[33:], "big")
    if x >= P or y >= P or (y * y - (x * x * x - 3 * x + _B)) % P:
        raise InvalidArgument("public key is not a point of P-256")
    return Point(x, y)


def public(secret: int) -> Point:
    """The public key of a private one."""
    return _affine(_multiply(secret, G))


def generate() -> int:
    """A private key."""
    return 1 + secrets.randbelow(N - 1)


def verify(key: Point, message: bytes, r: int, s: int) -> bool:
    """Whether (r, s) is a signature of *message* by the owner of *key*."""
    if not (0 < r < N and 0 < s < N):
        return False
    inverse = pow(s, -1, N)
    first = _multiply(_hashed(message) * inverse % N, G)
    found = _add(first, _multiply(r * inverse % N, key))
    return found[2] % P != 0 and _affine(found).x % N == r


def sign(secret: int, message: bytes) -> tuple[int, int]:
    """A signature of *message*: the same each time."""
    hashed = _hashed(message)
    for nonce in _nonces(secret, hashed):
        r = _affine(_multiply(nonce, G)).x % N
        s = pow(nonce, -1, N) * (hashed + r * secret) % N
        if r and s:
            return r, s
    raise AssertionError("unreachable")


def _hashed(message: bytes) -> int:
    return int.from_bytes(hashlib.sha256(message).digest(), "big")


class _nonces:  # noqa: N801 (used as a generator)
    """RFC 6979, 3.2, with SHA-256."""

    def __init__(self, secret: int, hashed: int) -> None:
        seed = secret.to_bytes(_SIZE, "big") + (hashed % N).to_bytes(_SIZE, "big")
        self._v, self._k = b"\x01" * 32, b"\0" * 32
        for mark in (b"\0", b"\x01"):
            self._step(mark + seed)

    def _step(self, more: bytes) -> None:
        self._k = hmac.digest(self._k, self._v + more, "sha256")
        self._v = hmac.digest(self._k, self._v, "sha256")

    def __iter__(self) -> _nonces:
        return self

    def __next__(self) -> int:
        while True:
            self._v = hmac.digest(self._k, self._v, "sha256")
            nonce = int.from_bytes(self._v, "big")
            if 0 < nonce < N:
                return nonce
            self._step(b"\0")


# Points in Jacobian coordinates: (X, Y, Z) is (X/Z^2, Y/Z^3), so that adding needs no division.


def _double(point: _Jacobian) -> _Jacobian:
    x, y, z = point
    if not y:
        return _INFINITY
    yy = y * y % P
    s = 4 * x * yy % P
    zz = z * z % P
    m = 3 * (x - zz) * (x + zz) % P
    x3 = (m * m - 2 * s) % P
    return x3, (m * (s - x3) - 8 * yy * yy) % P, 2 * y * z % P


def _add(first: _Jacobian, second: _Jacobian) -> _Jacobian:
    if not first[2]:
        return second
    if not second[2]:
        return first
    (x1, y1, z1), (x2, y2, z2) = first, second
    zz1, zz2 = z1 * z1 % P, z2 * z2 % P
    u1, u2 = x1 * zz2 % P, x2 * zz1 % P
    s1, s2 = y1 * zz2 * z2 % P, y2 * zz1 * z1 % P
    if u1 == u2:
        return _double(first) if s1 == s2 else _INFINITY
    h = (u2 - u1) % P
    r = (s2 - s1) % P
    hh = h * h % P
    hhh, v = h * hh % P, u1 * hh % P
    x3 = (r * r - hhh - 2 * v) % P
    return x3, (r * (v - x3) - s1 * hhh) % P, h * z1 * z2 % P


def _multiply(factor: int, point: Point) -> _Jacobian:
    result = _INFINITY
    base = (point.x, point.y, 1)
    for bit in bin(factor)[2:]:
        result = _double(result)
        if bit == "1":
            result = _add(result, base)
    return result


def _affine(point: _Jacobian) -> Point:
    x, y, z = point
    inverse = pow(z, -1, P)
    square = inverse * inverse % P
    return Point(x * square % P, y * square * inverse % P)
