"""What all tests share: a skip with its reason where root is missing, and a check that nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from toolkit import boards
from toolkit.lab import registry
from toolkit.pytest_boards import report

pytest_plugins = ["toolkit.pytest_boards.plugin"]

HERE = Path(__file__).parent
THIS_MACHINE = "this machine"
FAILED = pytest.StashKey[bool]()


def pytest_configure() -> None:
    """Interrupts have their usual meaning: a shell that runs us behind ``&`` has them ignored.

    Programs under test would inherit that, and a test that interrupts one would wait forever.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root: run ./inv test as root or with sudo")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:  # fmt: skip
    made = yield
    item.stash[FAILED] = made.failed or item.stash.get(FAILED, False)
    return made


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Before a test that failed is run again its module's fixtures end too: what it left there would fail it again."""
    again = getattr(item, "execution_count", 1) <= (item.config.getoption("reruns") or 0)
    module = item.getparent(pytest.Module)
    if item.stash.get(FAILED, False) and again and module is not None:
        item.stash[FAILED] = False
        item.session._setupstate.teardown_exact(module.parent)  # type: ignore[arg-type]


@pytest.hookimpl(trylast=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    """Every test is in the table of boards and groups, also those that take no board from the plugin."""
    folders = item.path.relative_to(HERE).parts[:-1]
    item.user_properties.append((report.GROUP, "/".join(folders[:2])))
    if report.BOARD not in dict(item.user_properties):
        item.user_properties.append((report.BOARD, _named_board(item) or THIS_MACHINE))
        item.user_properties.append((report.TEST, item.nodeid))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What a test said that failed and passed when it was run again: a defect still, of ours or of a peer."""
    for again in terminalreporter.getreports("rerun"):
        terminalreporter.section(f"{again.nodeid} (run again)", sep="_")
        terminalreporter.line(again.longreprtext)


def _named_board(item: pytest.Item) -> str:
    """The kind of board among a test's parameters, for tests that start and stop boards themselves."""
    if item.get_closest_marker("emulated") is None:
        return ""
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    kinds = [name for value in parameters.values() for name in boards.names() if str(value).startswith(name)]  # fmt: skip
    return max(kinds, key=len, default="")


def _footprint() -> dict[str, set[str]]:
    """What a careless test leaves on a machine: mounts, links, network namespaces, emulators, cgroups."""
    mounts = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    binfmt = Path("/proc/sys/fs/binfmt_misc")
    cgroups = {
        str(path)
        for path in Path("/sys/fs/cgroup").glob("**/*")
        if "pinnace" in path.name and path.is_dir()
    }
    namespaces = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=False)
    return {
        "mounts": mounts,
        "links": set(os.listdir("/sys/class/net")),
        "network namespaces": set(namespaces.stdout.split()),
        "emulators": {entry.name for entry in binfmt.iterdir()} if binfmt.is_dir() else set(),
        "cgroups": cgroups,
    }


@pytest.fixture(scope="session", autouse=True)
def _seccomp_programs_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Compiled filters are kept apart from those of the machine; what is started here inherits that."""
    os.environ["PINNACE_SECCOMP"] = str(tmp_path_factory.mktemp("seccomp") / "programs")


@pytest.fixture(scope="session", autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    """The whole run leaves the machine as it was.

    Only where this run is alone on the machine (``./inv test`` sets the variable): other programs mount
    and unmount too.
    """
    # Taken away, so that the test runs which tests start do not look: a board of theirs may come and go.
    if os.environ.pop("PINNACE_CHECK_FOOTPRINT", "") != "1":
        yield
        return
    before = _footprint()
    yield
    after = _footprint()
    left = {
        kind: sorted(after[kind] - before[kind]) for kind in after if after[kind] - before[kind]
    }
    assert not left, f"the tests left behind: {left}"


@pytest.fixture(scope="session", autouse=True)
def _the_lab_registry_ends_with_the_tests(_nothing_left_behind: None) -> Iterator[None]:
    """The commands under test start it where it does not run; it ends here, if it began with the tests."""
    ran = registry.running() is not None
    yield
    if not ran:
        registry.stop()
