"""Columns as Go's tabwriter lays them out; expected texts are containerd's own output."""

from __future__ import annotations

import pytest

from pinnace.cli.tables import decimal_size, size, tabulate, tabulate_with_tabs


def test_containers_as_ctr_prints_them() -> None:
    lines = [
        "CONTAINER\tIMAGE\tRUNTIME\t",
        "c1\tdocker.io/library/busybox:latest\tio.containerd.runc.v2\t",
    ]
    assert tabulate(lines, minimum=4, padding=4) == (
        "CONTAINER    IMAGE                               RUNTIME                  \n"
        "c1           docker.io/library/busybox:latest    io.containerd.runc.v2    \n"
    )


def test_what_follows_the_last_tab_is_not_padded() -> None:
    lines = ["TASK\tPID\tSTATUS\t", "c1\t8931\tRUNNING"]
    assert tabulate(lines, minimum=4, padding=4) == (
        "TASK    PID     STATUS    \nc1      8931    RUNNING\n"
    )


def test_a_line_without_the_column_ends_its_block() -> None:
    lines = ["long first cell\tx", "no tabs here", "a\tb"]
    assert tabulate(lines, minimum=1, padding=1) == "long first cell x\nno tabs here\na b\n"


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0.0 B"), (1023, "1023.0 B"), (1029222, "1005.1 KiB"), (5 << 30, "5.0 GiB")],
)
def test_sizes(count: int, shown: str) -> None:
    assert size(count) == shown


@pytest.mark.parametrize(
    ("count", "shown"), [(396, "396B"), (1028000, "1.028MB"), (10**15, "1000TB")]
)
def test_decimal_sizes(count: int, shown: str) -> None:
    assert decimal_size(count) == shown


def test_columns_of_tabs() -> None:
    lines = ["REF\tSIZE\tAGE\t", "k2\t7B\t8 minutes\t", "just8chr\t7B\tx\t"]
    assert (
        tabulate_with_tabs(lines) == "REF\tSIZE\tAGE\t\t\nk2\t7B\t8 minutes\t\njust8chr7B\tx\t\t\n"
    )
