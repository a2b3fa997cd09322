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
DROP_INS = "conf.d/*.toml"
"""Beside the file: read after it, in the order of their names, each overriding what came before."""
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
    """Read the file, those it imports, and the drop-ins beside it.

    Without a path the default file, which may be missing. Raises InvalidArgument, one line each.
    """
    read = _Read({}, [], set())
    main = path or DEFAULT_PATH
    if path or os.path.exists(main):
        _load_file(main, read)
    for name in sorted(glob.glob(os.path.join(glob.escape(os.path.dirname(main)), DROP_INS))):
        _load_file(name, read)
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
    for pattern in _imports(document, text, path):
        for name in sorted(glob.glob(os.path.join(os.path.dirname(path), pattern))):
            _load_file(name, read)


def _imports(document: Mapping[str, Any], text: str, path: str) -> list[str]:
    found = document.get("imports", [])
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        line = toml.line_of(text, ("imports",))
        raise InvalidArgument(f"{path}:{line}: imports: must be a list of strings, not {found!r}")
    return found


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
    """Every setting with its path; a table that is a setting's value is not taken apart, nor is a plugin
    that is not here: one warning is enough for it."""
    for key, value in table.items():
        here = (*path, key)
        foreign = path == ("plugins",) and here not in _PREFIXES
        if isinstance(value, dict) and here not in BY_PATH and not foreign:
            yield from _leaves(value, here)
        elif here not in (("version",), ("imports",)):
            yield here, value


def _apply(path: toml.Path, value: Any, text: str, name: str, read: _Read) -> None:
    setting = BY_PATH.get(path)
    if setting is None and path not in _PREFIXES:
        line = toml.line_of(text, path)
        read.warnings.append(f"{name}:{line}: {toml.show(path)}: {_unknown(path)}")
        return
    reason = setting.problem(value) if setting else f"must be a table, not {value!r}"
    if reason:
        line = toml.line_of(text, path)
        raise InvalidArgument(f"{name}:{line}: {toml.show(path)}: {reason}")
    assert setting is not None
    if setting.name in TABLES:
        value = {**read.given.get(setting.name, {}), **value}
    read.given[setting.name] = value


_PREFIXES = frozenset(path[:size] for path in BY_PATH for size in range(1, len(path)))
"""The tables in which settings stand."""


def _unknown(path: toml.Path) -> str:
    what = "plugin" if len(path) == 2 and path[0] == "plugins" else "setting"
    nearest = _nearest(path)
    hint = f"; the nearest known is {toml.show(nearest)}" if nearest else ""
    return f"unknown {what}, ignored{hint}"


def _nearest(path: toml.Path) -> toml.Path:
    """The known setting or table with the most similar name: in the same table, else anywhere."""
    from difflib import get_close_matches

    *parent, key = path
    depth = len(parent)
    known = [*BY_PATH, *_PREFIXES]
    beside = {it[depth] for it in known if len(it) > depth and list(it[:depth]) == parent}
    # Plugins' names are alike in most of their letters.
    close = get_close_matches(key, sorted(beside), 1, 0.95 if parent == ["plugins"] else 0.6)
    if close:
        return (*parent, close[0])
    shown = {toml.show(it): it for it in BY_PATH}
    close = get_close_matches(toml.show(path), sorted(shown), 1, 0.85)
    return shown[close[0]] if close else ()


def reloaded(old: Config, new: Config) -> tuple[Config, list[str], list[str]]:
    """What a running daemon makes of a changed file.

    The configuration in effect from now on, the settings that changed, and those that will only with the
    next start; both by their current paths.
    """
    given = dict(old.given)
    changed: list[str] = []
    waiting: list[str] = []
    for name, setting in SETTINGS.items():
        if old[name] == new[name]:
            continue
        (changed if setting.live else waiting).append(toml.show(setting.paths[0]))
        if setting.live:
            given[name] = new[name]
    return Config(given, new.warnings), changed, waiting


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
