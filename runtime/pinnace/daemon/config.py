"""``config.toml``: containerd's configuration, versions 2, 3 and 4, as one typed record.

The versions differ in where a setting stands; every place is known for every version, so that a
file that mixes them still means what it says. A setting that this daemon does not have is a
warning that names it; a wrong value is an error with file, line and key.
"""

from __future__ import annotations

import glob
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from pinnace.daemon import toml
from pinnace.daemon.settings import BY_PATH, SETTINGS, TABLES, Setting
from pinnace.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VERSIONS = (2, 3, 4)
WRITTEN_VERSION = 3
"""The layout that ``config dump`` and ``config migrate`` write."""
DEFAULT_PATH = "/etc/pinnace/config.toml"
_MAX_SIZE = 1 << 20
_MAX_IMPORTS = 100


class Config:
    """The settings by name (``config["root"]``), the warnings, and which ones a file gave."""

    def __init__(self, given: Mapping[str, Any], warnings: tuple[str, ...] = ()) -> None:
        self.given = dict(given)
        self.warnings = warnings

    def __getitem__(self, name: str) -> Any:
        return self.given[name] if name in self.given else SETTINGS[name].default

    def text(self, name: str) -> str:
        """A setting that is a string."""
        return str(self[name])

    def number(self, name: str) -> int:
        """A setting that is an integer."""
        return int(self[name])

    def paths(self, name: str) -> tuple[str, ...]:
        """A setting that is a list of directories, written as a list or with colons."""
        value = self[name]
        parts = value.split(":") if isinstance(value, str) else value
        return tuple(part for part in parts if part)

    def replaced(self, **values: str) -> Config:
        """With some settings from the command line; empty ones change nothing."""
        changed = {name: value for name, value in values.items() if value}
        for name, value in changed.items():
            reason = SETTINGS[name].problem(value)
            if reason:
                raise InvalidArgument(f"--{SETTINGS[name].flag or name}: {reason}")
        return Config({**self.given, **changed}, self.warnings)


class _Read(NamedTuple):
    """What files said so far."""

    given: dict[str, Any]
    warnings: list[str]
    seen: set[str]


def load(path: str = "") -> Config:
    """Read the file, and those it imports.

    Without a path the default file, which may be missing. Raises InvalidArgument, one line each.
    """
    if not path and not os.path.exists(DEFAULT_PATH):
        return Config({})
    read = _Read({}, [], set())
    _load_file(path or DEFAULT_PATH, read)
    return Config(read.given, tuple(read.warnings))


def _load_file(path: str, read: _Read) -> None:
    real = os.path.realpath(path)
    if real in read.seen:
        return
    read.seen.add(real)
    if len(read.seen) > _MAX_IMPORTS:
        raise InvalidArgument(f"{path}: more than {_MAX_IMPORTS} files import each other")
    text = _read_text(path)
    document = toml.parse(text, path)
    _check_version(document, text, path)
    for setting_path, value in _leaves(document):
        _apply(setting_path, value, text, path, read)
    for pattern in document.get("imports", []):
        for name in sorted(glob.glob(os.path.join(os.path.dirname(path), pattern))):
            _load_file(name, read)


def _read_text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(_MAX_SIZE + 1)
    except OSError as problem:
        raise InvalidArgument(f"{path}: {problem.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidArgument(f"{path}: is not UTF-8 text") from None
    if len(text) > _MAX_SIZE:
        raise InvalidArgument(f"{path}: is larger than {_MAX_SIZE} bytes")
    return text


def _check_version(document: Mapping[str, Any], text: str, path: str) -> None:
    version = document.get("version", WRITTEN_VERSION)
    if isinstance(version, bool) or version not in VERSIONS:
        line = toml.line_of(text, ("version",))
        raise InvalidArgument(f"{path}:{line}: version: must be 2, 3 or 4, not {version!r}")


def _leaves(table: Mapping[str, Any], path: toml.Path = ()) -> Iterator[tuple[toml.Path, Any]]:
    """Every setting with its path; a table that is a setting's value is not taken apart."""
    for key, value in table.items():
        here = (*path, key)
        if isinstance(value, dict) and here not in BY_PATH:
            yield from _leaves(value, here)
        elif here not in (("version",), ("imports",)):
            yield here, value


def _apply(path: toml.Path, value: Any, text: str, name: str, read: _Read) -> None:
    setting = BY_PATH.get(path)
    if setting is None:
        line = toml.line_of(text, path)
        read.warnings.append(f"{name}:{line}: {toml.show(path)}: unknown setting, ignored")
        return
    reason = setting.problem(value)
    if reason:
        line = toml.line_of(text, path)
        raise InvalidArgument(f"{name}:{line}: {toml.show(path)}: {reason}")
    if setting.name in TABLES:
        value = {**read.given.get(setting.name, {}), **value}
    read.given[setting.name] = value


def document(config: Config, *, defaults: bool) -> dict[str, Any]:
    """The settings in the written layout; those that no file gave only with ``defaults``."""
    found: dict[str, Any] = {"version": WRITTEN_VERSION}
    for setting in SETTINGS.values():
        if defaults or setting.name in config.given:
            _put(found, setting, config[setting.name])
    return found


def _put(found: dict[str, Any], setting: Setting, value: Any) -> None:
    *tables, key = setting.paths[0]
    target = found
    for table in tables:
        target = target.setdefault(table, {})
    target[key] = value
