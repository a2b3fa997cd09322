"""HPACK, the header compression of HTTP/2 (RFC 7541): a bounded decoder, a stateless encoder.

The encoder writes literals without indexing, so that a header block can be made once and sent on
every connection. The decoder keeps the dynamic table that Go's clients use.

Why not the ``hpack`` package: importing it costs 16 ms (it imports ``logging``), which is more than
the rest of a command's client together, and it would be the runtime's only dependency. It is the
oracle that the tests compare this module with.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Header = tuple[str, str]

TABLE_SIZE = 4096
"""Bytes of dynamic table: the default of SETTINGS_HEADER_TABLE_SIZE, which we never raise."""
MAX_LIST_SIZE = 65536
"""Bytes of all headers of one block, counted as RFC 7541 does; announced in SETTINGS."""
_ENTRY_OVERHEAD = 32


class HeaderError(Exception):
    """A header block that breaks the rules or the bounds; the connection cannot go on."""


# Appendix A: entries 1 to 61.
_STATIC: tuple[Header, ...] = tuple(
    (line.partition("=")[0], line.partition("=")[2])
    for line in [
        ":authority",
        ":method=GET",
        ":method=POST",
        ":path=/",
        ":path=/index.html",
        ":scheme=http",
        ":scheme=https",
        ":status=200",
        ":status=204",
        ":status=206",
        ":status=304",
        ":status=400",
        ":status=404",
        ":status=500",
        "accept-charset",
        "accept-encoding=gzip, deflate",
        "accept-language",
        "accept-ranges",
        "accept",
        "access-control-allow-origin",
        "age",
        "allow",
        "authorization",
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-length",
        "content-location",
        "content-range",
        "content-type",
        "cookie",
        "date",
        "etag",
        "expect",
        "expires",
        "from",
        "host",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "last-modified",
        "link",
        "location",
        "max-forwards",
        "proxy-authenticate",
        "proxy-authorization",
        "range",
        "referer",
        "refresh",
        "retry-after",
        "server",
        "set-cookie",
        "strict-transport-security",
        "transfer-encoding",
        "user-agent",
        "vary",
        "via",
        "www-authenticate",
    ]
)
_STATIC_INDEX = {header: index for index, header in enumerate(_STATIC, 1)}

# Appendix B: bytes by length of their code. The code is canonical, so the lengths are enough;
# 256 is the end of a string, which may only appear as padding.
_CODE_LENGTHS = {
    5: "48-50 97 99 101 105 111 115-116",
    6: "32 37 45-47 51-57 61 65 95 98 100 102-104 108-110 112 114 117",
    7: "58 66-87 89 106-107 113 118-122",
    8: "38 42 44 59 88 90",
    10: "33-34 40-41 63",
    11: "39 43 124",
    12: "35 62",
    13: "0 36 64 91 93 126",
    14: "94 125",
    15: "60 96 123",
    19: "92 195 208",
    20: "128 130-131 162 184 194 224 226",
    21: "153 161 167 172 176-177 179 209 216-217 227 229-230",
    22: "129 132-134 136 146 154 156 160 163-164 169-170 173 178 181 185-187 189-190 196 198 228"
    " 232-233",
    23: "1 135 137-141 143 147 149-152 155 157-158 165-166 168 174-175 180 182-183 188 191 197"
    " 231 239",
    24: "9 142 144-145 148 159 171 206 215 225 236-237",
    25: "199 207 234-235",
    26: "192-193 200-202 205 210 213 218-219 238 240 242-243 255",
    27: "203-204 211-212 214 221-223 241 244-248 250-254",
    28: "2-8 11-12 14-21 23-31 127 220 249",
    30: "10 13 22 256",
}
_LONGEST = 30
_END_OF_STRING = 256


def _symbols(ranges: str) -> list[int]:
    """The numbers that a list like ``"48-50 97"`` names."""
    found: list[int] = []
    for part in ranges.split():
        first, _, last = part.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return found


def _canonical() -> list[tuple[int, int, int, list[int]]]:
    """Per code length: its bound and first code, as the top of 30 bits, and its symbols."""
    rows = []
    code = 0
    for length, ranges in _CODE_LENGTHS.items():
        shift = _LONGEST - length
        symbols = _symbols(ranges)
        rows.append((code + (len(symbols) << shift), code, length, symbols))
        code += len(symbols) << shift
    return rows


_HUFFMAN = _canonical()


def decode_huffman(data: bytes) -> bytes:
    """The string behind a Huffman code; raises ``HeaderError`` for wrong padding."""
    out = bytearray()
    pending, count = 0, 0
    for byte in data:
        pending, count = pending << 8 | byte, count + 8
        while count:
            symbol, length = _first_symbol(pending << _LONGEST >> count)
            if length > count:
                break
            if symbol == _END_OF_STRING:
                raise HeaderError("a Huffman coded header has an end inside")
            out.append(symbol)
            count -= length
            pending &= (1 << count) - 1
    # What is left is padding: the start of the end symbol, which is all ones.
    if count > 7 or pending != (1 << count) - 1:
        raise HeaderError("a Huffman coded header ends in the middle of a symbol")
    return bytes(out)


def _first_symbol(window: int) -> tuple[int, int]:
    """The symbol that 30 bits begin with, and the length of its code."""
    for bound, first, length, symbols in _HUFFMAN:
        if window < bound:
            return symbols[(window - first) >> (_LONGEST - length)], length
    raise AssertionError("the code is complete")


def encode(headers: Iterable[Header]) -> bytes:
    """A header block that changes no state: it may be sent on any connection, in any order."""
    out = bytearray()
    for name, value in headers:
        index = _STATIC_INDEX.get((name, value))
        if index is not None:
            out.append(0x80 | index)
            continue
        out.append(0)
        for text in (name, value):
            raw = text.encode("latin-1", "replace")
            out += _integer(len(raw), 7)
            out += raw
    return bytes(out)


def _integer(value: int, prefix: int) -> bytes:
    """Section 5.1: a number whose first byte has ``prefix`` bits for it, the others 0."""
    limit = (1 << prefix) - 1
    if value < limit:
        return bytes((value,))
    out = bytearray((limit,))
    value -= limit
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_KNOWN: dict[bytes, tuple[Header, ...]] = {}
"""Blocks that mean the same in every state of a decoder: those of our own clients, and of our answers."""
_MOST_KNOWN, _MOST_KNOWN_BYTES = 128, 512


class Decoder:
    """Decodes the header blocks of one direction of one connection, in their order."""

    def __init__(self) -> None:
        self._table: list[Header] = []
        self._size = 0
        self._limit = TABLE_SIZE
        self._is_plain = True
        """Whether a block neither uses the table nor changes it, so that it means the same everywhere."""

    def decode(self, block: bytes) -> list[Header]:
        """The headers of a block. Raises ``HeaderError``; the state is lost then."""
        known = _KNOWN.get(block)
        if known is not None:
            return list(known)
        headers: list[Header] = []
        self._is_plain = True
        try:
            self._decode(block, headers)
        except IndexError:
            raise HeaderError("a header block ends in the middle of a header") from None
        if self._is_plain and len(block) <= _MOST_KNOWN_BYTES:
            if len(_KNOWN) >= _MOST_KNOWN:
                _KNOWN.clear()
            _KNOWN[block] = tuple(headers)
        return headers

    def _decode(self, block: bytes, headers: list[Header]) -> None:
        position, total = 0, 0
        while position < len(block):
            byte = block[position]
            if byte & 0x80:
                index, position = _read_integer(block, position, 7)
                header = self._entry(index)
            elif byte & 0x40:
                header, position = self._literal(block, position, 6)
                self._add(header)
            elif byte & 0x20:
                if headers:
                    raise HeaderError("a table size update stands behind a header")
                position = self._resize(block, position)
                continue
            else:
                header, position = self._literal(block, position, 4)
            total += _entry_size(header)
            if total > MAX_LIST_SIZE:
                raise HeaderError(f"headers of more than {MAX_LIST_SIZE} bytes")
            headers.append(header)

    def _literal(self, block: bytes, position: int, prefix: int) -> tuple[Header, int]:
        index, position = _read_integer(block, position, prefix)
        if index:
            name = self._entry(index)[0]
        else:
            name, position = _read_string(block, position)
        value, position = _read_string(block, position)
        return (name, value), position

    def _entry(self, index: int) -> Header:
        if not index or index > len(_STATIC) + len(self._table):
            raise HeaderError(f"no header has the index {index}")
        if index <= len(_STATIC):
            return _STATIC[index - 1]
        self._is_plain = False
        return self._table[index - 62]

    def _add(self, header: Header) -> None:
        self._is_plain = False
        self._table.insert(0, header)
        self._size += _entry_size(header)
        self._evict()

    def _resize(self, block: bytes, position: int) -> int:
        self._is_plain = False
        limit, position = _read_integer(block, position, 5)
        if limit > TABLE_SIZE:
            raise HeaderError(f"a header table of {limit} bytes was not offered")
        self._limit = limit
        self._evict()
        return position

    def _evict(self) -> None:
        while self._size > self._limit:
            self._size -= _entry_size(self._table.pop())


def _entry_size(header: Header) -> int:
    return len(header[0]) + len(header[1]) + _ENTRY_OVERHEAD


def _read_integer(block: bytes, position: int, prefix: int) -> tuple[int, int]:
    limit = (1 << prefix) - 1
    value = block[position] & limit
    position += 1
    if value < limit:
        return value, position
    for shift in (0, 7, 14, 21):
        byte = block[position]
        position += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise HeaderError("a number in a header block is too large")


def _read_string(block: bytes, position: int) -> tuple[str, int]:
    coded = block[position] & 0x80
    length, position = _read_integer(block, position, 7)
    end = position + length
    if end > len(block):
        raise HeaderError("a header ends behind its block")
    raw = block[position:end]
    return (decode_huffman(raw) if coded else raw).decode("latin-1"), end
