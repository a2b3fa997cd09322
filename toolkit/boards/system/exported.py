"""An image of somebody's own: a board's disk with all that it boots with, in one directory that can be carried away.

::

    image.json      the machine that it is for, and the disk's digest
    disk.qcow2      the disk, compressed; nothing stands below it
    kernel initrd   and, where the machine has one, device-tree
    id_ed25519      the key that its user pi accepts, and ssh_host_key, its own, with their public halves

``export`` writes it from a board that is off; a new board can be created from it, here or elsewhere. The keys in it
let anybody log in who has it: it is for tests.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from toolkit.boards.system import tools
from toolkit.boards.system.image import Image
from toolkit.errors import PinnaceError, UsageError
from toolkit.process import run

_FILES = (
    *("kernel", "initrd", "device-tree"),
    *("id_ed25519", "id_ed25519.pub", "ssh_host_key", "ssh_host_key.pub"),
)
_DISK = "disk.qcow2"
_ABOUT = "image.json"


def write(target: Path, label: str, source: Image, layer: Path) -> int:
    """Write the directory ``target`` from a board's image and the ``layer`` of its disk; returns bytes.

    Raises :class:`UsageError` where something is there already.
    """
    if target.exists():
        raise UsageError(f"{target} exists already", hint="take it away, or name another directory")
    scratch = target.with_name(f".{target.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700, parents=True)
    try:
        words = [*tools.command("usr/bin/qemu-img"), "convert", "-q", "-f", "qcow2", "-O", "qcow2"]
        compressed = ["-c", "-o", "compression_type=zstd"]
        run([*words, *compressed, layer, scratch / _DISK], f"exporting the disk {layer.name}")
        (scratch / _DISK).chmod(0o444)
        for name in _FILES:
            if (source.folder / name).exists():
                shutil.copy(source.folder / name, scratch / name)
        about = {"machine": label, "disk": _digest(scratch / _DISK)}
        (scratch / _ABOUT).write_text(json.dumps(about, indent=2) + "\n")
        scratch.rename(target)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return sum(path.stat().st_size for path in target.iterdir())


def machine(folder: Path) -> str:
    """The label of the machine that an exported image is for; raises :class:`UsageError` where none is."""
    return _about(folder)["machine"]


def checked(folder: Path, label: str) -> Image:
    """The image in ``folder``, whole and for the machine ``label``; raises :class:`PinnaceError` otherwise."""
    about = _about(folder)
    if about["machine"] != label:
        raise UsageError(f"{folder} is an image of sys-{about['machine']}, not of sys-{label}")
    missing = [name for name in (_DISK, *_FILES) if not (folder / name).exists()]
    missing = [name for name in missing if name != "device-tree"]
    if missing:
        raise PinnaceError(f"{folder} is not whole: {', '.join(missing)} is missing", hint="export it again")  # fmt: skip
    if _digest(folder / _DISK) != about["disk"]:
        raise PinnaceError(f"{folder / _DISK} is not what was exported", hint="export it again")
    # A cache or an archive may have lost the modes, and ssh refuses a key that others can read.
    (folder / "id_ed25519").chmod(0o600)
    return Image(folder.resolve())


def backing(folder: Path) -> tuple[Path, str]:
    """The disk of an image, exported or in the cache, and its format."""
    if (folder / _ABOUT).exists():
        return folder / _DISK, "qcow2"
    return Image(folder).disk, "raw"


def name(folder: Path) -> str:
    """What the cache calls what is made from an image: unlike for other content."""
    if (folder / _ABOUT).exists():
        about = _about(folder)
        return f"{about['machine']}-image-{about['disk'][:16]}"
    return folder.parent.name


def _about(folder: Path) -> dict[str, str]:
    try:
        found = json.loads((folder / _ABOUT).read_text())
        return {"machine": str(found["machine"]), "disk": str(found["disk"])}
    except FileNotFoundError:
        raise UsageError(f"{folder} is no exported image", hint="./inv board export NAME --to DIRECTORY makes one") from None  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise PinnaceError(f"{folder / _ABOUT} cannot be read: {problem}") from None


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
