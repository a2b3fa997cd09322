"""The user-mode emulator with the CPU model built in, and the proof that it is.

``QEMU_CPU`` in the environment would choose the model, but systemd, sudo and containers clean the
environment, and an emulator that falls back to its default model runs ARMv7 code on an "ARMv6"
board. So each model gets a copy of QEMU whose *default* model it is.

How: QEMU keeps its CPU models in tables of ``{name, note, initfn, class_init}`` (``ARMCPUInfo``), and
the default is the model called ``any`` or ``max``. In a position-independent executable both pointers
are relative relocations, so the copy points the default models' ``initfn`` to that of the wanted
model: a change of a few addends in ``.rela.dyn``, the same on every host architecture.

The proof (:mod:`toolkit.boards.proof`) then runs programs of a few instructions: one the model has, one it has not, and uname(2).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from toolkit import debian
from toolkit.arch import Arch
from toolkit.boards.elf import Image, Relocation
from toolkit.boards.proof import prove
from toolkit.errors import PinnaceError
from toolkit.paths import cache_dir

SUITE = "trixie"
"""QEMU 10.0. 7.2 of bookworm lacks openat2, the fsopen family and PR_SET_CHILD_SUBREAPER."""

_DEFAULTS = (b"any", b"max")

_ADDEND = 16
"""Where a relocation has its addend, in bytes."""

_INITFN = 16
"""Where a table entry has its initfn, in bytes from its name."""


def build(arch: Arch, host_arch: str) -> Path:
    """The emulator for ``arch`` on ``host_arch`` (Debian's name), patched and proven, in the cache."""
    facts = arch.facts
    unpacked = debian.Archive(SUITE, host_arch).unpack(["qemu-user"])
    original = unpacked / "usr" / "bin" / f"qemu-{facts.qemu}"

    def fill(tree: Path) -> None:
        target = tree / f"qemu-{facts.qemu}-{facts.qemu_cpu}"
        target.write_bytes(with_default_model(original.read_bytes(), facts.qemu_cpu))
        target.chmod(0o755)
        prove(target, arch)

    # The original's place in the cache names its version and content.
    key = debian.content_key(str(unpacked.parent.name), facts.qemu_cpu, _RECIPE)
    entry = cache_dir("emulators") / f"{facts.qemu}-{facts.qemu_cpu}-{key}"
    tree = debian.kept_tree(entry, fill)
    return tree / f"qemu-{facts.qemu}-{facts.qemu_cpu}"


_RECIPE = "2"
"""Part of the cache key: raised when patching or proof change."""


def with_default_model(data: bytes, model: str) -> bytes:
    """``data`` of a qemu-user executable, changed so that ``model`` is what it emulates by default.

    Raises :class:`PinnaceError` when the tables are not found as expected.
    """
    image = Image(data)
    relocations = image.relocations()
    wanted = model.encode()
    entries = list(_model_entries(image, relocations, (wanted, *_DEFAULTS)))
    initfns = {initfn.addend for name, initfn in entries if name == wanted}
    targets = [initfn for name, initfn in entries if name in _DEFAULTS]
    if len(initfns) != 1 or not targets:
        raise PinnaceError(f"this QEMU's table of CPU models has no single {model}, or no default")
    patched = bytearray(data)
    for target in targets:
        struct.pack_into("<q", patched, target.position + _ADDEND, *initfns)
    return bytes(patched)


def _model_entries(
    image: Image, relocations: dict[int, Relocation], names: tuple[bytes, ...]
) -> Iterator[tuple[bytes, Relocation]]:
    """Table entries whose name is one of ``names``: the name and the relocation of its initfn."""
    for address, relocation in relocations.items():
        name = image.names_at(relocation.addend, names)
        initfn = relocations.get(address + _INITFN)
        if name and initfn and image.is_code(initfn.addend):
            yield name, initfn
