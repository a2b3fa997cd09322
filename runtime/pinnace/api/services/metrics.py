"""A container's resource use as containerd's metrics messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pinnace.api.schema import wellknown as wk
from pinnace.store import filters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pinnace.api.codec import Message


def matcher(filter_texts: Sequence[str]) -> Callable[[str], bool]:
    """Clients choose tasks by ``id==NAME``; without filters all match."""
    wanted = filters.parse_all(filter_texts)
    return lambda name: wanted(lambda path: name if tuple(path) == ("id",) else None)


def message(stats: Mapping[str, Any]) -> wk.Any:
    """The shim's numbers, whose names are those of the messages' fields, in the right message."""
    from pinnace.api.schema import cgroups1, cgroups2  # of some thirty classes each

    kind: type[Message] = cgroups1.Metrics if stats.get("cgroup") == 1 else cgroups2.Metrics
    return wk.Any.pack(_fill(kind, stats))


def _fill(kind: type[Message], values: Mapping[str, Any]) -> Message:
    found: dict[str, Any] = {}
    for name, field in kind.fields.items():
        value = values.get(name)
        if value is None:
            continue
        if field.message is None:
            found[name] = value
        elif field.repeated:
            found[name] = [_fill(field.message, item) for item in value]
        else:
            found[name] = _fill(field.message, value)
    return kind(**found)
