"""The two units, and the configuration that the daemon reads."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize("unit", ["pinnace-keeper.service", "pinnaced.service"])
def test_unit_is_enabled_and_active(host: Any, unit: str) -> None:
    done = host.run(f"systemctl is-enabled {unit} && systemctl is-active {unit}")
    assert done.stdout.split() == ["enabled", "active"], done.stdout


def test_configuration_is_accepted_without_warnings(host: Any) -> None:
    done = host.run("pinnaced --config /etc/pinnace/config.toml config dump")
    assert done.succeeded, done.stderr
    assert done.stderr == ""


def test_wrong_configuration_is_refused_with_file_and_line(host: Any) -> None:
    done = host.run("echo 'version = 3\nroot = 7' > /run/verify.toml; pinnaced --config /run/verify.toml config dump; status=$?; rm /run/verify.toml; exit $status")  # fmt: skip
    assert done.failed
    assert "/run/verify.toml:2" in done.stderr


def test_daemon_answers(host: Any) -> None:
    done = host.run("ctr version")
    assert done.succeeded, done.stderr
    assert "Server" in done.stdout
