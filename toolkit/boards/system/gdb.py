"""QEMU's gdb stub, for the one thing that no other interface of QEMU does: write to a device's registers.

Facts: GDB manual, "Remote Serial Protocol"; QEMU's own packet ``Qqemu.PhyMemMode`` (physical addresses
instead of those that the guest's program has mapped) from its gdb usage page.
"""

from __future__ import annotations

import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from toolkit.errors import PinnaceError


class Gdb:
    """A connection to the stub at a Unix socket. The machine stands still while it is open.

    Leaving the context lets the machine run. Raises :class:`PinnaceError` when the stub does not answer
    within ``seconds``, or refuses.
    """

    def __init__(self, path: Path, seconds: float = 10.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(seconds)
        try:
            self._socket.connect(str(path))
            self._stream = self._socket.makefile("rb")
            self._expect("Qqemu.PhyMemMode:1", "OK")
        except BaseException as problem:
            self._socket.close()
            raise _as_ours(problem) from None

    def read(self, address: int, length: int = 4) -> int:
        """The little-endian number of ``length`` bytes at the physical ``address``."""
        answer = self._ask(f"m{address:x},{length:x}")
        try:
            value = bytes.fromhex(answer)
        except ValueError:
            value = b""
        if len(value) != length:
            raise PinnaceError(f"QEMU's gdb stub cannot read at {address:#x}: {answer!r}")
        return int.from_bytes(value, "little")

    def write(self, address: int, value: int, length: int = 4) -> None:
        """Write ``value`` at the physical ``address`` as ``length`` little-endian bytes."""
        data = value.to_bytes(length, "little").hex()
        self._expect(f"M{address:x},{length:x}:{data}", "OK")

    def close(self) -> None:
        """Let the machine run, and close the connection."""
        try:
            self._expect("D", "OK")
        finally:
            self._stream.close()
            self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _expect(self, packet: str, wanted: str) -> None:
        answer = self._ask(packet)
        if answer != wanted:
            raise PinnaceError(f"QEMU's gdb stub answered {answer!r} to {packet}")

    def _ask(self, packet: str) -> str:
        try:
            self._socket.sendall(framed(packet))
            return self._answer()
        except OSError as problem:
            raise _as_ours(problem) from None

    def _answer(self) -> str:
        """The next packet, acknowledged; acknowledgements of our own packets are passed over."""
        while (byte := self._stream.read(1)) == b"+":
            pass
        body = b""
        if byte == b"$":
            while (byte := self._stream.read(1)) not in (b"#", b""):
                body += byte
            checksum = self._stream.read(2)
            if checksum == b"%02x" % (sum(body) % 256):
                self._socket.sendall(b"+")
                return body.decode("ascii", errors="replace")
        raise PinnaceError(f"QEMU's gdb stub sent something else than a packet: {byte + body!r}")


def framed(packet: str) -> bytes:
    """``packet`` as it travels: between ``$`` and ``#``, with the sum of its bytes behind."""
    body = packet.encode("ascii")
    return b"$%b#%02x" % (body, sum(body) % 256)


def _as_ours(problem: BaseException) -> BaseException:
    if isinstance(problem, OSError):
        return PinnaceError(f"QEMU's gdb stub does not answer: {problem}")
    return problem
