"""Templates: Jinja2 files in ``templates/``; a name that is not given is an error, never empty text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextvars import ContextVar
from functools import cache
from typing import Any

import jinja2

from toolkit.errors import PinnaceError, UsageError
from toolkit.paths import TEMPLATES
from toolkit.resources.base import Handler
from toolkit.resources.files import File
from toolkit.secrets.secret import Secret, shown_in

_used: ContextVar[list[Secret]] = ContextVar("used")


def render(name: str, **values: Any) -> str:
    """The text of the template ``name``; raises :class:`PinnaceError` with the line of a mistake.

    A template that uses a secret has no text that may be seen: :func:`template` makes a file of it.
    """
    found = _rendered(name, _template(name), values)
    if isinstance(found, Secret):
        raise UsageError(f"templates/{name}: it uses {found}, and its text would be seen", hint="template() makes a secret file of it; a unit gets a Credential")  # fmt: skip
    return found


def template(
    path: str,
    name: str,
    *,
    mode: str = "",
    owner: str = "root",
    group: str = "root",
    notify: tuple[Handler, ...] = (),
    **values: Any,
) -> File:
    """A file at ``path`` made from the template ``name``: a secret one when it uses a secret."""
    found = _rendered(name, _template(name), values)
    source = found if isinstance(found, Secret) else found.encode()
    return File(path=path, source=source, mode=mode, owner=owner, group=group, notify=notify)


def secret_text(text: str, **values: Any) -> Secret:
    """A secret made of others: ``text`` is a template like those in files."""
    try:
        made = _environment().from_string(text)
    except jinja2.TemplateSyntaxError as problem:
        raise PinnaceError(f"{text!r}: {problem.message}") from problem
    found = _rendered(repr(text), made, values)
    if not isinstance(found, Secret):
        raise UsageError(f"{text!r}: there is no secret in it")
    return found


def _template(name: str) -> jinja2.Template:
    try:
        return _environment().get_template(name)
    except jinja2.TemplateSyntaxError as problem:
        raise PinnaceError(f"templates/{name}:{problem.lineno}: {problem.message}") from problem
    except jinja2.TemplateError as problem:
        raise PinnaceError(f"templates/{name}: {problem}") from problem


def _rendered(name: str, made: jinja2.Template, values: Mapping[str, Any]) -> str | Secret:
    """The text, or a secret when one went into it."""
    used: list[Secret] = []
    token = _used.set(used)
    try:
        text = made.render(values)
    except jinja2.TemplateError as problem:
        raise PinnaceError(f"templates/{name}: {problem}") from problem
    finally:
        _used.reset(token)
    if lost := shown_in(text):
        raise UsageError(f"templates/{name}: {lost} is used as if it were text", hint="{{ secret }} or {{ secret | toml }}, nothing else")  # fmt: skip
    if not used:
        return text
    leaves = tuple(dict.fromkeys(leaf for secret in used for leaf in secret.leaves))
    return Secret(", ".join(leaf.name for leaf in leaves), text.encode, leaves)


def _revealed(value: Any) -> Any:
    """What stands in the text for ``value``; a secret's use is noted down."""
    if not isinstance(value, Secret):
        return value
    _used.get().append(value)
    return value.text()


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
        finalize=_revealed,
    )
    environment.filters["toml"] = toml
    return environment


def toml(value: Any) -> str:
    """A value as TOML writes it; strings, numbers, booleans and lists are JSON's, which TOML reads.

    (JSON's escapes are a subset of TOML's, but for DEL, which no checked value contains.)
    """
    value = _revealed(value)
    if isinstance(value, str | bool | int | float):
        return json.dumps(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    raise TypeError(f"{type(value).__name__} has no place in these templates")
