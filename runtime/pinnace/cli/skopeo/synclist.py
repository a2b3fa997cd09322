"""What ``skopeo sync`` copies: the tags of a repository, the images in a directory, or a YAML file's list.

Source of the YAML form: skopeo-sync(1), "YAML file content".
"""

from __future__ import annotations

import os
import re
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from pinnace.cli.skopeo import places, retry
from pinnace.errors import InvalidArgument, NotFound
from pinnace.images import yaml
from pinnace.images.transports import files
from pinnace.spec import reference as references

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pinnace.cli.options import Call
    from pinnace.spec.reference import Reference

_MAX_BYTES = 1 << 20
_REGISTRY_KEYS = frozenset(
    ("images", "images-by-tag-regex", "images-by-semver", "credentials", "tls-verify", "cert-dir")
)


class Item(NamedTuple):
    """An image to copy; ``scope`` is its name without ``tag`` (``:1``, ``@sha256:...`` or empty)."""

    place: places.Place
    scope: str
    tag: str
    call: Call


def items(call: Call, source: str) -> Iterator[Item]:
    """The images at *source*; raises InvalidArgument, NotFound when there are none."""
    kinds = {"docker": _repository, "dir": _directory, "yaml": _yaml}
    kind = call.text("src")
    if kind not in kinds:
        raise InvalidArgument(f"--src {kind!r}: docker, dir or yaml")
    return kinds[kind](call, source)


def _repository(call: Call, source: str) -> Iterator[Item]:
    reference = references.normalize(source)
    if "@" in source or ":" in source.rpartition("/")[2]:
        yield _item(call, reference)
        return
    tags = _tags(call, reference)
    if not tags:
        raise NotFound(f"{reference.locator} has no tags")
    for tag in tags:
        yield _item(call, reference._replace(object=tag))


def _item(call: Call, reference: Reference) -> Item:
    tag = reference.object if reference.object.startswith("@") else f":{reference.object}"
    return Item(places.Place(places.DOCKER, str(reference)), reference.locator, tag, call)


def _tags(call: Call, reference: Reference) -> list[str]:
    def ask() -> list[str]:
        with closing(places.resolver(call, reference, "src-")) as resolver:
            return resolver.tags(reference.locator)

    return retry.run(call, ask)


def _directory(call: Call, source: str) -> Iterator[Item]:
    """Every directory below *source* that holds an image."""
    root = os.path.abspath(source)
    found = False
    for folder, folders, names in os.walk(root):
        folders.sort()
        if "manifest.json" not in names:
            continue
        found = True
        path = os.path.relpath(folder, root) if folder != root else os.path.basename(root)
        head, name = os.path.split(path)
        name, colon, tag = name.partition(":")
        yield Item(
            places.Place(places.DIRECTORY, folder), os.path.join(head, name), colon + tag, call
        )
    if not found:
        raise NotFound(f"{source} holds no images")


def _yaml(call: Call, source: str) -> Iterator[Item]:
    document = yaml.parse(files.read(source, _MAX_BYTES), source)
    for registry, table in _map(document, source).items():
        where = f"{source}: {registry}"
        wanted = _map(table, where)
        for key in wanted.keys() - _REGISTRY_KEYS:
            raise InvalidArgument(f"{where}: {key!r} is not known")
        if "images-by-semver" in wanted:
            raise InvalidArgument(f"{where}: images-by-semver is not supported; use a regex")
        own = call.replaced(_overrides(wanted, where))
        for name, tags in _map(wanted.get("images"), f"{where}.images").items():
            yield from _listed(own, f"{registry}/{name}", tags, f"{where}.images.{name}")
        by_regex = _map(wanted.get("images-by-tag-regex"), f"{where}.images-by-tag-regex")
        for name, pattern in by_regex.items():
            reference = references.normalize(f"{registry}/{name}")
            matching = _pattern(pattern, f"{where}.images-by-tag-regex.{name}")
            for tag in _tags(own, reference):
                if matching.search(tag):
                    yield _item(own, reference._replace(object=tag))


def _listed(call: Call, name: str, tags: Any, where: str) -> Iterator[Item]:
    if not tags:
        yield from _repository(call, name)
        return
    if not isinstance(tags, list):
        raise InvalidArgument(f"{where} is not a list of tags")
    for tag in tags:
        mark = "@" if str(tag).startswith("sha256:") else ":"
        yield _item(call, references.normalize(f"{name}{mark}{tag}"))


def _map(value: Any, where: str) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise InvalidArgument(f"{where} is not a map")
    return value or {}


def _pattern(text: Any, where: str) -> re.Pattern[str]:
    try:
        return re.compile(str(text))
    except re.error as error:
        raise InvalidArgument(f"{where}: {error}") from None


def _overrides(wanted: dict[str, Any], where: str) -> dict[str, Any]:
    """What a registry's entry says of reaching it, as values of flags."""
    found: dict[str, Any] = {}
    login = _map(wanted.get("credentials"), f"{where}.credentials")
    if login:
        found["src-creds"] = f"{login.get('username', '')}:{login.get('password', '')}"
    if "tls-verify" in wanted:
        if not isinstance(wanted["tls-verify"], bool):
            raise InvalidArgument(f"{where}: tls-verify must be true or false")
        found["src-tls-verify"] = wanted["tls-verify"]
    if wanted.get("cert-dir"):
        found["src-cert-dir"] = str(wanted["cert-dir"])
    return found
