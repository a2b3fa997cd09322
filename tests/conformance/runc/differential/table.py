"""What a row of the table is: a configuration, and what is asked inside of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.conformance.runc.differential.bundle import Bundle

Change = Callable[[Bundle], None]


@dataclass(frozen=True)
class Row:
    """One configuration.

    Attributes:
        name: unique, in words joined by hyphens.
        settings: what is set in the default configuration, by dotted path; None removes the key.
        mounts: added behind the default ones.
        ask: further questions to the probe, see ``probe.c``.
        change: whatever settings and mounts cannot say; runs last.
        terminal: run it with a terminal as standard input and output.
        process: an OCI process, laid over the container's, that is run by ``exec`` in the waiting container;
            what it sees is compared.
    """

    name: str
    settings: Mapping[str, Any]
    mounts: Sequence[Mapping[str, Any]] = ()
    ask: tuple[str, ...] = ()
    change: Change | None = None
    terminal: bool = False
    process: Mapping[str, Any] | None = None

    def apply(self, bundle: Bundle) -> None:
        """Turn the default configuration of ``bundle`` into this row's."""
        bundle.spec["process"]["args"] = ["/bin/probe", *self.ask]
        for path, value in self.settings.items():
            bundle.set(path, value)
        bundle.spec["mounts"] += [dict(item) for item in self.mounts]
        if self.change is not None:
            self.change(bundle)


def mount(target: str, kind: str, source: str, *options: str, **more: Any) -> dict[str, Any]:
    """A mount of a configuration; a ``source`` that does not start with ``/`` is below the bundle."""
    return {"destination": target, "type": kind, "source": source, "options": list(options), **more}
