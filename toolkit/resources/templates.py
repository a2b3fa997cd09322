"""Templates: Jinja2 files in ``templates/``; a name that is not given is an error, never empty text."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jinja2

from toolkit.errors import PinnaceError
from toolkit.paths import TEMPLATES
from toolkit.resources.base import Handler
from toolkit.resources.files import File


def render(name: str, **values: Any) -> str:
    """The text of the template ``name``; raises :class:`PinnaceError` with the line of a mistake."""
    try:
        return _environment().get_template(name).render(values)
    except jinja2.TemplateSyntaxError as problem:
        raise PinnaceError(f"templates/{name}:{problem.lineno}: {problem.message}") from problem
    except jinja2.TemplateError as problem:
        raise PinnaceError(f"templates/{name}: {problem}") from problem


def template(
    path: str, name: str, *, mode: str = "0644", notify: tuple[Handler, ...] = (), **values: Any
) -> File:
    """A file at ``path`` made from the template ``name``."""
    return File(path=path, source=render(name, **values).encode(), mode=mode, notify=notify)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        # The results are configuration files for root, not HTML.
        autoescape=False,  # noqa: S701
    )
    environment.filters["toml"] = toml
    return environment


def toml(value: Any) -> str:
    """A value as TOML writes it; strings, numbers, booleans and lists are JSON's, which TOML reads.

    (JSON's escapes are a subset of TOML's, but for DEL, which no checked value contains.)
    """
    if isinstance(value, str | bool | int | float):
        return json.dumps(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    raise TypeError(f"{type(value).__name__} has no place in these templates")
