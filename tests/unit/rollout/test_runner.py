"""A rollout's rules: when it stops, what it puts back, who waits for whom."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.unit.rollout import large
from tests.unit.rollout.fleet import CHANGED, Heard, Simulated, fails, hangs
from toolkit.errors import HostFailed, HostUnreachable, PinnaceError
from toolkit.paths import PROJECT
from toolkit.provision.health import Health
from toolkit.report.events import Status
from toolkit.rollout.batches import Amount, amounts, split
from toolkit.rollout.model import Applied, Revert, Rules
from toolkit.rollout.runner import Rollout


def _rules(hosts: list[str], batch: str = "1,2", **more: object) -> Rules:
    return Rules(tuple(split(hosts, amounts(batch, "--batch"))), **more)  # type: ignore[arg-type]


HOSTS = ["a", "b", "c", "d", "e"]


def test_all_are_changed_in_order() -> None:
    fleet, heard = Simulated(), Heard()
    rollout = Rollout(_rules(HOSTS, "1"), fleet, heard)
    rollout.run()
    assert fleet.applied == HOSTS
    assert rollout.counts() == {"changed": 5}
    assert not rollout.stopped
    assert heard[0].name == "begin"
    assert heard[-1].data["counts"] == {"changed": 5}


def test_one_failure_stops_before_the_next_batch_and_the_batch_is_put_back() -> None:
    fleet, heard = Simulated({"b": fails}), Heard()
    rollout = Rollout(_rules(HOSTS), fleet, heard)
    rollout.run()
    assert sorted(fleet.applied) == ["a", "b", "c"]
    assert sorted(fleet.reverted) == ["b", "c"]
    assert rollout.stopped
    assert rollout.status == {
        "a": Status.CHANGED, "b": Status.REVERTED, "c": Status.REVERTED,
        "d": Status.WAITING, "e": Status.WAITING,
    }  # fmt: skip
    assert any(event.name == "stop" and "b" in event.detail for event in heard)


def test_all_can_be_put_back_or_nothing() -> None:
    fleet = Simulated({"b": fails})
    Rollout(_rules(HOSTS, revert=Revert.ALL), fleet, Heard()).run()
    assert sorted(fleet.reverted) == ["a", "b", "c"]
    fleet = Simulated({"b": fails})
    Rollout(_rules(HOSTS, revert=Revert.NOTHING), fleet, Heard()).run()
    assert fleet.reverted == []


def test_failures_within_the_limit_do_not_stop_it_and_are_put_back_alone() -> None:
    fleet = Simulated({"b": fails})
    rollout = Rollout(_rules(HOSTS, max_fail=Amount(20, percent=True)), fleet, Heard())
    rollout.run()
    assert fleet.reverted == ["b"]
    assert rollout.counts() == {"changed": 4, "reverted": 1}
    assert rollout.failed == {"b"}


def test_a_host_that_cannot_be_reached_is_not_put_back() -> None:
    def away(fleet: Simulated, host: str) -> Applied:
        raise HostUnreachable(f"{host}: no route")

    fleet = Simulated({"a": away})
    rollout = Rollout(_rules(HOSTS), fleet, Heard())
    rollout.run()
    assert rollout.status["a"] is Status.UNREACHABLE
    assert fleet.reverted == []


def test_one_that_hangs_holds_nobody_and_is_given_up() -> None:
    fleet = Simulated({"a": hangs})
    rules = _rules(HOSTS, "100%", host_limit=0.3, health_limit=0.0, max_fail=Amount(1), parallel=2)
    rollout = Rollout(rules, fleet, Heard())
    began = time.monotonic()
    rollout.run()
    assert time.monotonic() - began < 10
    assert fleet.abandoned == ["a"]
    assert rollout.counts() == {"changed": 4, "reverted": 1}
    before = dict(rollout.status)
    fleet.let_go.set()
    time.sleep(0.05)
    assert rollout.status == before


def test_no_more_at_once_than_asked() -> None:
    def slow(fleet: Simulated, host: str) -> Applied:
        time.sleep(0.02)
        return CHANGED

    names = [f"h{number}" for number in range(12)]
    fleet = Simulated(dict.fromkeys(names, slow))
    Rollout(_rules(names, "100%", parallel=3), fleet, Heard()).run()
    assert fleet.most == 3


def test_what_worked_before_must_work_after() -> None:
    fleet = Simulated()
    looks = iter([Health(frozenset({"web"}))])
    fleet.health["a"] = lambda: next(looks, Health())
    heard = Heard()
    rollout = Rollout(_rules(["a", "b"], health_limit=0.1), fleet, heard)
    rollout.run()
    assert rollout.status == {"a": Status.REVERTED, "b": Status.WAITING}
    assert any("worked before and does not now: web" in event.detail for event in heard)


def test_what_must_work_is_no_matter_of_before() -> None:
    fleet = Simulated()
    fleet.health["a"] = lambda: Health(broken=frozenset({"pinnaced"}))
    heard = Heard()
    Rollout(_rules(["a"], health_limit=0.1), fleet, heard).run()
    assert any("does not work: pinnaced" in event.detail for event in heard)


def test_health_that_comes_back_starts_the_time_anew() -> None:
    fleet, looks = Simulated(), []

    def flaps() -> Health:
        looks.append(time.monotonic())
        return Health(broken=frozenset({"x"})) if len(looks) in (2, 4) else Health()

    fleet.health["a"] = flaps
    rollout = Rollout(_rules(["a"], health_time=0.2, health_limit=20.0), fleet, Heard())
    rollout.run()
    assert rollout.status["a"] is Status.CHANGED
    assert looks[-1] - looks[4] >= 0.2


def test_unchanged_hosts_are_not_watched() -> None:
    fleet = Simulated({"a": lambda fleet, host: Applied({"ok": 4})})
    rollout = Rollout(_rules(["a"], health_time=3600), fleet, Heard())
    rollout.run()
    assert rollout.counts() == {"ok": 1}


def test_a_rollback_that_fails_is_said() -> None:
    class Stubborn(Simulated):
        def revert(self, host: str, say: object) -> None:
            fails(self, host)

    fleet = Stubborn({"a": fails})
    rollout = Rollout(_rules(["a"]), fleet, Heard())
    rollout.run()
    assert rollout.status["a"] is Status.STUCK


def test_a_surprise_on_one_host_is_its_failure_alone() -> None:
    def surprises(fleet: Simulated, host: str) -> Applied:
        raise ZeroDivisionError("oops")

    heard = Heard()
    rollout = Rollout(
        _rules(["a", "b"], "2", max_fail=Amount(1)), Simulated({"a": surprises}), heard
    )
    rollout.run()
    assert rollout.status["b"] is Status.CHANGED
    assert any("oops" in event.detail for event in heard)


def test_who_does_not_pass_its_tests_has_failed() -> None:
    fleet, heard = Simulated(), Heard()
    verified: list[str] = []

    def verify(host: str) -> PinnaceError | None:
        verified.append(host)
        return HostFailed(f"{host}: 2 checks failed") if host == "c" else None

    rollout = Rollout(_rules(HOSTS), fleet, heard, verify=verify)
    rollout.run()
    assert (verified[0], sorted(verified)) == ("a", ["a", "b", "c"])
    assert rollout.stopped
    assert sorted(fleet.reverted) == ["b", "c"]
    assert rollout.status["a"] is Status.CHANGED
    told = [(event.status, event.detail) for event in heard if event.host == "c" and event.status]
    assert told[-4:-2] == [(Status.VERIFYING, ""), (Status.FAILED, "2 checks failed")]


def test_finished_hosts_are_not_touched_again() -> None:
    fleet = Simulated()
    Rollout(_rules(HOSTS), fleet, Heard(), done={"a": Status.CHANGED, "c": Status.OK}).run()
    assert sorted(fleet.applied) == ["b", "d", "e"]


def test_a_large_fleet_is_planned_and_scheduled_in_time(tmp_path: Path) -> None:
    count = 10_000
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.rollout.large", str(tmp_path), str(count)], cwd=PROJECT,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path)}, stdout=subprocess.PIPE, text=True, timeout=900, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["counts"] == {"changed": count - 2, "reverted": 1}
    assert found["most"] <= 25
    assert found["reverted"] == [large.FAILS]
    assert found["seconds"] < 60
    assert found["memory"] < 1 << 30
    assert large.FAILS in (tmp_path / "page.html").read_text()
