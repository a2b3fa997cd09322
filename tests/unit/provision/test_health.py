"""What a board says about its units and containers."""

from __future__ import annotations

from toolkit.provision.health import Health, read


def _unit(name: str, active: str = "active", enabled: str = "enabled") -> str:
    return f"Id={name}.service\nActiveState={active}\nUnitFileState={enabled}\n"


def _text(*units: str, said: str = "") -> str:
    return "\n".join(units) + f"\n==\n{said}"


RUNTIME = (_unit("pinnaced"), _unit("pinnace-keeper"))


def test_units_that_start_at_boot_count_and_others_do_not() -> None:
    found = read(_text(_unit("ssh"), _unit("apt-daily", enabled="static"), _unit("cron", "failed")))
    assert found == Health(frozenset({"ssh.service"}))


def test_containers_that_run_count() -> None:
    found = read(_text(*RUNTIME, said="answers\ndefault/web\nk8s.io/pause\n"))
    assert not found.broken
    assert {"container default/web", "container k8s.io/pause"} <= found.working


def test_the_runtime_must_work() -> None:
    assert read(_text(_unit("pinnaced", "failed"), RUNTIME[1])).broken == {"pinnaced.service"}
    assert read(_text(*RUNTIME)).broken == {"the daemon answers"}
    assert read(_text(*RUNTIME, said="answers\n")).broken == frozenset()


def test_a_unit_between_two_states_does_not_work_yet() -> None:
    assert read(_text(_unit("pinnaced", "activating"), RUNTIME[1])).broken == {"pinnaced.service"}


def test_a_container_that_is_gone_is_missed() -> None:
    before = read(_text(*RUNTIME, said="answers\ndefault/web\n"))
    after = read(_text(*RUNTIME, said="answers\n"))
    assert before.problem_after(after) == "worked before and does not now: container default/web"
    assert before.problem_after(before) == ""
