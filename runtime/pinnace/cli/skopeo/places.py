"""Opening the images that a command line names."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NamedTuple

from pinnace.errors import InvalidArgument, Unimplemented
from pinnace.images.transports import base
from pinnace.spec import platform as platforms
from pinnace.spec import reference as references

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pinnace.cli.options import Call
    from pinnace.images.signing.storage import Storage
    from pinnace.images.transports.base import Source, Target
    from pinnace.registry.auth import Credentials
    from pinnace.registry.resolver import Resolver
    from pinnace.spec.platform import Platform
    from pinnace.spec.reference import Reference

DOCKER, OCI, OCI_ARCHIVE, DOCKER_ARCHIVE, DIRECTORY = (
    "docker", "oci", "oci-archive", "docker-archive", "dir",
)  # fmt: skip
STORE = "containerd"
_REFUSED = {
    "containers-storage": "the storage of podman and buildah cannot be read or written here: "
    "copy with their own tools to oci-archive:FILE first",
    "docker-daemon": "Docker's daemon cannot be asked: use docker save and docker-archive:FILE",
    "ostree": "there is no OSTree here",
    "sif": "there is no SIF here",
    "tarball": "there is no tarball transport: ctr image import reads archives",
}


class Place(NamedTuple):
    """A transport and what stands behind it: a path and a name in it, or a name in a registry."""

    transport: str
    path: str
    name: str = ""

    def __str__(self) -> str:
        mark = "//" if self.transport == DOCKER else ""
        return f"{self.transport}:{mark}{self.path}" + (f":{self.name}" if self.name else "")


def parse(text: str) -> Place:
    """Read ``TRANSPORT:DETAILS``; raises InvalidArgument, Unimplemented for foreign transports."""
    transport, colon, rest = text.partition(":")
    if not colon:
        raise InvalidArgument(
            f'invalid image name "{text}": it names no transport',
            hint=f"docker://{text}?" if text else "TRANSPORT:DETAILS",
        )
    if transport in _REFUSED:
        raise Unimplemented(f"{transport}: {_REFUSED[transport]}")
    if transport == DOCKER:
        if not rest.startswith("//") or len(rest) == 2:
            raise InvalidArgument(f'invalid image name "{text}"', hint="docker://NAME[:TAG]")
        return Place(DOCKER, rest[2:])
    if transport in (DIRECTORY, STORE) and rest:
        return Place(transport, rest)
    if transport in (OCI, OCI_ARCHIVE, DOCKER_ARCHIVE) and rest:
        return _in_file(transport, rest)
    raise InvalidArgument(f'invalid image name "{text}"', hint=f"{transport}: is no transport" if rest else "the path is missing")  # fmt: skip


def _in_file(transport: str, rest: str) -> Place:
    path, colon, name = rest.partition(":")
    if not colon:
        head, at, number = rest.rpartition("@")
        if at and number.isdecimal():
            return Place(transport, head, f"@{number}")
    if not path or (colon and not name):
        raise InvalidArgument(f'invalid image name "{transport}:{rest}"')
    return Place(transport, path, name)


def platform_of(call: Call) -> Platform:
    """This machine's platform, or what ``--override-*`` make of it."""
    own = platforms.default()
    words = [call.text(f"override-{name}") for name in ("os", "arch", "variant")]
    if not any(words):
        return own
    variant = words[2] or ("" if words[1] else own.variant)
    return platforms.normalize(
        platforms.Platform(words[0] or own.os, words[1] or own.architecture, variant)
    )


def temporary(call: Call) -> str:
    """Where large temporary files go: not into a tmpfs, unless one was named."""
    return call.text("tmpdir") or "/var/tmp"  # noqa: S108 (mkstemp and O_TMPFILE make names)


def open_source(call: Call, place: Place, prefix: str = "") -> Source:
    """The image at *place* for reading."""
    shared = _shared(call, place, prefix)
    if place.transport == DOCKER:
        from pinnace.images.transports.registry import RegistrySource

        reference = references.normalize(place.path)
        return RegistrySource(reference, resolver(call, reference, prefix), storage(call))
    if place.transport == STORE:
        from pinnace.cli.skopeo.store import StoreSource

        return StoreSource(place.path, temporary(call))
    if place.transport == DIRECTORY:
        from pinnace.images.transports.directory import DirectorySource

        return DirectorySource(place.path)
    if place.transport == OCI:
        from pinnace.images.transports.layout import LayoutSource

        return LayoutSource(place.path, place.name, shared)
    if place.transport == OCI_ARCHIVE:
        from pinnace.images.transports.archives import OciArchiveSource

        return OciArchiveSource(place.path, place.name, temporary(call))
    from pinnace.images.transports.docker import DockerArchiveSource

    return DockerArchiveSource(place.path, place.name, temporary(call))


def open_target(
    call: Call, place: Place, *, layers: str = base.PRESERVE, more: Sequence[str] = ()
) -> Target:
    """The place for an image; *layers* is for directories, *more* are further names."""
    if more and place.transport != DOCKER_ARCHIVE:
        raise InvalidArgument("--additional-tag is for docker-archive: only")
    uncompressed = call.has("dest-oci-accept-uncompressed-layers") and call.on(
        "dest-oci-accept-uncompressed-layers"
    )
    if place.transport == DOCKER:
        from pinnace.images.transports.registry import RegistryTarget

        reference = references.normalize(place.path)
        if reference.digest and reference.tag:
            raise InvalidArgument(f"{place}: a tag and a digest cannot be pushed at once")
        connected = resolver(call, reference, "dest-")
        return RegistryTarget(reference, connected, storage(call), temporary(call))
    if place.transport == STORE:
        from pinnace.cli.skopeo.store import StoreTarget

        return StoreTarget(place.path, temporary(call))
    if place.transport == DIRECTORY:
        from pinnace.images.transports.directory import DirectoryTarget

        return DirectoryTarget(place.path, layers=layers)
    if place.transport == OCI:
        from pinnace.images.transports.layout import LayoutTarget

        shared = _shared(call, place, "dest-")
        return LayoutTarget(place.path, place.name, shared=shared, accept_uncompressed=uncompressed)
    if place.transport == OCI_ARCHIVE:
        from pinnace.images.transports.archives import OciArchiveTarget

        return OciArchiveTarget(
            place.path, place.name, temporary=temporary(call), accept_uncompressed=uncompressed
        )
    from pinnace.images.transports.docker import DockerArchiveTarget

    return DockerArchiveTarget(place.path, place.name, more=more, temporary=temporary(call))


def _shared(call: Call, place: Place, prefix: str) -> str:
    flag = f"{prefix}shared-blob-dir"
    value = call.text(flag) if call.has(flag) else ""
    if value and place.transport != OCI:
        raise InvalidArgument(f"--{flag} is for oci: only")
    return value


def storage(call: Call) -> Storage:
    """Where signatures are, as ``registries.d`` says."""
    from pinnace.images.signing.storage import Storage

    return Storage(call.text("registries.d"))


def resolver(call: Call, reference: Reference, prefix: str = "") -> Resolver:
    """The registry of *reference*, as configuration and flags have it."""
    return resolver_for(call, credentials(call, reference, prefix), prefix)


def resolver_for(call: Call, login: Credentials | None, prefix: str = "") -> Resolver:
    """Registries as configuration and flags have them, asked with *login*."""
    from pinnace.daemon import config, registries
    from pinnace.registry import transport

    if call.on("debug"):
        transport.trace = _tell
    if call.text("tls-details"):
        raise Unimplemented(
            "--tls-details: versions and ciphers of TLS cannot be chosen",
            hint="TLS 1.2 and newer are spoken, with the system's OpenSSL settings",
        )
    headers = []
    if call.text("user-agent-prefix"):
        headers.append(("User-Agent", f"{call.text('user-agent-prefix')} {_agent()}"))
    token = f"{prefix}registry-token"
    if call.has(token) and call.text(token):
        headers.append(("Authorization", f"Bearer {call.text(token)}"))
    verify = f"{prefix}tls-verify"
    return registries.resolver(
        config.load(),
        credentials=login,
        anonymous=login is None,
        insecure=call.given(verify) and not call.on(verify),
        certificates=call.text(f"{prefix}cert-dir"),
        headers=headers,
        on_warning=_warn,
    )


def _agent() -> str:
    from pinnace.registry.transport import AGENT

    return AGENT


def _tell(text: str) -> None:
    sys.stderr.write(f"skopeo: {text}\n")


def _warn(text: str) -> None:
    sys.stderr.write(f"skopeo: warning: {text}\n")


def credentials(call: Call, reference: Reference, prefix: str) -> Credentials | None:
    """The login of the flags, else of the files; raises InvalidArgument when they contradict."""
    from pinnace.registry import credentials as kept

    creds, user = call.text(f"{prefix}creds"), call.text(f"{prefix}username")
    chosen = [name for name in ("creds", "username", "no-creds") if call.given(prefix + name)]
    if len(chosen) > 1:
        raise InvalidArgument(
            f"--{prefix}{chosen[0]} and --{prefix}{chosen[1]} cannot be used together"
        )
    if call.on(f"{prefix}no-creds") or call.text(f"{prefix}registry-token"):
        return None
    password = call.text(f"{prefix}password")
    if creds:
        user, _, password = creds.partition(":")
    if user:
        return kept.fixed(reference, kept.Login(user, password))
    return kept.for_image(reference, authfiles(call, prefix))


def authfiles(call: Call, prefix: str = "") -> list[str]:
    """The files that were named for logins, if any; raises InvalidArgument when one is missing."""
    for flag in (f"{prefix}authfile", "authfile"):
        if call.has(flag) and call.text(flag):
            path = call.text(flag)
            if not os.path.exists(path):
                raise InvalidArgument(f"--{flag} {path}: no such file")
            return [path]
    return []
