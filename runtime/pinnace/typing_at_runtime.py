"""As much of the module ``typing`` as runs: what stands in for it where a command starts cold, and in keeper and daemon.

With annotations that nobody evaluates little of ``typing`` does anything at run time. Importing it, and having its
``NamedTuple`` compile source text for each record, are 5 of the 30 ms that a cold ``runc`` takes on a PC, and 150 of
a Pi Zero's; what it leaves in memory is most of a megabyte. Whoever asks for anything that is not here gets the real one.
"""

from __future__ import annotations

import sys
from _collections import _tuplegetter  # type: ignore[import-not-found]
from types import ModuleType


class _NamedTupleMeta(type):
    """Makes a class body with annotations a tuple with named fields, as ``typing.NamedTuple`` does."""

    def __new__(
        cls, name: str, bases: tuple[type, ...], body: dict[str, object]
    ) -> _NamedTupleMeta:
        annotations = body.get("__annotations__")
        if not isinstance(annotations, dict):
            raise TypeError(f"{name}: its annotations are not there")
        fields = tuple(annotations)
        body["_fields"] = body["__match_args__"] = fields
        body["_field_defaults"] = {field: body[field] for field in fields if field in body}
        body["__slots__"] = ()
        for place, field in enumerate(fields):
            body[field] = _tuplegetter(place, "")
        return type.__new__(cls, name, (_Record,), body)


class _Record(tuple):  # type: ignore[type-arg]
    """What named tuples have in common."""

    __slots__ = ()
    _fields: tuple[str, ...] = ()
    _field_defaults: dict[str, object] = {}  # noqa: RUF012 (of each class its own)

    def __new__(cls, *values: object, **named: object) -> _Record:
        fields = cls._fields
        if len(values) == len(fields) and not named:
            return tuple.__new__(cls, values)
        if len(values) > len(fields):
            raise TypeError(f"{cls.__name__}: {len(values)} values for {len(fields)} fields")
        found = {**cls._field_defaults, **named, **dict(zip(fields, values))}  # noqa: B905 (Python 3.9)
        if len(found) != len(fields) or not named.keys().isdisjoint(fields[: len(values)]):
            wrong = sorted(set(fields) ^ set(found)) or sorted(named)
            raise TypeError(f"{cls.__name__}: missing, unknown or given twice: {', '.join(wrong)}")
        return tuple.__new__(cls, [found[field] for field in fields])

    @classmethod
    def _make(cls, values: object) -> _Record:
        return cls(*values)  # type: ignore[misc]

    def _asdict(self) -> dict[str, object]:
        return dict(zip(self._fields, self))  # noqa: B905

    def _replace(self, **named: object) -> _Record:
        return type(self)(**{**self._asdict(), **named})

    def __getnewargs__(self) -> tuple[object, ...]:
        return tuple(self)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self._asdict().items())
        return f"{type(self).__name__}({shown})"


class _Base:
    """``class Name(NamedTuple)`` asks its base for the classes to use (PEP 560)."""

    def __mro_entries__(self, _bases: tuple[object, ...]) -> tuple[type, ...]:
        return (_Start,)


_Start = type.__new__(_NamedTupleMeta, "NamedTuple", (), {})


class _Unchecked:
    """A type variable, or the base of a protocol: there to be named."""

    def __init__(self, *_args: object, **_options: object) -> None:
        pass


class _Generic:
    """``Generic[T]`` is a base, and what inherits from it may be written with brackets: nothing comes of it."""

    def __class_getitem__(cls, _parameters: object) -> type:
        return cls


def _cast(_kind: object, value: object) -> object:
    return value


class _Typing(ModuleType):
    def __getattr__(self, name: str) -> object:
        """The real module's; from now on others get that one."""
        if name.startswith("__"):  # what the import system looks for
            raise AttributeError(name)
        if sys.modules.get("typing") is self:
            del sys.modules["typing"]
        import typing

        return getattr(typing, name)


def _works() -> bool:
    """Whether this Python tells a class's maker of its annotations in the way that is expected here."""
    try:

        class Probe(_Base()):  # type: ignore[misc]
            field: int

        return bool(Probe(1).field == 1)
    except TypeError:
        return False


def install() -> None:
    """Stand in for ``typing``, unless it has been imported."""
    if "typing" in sys.modules or not _works():
        return
    module = _Typing("typing")
    module.__dict__.update(
        TYPE_CHECKING=False, Any=object, NoReturn=None, NamedTuple=_Base(), TypeVar=_Unchecked,
        ParamSpec=_Unchecked, TypeAlias=None, Protocol=type("Protocol", (), {}), cast=_cast,
        Generic=_Generic, ClassVar=None, Self=None, BinaryIO=object,
        Callable=_Generic, Tuple=_Generic,  # tomllib names types with them
    )  # fmt: skip
    sys.modules["typing"] = module
