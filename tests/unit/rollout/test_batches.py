"""Who changes together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import UsageError
from toolkit.rollout.batches import Amount, Batch, amount, amounts, split


def _hosts(count: int) -> list[str]:
    return [f"pi{number}" for number in range(count)]


def test_sizes_in_hosts_and_percent_and_the_last_repeats() -> None:
    sizes = [len(batch.hosts) for batch in split(_hosts(40), amounts("1,10%,50%", "--batch"))]
    assert sizes == [1, 4, 20, 15]
    assert [len(b.hosts) for b in split(_hosts(5), amounts("2", "--batch"))] == [2, 2, 1]


def test_a_small_percentage_is_one_host() -> None:
    assert [len(b.hosts) for b in split(_hosts(3), amounts("10%", "--batch"))] == [1, 1, 1]


def test_canaries_go_first_and_once() -> None:
    found = split(_hosts(4), amounts("100%", "--batch"), ["pi2"])
    assert found == [Batch("canary", ("pi2",)), Batch("batch 1", ("pi0", "pi1", "pi3"))]


def test_a_canary_from_elsewhere_is_refused() -> None:
    with pytest.raises(UsageError, match="attic"):
        split(_hosts(2), amounts("1", "--batch"), ["attic"])


@pytest.mark.parametrize("text", ["", "0", "x", "-1", "1,,2", "101%", "5 %", "1.5"])
def test_what_is_no_batch_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--batch"):
        amounts(text, "--batch")


def test_nobody_may_fail() -> None:
    assert amount("0", "--max-fail").of(100) == 0
    assert amount("5%", "--max-fail") == Amount(5, percent=True)
    assert amount("5%", "--max-fail").of(10) == 0


_SIZES = st.lists(st.builds(Amount, st.integers(1, 100), st.booleans()), min_size=1, max_size=4)


@given(st.integers(0, 60), _SIZES, st.sets(st.integers(0, 59)))
def test_every_host_has_one_turn(count: int, sizes: list[Amount], canaries: set[int]) -> None:
    hosts = _hosts(count)
    chosen = [f"pi{number}" for number in canaries if number < count]
    found = split(hosts, sizes, chosen)
    assert sorted(host for batch in found for host in batch.hosts) == sorted(hosts)
    assert all(batch.hosts for batch in found)
