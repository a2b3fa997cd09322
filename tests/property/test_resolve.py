"""Paths in hostile trees: both ways to resolve them agree, and neither is led out while the tree changes."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pinnace.linux import resolve
from pinnace.linux.fake import FakeKernel
from pinnace.linux.kernel import KERNEL, Kernel

_WALK = FakeKernel()  # has no openat2
_SECONDS = float(os.environ.get("PINNACE_RESOLVE_SECONDS", "0.7"))

_names = st.sampled_from(["a", "b", "c"])
_pieces = st.one_of(_names, _names, st.sampled_from(["..", ".", ""]))
_paths = st.lists(_pieces, min_size=1, max_size=6).map("/".join)
_targets = st.one_of(_paths, _paths.map(lambda path: "/" + path))
_flags = st.sampled_from(
    [
        os.O_PATH, os.O_PATH | os.O_DIRECTORY, os.O_PATH | os.O_NOFOLLOW, os.O_RDONLY,
        os.O_RDONLY | os.O_NOFOLLOW, os.O_RDONLY | os.O_DIRECTORY,
    ]
)  # fmt: skip
_entry = st.one_of(
    st.just(("file", "")), st.just(("dir", "")), st.tuples(st.just("link"), _targets)
)
_trees = st.dictionaries(
    st.lists(_names, min_size=1, max_size=3).map("/".join), _entry, min_size=1, max_size=10
)


def _grow(root: Path, tree: dict[str, tuple[str, str]]) -> None:
    for path, (kind, target) in sorted(tree.items()):
        place = root / path
        with contextlib.suppress(OSError):  # below a file, or there already
            if os.path.realpath(place.parent) != str(place.parent):
                continue
            if kind == "dir":
                place.mkdir()
            elif kind == "link":
                place.symlink_to(target)
            else:
                place.write_text(path)


def _outcome(root: int, path: str, flags: int, kernel: Kernel) -> object:
    """What was opened, or the number of the error."""
    try:
        fd = resolve.open_in_root(root, path, flags, kernel=kernel)
    except OSError as problem:
        return problem.errno
    try:
        found = os.fstat(fd)
        return found.st_dev, found.st_ino
    finally:
        os.close(fd)


@pytest.fixture
def place(tmp_path: Path) -> Callable[[], Path]:
    counter = iter(range(1 << 30))
    return lambda: tmp_path / f"tree{next(counter)}"


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tree=_trees, paths=st.lists(st.tuples(_paths, _flags), min_size=1, max_size=8))
def test_the_walk_by_descriptors_agrees_with_openat2(
    place: Callable[[], Path], tree: dict[str, tuple[str, str]], paths: list[tuple[str, int]]
) -> None:
    root = place()
    root.mkdir()
    _grow(root, tree)
    fd = os.open(root, os.O_PATH)
    try:
        for path, flags in paths:
            assert _outcome(fd, path, flags, _WALK) == _outcome(fd, path, flags, KERNEL), path
    finally:
        os.close(fd)


def test_magic_links_are_followed_by_neither() -> None:
    """With the whole machine as the root: /proc/self/root and cwd lead anywhere."""
    root = os.open("/", os.O_PATH)
    try:
        for path in (
            "/proc/self/root/etc",
            "/proc/self/cwd",
            "/proc/self/fd/0",
            "/proc/self/ns/net",
        ):
            for kernel in (KERNEL, _WALK):
                with pytest.raises(OSError, match="Too many levels"):
                    resolve.open_in_root(root, path, kernel=kernel)
        for kernel in (KERNEL, _WALK):
            os.close(resolve.open_in_root(root, "/proc/mounts", kernel=kernel))
    finally:
        os.close(root)


# A tree that changes while it is resolved

_ATTACKS = ("/swing/secret", "/deep/er/../../../outside/secret", "/deep/er/../../swing/secret",
            "/swing/../../outside/secret", "/turn/turn/secret")  # fmt: skip


def _attack(top: Path) -> None:
    """Swap a directory and links that lead out, and move a directory out and back, for ever.

    Every file inside says "in", the one outside "out".
    """
    root = top / "root"
    while True:
        for name, target in (("swing", top / "outside"), ("turn", Path("../outside"))):
            os.rename(root / name, root / "aside")
            os.symlink(target, root / name)
            os.unlink(root / name)
            os.rename(root / "aside", root / name)
        os.rename(root / "deep/er", top / "er")
        os.rename(top / "er", root / "deep/er")


@pytest.fixture
def changing(tmp_path: Path) -> Iterator[Path]:
    """A root whose tree another process attacks."""
    root = tmp_path / "root"
    for name in ("swing", "turn/turn", "deep/er", "outside"):
        (root / name).mkdir(parents=True)
        (root / name / "secret").write_text("in")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("out")
    attacker = os.fork()
    if attacker == 0:
        try:
            _attack(tmp_path)
        finally:
            os._exit(1)
    yield root
    os.kill(attacker, signal.SIGKILL)
    os.waitpid(attacker, 0)


def _seen(root: Path, read: Callable[[str], int], until: Callable[[set[str]], bool]) -> set[str]:
    """What was read below the root, in many attempts."""
    seen: set[str] = set()
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline and not until(seen):
        for path in _ATTACKS:
            with contextlib.suppress(OSError), open(read(path)) as file:
                seen.add(file.read())
    return seen


@pytest.mark.parametrize("kernel", [KERNEL, _WALK], ids=["openat2", "walk"])
def test_a_changing_tree_leads_nowhere_outside(changing: Path, kernel: Kernel) -> None:
    fd = os.open(changing, os.O_PATH)
    try:
        seen = _seen(
            changing,
            lambda path: resolve.open_in_root(fd, path, os.O_RDONLY, kernel=kernel),
            lambda seen: "out" in seen,
        )
    finally:
        os.close(fd)
    assert seen == {"in"}


def test_the_attack_is_one(changing: Path) -> None:
    """Who checks first and opens later, as container runtimes once did, is led out."""

    def naive(path: str) -> int:
        real = os.path.realpath(f"{changing}{path}")
        if not real.startswith(f"{changing}/"):
            raise PermissionError(real)
        return os.open(f"{changing}{path}", os.O_RDONLY)

    deadline = time.monotonic() + 20
    while "out" not in _seen(changing, naive, lambda seen: "out" in seen):
        assert time.monotonic() < deadline, "the attack never worked"


@pytest.mark.parametrize("kernel", [KERNEL, _WALK], ids=["openat2", "walk"])
def test_nothing_is_made_outside_of_a_changing_tree(
    changing: Path, kernel: Kernel, tmp_path: Path
) -> None:
    """CVE-2024-45310: the host's directories stay as they are, whatever is made meanwhile."""
    fd = os.open(changing, os.O_PATH)
    deadline = time.monotonic() + _SECONDS
    number = 0
    try:
        while time.monotonic() < deadline:
            number += 1
            for path in (
                f"/swing/{number}/x",
                f"/deep/er/../../../outside/{number}/x",
                f"/turn/{number}",
            ):
                for make in (resolve.make_directory, resolve.make_file):
                    with contextlib.suppress(OSError):
                        os.close(make(fd, f"{path}-{make.__name__}", kernel=kernel))
    finally:
        os.close(fd)
    assert os.listdir(tmp_path / "outside") == ["secret"]
    made = [name for place in ("swing", "outside") for name in os.listdir(changing / place)]
    assert len(made) > 4


def test_who_makes_directories_by_path_is_led_out(changing: Path, tmp_path: Path) -> None:
    """The attack behind the test above, against what runtimes did before."""
    deadline = time.monotonic() + 20
    number = 0
    while len(os.listdir(tmp_path / "outside")) == 1:
        number += 1
        with contextlib.suppress(OSError):
            os.mkdir(f"{changing}/swing/{number}")
        assert time.monotonic() < deadline, "the attack never worked"
