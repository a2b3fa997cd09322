"""Every command of ctr, as stories: rows that run in this order in one namespace, which they leave empty.

A row may fail; then both sides must fail with the same words and status.
"""

from __future__ import annotations

from tests.conformance.matrix.sides import Row


def _rows(*rows: str | Row) -> tuple[Row, ...]:
    return tuple(row if isinstance(row, Row) else Row(row) for row in rows)


STORIES: dict[str, tuple[Row, ...]] = {
    "namespaces": _rows(
        "namespaces create boats team=a color=b",
        "namespaces create boats",
        "namespaces create Bad_name!",
        "namespaces create",
        "namespaces ls",
        "namespaces ls -q",
        "namespaces label boats team= color=red",
        "namespaces label boats",
        "namespaces label nope a=b",
        "namespaces ls",
        "namespaces rm boats",
        "namespaces rm boats",
        "namespaces rm",
        "namespaces ls",
    ),
    "leases": _rows(
        "leases create --id l1 why=test",
        "leases create --id l1",
        "leases create --id l2 --expires 1h",
        "leases create --id bad/../name",
        "leases ls",
        "leases ls -q",
        "leases ls id==l2",
        "leases ls labels.why==test",
        "leases ls nope==1",
        "leases ls id=~l",
        "leases rm l1",
        "leases rm --sync l2 nope",
        "leases rm",
        "leases ls",
    ),
}  # fmt: skip
