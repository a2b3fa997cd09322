"""Our HPACK against the ``hpack`` package, both directions, and against hostile blocks."""

from __future__ import annotations

import hpack as oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace.api import hpack

NAMES = st.text("abcdefghijklmnopqrstuvwxyz-_:0123456789", min_size=1, max_size=30)
VALUES = st.text(st.characters(min_codepoint=0, max_codepoint=255), max_size=200)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=12)


@given(st.lists(st.tuples(HEADERS, st.booleans()), max_size=6))
def test_we_read_what_another_encoder_writes(
    blocks: list[tuple[list[tuple[str, str]], bool]],
) -> None:
    encoder, decoder = oracle.Encoder(), hpack.Decoder()
    for headers, huffman in blocks:
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        assert decoder.decode(encoder.encode(raw, huffman=huffman)) == headers


@given(HEADERS)
def test_another_decoder_reads_what_we_write(headers: list[tuple[str, str]]) -> None:
    found = oracle.Decoder().decode(hpack.encode(headers), raw=True)
    assert [(n.decode("latin-1"), v.decode("latin-1")) for n, v in found] == headers


@given(st.binary(max_size=300))
def test_hostile_blocks_raise_only_the_documented_error(block: bytes) -> None:
    try:
        hpack.Decoder().decode(block)
    except hpack.HeaderError:
        return


@given(st.binary(max_size=40))
def test_huffman_accepts_exactly_what_the_oracle_accepts(data: bytes) -> None:
    try:
        expected: bytes | None = oracle.huffman_table.decode_huffman(data)
    except oracle.HPACKDecodingError:
        expected = None
    try:
        found: bytes | None = hpack.decode_huffman(data)
    except hpack.HeaderError:
        found = None
    assert found == expected


def test_the_table_follows_size_updates_and_evicts() -> None:
    encoder, decoder = oracle.Encoder(), hpack.Decoder()
    headers = [(f"name-{n}", "v" * 100) for n in range(60)]
    assert decoder.decode(encoder.encode(headers)) == headers
    encoder.header_table_size = 256
    assert decoder.decode(encoder.encode(headers[-3:])) == headers[-3:]


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (b"\x80", "index 0"),
        (b"\xff\xff\xff\xff\xff\xff\x01", "too large"),
        (b"\x3f\xe2\x1f", "not offered"),
        (b"\x88\x20", "behind a header"),
        (b"\x00\x05ab", "behind its block"),
        (b"\x40\x01a\x7f\x81\xff\x01" + b"v" * 65536 + b"\xbe", "more than"),
    ],
)
def test_broken_blocks_are_refused(block: bytes, reason: str) -> None:
    with pytest.raises(hpack.HeaderError, match=reason):
        hpack.Decoder().decode(block)


def test_a_block_that_uses_the_table_means_what_this_table_says() -> None:
    """Blocks are remembered, but for those that depend on what came before them."""
    for value in ("one", "two"):
        decoder = hpack.Decoder()
        added = decoder.decode(b"\x40\x04name\x03" + value.encode())
        assert added == decoder.decode(b"\xbe") == [("name", value)]
        assert decoder.decode(b"\x00\x04name\x05plain") == [("name", "plain")]
        assert decoder.decode(b"\x00\x04name\x05plain") == [("name", "plain")]
