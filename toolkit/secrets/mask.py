"""The values that must not be shown, and text without them.

Every error of the toolkit, every line it prints or writes down, and every word of a board goes through
:func:`masked`. Beside a value itself, the forms in which programs repeat it are known: JSON, base64, URLs,
XML, a shell's quotes, and the single lines of a longer one (a private key).
"""

from __future__ import annotations

import base64
import html
import json
import re
import resource
import sys
import threading
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any
from urllib.parse import quote

HIDDEN = "(secret)"
SHORTEST = 4
"""Characters that a secret has at least: what is shorter stands everywhere by chance."""
_LINE = 8

_lock = threading.Lock()
_known: set[str] = set()
_pattern: re.Pattern[str] | None = None


def hide(value: bytes) -> None:
    """From now on ``value`` is not shown."""
    global _pattern
    text = value.decode("utf-8", "replace")
    with _lock:
        if text in _known:
            return
        # What a crash of this process leaves would have it.
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        _known.update(form for form in _forms(value, text) if len(form) >= SHORTEST)
        longest_first = sorted(_known, key=lambda form: (-len(form), form))
        _pattern = re.compile("|".join(map(re.escape, longest_first)))


def masked(text: str) -> str:
    """``text`` with each known value, in whatever form, replaced by ``(secret)``."""
    pattern = _pattern
    return text if pattern is None else pattern.sub(HIDDEN, text)


def without_secrets(value: Any) -> Any:
    """:func:`masked` for all text in lists."""
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    return masked(value) if isinstance(value, str) else value


def _forms(value: bytes, text: str) -> Iterator[str]:
    yield text
    yield text.strip()
    for dumped in (json.dumps(text), json.dumps(text, ensure_ascii=False), repr(text), repr(value)):
        yield dumped.removeprefix("b")[1:-1]
    # Without the padding, and the last letter that depends on what follows.
    yield base64.b64encode(value).decode().rstrip("=")[:-1]
    yield base64.urlsafe_b64encode(value).decode().rstrip("=")[:-1]
    yield quote(text, safe="")
    yield html.escape(text)
    yield html.escape(text, quote=False)
    yield text.replace("'", "'\"'\"'")
    for line in text.splitlines():
        if len(line.strip()) >= _LINE:
            yield line.strip()


def in_tracebacks() -> None:
    """An error that is a bug of ours is printed without secrets, too, in every thread."""

    def show(
        kind: type[BaseException], value: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.stderr.write(masked("".join(traceback.format_exception(kind, value, trace))))

    def show_in_thread(found: threading.ExceptHookArgs) -> None:
        if found.exc_type is not SystemExit:
            show(found.exc_type, found.exc_value, found.exc_traceback)

    sys.excepthook = show
    threading.excepthook = show_in_thread
