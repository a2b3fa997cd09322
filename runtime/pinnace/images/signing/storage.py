"""Where the signatures of images in registries are.

Simple signing keeps them in a directory or on a web server beside the registry ("lookaside"), sigstore in
the repository itself, under the tag ``sha256-<hex>.sig``. ``registries.d`` says which, for each part
of the namespace of names. Source: containers-registries.d(5) and containers/image's documentation
of its signature storage.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from pinnace.errors import InvalidArgument, NotFound, Unavailable, Unimplemented
from pinnace.images.signing import registriesd, signature
from pinnace.images.signing.signature import SIMPLE_SIGNING_TYPE, Signature
from pinnace.images.transports import files
from pinnace.spec import digest as digests
from pinnace.spec import image as images
from pinnace.spec.image import Descriptor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pinnace.registry.resolver import Resolver
    from pinnace.spec.digest import Digest
    from pinnace.spec.reference import Reference

_MAX_SIGNATURES = 128
_MAX_BYTES = 4 << 20


class Storage:
    """Reads and writes signatures, as ``registries.d`` has it."""

    def __init__(self, directory: str = "") -> None:
        """*directory* is used instead of the user's or the system's ``registries.d``."""
        self._entries = registriesd.load(directory or registriesd.default_path())

    def read(self, resolver: Resolver, reference: Reference, digest: Digest) -> Sequence[Signature]:
        """The signatures of a manifest; raises Unavailable, InvalidArgument for damaged ones."""
        place = registriesd.place_for(self._entries, str(reference))
        found = list(_read_lookaside(place.read, reference, digest))
        if place.attachments:
            found += _read_attached(resolver, reference, digest)
        return found

    def write(
        self,
        resolver: Resolver,
        reference: Reference,
        digest: Digest,
        signatures: Sequence[Signature],
    ) -> None:
        """Keep signatures of a manifest; raises Unimplemented where there is no place for them."""
        place = registriesd.place_for(self._entries, str(reference))
        simple = [item for item in signatures if not item.is_sigstore]
        attached = [item for item in signatures if item.is_sigstore]
        if attached and not place.attachments:
            raise Unimplemented(
                f"{reference}: sigstore signatures are not kept with this registry",
                hint="use-sigstore-attachments: true in registries.d, or --remove-signatures",
            )
        if simple:
            _write_lookaside(place.write, reference, digest, simple)
        if attached:
            _write_attached(resolver, reference, digest, attached)


# Beside the registry.


def _folder(url: str, reference: Reference, digest: Digest) -> str:
    return f"{url.rstrip('/')}/{reference.repository}@{digest.algorithm}={digest.hex}"


def _read_lookaside(url: str, reference: Reference, digest: Digest) -> list[Signature]:
    folder = _folder(url, reference, digest)
    read = _read_web if urlsplit(url).scheme in ("http", "https") else _read_file
    found: list[Signature] = []
    while len(found) < _MAX_SIGNATURES:
        data = read(f"{folder}/signature-{len(found) + 1}")
        if data is None:
            break
        found.append(signature.parse(data))
    return found


def _path(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "file" or parts.netloc or not parts.path.startswith("/"):
        raise InvalidArgument(f"registries.d: {url} is neither file:///... nor https://...")
    return unquote(parts.path)


def _read_file(url: str) -> bytes | None:
    try:
        return files.read(_path(url), _MAX_BYTES)
    except NotFound:
        return None


def _read_web(url: str) -> bytes | None:
    from pinnace.registry.hosts import Host
    from pinnace.registry.transport import Client

    parts = urlsplit(url)
    client = Client(Host(parts.scheme, parts.netloc))
    try:
        with client.request("GET", url, {}) as response:
            if response.status in (404, 403):  # object stores say 403 for what is not there
                return None
            if response.status != 200:
                raise Unavailable(f"{parts.netloc} answered {response.status} for a signature")
            return response.document(_MAX_BYTES)
    finally:
        client.close()


def _write_lookaside(
    url: str, reference: Reference, digest: Digest, signatures: Sequence[Signature]
) -> None:
    if urlsplit(url).scheme != "file":
        raise Unimplemented(
            f"signatures cannot be written to {url}", hint="lookaside-staging: file:///..."
        )
    folder = _path(_folder(url, reference, digest))
    files.make_directory(folder)
    for number, item in enumerate(signatures, 1):
        files.write(os.path.join(folder, f"signature-{number}"), item.to_bytes())


# In the repository.


def attachment_name(reference: Reference, digest: Digest) -> str:
    """The image that holds the sigstore signatures of a manifest."""
    return f"{reference.locator}:{digest.algorithm}-{digest.hex}.sig"


def _read_attached(resolver: Resolver, reference: Reference, digest: Digest) -> list[Signature]:
    name = attachment_name(reference, digest)
    try:
        _, data = resolver.manifest(name)
    except NotFound:
        return []
    manifest = images.parse_manifest(data)
    if len(manifest.layers) > _MAX_SIGNATURES:
        raise InvalidArgument(f"{name} has {len(manifest.layers)} signatures")
    found = []
    for layer in manifest.layers:
        if layer.media_type != SIMPLE_SIGNING_TYPE or layer.size > _MAX_BYTES:
            continue
        stream = resolver.fetch(name, layer)
        try:
            payload = stream.response.document(_MAX_BYTES)
        finally:
            stream.close()
        if not layer.digest.verify(payload):
            raise InvalidArgument(f"{name}: {layer.digest} is damaged")
        found.append(Signature(payload, layer.media_type, layer.annotations))
    return found


def _write_attached(
    resolver: Resolver, reference: Reference, digest: Digest, signatures: Sequence[Signature]
) -> None:
    """Add to the signatures that are there."""
    name = attachment_name(reference, digest)
    every = _read_attached(resolver, reference, digest)
    every += [item for item in signatures if item not in every]
    layers = []
    for item in every:
        layer = Descriptor(
            item.media_type, digests.sha256(item.payload), len(item.payload), item.annotations
        )
        _push(resolver, name, layer, item.payload)
        layers.append(layer)
    config: dict[str, Any] = {
        "architecture": "",
        "os": "",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [str(layer.digest) for layer in layers]},
    }
    packed = images.dump(config)
    described = Descriptor(images.OCI_CONFIG, digests.sha256(packed), len(packed))
    _push(resolver, name, described, packed)
    document = images.dump(
        {
            "schemaVersion": 2,
            "mediaType": images.OCI_MANIFEST,
            "config": described.to_json(),
            "layers": [layer.to_json() for layer in layers],
        }
    )
    made = Descriptor(images.OCI_MANIFEST, digests.sha256(document), len(document))
    _push(resolver, name, made, document)


def _push(resolver: Resolver, name: str, descriptor: Descriptor, data: bytes) -> None:
    from pinnace.images.transports.registry import Bytes

    resolver.push(name, descriptor, lambda: Bytes(data))
