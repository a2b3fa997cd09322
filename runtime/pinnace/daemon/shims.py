"""What the daemon needs of shims, and the real ones, which the keeper starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    OnEvent = Callable[[Mapping[str, Any]], None]


class Shim(Protocol):
    """A connection to a running shim."""

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask the shim; raises what it answers, Unavailable when it is gone."""

    def close(self) -> None:
        """Let go; the shim goes on."""


class Shims(Protocol):
    """Starts shims and connects to them. Tests put their own in its place."""

    def start(self, namespace: str, identifier: str, bundle: str, state: str) -> str:
        """Start a shim for a bundle, its files below ``state``; the address of its socket."""

    def connect(self, address: str, on_event: OnEvent, on_close: Callable[[], None]) -> Shim:
        """Connect; both callbacks come from another thread. Raises Unavailable."""
