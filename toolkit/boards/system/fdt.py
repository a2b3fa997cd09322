"""Device trees: read a flattened one, change it, write it again.

A tree is nodes with named properties, whose values are bytes. The order of nodes and properties is kept,
comments and labels do not exist in this form. Facts: Devicetree Specification 0.4, chapter 5.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from toolkit.errors import PinnaceError

_MAGIC = 0xD00DFEED
_VERSION, _COMPATIBLE_WITH = 17, 16
_HEADER = struct.Struct(">10I")
_BEGIN_NODE, _END_NODE, _PROP, _NOP, _END = 1, 2, 3, 4, 9


@dataclass(slots=True)
class Node:
    """A node with its properties (big-endian cells, NUL-terminated strings) and children, by name."""

    properties: dict[str, bytes] = field(default_factory=dict)
    children: dict[str, Node] = field(default_factory=dict)

    def cells(self, name: str) -> tuple[int, ...]:
        """A property as 32-bit numbers; empty when it is absent."""
        value = self.properties.get(name, b"")
        return struct.unpack(f">{len(value) // 4}I", value[: len(value) // 4 * 4])

    def set_cells(self, name: str, *values: int) -> None:
        self.properties[name] = struct.pack(f">{len(values)}I", *values)

    def strings(self, name: str) -> list[str]:
        """A property as a list of strings; empty when it is absent."""
        return [one.decode() for one in self.properties.get(name, b"").split(b"\0")[:-1]]

    def set_strings(self, name: str, *values: str) -> None:
        self.properties[name] = b"".join(value.encode() + b"\0" for value in values)


@dataclass(slots=True)
class Tree:
    """A device tree. ``reserved`` are the memory areas (address, size) that the kernel may not touch."""

    root: Node
    reserved: tuple[tuple[int, int], ...] = ()
    boot_cpu: int = 0

    def node(self, path: str) -> Node:
        """The node at ``/soc/mmc@7e202000``; raises :class:`PinnaceError` when there is none."""
        found = self.root
        for name in path.strip("/").split("/") if path != "/" else []:
            if name not in found.children:
                raise PinnaceError(f"the device tree has no node {path}")
            found = found.children[name]
        return found

    def walk(self) -> Iterator[tuple[str, Node]]:
        """Every node with its path, parents first."""
        waiting = [("/", self.root)]
        while waiting:
            path, node = waiting.pop()
            yield path, node
            prefix = path.rstrip("/")
            waiting += [(f"{prefix}/{name}", child) for name, child in node.children.items()][::-1]

    def all_compatible(self, name: str) -> list[Node]:
        """Every node that says it is ``name``."""
        return [node for _, node in self.walk() if name in node.strings("compatible")]

    def compatible(self, name: str) -> Node:
        """The one node that says it is ``name``; raises :class:`PinnaceError` for none or several."""
        found = self.all_compatible(name)
        if len(found) != 1:
            raise PinnaceError(f"the device tree has {len(found)} nodes compatible with {name}")
        return found[0]


def parse(data: bytes) -> Tree:
    """The tree in ``data``; raises :class:`PinnaceError` for anything that is no device tree."""
    try:
        return _Reader(data).tree()
    except (struct.error, IndexError, ValueError, KeyError) as problem:
        raise PinnaceError(f"the device tree is damaged: {problem}") from None


def dump(tree: Tree) -> bytes:
    """``tree`` in the flattened form, version 17."""
    names: dict[str, int] = {}
    strings = bytearray()
    for _, node in tree.walk():
        for name in node.properties:
            if name not in names:
                names[name] = len(strings)
                strings += name.encode() + b"\0"
    body = bytearray()
    _write_node(body, "", tree.root, names)
    body += struct.pack(">I", _END)
    reserved = b"".join(struct.pack(">QQ", *area) for area in (*tree.reserved, (0, 0)))
    reserved_at = _HEADER.size
    body_at = reserved_at + len(reserved)
    strings_at = body_at + len(body)
    header = _HEADER.pack(
        _MAGIC, strings_at + len(strings), body_at, strings_at, reserved_at,
        _VERSION, _COMPATIBLE_WITH, tree.boot_cpu, len(strings), len(body),
    )  # fmt: skip
    return header + reserved + bytes(body) + bytes(strings)


def _write_node(out: bytearray, name: str, node: Node, names: dict[str, int]) -> None:
    out += struct.pack(">I", _BEGIN_NODE) + _padded(name.encode() + b"\0")
    for key, value in node.properties.items():
        out += struct.pack(">III", _PROP, len(value), names[key]) + _padded(value)
    for key, child in node.children.items():
        _write_node(out, key, child, names)
    out += struct.pack(">I", _END_NODE)


def _padded(value: bytes) -> bytes:
    return value + bytes(-len(value) % 4)


class _Reader:
    def __init__(self, data: bytes) -> None:
        magic, total, self._position, self._strings, reserved, version, oldest, self._cpu, _, _ = (
            _HEADER.unpack_from(data)
        )
        if magic != _MAGIC or total > len(data) or oldest > _VERSION or version < _COMPATIBLE_WITH:
            raise ValueError("not a flattened tree of version 17")
        self._data = data[:total]
        self._reserved = reserved

    def tree(self) -> Tree:
        areas = []
        position = self._reserved
        while (area := struct.unpack_from(">QQ", self._data, position)) != (0, 0):
            areas.append(area)
            position += 16
        if self._token() != _BEGIN_NODE or self._name():
            raise ValueError("it does not begin with a root node")
        root = self._node()
        if self._token() != _END:
            raise ValueError("something follows the root node")
        return Tree(root, tuple(areas), self._cpu)

    def _node(self) -> Node:
        node = Node()
        while (token := self._token()) != _END_NODE:
            if token == _PROP:
                length, name = struct.unpack_from(">II", self._take(8))
                node.properties[self._string(self._strings + name)] = self._take(length)
            elif token == _BEGIN_NODE:
                name = self._name()
                node.children[name] = self._node()
            else:
                raise ValueError(f"token {token} in a node")
        return node

    def _token(self) -> int:
        while True:
            token: int = struct.unpack(">I", self._take(4))[0]
            if token != _NOP:
                return token

    def _take(self, length: int) -> bytes:
        """The next ``length`` bytes, and the padding behind them is passed over."""
        value = self._data[self._position : self._position + length]
        if len(value) != length:
            raise ValueError("it ends early")
        self._position += length + -length % 4
        return value

    def _name(self) -> str:
        value = self._string(self._position)
        self._take(len(value) + 1)
        return value

    def _string(self, position: int) -> str:
        return self._data[position : self._data.index(b"\0", position)].decode()
