"""NaCl's secretbox, XSalsa20 with Poly1305, for the few hundred bytes of a private key.

Sources: D. J. Bernstein, "Extending the Salsa20 nonce" and "The Salsa20 family of stream ciphers"; RFC 8439, 2.5
(Poly1305).
"""

from __future__ import annotations

import hmac
import struct

KEY_BYTES, NONCE_BYTES = 32, 24
_TAG_BYTES = 16
_MASK = 0xFFFFFFFF
_CONSTANTS = struct.unpack("<4I", b"expand 32-byte k")
_PRIME = (1 << 130) - 5
# A double round: columns, then rows (Salsa20 specification, section 6).
_QUARTERS = (
    (0, 4, 8, 12), (5, 9, 13, 1), (10, 14, 2, 6), (15, 3, 7, 11),
    (0, 1, 2, 3), (5, 6, 7, 4), (10, 11, 8, 9), (15, 12, 13, 14),
)  # fmt: skip


def seal(message: bytes, key: bytes, nonce: bytes) -> bytes:
    """Encrypt and authenticate *message*."""
    stream = _stream(key, nonce, 32 + len(message))
    sealed = _xor(message, stream[32:])
    return _poly1305(sealed, stream[:32]) + sealed


def open_(sealed: bytes, key: bytes, nonce: bytes) -> bytes | None:
    """The message, or None when it was changed or the key is wrong."""
    tag, body = sealed[:_TAG_BYTES], sealed[_TAG_BYTES:]
    stream = _stream(key, nonce, 32 + len(body))
    if not hmac.compare_digest(tag, _poly1305(body, stream[:32])):
        return None
    return _xor(body, stream[32:])


def _xor(data: bytes, stream: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(data, stream, strict=False))


def _rounds(state: list[int]) -> list[int]:
    x = list(state)
    for _ in range(10):
        for a, b, c, d in _QUARTERS:
            x[b] ^= _rotated(x[a] + x[d], 7)
            x[c] ^= _rotated(x[b] + x[a], 9)
            x[d] ^= _rotated(x[c] + x[b], 13)
            x[a] ^= _rotated(x[d] + x[c], 18)
    return x


def _rotated(value: int, bits: int) -> int:
    value &= _MASK
    return (value << bits | value >> (32 - bits)) & _MASK


def _state(key: bytes, block: bytes) -> list[int]:
    """The key and 16 bytes of nonce or counter, laid out with the constants on the diagonal."""
    k, n, c = struct.unpack("<8I", key), struct.unpack("<4I", block), _CONSTANTS
    return [c[0], *k[:4], c[1], *n, c[2], *k[4:], c[3]]


def _stream(key: bytes, nonce: bytes, size: int) -> bytes:
    mixed = _rounds(_state(key, nonce[:16]))
    # HSalsa20: the words of the diagonal and of the nonce become the key.
    subkey = struct.pack("<8I", *(mixed[i] for i in (0, 5, 10, 15, 6, 7, 8, 9)))
    out = bytearray()
    counter = 0
    while len(out) < size:
        state = _state(subkey, nonce[16:] + counter.to_bytes(8, "little"))
        mixed = _rounds(state)
        words = [(a + b) & _MASK for a, b in zip(mixed, state, strict=True)]
        out += struct.pack("<16I", *words)
        counter += 1
    return bytes(out[:size])


def _poly1305(message: bytes, key: bytes) -> bytes:
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    s = int.from_bytes(key[16:], "little")
    total = 0
    for at in range(0, len(message), 16):
        block = message[at : at + 16] + b"\x01"
        total = (total + int.from_bytes(block, "little")) * r % _PRIME
    return ((total + s) & ((1 << 128) - 1)).to_bytes(16, "little")
