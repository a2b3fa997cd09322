"""The version of the runtime: one line in ``runtime/pyproject.toml``."""

from __future__ import annotations

import tomllib

from toolkit.paths import RUNTIME


def runtime_version() -> str:
    with open(RUNTIME / "pyproject.toml", "rb") as file:
        version: str = tomllib.load(file)["project"]["version"]
    return version
