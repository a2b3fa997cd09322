"""Roles and a board's facts to one plan."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any

from toolkit.errors import UsageError
from toolkit.plan.model import Plan, Planned, make
from toolkit.resources import Resource


def role_names() -> list[str]:
    """The roles that exist: modules of ``roles`` with a ``recipe``."""
    import roles

    found = [entry.name for entry in pkgutil.iter_modules(roles.__path__)]
    return [name for name in found if hasattr(_module(name), "recipe")]


def check_roles(names: Iterable[str]) -> tuple[str, ...]:
    """``names``; raises :class:`UsageError` for one that does not exist."""
    known = role_names()
    wanted = tuple(names)
    for name in wanted:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"roles: {', '.join(known)}"
            raise UsageError(f"no role {name!r}", hint=hint)
    return wanted


def compile_plan(names: Iterable[str], board: Any) -> Plan:
    """The resources of the roles in order; ``board`` is a :class:`roles.context.Board`."""
    return make(
        Planned(name, resource)
        for name in check_roles(names)
        for resource in _module(name).recipe(board)
    )


def resources(names: Iterable[str], board: Any) -> Iterator[Resource]:
    """The resources of the roles, one after the other, as they are declared."""
    for name in check_roles(names):
        yield from _module(name).recipe(board)


def _module(name: str) -> Any:
    return importlib.import_module(f"roles.{name}")
