"""Images for boards without a network: fetched here, for the board's platform, into archives in the cache.

An archive is an OCI image layout (tar) with one platform's manifest and the reference as its name. Where
images come from is what the board's own plan says of registries (its hosts.toml files).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit import console, oci
from toolkit.agent.registry import Registry, RegistryError
from toolkit.errors import PinnaceError
from toolkit.paths import RUNTIME, cache_dir, give_to_user
from toolkit.tree import Tree

_DOCKER = {
    "application/vnd.docker.distribution.manifest.list.v2+json": oci.INDEX,
    "application/vnd.docker.distribution.manifest.v2+json": oci.MANIFEST,
}


def archive(
    reference: str, platform: str, files: Mapping[str, bytes], lab: tuple[str, str] | None
) -> Path:
    """The archive of ``reference`` for ``platform`` (``linux/arm/v6``).

    ``files``: what the board gets below its certs.d, by relative path. ``lab``: name and URL of the lab
    registry, which only boards can look up. Raises :class:`PinnaceError`.
    """
    with tempfile.TemporaryDirectory(prefix="pinnace-certs-") as scratch:
        _certs(Path(scratch), files, lab)
        with console.step(f"image {reference} {platform}") as step:
            try:
                with Registry(str(RUNTIME), [scratch]) as registry:
                    path = _archive(registry, reference, platform)
            except RegistryError as problem:
                raise PinnaceError(f"image {reference}: {problem.message}", hint=problem.hint) from None  # fmt: skip
            step.detail = f"{path.stat().st_size / 1e6:.1f} MB"
    return path


def _certs(place: Path, files: Mapping[str, bytes], lab: tuple[str, str] | None) -> None:
    """The board's registries, with its paths made this machine's."""
    for name, data in files.items():
        target = place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        for absolute in _roots(data):
            data = data.replace(absolute, str(place).encode())
        if lab is not None:
            data = data.replace(f"https://{lab[0]}".encode(), lab[1].encode())
        target.write_bytes(data)


def _roots(data: bytes) -> list[bytes]:
    """Directories that ``ca = "/etc/pinnace/certs.d/HOST/ca.crt"`` names, less host and file."""
    found = []
    for line in data.splitlines():
        name, _, value = line.partition(b"=")
        if name.strip() == b"ca" and value.strip().startswith(b'"/'):
            found.append(value.strip().strip(b'"').rsplit(b"/", 2)[0])
    return found


def _archive(registry: Registry, reference: str, platform: str) -> Path:
    descriptor, text = _manifest(registry, reference, platform)
    path = cache_dir("images") / f"{_key(reference, descriptor['digest'])}.tar"
    if path.exists():
        return path
    document = json.loads(text)
    blobs = [document["config"], *document["layers"]]
    tree = Tree()
    entry = {**descriptor, "annotations": {oci.IMAGE_NAME: reference, oci.REF_NAME: reference}}
    tree.file("oci-layout", oci.to_json({"imageLayoutVersion": "1.0.0"}))
    tree.file("index.json", oci.to_json({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": [entry]}))  # fmt: skip
    tree.file(_place(descriptor["digest"]), text)
    with tempfile.TemporaryDirectory(prefix="new-", dir=path.parent) as scratch:
        for blob in {each["digest"]: each for each in blobs}.values():
            file = Path(scratch) / blob["digest"].replace(":", "-")
            registry.fetch(_in_repository(reference), blob["digest"], blob["size"], str(file))
            tree.file(_place(blob["digest"]), file.read_bytes())
        made = Path(scratch) / "archive"
        made.write_bytes(tree.tar())
        made.rename(path)
    give_to_user(path)
    return path


def _manifest(registry: Registry, reference: str, platform: str) -> tuple[dict[str, Any], bytes]:
    digest, kind, text = registry.manifest(reference)
    document = json.loads(text)
    if _DOCKER.get(kind, kind) == oci.INDEX:
        digest = _chosen(document["manifests"], platform, reference)
        digest, kind, text = registry.manifest(f"{_in_repository(reference)}@{digest}")
    return {"mediaType": kind, "digest": digest, "size": len(text)}, text


def _chosen(manifests: Sequence[Mapping[str, Any]], platform: str, reference: str) -> str:
    """The best that the processor runs: an ARM one runs older variants too."""
    system, arch, variant = (*platform.split("/"), "")[:3]
    found: list[tuple[str, str]] = []
    for each in manifests:
        about = each.get("platform") or {}
        if (about.get("os"), about.get("architecture")) != (system, arch):
            continue
        theirs = str(about.get("variant") or ("v7" if arch == "arm" else ""))
        if arch != "arm" or theirs <= (variant or "v7"):
            found.append((theirs, str(each["digest"])))
    if not found:
        raise PinnaceError(f"image {reference} has nothing for {platform}")
    return max(found)[1]


def _in_repository(reference: str) -> str:
    """The reference without tag and digest."""
    name = reference.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return head + slash + last.partition(":")[0]


def _place(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _key(reference: str, digest: str) -> str:
    safe = "".join(letter if letter.isalnum() or letter in ".-" else "-" for letter in reference)
    return f"{safe[-80:]}-{digest.partition(':')[2][:16]}"
