"""Network devices and their addresses over rtnetlink(7): as much as moving a device to another namespace takes.

Layouts and numbers are those of include/uapi/linux/netlink.h, rtnetlink.h, if_link.h and if_addr.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from pinnace.linux.kernel import CLONE_NEWNET, Kernel

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_LINK = struct.Struct("=BxHiII")  # family, type, index, flags, which of them change
_ADDRESS = struct.Struct("=BBBBI")  # family, prefix, flags, scope, index
_ATTRIBUTE = struct.Struct("=HH")  # length, type

_ERROR, _DONE = 2, 3
_NEW_LINK, _GET_LINK, _NEW_ADDRESS, _GET_ADDRESS = 16, 18, 20, 22
_REQUEST, _ACKNOWLEDGE, _DUMP = 0x1, 0x4, 0x300
_CREATE = 0x600  # and no other of the kind
_UP = 1
_LINK_NAME, _LINK_NAMESPACE = 3, 28
_ADDRESS_FLAGS = 8
_COPIED = (1, 2, 4, _ADDRESS_FLAGS)  # address, local address, broadcast address, flags
_PERMANENT = 0x80
_UNIVERSE = 0  # the scope of a global address
_LONGEST = 1 << 16


class Address(NamedTuple):
    """An address of a device, as the kernel tells it: what it takes to be given again."""

    family: int
    prefix: int
    attributes: bytes


class Netlink:
    """A socket of one network namespace; use as a context. Calls raise OSError naming the device."""

    def __init__(self) -> None:
        """In the caller's namespace."""
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        self._sequence = 0

    @classmethod
    def of(cls, kernel: Kernel, namespace: int) -> Netlink:
        """In another namespace, by descriptor; the caller's thread is back in its own afterwards."""
        own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            kernel.setns(namespace, CLONE_NEWNET)
            try:
                return cls()
            finally:
                kernel.setns(own, CLONE_NEWNET)
        finally:
            os.close(own)

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def index(self, name: str) -> int:
        """The number of a device in this namespace."""
        request = _LINK.pack(0, 0, 0, 0, 0) + _attribute(_LINK_NAME, name.encode() + b"\0")
        for kind, content in self._ask(_GET_LINK, 0, request, name):
            if kind == _NEW_LINK:
                return int(_LINK.unpack_from(content)[2])
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), name)

    def indexes(self) -> set[int]:
        """The numbers of all devices in this namespace; one that comes from another may get a new one."""
        answer = self._ask(_GET_LINK, _DUMP, _LINK.pack(0, 0, 0, 0, 0), "")
        return {_LINK.unpack_from(content)[2] for kind, content in answer if kind == _NEW_LINK}

    def addresses(self, index: int, name: str) -> list[Address]:
        """The permanent addresses of global scope of a device: what stays when it moves."""
        found = []
        for kind, content in self._ask(_GET_ADDRESS, _DUMP, _ADDRESS.pack(0, 0, 0, 0, 0), name):
            family, prefix, flags, scope, owner = _ADDRESS.unpack_from(content)
            if kind != _NEW_ADDRESS or owner != index or scope != _UNIVERSE:
                continue
            attributes = dict(_attributes(content[_ADDRESS.size :]))
            if _ADDRESS_FLAGS in attributes:  # the eight bits of the header did not suffice
                (flags,) = struct.unpack("=I", attributes[_ADDRESS_FLAGS])
            if flags & _PERMANENT:
                kept = [(each, attributes[each]) for each in _COPIED if each in attributes]
                packed = b"".join(_attribute(each, value) for each, value in kept)
                found.append(Address(family, prefix, packed))
        return found

    def move(self, index: int, name: str, namespace: int, new_name: str) -> None:
        """Give a device, which goes down and loses its addresses, to another namespace."""
        request = _LINK.pack(0, 0, index, 0, 0)
        request += _attribute(_LINK_NAMESPACE, struct.pack("=i", namespace))
        request += _attribute(_LINK_NAME, new_name.encode() + b"\0")
        self._do(_NEW_LINK, 0, request, name)

    def set_up(self, index: int, name: str) -> None:
        """Bring a device up."""
        self._do(_NEW_LINK, 0, _LINK.pack(0, 0, index, _UP, _UP), name)

    def add_address(self, index: int, name: str, address: Address) -> None:
        """Give a device an address; that it has it already is fine."""
        header = _ADDRESS.pack(address.family, address.prefix, 0, _UNIVERSE, index)
        try:
            self._do(_NEW_ADDRESS, _CREATE, header + address.attributes, name)
        except FileExistsError:
            return

    def _do(self, kind: int, flags: int, content: bytes, about: str) -> None:
        for _ in self._ask(kind, flags, content, about):
            pass

    def _ask(self, kind: int, flags: int, content: bytes, about: str) -> Iterator[tuple[int, bytes]]:  # fmt: skip
        """Send a request; the messages of its answer, up to the one that says how it went."""
        self._sequence += 1
        length = _HEADER.size + len(content)
        flags |= _REQUEST | (0 if flags & _DUMP == _DUMP else _ACKNOWLEDGE)
        self._socket.sendto(_HEADER.pack(length, kind, flags, self._sequence, 0) + content, (0, 0))
        while True:
            rest = self._socket.recv(_LONGEST)
            while len(rest) >= _HEADER.size:
                length, told, _, sequence, _ = _HEADER.unpack_from(rest)
                content, rest = rest[_HEADER.size : length], rest[(length + 3) & ~3 :]
                if sequence != self._sequence:
                    continue  # the rest of an answer that nobody read to its end
                if told == _DONE:
                    return
                if told == _ERROR:
                    number = -struct.unpack_from("=i", content)[0]
                    if number:
                        raise OSError(number, os.strerror(number), about)
                    return
                yield told, content


def _attribute(kind: int, value: bytes) -> bytes:
    padding = b"\0" * (-len(value) % 4)
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + padding


def _attributes(content: bytes) -> Iterator[tuple[int, bytes]]:
    while len(content) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(content)
        if length < _ATTRIBUTE.size:
            return
        yield kind, content[_ATTRIBUTE.size : length]
        content = content[(length + 3) & ~3 :]
