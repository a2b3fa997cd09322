"""Every row of the table under three runtimes: a program must not be able to tell which one made its container."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.runc.differential import report
from tests.conformance.runc.differential.bundle import APPLETS, Bundle
from tests.conformance.runc.differential.differences import KNOWN, Difference
from tests.conformance.runc.differential.rows import ROWS
from tests.conformance.runc.differential.runtimes import Runtime, three
from tests.conformance.runc.differential.table import Row
from toolkit.arch import Arch
from toolkit.arena import remove_cgroups
from toolkit.build import zig
from toolkit.debian import Archive

pytestmark = [pytest.mark.root, pytest.mark.peer]

_seen: set[Difference] = set()
_ran: set[str] = set()


@pytest.fixture(scope="module")
def runtimes(release: Path) -> Iterator[dict[str, Runtime]]:
    with three(release) as found:
        yield found


@pytest.fixture(scope="module")
def bundle() -> Iterator[Bundle]:
    # Not pytest's own: the mapped root of a user namespace must be able to walk there.
    with tempfile.TemporaryDirectory(prefix="pinnace-table-") as directory:
        Path(directory).chmod(0o755)
        yield from _bundle(Path(directory))


def _bundle(place: Path) -> Iterator[Bundle]:
    probe = place / "probe"
    arch = Arch.from_machine(os.uname().machine)
    zig.compile_static([Path(__file__).with_name("probe.c")], probe, arch, {})
    root = Archive("trixie", arch.facts.debian).unpack(["busybox-static"])
    busybox = place / "busybox"
    busybox.write_bytes(next(root.rglob("bin/busybox")).read_bytes())
    for program in (probe, busybox):
        program.chmod(0o755)
    cgroup = f"pinnace-table-{os.getpid()}"
    for name in ("sh", *APPLETS):
        (place / name).symlink_to("busybox")
    yield Bundle(place / "bundle", cgroup, {"probe": probe, "sh": busybox})
    remove_cgroups(cgroup)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_program_sees_the_same(row: Row, runtimes: dict[str, Runtime], bundle: Bundle) -> None:
    observed = {name: runtime.observe(row, bundle) for name, runtime in runtimes.items()}
    reports = {
        name: report.read(observed[name], runtime.namespaces())
        for name, runtime in runtimes.items()
    }
    unexplained = []
    for peer in ("runc", "crun"):
        for section, line in report.differing(reports["ours"], reports[peer]):
            reasons = [it for it in KNOWN if it.explains(peer, section, row.name, line[1:])]
            _seen.update(reasons)
            if not reasons:
                unexplained.append(f"{peer} {section}: {line}")
    _ran.add(row.name)
    errors = [f"{name}: {it.error.strip()}" for name, it in observed.items() if it.error]
    assert not unexplained, "\n".join(
        ["not explained ('-' ours, '+' theirs):", *unexplained, *errors]
    )


def test_every_known_difference_is_one() -> None:
    if len(_ran) < len(ROWS):
        pytest.skip("only a part of the table was run")
    assert [it for it in KNOWN if it not in _seen and not it.sometimes] == []


def test_names_are_unique_and_the_table_is_large() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS) >= 150
