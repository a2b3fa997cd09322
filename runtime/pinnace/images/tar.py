"""Reading tar archives member by member, fast and without trust.

Formats: v7, ustar, PAX (POSIX.1-2001, pax Interchange Format), GNU long names and sparse files
(GNU tar manual, "Basic Tar Format" and "Storing Sparse Files": old GNU, PAX 0.0, 0.1 and 1.0).
Python's tarfile does this too, but spends several times as long per member, which on an ARMv6
board is most of the time it takes to unpack an image, and it has no bounds.

Names stay bytes. Every size read from the archive is bounded before anything is allocated for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.errors import DataLoss, InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pinnace.images.compression import LayerReader

REGULAR, HARD_LINK, SYMLINK, CHARACTER, BLOCK, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"  # fmt: skip
_SPARSE = b"S"
_KNOWN = frozenset((REGULAR, HARD_LINK, SYMLINK, CHARACTER, BLOCK, DIRECTORY, FIFO))
_ALIASES = {b"\0": REGULAR, b"7": REGULAR, b"D": DIRECTORY}

_MAX_EXTENDED = 1 << 20
_MAX_NAME = 4096
_MAX_SEGMENTS = 1 << 17
_MAX_SIZE = 1 << 62
_MAX_ID = (1 << 32) - 2
"""The highest number of a user or a group: the one above means "leave it" (chown(2))."""
_XATTR = b"SCHILY.xattr."
_SPARSE_KEYS = b"GNU.sparse."
_ZEROS = bytes(512)

Segments = list[tuple[int, int]]
"""Data of a sparse file: offset and length of each piece, in bytes."""


class Member:
    """One member of an archive; ``size`` is what its data takes in the archive, in bytes."""

    __slots__ = (
        "device",
        "gid",
        "kind",
        "linkname",
        "mode",
        "mtime_ns",
        "name",
        "real_size",
        "segments",
        "size",
        "uid",
        "xattrs",
    )

    def __init__(self, header: bytes) -> None:
        self.name = _text(header[0:100])
        self.mode = _number(header[100:108])
        self.uid = _number(header[108:116])
        self.gid = _number(header[116:124])
        self.size = _number(header[124:136])
        self.mtime_ns = _number(header[136:148]) * 1_000_000_000
        kind = header[156:157]
        self.kind = _ALIASES.get(kind, kind)
        self.linkname = _text(header[157:257])
        self.device = (0, 0)
        self.xattrs: dict[bytes, bytes] | None = None
        self.segments: Segments | None = None
        self.real_size = self.size
        if header[257:262] == b"ustar":
            if self.kind in (CHARACTER, BLOCK):
                self.device = (_number(header[329:337]), _number(header[337:345]))
            # GNU's magic has a space here, and other fields where ustar has the prefix.
            if header[262:263] == b"\0" and header[345] and kind not in (b"x", b"g"):
                self.name = _text(header[345:500]) + b"/" + self.name

    @property
    def shown(self) -> str:
        """The name for messages."""
        return self.name.decode(errors="replace")[:200]


def members(reader: LayerReader, limit: int) -> Iterator[Member]:
    """The members, each before its data; the caller consumes ``size`` bytes and the padding.

    Raises DataLoss for an archive that is damaged or ends early, InvalidArgument for one that is
    hostile or has more than *limit* members.
    """
    shared: dict[bytes, bytes] = {}
    count = 0
    while True:
        member = _next(reader, shared)
        if member is None:
            return
        count += 1
        if count > limit:
            raise InvalidArgument(f"layer has more than {limit} members")
        yield member


def padding(size: int) -> int:
    """Bytes that follow *size* bytes of data up to the next block."""
    return -size % 512


def _next(reader: LayerReader, shared: dict[bytes, bytes]) -> Member | None:
    """The next real member, after the extensions before it were taken into account."""
    own: list[tuple[bytes, bytes]] = []
    name = linkname = b""
    for _ in range(64):
        header = reader.block()
        if not header or header == _ZEROS:
            return None
        if len(header) < 512:
            raise DataLoss("layer ends in the middle of a header")
        _check(header)
        kind = header[156:157]
        if kind not in (b"x", b"g", b"L", b"K"):
            member = Member(header)
            if kind == _SPARSE:
                _old_gnu_sparse(reader, member, header)
            _extend(reader, member, shared, own)
            member.name = name or member.name
            member.linkname = linkname or member.linkname
            return _checked(member)
        data = _extended(reader, _number(header[124:136]))
        if kind == b"x":
            own = _records(data)
        elif kind == b"g":
            shared.update(_records(data))
        elif kind == b"L":
            name = data.split(b"\0", 1)[0]
        else:
            linkname = data.split(b"\0", 1)[0]
    raise InvalidArgument("layer has too many extended headers in a row")


def _check(header: bytes) -> None:
    """The checksum: unsigned as POSIX has it, or signed as some old programs wrote it."""
    wanted = _number(header[148:156])
    found = sum(header) - sum(header[148:156]) + 256
    if found != wanted:
        signed = found - 256 * sum(byte > 127 for byte in header[:148] + header[156:])
        if signed != wanted:
            raise DataLoss("layer is not a tar archive or is damaged: wrong header checksum")


def _checked(member: Member) -> Member:
    if member.kind == REGULAR and member.name.endswith(b"/"):
        member.kind = DIRECTORY  # v7 has no directories
    if member.kind not in _KNOWN:
        raise InvalidArgument(f"layer member {member.shown!r} is of unknown type {member.kind!r}")
    if member.kind != REGULAR:
        # Links, devices and directories have no data, whatever the size field says; only a
        # directory of GNU's incremental format has, which is passed over.
        member.size = member.size if member.kind == DIRECTORY else 0
    if member.size < 0:
        raise InvalidArgument(f"layer member {member.shown!r} has a negative size")
    if not member.name or b"\0" in member.name or len(member.name) > _MAX_NAME:
        raise InvalidArgument(f"layer member with a bad name {member.shown!r}")
    if b"\0" in member.linkname or len(member.linkname) > _MAX_NAME:
        raise InvalidArgument(f"layer member {member.shown!r} with a bad link")
    if not 0 <= member.uid <= _MAX_ID or not 0 <= member.gid <= _MAX_ID:
        raise InvalidArgument(f"layer member {member.shown!r} has an impossible owner")
    if member.kind in (HARD_LINK, SYMLINK) and not member.linkname:
        raise InvalidArgument(f"layer member {member.shown!r} links to nothing")
    return member


def _extended(reader: LayerReader, size: int) -> bytes:
    if not 0 <= size <= _MAX_EXTENDED:
        raise InvalidArgument(f"layer has an extended header of {size} bytes")
    data = reader.read(size + padding(size))
    if len(data) < size:
        raise DataLoss("layer ends in the middle of a header")
    return data[:size]


def _records(data: bytes) -> list[tuple[bytes, bytes]]:
    """PAX records in order (the sparse format 0.0 repeats keys): ``length key=value\\n``."""
    records = []
    at = 0
    while at < len(data) and data[at] != 0:
        space = data.find(b" ", at, at + 12)
        digits = data[at:space] if space > 0 else b""
        length = int(digits) if digits.isdigit() else 0
        record = data[space + 1 : at + length]
        key, equals, value = record.partition(b"=")
        if length < 5 or at + length > len(data) or not equals or value[-1:] != b"\n":
            raise DataLoss("layer has a malformed PAX record")
        records.append((key, value[:-1]))
        at += length
    return records


def _extend(
    reader: LayerReader,
    member: Member,
    shared: dict[bytes, bytes],
    own: list[tuple[bytes, bytes]],
) -> None:
    """Apply the PAX records of the archive and of the member."""
    if not shared and not own:
        return
    records = {**shared, **dict(own)}
    for key, value in records.items():
        if key == b"path":
            member.name = value.rstrip(b"/") + (b"/" if member.kind == DIRECTORY else b"")
        elif key == b"linkpath":
            member.linkname = value
        elif key == b"size":
            member.size = member.real_size = _decimal(value)
        elif key == b"uid":
            member.uid = _decimal(value)
        elif key == b"gid":
            member.gid = _decimal(value)
        elif key == b"mtime":
            member.mtime_ns = _seconds(value)
        elif key.startswith(_XATTR):
            if member.xattrs is None:
                member.xattrs = {}
            member.xattrs[key[len(_XATTR) :]] = value
    if any(key.startswith(_SPARSE_KEYS) for key in records):
        _pax_sparse(reader, member, records, own)


def _pax_sparse(
    reader: LayerReader,
    member: Member,
    records: dict[bytes, bytes],
    own: list[tuple[bytes, bytes]],
) -> None:
    member.name = records.get(b"GNU.sparse.name", member.name)
    size = records.get(b"GNU.sparse.realsize", records.get(b"GNU.sparse.size"))
    if records.get(b"GNU.sparse.major") == b"1":
        segments = _sparse_map_in_data(reader, member)
    elif b"GNU.sparse.map" in records:
        segments = _pairs([_decimal(n) for n in records[b"GNU.sparse.map"].split(b",") if n])
    else:
        numbers = [
            _decimal(value)
            for key, value in own
            if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
        ]
        segments = _pairs(numbers)
    if size is None:
        raise DataLoss(f"sparse layer member {member.shown!r} has no size")
    _set_segments(member, segments, _decimal(size))


def _sparse_map_in_data(reader: LayerReader, member: Member) -> Segments:
    """Format 1.0: the map is decimal numbers on lines at the start of the data."""
    lines: list[bytes] = []
    tail = b""
    wanted = 1
    while len(lines) < wanted:
        block = reader.block()
        member.size -= 512
        *complete, tail = (tail + block).split(b"\n")
        lines += complete
        if len(block) < 512 or member.size < 0 or (len(tail) > 32 and len(lines) < wanted):
            raise DataLoss(f"sparse map of layer member {member.shown!r} is damaged")
        if lines:
            wanted = 1 + 2 * _decimal(lines[0])
            if wanted > 2 * _MAX_SEGMENTS:
                raise InvalidArgument(f"layer member {member.shown!r} has too many holes")
    return _pairs([_decimal(line) for line in lines[1:wanted]])


def _old_gnu_sparse(reader: LayerReader, member: Member, header: bytes) -> None:
    """Type ``S``: four segments in the header, 21 in each block that follows."""
    numbers: list[int] = []
    block, start, count, flag = header, 386, 4, 482
    while True:
        for at in range(start, start + 24 * count, 12):
            if block[at : at + 12].strip(b"\0 "):
                numbers.append(_number(block[at : at + 12]))
        if not block[flag]:
            break
        block, start, count, flag = reader.block(), 0, 21, 504
        if len(block) < 512:
            raise DataLoss("layer ends in the middle of a header")
        if len(numbers) > 2 * _MAX_SEGMENTS:
            raise InvalidArgument(f"layer member {member.shown!r} has too many holes")
    member.kind = REGULAR
    _set_segments(member, _pairs(numbers), _number(header[483:495]))


def _pairs(numbers: list[int]) -> Segments:
    if len(numbers) % 2:
        raise DataLoss("sparse map is damaged")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _set_segments(member: Member, segments: Segments, size: int) -> None:
    """Segments must be in order, inside the file, and as long together as the data."""
    end = total = 0
    for offset, length in segments:
        if offset < end or offset + length > size:
            raise InvalidArgument(f"sparse map of layer member {member.shown!r} is not in order")
        end = offset + length
        total += length
    if total != member.size:
        raise DataLoss(f"sparse map of layer member {member.shown!r} does not match its data")
    member.segments = segments
    member.real_size = size


def _text(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]


def _number(field: bytes) -> int:
    """Octal, or GNU's base 256 when the first bit is set (negative numbers in two's complement)."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        if field[0] & 0x40:
            value -= 1 << (8 * len(field) - 1)
    else:
        digits = field.split(b"\0", 1)[0].strip(b" ")
        try:
            value = int(digits, 8) if digits else 0
        except ValueError:
            raise DataLoss(f"layer has a malformed number {digits!r}") from None
    if not -_MAX_SIZE < value < _MAX_SIZE:
        raise InvalidArgument(f"layer has an impossible number {value}")
    return value


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 18:
        raise DataLoss(f"layer has a malformed number {text[:40]!r}")
    return int(text)


def _seconds(text: bytes) -> int:
    """Decimal seconds, perhaps negative, perhaps with a fraction, as nanoseconds."""
    sign = -1 if text.startswith(b"-") else 1
    whole, _, fraction = text.lstrip(b"-").partition(b".")
    return sign * (_decimal(whole or b"0") * 10**9 + _decimal((fraction + b"0" * 9)[:9]))
