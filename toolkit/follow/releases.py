"""Releases in a registry: pushed once, then tags are moved."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit import oci
from toolkit.agent.follow import artifact
from toolkit.agent.registry import Registry, RegistryError
from toolkit.airgap.make import Made, number
from toolkit.errors import PinnaceError
from toolkit.resources import Content
from toolkit.signing.keys import Signer, sign


@dataclass(frozen=True, slots=True)
class Pushed:
    """A release in a repository: its manifest, under which digest, and its number."""

    manifest: bytes
    digest: str
    release: int


def push(registry: Registry, repository: str, made: Made, advance: Callable[[int], None]) -> Pushed:
    """Push what is not there yet; raises :class:`PinnaceError`. No board sees it before a tag is moved."""
    try:
        for _, content in sorted(made.contents.items()):
            _push_content(registry, repository, content)
            advance(content.size)
        return _push_manifest(registry, repository, made.index, made.signature, {digest: content.size for digest, content in made.contents.items()}, made.release)  # fmt: skip
    except RegistryError as problem:
        raise failed(repository, problem) from None


def move(registry: Registry, repository: str, tag: str, pushed: Pushed) -> None:
    """Point a tag at a release; raises :class:`PinnaceError`."""
    try:
        registry.push(f"{repository}:{tag}", pushed.manifest, artifact.MANIFEST)
    except RegistryError as problem:
        raise failed(f"{repository}:{tag}", problem) from None


def current(registry: Registry, repository: str, tag: str) -> dict[str, Any] | None:
    """The index that a tag points at; ``None`` when there is none."""
    try:
        _, _, data = registry.manifest(f"{repository}:{tag}")
        (digest, size), _ = artifact.parts(data)
        with tempfile.TemporaryDirectory() as scratch:
            path = os.path.join(scratch, "index")
            registry.fetch(f"{repository}:{tag}", digest, size, path)
            return dict(json.loads(Path(path).read_bytes()))
    except RegistryError as problem:
        if problem.kind == "NotFound":
            return None
        raise failed(f"{repository}:{tag}", problem) from None


def again(registry: Registry, repository: str, index: Mapping[str, Any], host: str, signer: Signer) -> Pushed:  # fmt: skip
    """What a host had before, as a new release: boards take on nothing that is older."""
    body = {**index, "hosts": {host: index["hosts"][host]}, "expires": 0}
    body.pop("release")
    release = number("")
    text = oci.to_json({**body, "release": release})
    try:
        return _push_manifest(registry, repository, text, sign(text, signer), body["blobs"], release)  # fmt: skip
    except RegistryError as problem:
        raise failed(repository, problem) from None


def _push_content(registry: Registry, repository: str, content: Content) -> None:
    if isinstance(content.source, Path):
        registry.push_file(repository, str(content.source))
    else:
        registry.push(repository, content.data)


def _push_manifest(registry: Registry, repository: str, index: bytes, signature: str, sizes: Mapping[str, int], release: int) -> Pushed:  # fmt: skip
    signed = signature.encode()
    first = (registry.push(repository, index), len(index))
    second = (registry.push(repository, signed), len(signed))
    manifest = artifact.release(first, second, dict(sizes))
    digest = registry.push(f"{repository}:release-{release}", manifest, artifact.MANIFEST)
    return Pushed(manifest, digest, release)


def failed(what: str, problem: RegistryError) -> PinnaceError:
    return PinnaceError(f"{what}: {problem.message}", hint=problem.hint)
