"""Images as commands need them: found by name, read from the daemon's content store."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pinnace.api.schema.content import Content, ReadContentRequest
from pinnace.api.schema.images import GetImageRequest, Image, Images, ListImagesRequest
from pinnace.api.schema.namespaces import ListNamespacesRequest, Namespaces
from pinnace.errors import DataLoss, Error, InvalidArgument, NotFound
from pinnace.spec import image as documents
from pinnace.spec import platform as platforms
from pinnace.spec.digest import Digest, sha256

if TYPE_CHECKING:
    from pinnace.cli.client import Client
    from pinnace.spec.platform import Platform


class Contents(NamedTuple):
    """What one platform's part of an image says."""

    manifest: documents.Manifest
    manifest_descriptor: documents.Descriptor
    config: documents.Config
    index_bytes: int

    @property
    def chain_id(self) -> str:
        """The name of the snapshot with all layers; empty for an image without layers."""
        chain = documents.chain_ids(self.config.diff_ids)
        return str(chain[-1]) if chain else ""

    @property
    def size(self) -> int:
        """Bytes of all its blobs as they are stored."""
        layers = sum(layer.size for layer in self.manifest.layers)
        own = self.manifest_descriptor.size + self.manifest.config.size
        return self.index_bytes + own + layers


def get(client: Client, name: str) -> Image:
    """The image called ``name``; a miss says in which other namespaces it exists."""
    try:
        answer = client.call(Images.get, GetImageRequest(name=name))
    except NotFound:
        raise missing(client, name) from None
    if answer.image is None:
        raise DataLoss(f'the daemon answered without an image for "{name}"')
    return answer.image


def missing(client: Client, name: str) -> NotFound:
    """The error for an image that is not there, with a hint where it is."""
    return NotFound(f'image "{name}": not found', hint=_elsewhere(client, name))


def _elsewhere(client: Client, name: str) -> str:
    found = []
    try:
        for namespace in client.call(Namespaces.list, ListNamespacesRequest()).namespaces:
            if namespace.name == client.namespace:
                continue
            wanted = ListImagesRequest(filters=[f'name=="{name}"'])
            if client.call(Images.list, wanted, namespace=namespace.name).images:
                found.append(namespace.name)
    except Error:
        return ""  # a hint is not worth a second error
    if not found:
        return ""
    return f"it is in namespace {', '.join(found)}: ctr -n {found[0]} ..."


def read_blob(client: Client, digest: Digest, size: int, limit: int) -> bytes:
    """A small blob, whole and verified.

    Raises:
        DataLoss: its bytes are not what its digest says.
        InvalidArgument: larger than ``limit`` bytes.
    """
    if size > limit:
        raise InvalidArgument(f"{digest} has {size} bytes; at most {limit} are read here")
    parts = []
    for answer in client.read(Content.read, ReadContentRequest(digest=str(digest), size=size)):
        parts.append(answer.data)
    data = b"".join(parts)
    if digest.algorithm == "sha256" and sha256(data) != digest:
        raise DataLoss(f"blob {digest} is damaged", hint="pull the image again")
    return data


def read_document(client: Client, descriptor: documents.Descriptor) -> bytes:
    limit = documents.MAX_DOCUMENT_BYTES
    return read_blob(client, descriptor.digest, descriptor.size, limit)


def target_of(image: Image) -> documents.Descriptor:
    if image.target is None:
        raise DataLoss(f'image "{image.name}" has no target')
    target = image.target
    return documents.Descriptor(target.media_type, Digest.parse(target.digest), target.size)


def contents(client: Client, image: Image, platform: Platform | None = None) -> Contents:
    """The part of ``image`` for ``platform`` (default: this machine's).

    Raises:
        NotFound: the image has no part for that platform, or its content is not here.
    """
    wanted = platform or platforms.default()
    descriptor = target_of(image)
    index_bytes = 0
    for _ in range(4):  # an index may hold indexes
        data = read_document(client, descriptor)
        media_type = documents.media_type_of(documents.parse_document(data), descriptor.media_type)
        if not documents.is_index(media_type):
            return _manifest_contents(client, descriptor, data, media_type, index_bytes)
        index_bytes += len(data)
        descriptor = _choose(documents.parse_index(data, media_type), wanted, image.name)
    raise InvalidArgument(f'image "{image.name}": indexes are nested too deep')


def _choose(index: documents.Index, wanted: Platform, name: str) -> documents.Descriptor:
    fitting = [each for each in index.manifests if each.platform is not None]
    found = platforms.best(wanted, [each.platform for each in fitting if each.platform])
    if found is not None:
        return fitting[found]
    if not fitting and len(index.manifests) == 1:
        return index.manifests[0]
    has = ", ".join(sorted({str(each.platform) for each in fitting})) or "none"
    raise NotFound(f'image "{name}" has nothing for platform {wanted}', hint=f"it has: {has}")


def _manifest_contents(
    client: Client, descriptor: documents.Descriptor, data: bytes, media_type: str, index_bytes: int
) -> Contents:
    manifest = documents.parse_manifest(data, media_type)
    config = documents.parse_config(
        read_blob(client, manifest.config.digest, manifest.config.size, documents.MAX_CONFIG_BYTES)
    )
    return Contents(manifest, descriptor, config, index_bytes)


def platforms_of(client: Client, image: Image) -> list[str]:
    """The platforms an image has, as its index or its config names them."""
    descriptor = target_of(image)
    data = read_document(client, descriptor)
    media_type = documents.media_type_of(documents.parse_document(data), descriptor.media_type)
    if documents.is_index(media_type):
        index = documents.parse_index(data, media_type)
        return sorted({str(each.platform) for each in index.manifests if each.platform})
    found = _manifest_contents(client, descriptor, data, media_type, 0)
    return [str(found.config.platform)]
