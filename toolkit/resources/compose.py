"""Compose files: each service becomes a container that runs from boot on.

What the runtime has no command for yet (networks, published ports, named volumes, builds) is an error
that names the key: a service that would start without its network is not what was asked for.
Keys are those of the Compose specification, "services" top-level element.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from toolkit.errors import UsageError
from toolkit.resources.workloads import Container

_TOP = {"services", "name", "version"}
_UNITS = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def compose(path: Path, *, project: str = "", namespace: str = "default") -> Iterator[Container]:
    """The containers of a compose file, in the order of ``depends_on``; raises :class:`UsageError`."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as problem:
        raise UsageError(f"{path}: {problem}") from problem
    if not isinstance(found, dict) or not isinstance(found.get("services"), dict):
        raise UsageError(f"{path}: no services")
    _refuse(path, set(found) - _TOP, "")
    prefix = project or str(found.get("name") or path.resolve().parent.name)
    services = found["services"]
    for name in _order(path, services):
        values = _interpolated(path, services[name] or {}, f"services.{name}")
        yield _Service(path, prefix, name, values).container(namespace)


def _refuse(path: Path, keys: set[str], where: str) -> None:
    wrong = sorted(key for key in keys if not key.startswith("x-"))
    if wrong:
        raise UsageError(f"{path}: {where}{wrong[0]} is not supported", hint="docs/resources.md lists what is")  # fmt: skip


def _interpolated(path: Path, value: Any, where: str) -> Any:
    """``value`` with ``$$`` as the dollar sign that it stands for (Compose specification, "Interpolation").

    Variables would be those of whoever types the command: a board must not depend on them.
    """
    if isinstance(value, dict):
        return {key: _interpolated(path, item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_interpolated(path, item, where) for item in value]
    if not isinstance(value, str) or "$" not in value:
        return value
    plain = value.replace("$$", "")
    if "$" in plain:
        at = plain.index("$")
        raise UsageError(f"{path}: {where} has the variable {plain[at:].split()[0]}: nothing is taken from this machine's environment", hint="write $$ for a dollar sign")  # fmt: skip
    return value.replace("$$", "$")


def _order(path: Path, services: Mapping[str, Any]) -> list[str]:
    """Each service after those it depends on."""
    order: list[str] = []
    waiting = {name: set((service or {}).get("depends_on") or ()) for name, service in services.items()}  # fmt: skip
    while waiting:
        ready = [name for name, needs in waiting.items() if needs <= set(order)]
        if not ready:
            name, needs = next(iter(waiting.items()))
            missing = sorted(needs - set(order))
            raise UsageError(f"{path}: {name} depends on {', '.join(missing)}, which is missing or depends on it")  # fmt: skip
        for name in ready:
            order.append(name)
            del waiting[name]
    return order


class _Service:
    """One service: each method reads one kind of value, and says where a wrong one stands."""

    def __init__(self, path: Path, project: str, name: str, values: Mapping[str, Any]) -> None:
        self._path = path
        self._project = project
        self._name = name
        self._values = dict(values)

    def container(self, namespace: str) -> Container:
        take = self._take
        mode = str(take("network_mode", "none"))
        if mode not in ("host", "none"):
            raise self._wrong("network_mode", "host or none")
        needs = take("depends_on", ())
        after = tuple(f"container-{self._project}-{need}.service" for need in needs)
        made = Container(
            container=str(take("container_name", f"{self._project}-{self._name}")),
            image=self._image(take("image", "")),
            command=self._words("command"),
            environment=self._environment(),
            mounts=tuple(self._volume(volume) for volume in take("volumes", ())),
            network=mode,
            user=str(take("user", "")),
            hostname=str(take("hostname", "")),
            directory=str(take("working_dir", "")),
            devices=tuple(map(str, take("devices", ()))),
            cap_add=tuple(map(str, take("cap_add", ()))),
            cap_drop=tuple(map(str, take("cap_drop", ()))),
            memory=self._bytes("mem_limit"),
            cpus=float(take("cpus", 0)),
            read_only=bool(take("read_only", False)),
            privileged=bool(take("privileged", False)),
            restart=_restart(take("restart", "no")),
            after=after,
            namespace=namespace,
        )
        _refuse(self._path, set(self._values), f"services.{self._name}.")
        return made

    def _take(self, key: str, default: Any) -> Any:
        found = self._values.pop(key, None)
        return default if found is None else found

    def _wrong(self, key: str, hint: str) -> UsageError:
        return UsageError(f"{self._path}: services.{self._name}.{key} is not understood", hint=hint)

    def _image(self, image: str) -> str:
        """The name in full, as the store has it (Docker's short forms mean Docker Hub)."""
        if not image:
            raise self._wrong("image", "a service needs an image")
        first, slash, _ = image.partition("/")
        if not slash or not ("." in first or ":" in first or first == "localhost"):
            image = f"docker.io/{image}" if slash else f"docker.io/library/{image}"
        last = image.rpartition("/")[2]
        return image if ":" in last or "@" in last else f"{image}:latest"

    def _words(self, key: str) -> tuple[str, ...]:
        found = self._take(key, ())
        return tuple(shlex.split(found)) if isinstance(found, str) else tuple(map(str, found))

    def _environment(self) -> dict[str, str]:
        found = self._take("environment", {})
        if isinstance(found, dict):
            pairs = [(str(name), value) for name, value in found.items()]
        else:
            pairs = [(name, value if equals else None) for name, equals, value in (str(one).partition("=") for one in found)]  # fmt: skip
        for name, value in pairs:
            if value is None:
                raise self._wrong(f"environment.{name}", "give a value: nothing is taken from this machine's environment")  # fmt: skip
        return {name: str(value) for name, value in pairs}

    def _volume(self, volume: object) -> str:
        if not isinstance(volume, str) or not volume.startswith("/") or ":" not in volume:
            raise self._wrong("volumes", "/DIRECTORY/OF/THE/BOARD:/TARGET[:ro]; named volumes are not supported")  # fmt: skip
        return volume

    def _bytes(self, key: str) -> int:
        text = str(self._take(key, 0)).lower().removesuffix("b") or "0"
        unit = text[-1] if text[-1] in _UNITS else "b"
        try:
            return int(float(text.removesuffix(unit)) * _UNITS[unit])
        except ValueError:
            raise self._wrong(key, "bytes, or with k, m, g") from None


def _restart(value: object) -> str:
    # YAML reads a bare `no` as a boolean.
    return "no" if value is False else str(value).partition(":")[0]
