"""Recipes to plans, without a board."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from roles.context import Board, Lab, Release
from toolkit import console
from toolkit.errors import HostFailed, HostUnreachable, UsageError
from toolkit.inventory.settings import ROLES, Settings
from toolkit.plan.compile import check_roles, compile_plan, role_names
from toolkit.plan.model import Plan, Planned, make
from toolkit.provision.report import Report, unified
from toolkit.provision.selection import exit_status, select
from toolkit.resources import RELOAD_UNITS, Content, File

FACTS = {"modules": True, "cmdline": "", "containerd": False}


def board(tmp_path: Path, settings: Settings = Settings(), **facts: Any) -> Board:  # noqa: B008
    archive = tmp_path / "bundle.tar.gz"
    archive.write_bytes(b"bundle")
    lab = Lab("registry.lab", "10.0.0.1", b"authority")
    return Board("b", settings, {**FACTS, **facts}, lambda: Release("r1", archive, 1), lab)


def ids(plan: Plan) -> list[str]:
    return [entry.resource.id for entry in plan.entries]


def test_the_plan_is_data_and_names_contents_by_digest(tmp_path: Path) -> None:
    plan = compile_plan(ROLES, board(tmp_path))
    wire = json.loads(json.dumps(plan.wire()))
    files = [resource for resource in wire["resources"] if resource["kind"] == "file"]
    assert all(plan.contents[resource["digest"]].size == resource["size"] for resource in files)
    assert "source" not in files[0]


def test_the_clock_comes_first_and_units_last(tmp_path: Path) -> None:
    found = ids(compile_plan(ROLES, board(tmp_path)))
    assert found[0] == "clock set"
    assert found[-2:] == ["unit pinnace-keeper.service", "unit pinnaced.service"]


def test_units_are_read_before_restarts_and_the_reboot_is_last(tmp_path: Path) -> None:
    plan = compile_plan(ROLES, board(tmp_path, cmdline="/boot/cmdline.txt"))
    late = File(path="/etc/systemd/system/x.timer", source=b"", notify=(RELOAD_UNITS,))
    names = [handler.name for handler in make([*plan.entries, Planned("x", late)]).handlers]
    assert names[0] == "reload units"
    assert names[-1] == "reboot"
    assert names.index("restart pinnace-keeper.service") < names.index("restart pinnaced.service")


def test_the_socket_of_an_installed_containerd_is_left_alone(tmp_path: Path) -> None:
    link = "file /etc/tmpfiles.d/pinnace.conf"
    assert link in ids(compile_plan(ROLES, board(tmp_path)))
    assert link not in ids(compile_plan(ROLES, board(tmp_path, containerd=True)))


def test_only_a_raspberry_pi_gets_a_command_line(tmp_path: Path) -> None:
    parameters = "kernel_cmdline cgroup_enable=memory cgroup_memory=1"
    assert parameters not in ids(compile_plan(["kernel"], board(tmp_path)))
    assert parameters in ids(compile_plan(["kernel"], board(tmp_path, cmdline="/boot/cmdline.txt")))


def test_mirrors_of_the_inventory_win_over_the_lab(tmp_path: Path) -> None:
    mirror = {"url": "https://m", "capabilities": ("pull",), "skip_verify": False, "override_path": False}  # fmt: skip
    settings = dataclasses.replace(Settings(), registry_mirrors={"docker.io": (mirror,)})
    plan = compile_plan(["registry"], board(tmp_path, settings))
    text = next(e.resource.contents[0] for e in plan.entries if e.resource.name.endswith("docker.io/hosts.toml"))  # fmt: skip
    assert b"https://m" in text.data
    assert b"registry.lab" not in text.data


def test_the_same_thing_twice_is_an_error() -> None:
    one = Planned("base", File(path="/etc/motd", source=b"1"))
    two = Planned("kernel", File(path="/etc/motd", source=b"2"))
    with pytest.raises(UsageError, match="file /etc/motd is declared twice: in base and kernel"):
        make([one, two])


def test_roles_are_known_by_name() -> None:
    assert set(role_names()) == {*ROLES, "agent"}  # that one is asked for
    with pytest.raises(UsageError) as problem:
        check_roles(["base", "kernal"])
    assert problem.value.hint == "did you mean 'kernel'?"


def test_a_diff_is_unified() -> None:
    lines = unified("/etc/x", "a\nb\n", Content(b"a\nc\n"))
    assert lines == ["--- /etc/x", "+++ /etc/x", "@@ -1,2 +1,2 @@", " a", "-b", "+c"]
    assert unified("/etc/x", None, Content(b"a\n"))[0] == "--- /dev/null"


def test_a_newline_at_the_end_is_a_difference() -> None:
    lines = unified("/etc/x", "a\nb", Content(b"a\nb\n"))
    assert lines[3:] == [" a", "-b", "\\ No newline at end of file", "+b"]
    assert unified("/etc/x", "a", Content(b"a")) == []


def test_a_diff_stays_with_its_line_whatever_other_boards_print(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[str] = []
    terminal = SimpleNamespace(write=written.append, flush=lambda: None)
    monkeypatch.setattr(console, "err", Console(file=terminal))  # type: ignore[arg-type]
    source = b"".join(b"line %d\n" % number for number in range(100))
    plan = make([Planned("base", File(path="/etc/x", source=source))])
    Report(plan, prefix="pi-1: ", diff=True).event(
        {"event": "result", "id": "file /etc/x", "status": "changed", "changes": [], "texts": [["/etc/x", "", None]]}
    )  # fmt: skip
    [text] = [each for each in written if each]
    assert text.startswith("~ pi-1: base: file /etc/x\n--- /etc/x\n")
    assert text.endswith("+line 99\n")


def test_exit_status_of_several_hosts() -> None:
    assert exit_status([object()]) == 0
    assert exit_status([object(), HostUnreachable("x")]) == 4
    assert exit_status([HostFailed("x"), HostUnreachable("x")]) == 2


@pytest.mark.parametrize(
    ("pattern", "lines", "message"),
    [
        ("pu", "pi", "no host or group 'pu'"),
        ("", "pi", "which host?"),
        ("pi", "pi roles=bse", "no role 'bse'"),
        ("pi", "pi board=emu-sparc", "board=emu-sparc"),
        ("pi", "pi snapshotter=zfs", "snapshotter = 'zfs'"),
    ],
)
def test_mistakes_are_said_before_a_board_is_touched(
    tmp_path: Path, pattern: str, lines: str, message: str
) -> None:
    inventory = tmp_path / "inv.ini"
    inventory.write_text(lines + "\n")
    with pytest.raises(UsageError) as problem:
        select(pattern, str(inventory))
    assert message in problem.value.message


def test_equal_plans_have_one_id_whenever_they_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = compile_plan(ROLES, board(tmp_path)).id
    monkeypatch.setattr("time.time", lambda: 1.0)
    assert compile_plan(ROLES, board(tmp_path)).id == first
    other = Settings(log_level="debug")
    assert compile_plan(ROLES, board(tmp_path, other)).id != first


def tagged() -> Plan:
    return make(
        [
            Planned("base", File(path="/etc/a", source=b"1")),
            Planned("base", File(path="/etc/b", source=b"2", tags=("slow", "config"))),
            Planned("runtime", File(path="/etc/c", source=b"3", tags=("config",))),
        ]
    )


@pytest.mark.parametrize(
    ("tags", "skip", "left"),
    [
        ((), (), ["/etc/a", "/etc/b", "/etc/c"]),
        (("config",), (), ["/etc/b", "/etc/c"]),
        (("base",), ("slow",), ["/etc/a"]),
        ((), ("runtime",), ["/etc/a", "/etc/b"]),
    ],
)
def test_tags_choose_a_part_and_a_role_is_one(
    tags: tuple[str, ...], skip: tuple[str, ...], left: list[str]
) -> None:
    plan = tagged().only(tags, skip)
    assert [entry.resource.name for entry in plan.entries] == left
    assert len(plan.contents) == len(left)


def test_a_tag_that_nothing_has_is_an_error() -> None:
    with pytest.raises(UsageError, match="nothing has the tag 'confg'"):
        tagged().only((), ("confg",))
