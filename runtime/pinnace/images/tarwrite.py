"""Writing tar archives that are the same each time: ustar headers, PAX records where those are short.

Source: POSIX.1-2001, pax Interchange Format; attributes go into SCHILY.xattr records as every
image tool reads them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from pinnace.images.tar import BLOCK, CHARACTER, DIRECTORY, REGULAR

if TYPE_CHECKING:
    from collections.abc import Mapping

_OCTAL_7 = 0o7777777
_OCTAL_11 = 0o77777777777
_BILLION = 1_000_000_000


class Writable(Protocol):
    """Where an archive goes."""

    def write(self, data: bytes, /) -> object: ...


class Header(NamedTuple):
    """A member to write; ``size`` bytes of data follow for a regular file."""

    name: bytes
    kind: bytes = REGULAR
    size: int = 0
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    linkname: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[bytes, bytes] = {}


class TarWriter:
    """Writes members one after another; :meth:`finish` ends the archive."""

    def __init__(self, out: Writable) -> None:
        self._out = out

    def start(self, header: Header) -> None:
        """Write a header; write ``header.size`` bytes to the output next, then :meth:`pad`."""
        records = _records(header)
        if records:
            body = b"".join(_record(key, value) for key, value in sorted(records.items()))
            name = b"PaxHeaders.0/" + header.name[-80:].lstrip(b"/")
            self._out.write(_block(Header(name, b"x", len(body))) + body)
            self.pad(len(body))
        self._out.write(_block(header))

    def pad(self, size: int) -> None:
        """Fill up the last block of *size* bytes of data."""
        if size % 512:
            self._out.write(bytes(-size % 512))

    def add(self, header: Header, data: bytes = b"") -> None:
        """A member and its data at once."""
        self.start(header._replace(size=len(data)) if header.kind == REGULAR else header)
        if data:
            self._out.write(data)
            self.pad(len(data))

    def directory(self, name: bytes) -> None:
        """A plain directory, for archives that want them."""
        self.add(Header(name, DIRECTORY, mode=0o755))

    def finish(self) -> None:
        """The two empty blocks that end an archive."""
        self._out.write(bytes(1024))


def _records(header: Header) -> dict[bytes, bytes]:
    """What a ustar header cannot say about the member."""
    records = {b"SCHILY.xattr." + key: value for key, value in header.xattrs.items()}
    if _split(header.name) is None:
        records[b"path"] = header.name
    if len(header.linkname) > 100:
        records[b"linkpath"] = header.linkname
    if header.size > _OCTAL_11:
        records[b"size"] = str(header.size).encode()
    for key, number in ((b"uid", header.uid), (b"gid", header.gid)):
        if number > _OCTAL_7:
            records[key] = str(number).encode()
    if header.mtime_ns % _BILLION or not 0 <= header.mtime_ns // _BILLION <= _OCTAL_11:
        records[b"mtime"] = _seconds(header.mtime_ns)
    return records


def _seconds(time: int) -> bytes:
    sign = "-" if time < 0 else ""
    whole, fraction = divmod(abs(time), _BILLION)
    return f"{sign}{whole}.{fraction:09}".rstrip("0").rstrip(".").encode()


def _record(key: bytes, value: bytes) -> bytes:
    """``length key=value\\n``, where the length counts itself."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """Prefix and name of a ustar header; None when the name does not fit."""
    if len(name) <= 100:
        return b"", name
    cut = name.rfind(b"/", 0, 156)
    if cut <= 0 or len(name) - cut - 1 > 100 or cut == len(name) - 1:
        return None
    return name[:cut], name[cut + 1 :]


def _block(header: Header) -> bytes:
    prefix, name = _split(header.name) or (b"", header.name[:100])
    seconds = header.mtime_ns // _BILLION
    block = bytearray(512)
    block[0 : len(name)] = name
    for at, width, number in (
        (100, 8, header.mode & 0o7777),
        (108, 8, header.uid if header.uid <= _OCTAL_7 else 0),
        (116, 8, header.gid if header.gid <= _OCTAL_7 else 0),
        (124, 12, header.size if header.size <= _OCTAL_11 else 0),
        (136, 12, seconds if 0 <= seconds <= _OCTAL_11 else 0),
    ):
        block[at : at + width] = b"%0*o\0" % (width - 1, number)
    block[156:157] = header.kind
    link = header.linkname[:100]
    block[157 : 157 + len(link)] = link
    block[257:265] = b"ustar\x0000"
    if header.kind in (CHARACTER, BLOCK):
        block[329:337] = b"%07o\0" % header.device[0]
        block[337:345] = b"%07o\0" % header.device[1]
    block[345 : 345 + len(prefix)] = prefix
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)
