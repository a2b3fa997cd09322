"""A value that is known by where it comes from, and shown as that only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from toolkit.errors import UsageError
from toolkit.secrets import mask

LARGEST = 1 << 20
"""Bytes: the agent keeps secrets in memory."""

_names: set[str] = set()


class Secret:
    """Read when :meth:`reveal` is called, which only what sends it to a board does.

    As text it is ``<secret env:WIFI>``: whatever shows it by mistake shows this. ``name`` is how the
    inventory names it. ``leaves`` are the secrets that it was made of, itself if it was not.
    """

    __slots__ = ("_leaves", "_make", "name", "origin")

    def __init__(
        self,
        name: str,
        make: Callable[[], bytes],
        leaves: tuple[Secret, ...] = (),
        origin: str = "",
    ) -> None:
        """``make`` gives the value, or raises :class:`toolkit.errors.PinnaceError` that does not show it.

        ``origin``: file, line and column that name it, for errors.
        """
        self.name = name
        self.origin = origin
        self._make = make
        self._leaves = leaves
        _names.add(str(self))

    @property
    def leaves(self) -> tuple[Secret, ...]:
        return self._leaves or (self,)

    @property
    def where(self) -> str:
        """How an error begins: where it is named, and how."""
        return f"{self.origin}: secret {self.name}" if self.origin else f"secret {self.name}"

    def reveal(self) -> bytes:
        """The value, never shown from here on; raises :class:`UsageError` for none, or one that is no secret."""
        value = self._make()
        if len(value.strip()) < mask.SHORTEST:
            raise UsageError(f"{self.where}: shorter than {mask.SHORTEST} bytes", hint="what is that short cannot be kept out of what is shown")  # fmt: skip
        if len(value) > LARGEST:
            raise UsageError(f"{self.where}: larger than {LARGEST >> 20} MiB")
        mask.hide(value)
        return value

    def text(self) -> str:
        """The value as text."""
        try:
            return self.reveal().decode()
        except UnicodeDecodeError:
            # Python's own error carries the bytes.
            raise UsageError(f"{self.where}: not UTF-8 text") from None

    def printed(self) -> str:
        """The value as a program would print it: with U+FFFD for what is no text."""
        return self.reveal().decode("utf-8", "replace")

    def map(self, change: Callable[[str], str]) -> Secret:
        """Another secret, made from this one's text."""
        return Secret(self.name, lambda: change(self.text()).encode(), self.leaves, self.origin)

    def __str__(self) -> str:
        return f"<secret {self.name}>"

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return str(self)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self} is not written down")


def shown_in(text: str) -> str:
    """The name of a secret that was put into ``text`` as if it were text; empty when there is none."""
    if "<secret " not in text:
        return ""
    return next((name for name in sorted(_names) if name in text), "")
