"""Filling a registry with the lab's images; quick when they are there already.

Each index that is pushed carries the key of the recipe it was made by, so that one request tells
whether an image is what it should be. An image that lacks only some architecture gets just that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolkit import console, oci
from toolkit.arch import Arch
from toolkit.build import native, pause
from toolkit.debian import Archive
from toolkit.lab import deb, recipes
from toolkit.lab.client import RegistryClient
from toolkit.lab.recipes import RECIPES, LayerRecipe, Recipe
from toolkit.paths import cache_dir

_RECIPE_KEY = "io.pinnace.lab.recipe"
_PAUSE = ("pause", "3.10")


def fill(client: RegistryClient, architectures: Sequence[Arch], *, update: bool = False) -> int:
    """Push what is missing for ``architectures``; returns how many images were made.

    ``update`` makes all of them anew from the packages that the archive has today.
    """
    made = 0
    for recipe in RECIPES:
        missing = _missing(client, recipe.repository, recipe.tag, _key(recipe), architectures)
        for arch in architectures if update else missing:
            with console.step(f"{recipe.repository}:{recipe.tag} {arch.facts.oci}") as step:
                image = make(recipe, arch)
                client.push_image(recipe.repository, image)
                _publish(client, recipe.repository, recipe.tag, _key(recipe), image)
                step.detail = f"{sum(len(blob.data) for blob in image.blobs) / 1e6:.1f} MB"
            made += 1
    return made + _fill_pause(client, architectures, update=update)


def _fill_pause(client: RegistryClient, architectures: Sequence[Arch], *, update: bool) -> int:
    repository, tag = _PAUSE
    source = (native.NATIVE / "pause.c").read_bytes() + Path(pause.__file__).read_bytes()
    key = hashlib.sha256(source).hexdigest()
    missing = _missing(client, repository, tag, key, architectures)
    wanted = architectures if update else missing
    for arch in wanted:
        image = pause.image(arch)
        client.push_image(repository, image)
        _publish(client, repository, tag, key, image)
    return len(wanted)


def _missing(
    client: RegistryClient, repository: str, tag: str, key: str, architectures: Sequence[Arch]
) -> list[Arch]:
    """The architectures whose image is not there in full by this recipe."""
    entries = _published(client, repository, tag, key)

    def there(arch: Arch) -> bool:
        wanted = oci.platform(arch.facts.oci)
        digests = [entry["digest"] for entry in entries if entry["platform"] == wanted]
        return any(client.has_manifest(repository, digest) for digest in digests)

    return [arch for arch in architectures if not there(arch)]


def _published(client: RegistryClient, repository: str, tag: str, key: str) -> list[dict[str, Any]]:
    """What the index of this tag lists, when it was made by the recipe with this key."""
    index = client.manifest(repository, tag)
    if index is None or index.get("annotations", {}).get(_RECIPE_KEY) != key:
        return []
    return list(index["manifests"])


def _publish(client: RegistryClient, repository: str, tag: str, key: str, image: oci.Image) -> None:
    """Put one platform's manifest into the index of this tag, in place of an older one."""
    mine = image.descriptor()
    others = [
        entry
        for entry in _published(client, repository, tag, key)
        if entry["platform"] != mine["platform"]
    ]
    entries = sorted([*others, mine], key=lambda entry: sorted(entry["platform"].items()))
    client.push_manifest(repository, tag, oci.index(entries, {_RECIPE_KEY: key}))


def make(recipe: Recipe, arch: Arch) -> oci.Image:
    layers, created = [], 0
    for part in recipe.layers:
        packages = _packages(part, arch)
        layer, mtime = _layer(part, packages)
        layers.append(layer)
        created = max(created, mtime)
    return oci.image(arch.facts.oci, layers, recipe.config, created=created)


def _packages(part: LayerRecipe, arch: Arch) -> list[Path]:
    if not part.packages:
        return []
    # Sorted by name: which file is laid over which must not depend on the order of downloads.
    found = Archive(recipes.SUITE, arch.facts.debian).download(list(part.packages))
    return sorted(found, key=lambda path: path.name)


def _layer(part: LayerRecipe, packages: list[Path]) -> tuple[oci.Layer, int]:
    """A layer and its time, from the cache when it was made before of the same packages."""
    key = hashlib.sha256(_code() + part.make.__name__.encode())
    for package in packages:
        key.update(hashlib.sha256(package.read_bytes()).digest())
    stem = cache_dir("lab", "layers") / key.hexdigest()[:32]
    facts, archive = stem.with_suffix(".json"), stem.with_suffix(".tar.gz")
    if facts.exists() and archive.exists():
        blob = oci.Blob(oci.LAYER, archive.read_bytes())
        known = json.loads(facts.read_text())
        if known["digest"] == blob.digest:
            return oci.Layer(blob, known["diff_id"]), int(known["mtime"])
    tree = part.make(packages)
    layer = oci.layer(tree.tar())
    archive.write_bytes(layer.blob.data)
    known = {"digest": layer.blob.digest, "diff_id": layer.diff_id, "mtime": tree.mtime}
    facts.write_text(json.dumps(known))
    return layer, tree.mtime


def _key(recipe: Recipe) -> str:
    """What an image is made by: the code, the packages' names and the defaults."""
    names = [part.packages for part in recipe.layers]
    said = json.dumps([names, dict(recipe.config), recipe.repository], sort_keys=True)
    return hashlib.sha256(_code() + said.encode()).hexdigest()


def _code() -> bytes:
    """The code that decides what is in a layer: a change of it makes every image anew."""
    files = (recipes.__file__, deb.__file__, oci.__file__)
    return b"".join(Path(file).read_bytes() for file in files)
