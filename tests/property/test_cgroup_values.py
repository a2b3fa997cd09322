"""Values of version 1 on version 2's scales: ends, defaults, order, and never less than asked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pinnace.linux.cgroups import convert, v1_settings, v2_settings

SHARES = st.integers(0, 1 << 64)
BLKIO = st.integers(0, 5000)


@given(SHARES)
def test_weights_are_on_the_scale(shares: int) -> None:
    assert convert.MIN_WEIGHT <= convert.cpu_weight(shares) <= convert.MAX_WEIGHT


@given(SHARES, SHARES)
def test_more_shares_never_weigh_less(first: int, second: int) -> None:
    low, high = sorted((first, second))
    assert convert.cpu_weight(low) <= convert.cpu_weight(high)


def test_minimum_default_and_maximum_correspond() -> None:
    # And the values that runc 1.4 printed for a user (opencontainers/runc#4896).
    expected = {2: 1, 1024: 100, 2000: 170, 262144: 10000}
    assert {shares: convert.cpu_weight(shares) for shares in expected} == expected


@given(BLKIO, BLKIO)
def test_block_weights_keep_their_order_on_the_scale(first: int, second: int) -> None:
    low, high = sorted((first, second))
    assert 1 <= convert.io_weight(low) <= convert.io_weight(high) <= 10000


def test_ends_of_block_weights() -> None:
    assert [convert.io_weight(weight) for weight in (10, 1000)] == [1, 10000]


@given(st.integers(1, 1 << 60), st.integers(0, 1 << 60))
def test_swap_alone_and_memory_are_both_together(memory: int, swap: int) -> None:
    assert int(convert.swap_max(memory + swap, memory)) == swap


@given(st.integers(1000, 1 << 40), st.integers(1000, 1_000_000))
def test_a_quota_for_systemd_is_a_whole_percent_and_not_less(quota: int, period: int) -> None:
    found = convert.quota_per_second(quota, period)
    exact = quota * 1_000_000 / period
    assert found % 10_000 == 0
    assert exact <= found * (1 + 1e-9)
    assert found < exact + 10_001


RESOURCES = st.fixed_dictionaries(
    {},
    optional={
        "memory": st.fixed_dictionaries({"limit": st.integers(1, 1 << 50)}, optional={"reservation": st.integers(1, 1 << 50)}),
        "cpu": st.fixed_dictionaries({}, optional={
            "shares": st.integers(2, 262144), "quota": st.integers(1000, 10**9),
            "period": st.integers(1000, 10**6), "cpus": st.just("0-1"), "mems": st.just("0"),
        }),
        "pids": st.fixed_dictionaries({"limit": st.integers(-1, 1 << 20)}),
        "hugepageLimits": st.lists(st.fixed_dictionaries({"pageSize": st.just("2MB"), "limit": st.integers(0, 1 << 40)}), max_size=2),
    },
)  # fmt: skip


@given(RESOURCES)
def test_both_versions_limit_the_same_things(resources: dict[str, object]) -> None:
    """Each controller that version 1 would use for a configuration, version 2 uses too."""
    first = {setting.controller for setting in v1_settings.settings(resources)}
    second = {setting.controller for setting in v2_settings.settings(resources)}
    assert first == second
    assert all(setting.value and not setting.refused for setting in v2_settings.settings(resources))
