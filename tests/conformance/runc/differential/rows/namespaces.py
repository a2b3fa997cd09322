"""Namespaces: made, shared, joined by path; names, sysctls, mappings, time."""

from __future__ import annotations

from typing import Any

from tests.conformance.runc.differential.table import Row

_USUAL = ("pid", "ipc", "uts", "mount", "network")


def _kinds(*kinds: str) -> dict[str, Any]:
    return {"linux.namespaces": [{"type": kind} for kind in kinds]}


def _without(kind: str) -> dict[str, Any]:
    return _kinds(*(each for each in _USUAL if each != kind))


ROWS = [
    Row("namespace-cgroup", _kinds(*_USUAL, "cgroup")),
    Row("namespace-time", _kinds(*_USUAL, "time")),
    Row("namespace-no-pid", _without("pid")),
    Row("namespace-no-ipc", _without("ipc")),
    Row("namespace-no-uts", _without("uts")),
    Row("namespace-no-mount", _without("mount")),
    Row("namespace-unknown", _kinds(*_USUAL, "nosuch")),
    Row("namespace-twice", _kinds(*_USUAL, "pid")),
    Row("hostname", {"hostname": "boat"}),
    Row("hostname-without-namespace", {"hostname": "boat", **_without("uts")}),
    Row("domainname", {"domainname": "harbour"}),
]
