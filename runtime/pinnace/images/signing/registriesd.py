"""``registries.d``: where the signatures of images in registries are kept.

Source: containers-registries.d(5). All ``*.yaml`` files of the directory count; the entry for the longest
part of an image's name wins, ``default-docker`` is for the rest.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from pinnace.errors import InvalidArgument
from pinnace.images import yaml
from pinnace.images.transports import files

SYSTEM_PATH = "/etc/containers/registries.d"
_OLD_NAMES = {"sigstore": "lookaside", "sigstore-staging": "lookaside-staging"}
_TEXTS = ("lookaside", "lookaside-staging")
_SWITCH = "use-sigstore-attachments"
_MAX_BYTES = 1 << 20


class Place(NamedTuple):
    """``read`` and ``write`` are URLs of lookaside stores, or empty."""

    read: str = ""
    write: str = ""
    attachments: bool = False


def default_lookaside() -> str:
    """Where signatures are that no file speaks of."""
    if os.getuid() == 0:
        return "file:///var/lib/containers/sigstore"
    home = os.environ.get("HOME") or "/"
    data = os.environ.get("XDG_DATA_HOME") or os.path.join(home, ".local", "share")
    return f"file://{os.path.abspath(data)}/containers/sigstore"


def default_path() -> str:
    """The user's directory if there is one, else the system's."""
    home = os.environ.get("HOME") or "/"
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    own = os.path.join(config, "containers", "registries.d")
    return own if os.path.isdir(own) else SYSTEM_PATH


def load(directory: str) -> dict[str, dict[str, Any]]:
    """Entries by scope, the default under ""; raises InvalidArgument with file and key."""
    found: dict[str, dict[str, Any]] = {}
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(".yaml"))
    except FileNotFoundError:
        return found
    except OSError as error:
        raise InvalidArgument(f"{directory}: {error.strerror}") from None
    for name in names:
        path = os.path.join(directory, name)
        document = yaml.parse(files.read(path, _MAX_BYTES), path) or {}
        scopes = dict(_table(document.get("docker") if isinstance(document, dict) else document, f"{path}: docker"))  # fmt: skip
        if "default-docker" in document:
            scopes[""] = document["default-docker"]
        for scope, entry in scopes.items():
            if scope in found:
                raise InvalidArgument(
                    f"{path}: {scope or 'default-docker'} stands in another file, too"
                )
            found[scope] = _entry(entry, f"{path}: {scope or 'default-docker'}")
    return found


def _table(value: Any, where: str) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise InvalidArgument(f"{where} is not a map")
    return value or {}


def _entry(value: Any, where: str) -> dict[str, Any]:
    entry = {_OLD_NAMES.get(key, key): item for key, item in _table(value, where).items()}
    for key, item in entry.items():
        if key == _SWITCH:
            if not isinstance(item, bool):
                raise InvalidArgument(f"{where}: {key} must be true or false")
        elif key not in _TEXTS or not isinstance(item, str):
            raise InvalidArgument(f"{where}: {key} is not known, or no string")
    return entry


def place_for(entries: dict[str, dict[str, Any]], name: str) -> Place:
    """Where signatures of ``host/path:tag`` are."""
    scopes = scopes_of(name)
    entry = next((entries[scope] for scope in scopes if scope in entries), entries.get("", {}))
    default = entries.get("", {})
    read = entry.get("lookaside") or default.get("lookaside") or default_lookaside()
    write = (
        entry.get("lookaside-staging") or entry.get("lookaside") or default.get("lookaside-staging")
    )
    attachments = entry.get(_SWITCH, default.get(_SWITCH, False))
    return Place(read, write or read, bool(attachments))


def scopes_of(name: str) -> tuple[str, ...]:
    """The name, then what it belongs to: repository, parts of its path, host, ``*.domain``."""
    found = [name]
    locator = name.partition("@")[0]
    host, slash, path = locator.partition("/")
    path = path.partition(":")[0]
    parts = path.split("/")
    found += [f"{host}{slash}{'/'.join(parts[:count])}" for count in range(len(parts), 0, -1)]
    found.append(host)
    labels = host.partition(":")[0].split(".")
    found += [f"*.{'.'.join(labels[count:])}" for count in range(1, len(labels))]
    return tuple(dict.fromkeys(found))
