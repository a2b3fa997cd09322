"""How an inventory names a secret, and what reads it.

    env:NAME                 an environment variable of this machine
    age:FILE[#key.of.it]     a file encrypted with age, whole, or a value of the YAML or JSON in it
    sops:FILE[#key.of.it]    the same of a file encrypted with sops
    command:WORDS            what a program prints, without the newline at its end

Files are relative to the inventory. Each is decrypted once in a run.
"""

from __future__ import annotations

import json
import re
import shlex
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from toolkit.errors import PinnaceError, UsageError
from toolkit.secrets import sources
from toolkit.secrets.secret import Secret

TAG = "!secret"
_ENVIRONMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_lock = threading.Lock()
_read: dict[tuple[str, ...], bytes | PinnaceError] = {}


@dataclass(frozen=True, slots=True)
class _Place:
    """A reference that was understood: what to read, and the value in it."""

    scheme: str
    what: str
    key: str


def secret(text: str, *, base: Path, origin: str) -> Secret:
    """The secret that ``text`` names in the line ``origin``; raises :class:`ValueError` for none.

    Nothing is read before it is revealed.
    """
    place = _parse(text.strip())
    if place.scheme == "env":
        sources.take(place.what)
    name = f"{place.scheme}:{place.what}" + (f"#{place.key}" if place.key else "")

    def make() -> bytes:
        try:
            return _value(place, base)
        except PinnaceError as problem:
            raise UsageError(f"{origin}: secret {name}: {problem.message}", hint=problem.hint) from None  # fmt: skip

    return Secret(name, make, origin=origin)


def found_in(value: Any, *, base: Path, origin: str) -> Any:
    """``value`` with text such as ``!secret env:NAME`` replaced by what it names, inside of it too."""
    if isinstance(value, str) and value.startswith(f"{TAG} "):
        return secret(value.removeprefix(TAG), base=base, origin=origin)
    if isinstance(value, dict):
        return {key: found_in(item, base=base, origin=origin) for key, item in value.items()}
    if isinstance(value, list):
        return [found_in(item, base=base, origin=origin) for item in value]
    return value


def _parse(text: str) -> _Place:
    scheme, colon, rest = text.partition(":")
    if not colon or scheme not in _READERS:
        raise ValueError("a secret is named env:NAME, age:FILE, age:FILE#KEY, sops:FILE, sops:FILE#KEY or command:WORDS")  # fmt: skip
    what, _, key = (rest, "", "") if scheme in ("env", "command") else rest.partition("#")
    if scheme == "env" and not _ENVIRONMENT.fullmatch(what):
        raise ValueError(f"{what!r} is not the name of an environment variable")
    if not what.strip():
        raise ValueError(f"{scheme}: what is it to read?")
    return _Place(scheme, what.strip(), key)


def _value(place: _Place, base: Path) -> bytes:
    form = (
        "values" if place.scheme == "sops" and place.key else ""
    )  # sops is asked otherwise for them
    name = (place.scheme, place.what, str(base), form)
    raw = _once(name, lambda: _READERS[place.scheme](place, base))
    return _inside(raw, place.key) if place.key else raw


def _once(name: tuple[str, ...], read: Callable[[], bytes]) -> bytes:
    """What ``read`` gives, or how it failed: nobody is asked twice for the same passphrase."""
    with _lock:
        if name[0] == "env":
            return read()  # another value may have been set since
        if name not in _read:
            try:
                _read[name] = read()
            except PinnaceError as problem:
                _read[name] = problem
        found = _read[name]
    if isinstance(found, PinnaceError):
        raise found
    return found


def _inside(raw: bytes, key: str) -> bytes:
    """The value at ``a.b.0`` of YAML or JSON."""
    found = _read_values(raw)
    for number, word in enumerate(words := key.split(".")):
        if isinstance(found, list) and word.isdecimal() and int(word) < len(found):
            found = found[int(word)]
        elif isinstance(found, dict) and word in found:
            found = found[word]
        else:
            where = ".".join(words[: number + 1])
            raise UsageError(f"there is no {where} in it")
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        raise UsageError(f"{key} is not one value")
    if "\ufffd" in str(found):
        raise UsageError(f"{key} is not text", hint="a file that is not text is named whole, without #")  # fmt: skip
    return str(found).encode()


def _read_values(raw: bytes) -> Any:
    try:
        # YAML takes no tabs to indent with, and JSON has them where sops wrote it.
        return json.loads(raw)
    except (ValueError, RecursionError):
        pass
    try:
        return yaml.safe_load(raw)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        # What YAML says of a mistake quotes what is around it.
        raise UsageError("what it decrypts to is not YAML or JSON") from None


def _environment(place: _Place, base: Path) -> bytes:
    return sources.environment(place.what)


def _age(place: _Place, base: Path) -> bytes:
    return sources.age(base / Path(place.what).expanduser())


def _sops(place: _Place, base: Path) -> bytes:
    return sources.sops(base / Path(place.what).expanduser(), values=bool(place.key))


def _command(place: _Place, base: Path) -> bytes:
    try:
        words = shlex.split(place.what)
    except ValueError as problem:
        raise UsageError(f"not a command: {problem}") from None
    return sources.command(words, base)


_READERS: dict[str, Callable[[_Place, Path], bytes]] = {
    "env": _environment,
    "age": _age,
    "sops": _sops,
    "command": _command,
}
