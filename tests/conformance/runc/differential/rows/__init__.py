"""The table, by subject."""

from __future__ import annotations

from tests.conformance.runc.differential.rows import (
    devices,
    hooks,
    identity,
    mounts,
    namespaces,
    process,
    resources,
    seccomp,
)
from tests.conformance.runc.differential.table import Row

ROWS: list[Row] = [
    *process.ROWS, *identity.ROWS, *mounts.ROWS, *namespaces.ROWS, *devices.ROWS, *hooks.ROWS,
    *resources.ROWS,
    *seccomp.ROWS,
]  # fmt: skip
