"""What stands in for ``typing`` when ``runc`` starts cold, beside the real one."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from pinnace import typing_at_runtime
from toolkit.paths import RUNTIME

STAND_IN: Any = typing_at_runtime._Base()


class Real(NamedTuple):
    one: int
    two: str = "b"
    three: tuple[int, ...] = ()

    def twice(self) -> int:
        return 2 * self.one

    @classmethod
    def of(cls, text: str) -> Real:
        return cls(len(text), two=text)


class Ours(STAND_IN):
    one: int
    two: str = "b"
    three: tuple[int, ...] = ()

    def twice(self) -> int:
        return 2 * self.one

    @classmethod
    def of(cls, text: str) -> Ours:
        return cls(len(text), two=text)


@pytest.mark.parametrize(
    "use",
    [
        lambda kind: kind(1),
        lambda kind: kind(1, "x", (2,)),
        lambda kind: kind(three=(1,), one=0),
        lambda kind: kind.of("abc"),
        lambda kind: kind(4).twice(),
        lambda kind: kind(1)._replace(two="c"),
        lambda kind: kind(1)._asdict(),
        lambda kind: kind._make([1, "y", ()]),
        lambda kind: kind._fields + kind.__match_args__,
        lambda kind: kind._field_defaults,
        lambda kind: repr(kind(1)).replace(kind.__name__, ""),
        lambda kind: (kind(1) == (1, "b", ()), hash(kind(1)) == hash((1, "b", ())), kind(1) < kind(2)),
        lambda kind: pickle.loads(pickle.dumps(kind(1, "z"))),
        lambda kind: [*kind(1)],
        lambda kind: kind(7).one,
        lambda kind: issubclass(kind, tuple),
    ],
)  # fmt: skip
def test_named_tuples_behave_as_the_real_ones(use: Callable[[Any], Any]) -> None:
    assert use(Ours) == use(Real)


@pytest.mark.parametrize(
    "use",
    [
        lambda kind: kind(),
        lambda kind: kind(1, "b", (), 4),
        lambda kind: kind(1, one=1),
        lambda kind: kind(1, four=1),
        lambda kind: kind(1)._replace(four=1),
        lambda kind: setattr(kind(1), "one", 2),
        lambda kind: setattr(kind(1), "four", 2),
    ],
)
def test_what_the_real_ones_refuse_is_refused(use: Callable[[Any], Any]) -> None:
    with pytest.raises((TypeError, ValueError, AttributeError)):
        use(Real)
    with pytest.raises((TypeError, ValueError, AttributeError)):
        use(Ours)


def test_what_it_does_not_have_is_the_real_ones() -> None:
    script = """
import sys
from pinnace import typing_at_runtime
typing_at_runtime.install()
import typing
assert typing.cast(int, 3) == 3 and not typing.TYPE_CHECKING
import pinnace.cli.runc.run
assert "collections.abc" in sys.modules and isinstance(sys.modules["typing"], typing_at_runtime._Typing)
from typing import Generic, TypeVar
class Table(Generic[TypeVar("Record")]): pass
class Named(Table[str]): pass
assert Named.__mro__[1] is Table and isinstance(sys.modules["typing"], typing_at_runtime._Typing)
from typing import get_type_hints
assert "_Typing" not in type(sys.modules["typing"]).__name__
import dataclasses, logging
"""
    done = subprocess.run(
        [sys.executable, "-ISB", "-c", f"import sys; sys.path.insert(0, {str(RUNTIME)!r}){script}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["pinnace.cli.pinnaced.serve", "pinnace.cli.warm"])
def test_daemon_and_keeper_start_and_read_a_configuration_with_neither_typing_nor_openssl(
    module: str,
) -> None:
    script = f"""
import sys
sys.path.insert(0, {str(RUNTIME)!r})
from pinnace import typing_at_runtime
typing_at_runtime.install()
import {module}
from pinnace.daemon import toml
assert toml.parse("a = 1", "config.toml") == {{"a": 1}}
assert isinstance(sys.modules["typing"], typing_at_runtime._Typing)
dear = {{"_hashlib", "tempfile", "ssl", "inspect", "sqlite3", "base64", "platform"}}
if "serve" in "{module}":
    dear |= {{"pinnace.linux.cgroups", "pinnace.runc", "pinnace.daemon.metrics", "pinnace.images"}}
print(sorted(dear & sys.modules.keys()))
"""
    done = subprocess.run(
        [sys.executable, "-ISB", "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
