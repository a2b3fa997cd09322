"""Command lines in the manner of urfave/cli, which containerd's own tools use.

Flags stand before the arguments: parsing stops at the first word that is not a flag, so that
``ctr run IMAGE ID ls -l`` hands ``-l`` to ``ls``. One dash or two mean the same, a value follows as the
next word or behind ``=``, a repeated list flag adds to its list, and an environment variable may
stand in for a flag that was not given. (Rules: Go's ``flag`` package and urfave/cli's manual.)

A program is a tree of :class:`Command`. A leaf names a module, which is imported only when that command
runs or shows its help; the module has ``USAGE``, ``FLAGS``, perhaps ``DETAILS``, and ``run(call) -> int``.
Nothing here imports more than the standard library's smallest parts: this is on the cold path.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, cast

from pinnace.errors import InvalidArgument

Value = Any
COMPLETE = "--generate-bash-completion"


class Flag:
    """One flag: its names (the long one first), what it takes, and where its default comes from."""

    __slots__ = ("about", "default", "env", "kind", "names", "placeholder")

    def __init__(
        self, names: tuple[str, ...], kind: str, about: str, default: Value, env: str = "", placeholder: str = "value"
    ) -> None:  # fmt: skip
        self.names = names
        self.kind = kind
        self.about = about
        self.default = default
        self.env = env
        self.placeholder = placeholder

    def parse(self, text: str) -> Value:
        """The value that ``text`` stands for; raises :class:`InvalidArgument`."""
        try:
            return _PARSERS[self.kind](text)
        except ValueError:
            raise InvalidArgument(
                f'invalid value "{text}" for flag --{self.names[0]}: {_EXPECTED[self.kind]} is expected'
            ) from None

    def from_environment(self) -> Value:
        text = os.environ.get(self.env) if self.env else None
        return self.default if not text else self.parse(text)


def switch(*names: str, about: str, env: str = "") -> Flag:
    """A flag that is on when it is given (``--flag=false`` turns it off again)."""
    return Flag(names, "bool", about, False, env)


def text(
    *names: str, about: str, default: str = "", env: str = "", placeholder: str = "value"
) -> Flag:
    """A flag with one string."""
    return Flag(names, "string", about, default, env, placeholder)


def texts(*names: str, about: str, placeholder: str = "value") -> Flag:
    """A flag that may be given often; commas do not split it."""
    return Flag(names, "list", about, (), "", placeholder)


def integer(*names: str, about: str, default: int = 0, env: str = "") -> Flag:
    return Flag(names, "int", about, default, env)


def number(*names: str, about: str, default: float = 0.0) -> Flag:
    return Flag(names, "float", about, default)


def duration(*names: str, about: str, default: float = 0.0) -> Flag:
    """A length of time in Go's notation (``1m30s``, ``250ms``); its value is in seconds."""
    return Flag(names, "duration", about, default)


class LeafModule(Protocol):
    """What the module of a leaf command has."""

    USAGE: str
    FLAGS: tuple[Flag, ...]

    def run(self, call: Call) -> int: ...


class Command:
    """A command: a group with ``commands`` below it, or a leaf whose code is in ``module``."""

    __slots__ = (
        "_flags", "about", "aliases", "commands", "completer", "details", "interspersed", "module",
        "name", "version",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        about: str,
        *,
        aliases: tuple[str, ...] = (),
        module: str = "",
        commands: tuple[Command, ...] = (),
        flags: tuple[Flag, ...] = (),
        details: str = "",
        version: str = "",
        interspersed: bool = False,
        completer: str = "",
    ) -> None:
        self.name = name
        self.about = about
        self.aliases = aliases
        self.module = module
        self.commands = commands
        self._flags = flags
        self.details = details
        self.version = version
        # Whether flags may stand behind arguments, too, as in programs made with Go's cobra.
        self.interspersed = interspersed
        # "module:function" of a program: names for the next argument of a Call, for completion.
        self.completer = completer

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.aliases)

    def load(self) -> LeafModule:
        """Import the module of a leaf."""
        return cast(LeafModule, importlib.import_module(self.module))

    def flags(self) -> tuple[Flag, ...]:
        return self.load().FLAGS if self.module else self._flags

    def usage(self) -> str:
        return self.load().USAGE if self.module else "command [command options] [arguments...]"

    def description(self) -> str:
        return getattr(self.load(), "DETAILS", "") if self.module else self.details

    def child(self, name: str) -> Command | None:
        for command in self.commands:
            if name in command.names:
                return command
        return None


class Call:
    """One command line, parsed: flag values by long name, the arguments, and the calls above it."""

    __slots__ = ("_given", "_values", "args", "command", "parent")

    def __init__(self, command: Command, parent: Call | None = None) -> None:
        self.command = command
        self.parent = parent
        self.args: list[str] = []
        self._given: dict[str, Value] = {}
        self._values: dict[str, Value] = {}

    @property
    def path(self) -> str:
        """The command as it is typed: ``ctr images pull``."""
        return f"{self.parent.path} {self.command.name}" if self.parent else self.command.name

    def _value(self, name: str, kinds: tuple[str, ...]) -> Value:
        """The flag's value here or above; one that was given comes before a nearer default."""
        declaring = list(self._declaring(name))
        if not declaring:
            raise KeyError(f"{self.path} has no flag --{name}")
        kind = declaring[0]._kind(name)
        if kind not in kinds:
            raise KeyError(f"--{name} is a {kind} flag")
        for call in declaring:
            if name in call._given and call._kind(name) == kind:
                return call._values[name]
        return declaring[0]._values[name]

    def _declaring(self, name: str) -> Iterator[Call]:
        call: Call | None = self
        while call is not None:
            if name in call._values:
                yield call
            call = call.parent

    def _kind(self, name: str) -> str:
        return next(flag.kind for flag in self.command.flags() if flag.names[0] == name)

    def has(self, name: str) -> bool:
        """Whether this command or one above it declares the flag at all."""
        return name in self._values or (self.parent is not None and self.parent.has(name))

    def given(self, name: str) -> bool:
        """Whether the flag stands on the command line."""
        return name in self._given or (self.parent is not None and self.parent.given(name))

    def on(self, name: str) -> bool:
        return bool(self._value(name, ("bool",)))

    def text(self, name: str) -> str:
        return str(self._value(name, ("string",)))

    def texts(self, name: str) -> list[str]:
        return list(self._value(name, ("list",)))

    def integer(self, name: str) -> int:
        return int(self._value(name, ("int",)))

    def number(self, name: str) -> float:
        return float(self._value(name, ("float",)))

    def seconds(self, name: str) -> float:
        return float(self._value(name, ("duration",)))

    def argument(self, index: int, missing: str) -> str:
        """The argument at ``index``; raises :class:`InvalidArgument` with ``missing`` when it is
        absent or empty."""
        if index >= len(self.args) or not self.args[index]:
            raise InvalidArgument(missing, hint=f"usage: {self.path} {self.command.usage()}")
        return self.args[index]

    def only_argument(self, missing: str) -> str:
        """The one argument of a command; a flag behind it, which would have no effect, is an error."""
        first = self.argument(0, missing)
        for word in self.args[1:]:
            raise InvalidArgument(
                f"unexpected argument {word}", hint="flags stand before the arguments"
            )
        return first

    def need_args(self, missing: str) -> list[str]:
        """All arguments, of which there must be at least one."""
        self.argument(0, missing)
        for word in self.args:
            if word.startswith("-") and len(word) > 1:
                raise InvalidArgument(
                    f"unexpected argument {word}", hint="flags stand before the arguments"
                )
        return self.args

    def consume(self, words: Sequence[str]) -> list[str]:
        """Take the leading flags off ``words``, or all of them; returns what is not flags."""
        flags = {name: flag for flag in self.command.flags() for name in flag.names}
        if self.command.interspersed and self.parent is not None:
            known = {name: flag for flag in self.parent.command.flags() for name in flag.names}
            flags = {**known, **flags}
        rest = list(words)
        arguments: list[str] = []
        while rest:
            word = rest[0]
            if len(word) < 2 or word[0] != "-":
                if not self.command.interspersed:
                    break
                arguments.append(rest.pop(0))
                continue
            rest.pop(0)
            if word == "--":
                break
            if not self._take(word, rest, flags):
                break
        self._settle()
        return arguments + rest

    def _settle(self) -> None:
        """Values for all flags; what was given for a command above goes to where it belongs."""
        for flag in self.command.flags():
            name = flag.names[0]
            if name not in self._values:
                self._values[name] = self._given.get(name, flag.from_environment())
        for name in self._given.keys() - self._values.keys():
            if self.parent is not None:
                self.parent._given[name] = self.parent._values[name] = self._given[name]

    def _take(self, word: str, rest: list[str], flags: dict[str, Flag]) -> bool:
        """Record one flag; False when it was a request for help, which ends the parsing."""
        name, equals, value = word.lstrip("-").partition("=")
        if name in ("help", "h") and name not in flags:
            raise HelpWanted(self)
        flag = flags.get(name)
        if flag is None:
            return self._take_cluster(word, rest, flags)
        if flag.kind == "bool":
            self._record(flag, flag.parse(value) if equals else True)
            return True
        if not equals:
            if not rest:
                raise InvalidArgument(f"flag needs an argument: {word}", hint=self._see_help())
            value = rest.pop(0)
        self._record(flag, flag.parse(value))
        return True

    def _take_cluster(self, word: str, rest: list[str], flags: dict[str, Flag]) -> bool:
        """``-dt`` is ``-d -t`` when both are switches."""
        letters = word[1:]
        known = all(letter in flags and flags[letter].kind == "bool" for letter in letters)
        if word.startswith("--") or len(letters) < 2 or not known:
            raise InvalidArgument(
                f"flag provided but not defined: {word.partition('=')[0]}", hint=self._see_help()
            )
        for letter in letters:
            self._take("-" + letter, rest, flags)
        return True

    def _record(self, flag: Flag, value: Value) -> None:
        name = flag.names[0]
        if flag.kind == "list":
            self._given.setdefault(name, []).append(value)
        else:
            self._given[name] = value

    def replaced(self, values: dict[str, Value]) -> Call:
        """The same command line with other values for some flags, as if they had been given."""
        made = Call(self.command, self.parent)
        made.args = list(self.args)
        made._given = {**self._given, **values}
        made._values = {**self._values, **values}
        return made

    def _see_help(self) -> str:
        return f"{self.path} --help lists what there is"


class HelpWanted(Exception):
    """``--help`` stood on the command line of ``call``."""

    def __init__(self, call: Call) -> None:
        super().__init__(call.path)
        self.call = call


def run(root: Command, words: Sequence[str]) -> int:
    """Run the command that ``words`` (without the program's name) asks for; returns its exit status.

    Raises:
        InvalidArgument: an unknown command or flag, or a value of the wrong kind.
    """
    if words and words[-1] == COMPLETE:
        sys.stdout.write("".join(f"{word}\n" for word in complete(root, words[:-1])))
        return 0
    try:
        call = parse(root, words)
    except HelpWanted as wanted:
        show_help(wanted.call)
        return 0
    return run_parsed(root, call)


def run_parsed(root: Command, call: Call) -> int:
    """The same for words that :func:`parse` made a call of."""
    if call.command is root and root.version and call.has("version") and call.on("version"):
        sys.stdout.write(f"{root.name} {root.version}\n")
        return 0
    if not call.command.module:
        if call.args:
            raise _unknown(call)
        show_help(call)
        return 0
    return call.command.load().run(call)


def parse(root: Command, words: Sequence[str]) -> Call:
    """Follow ``words`` down the tree to the command they name."""
    call = Call(root)
    rest = call.consume(words)
    while rest and call.command.commands:
        if rest[0] in ("help", "h"):
            raise HelpWanted(_descend(call, rest[1:]))
        child = call.command.child(rest[0])
        if child is None:
            break
        call = Call(child, call)
        rest = call.consume(rest[1:])
    call.args = rest
    return call


def _descend(call: Call, words: Sequence[str]) -> Call:
    for word in words:
        child = call.command.child(word)
        if child is None:
            call.args = [word]
            raise _unknown(call)
        call = Call(child, call)
    return call


def _unknown(call: Call) -> InvalidArgument:
    import difflib

    word = call.args[0]
    names = [name for command in call.command.commands for name in command.names]
    near = difflib.get_close_matches(word, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"{call.path} --help lists what there is"
    return InvalidArgument(f'unknown command "{word}" for "{call.path}"', hint=hint)


def complete(root: Command, words: Sequence[str]) -> list[str]:
    """What may come next behind ``words``: flags when the last word starts one, commands and names otherwise.

    An empty last word says that the one before it, a flag perhaps, is whole.
    """
    last = words[-1] if words else ""
    done = words[:-1] if not last or last.startswith("-") else words
    try:
        call = parse(root, done)
    except (InvalidArgument, HelpWanted):
        return []
    if last.startswith("-"):
        names = [name for flag in call.command.flags() for name in flag.names] + ["help", "h"]
        shown = sorted(("--" if len(name) > 1 else "-") + name for name in names)
        return [name for name in shown if name.startswith(last)]
    if call.command.module and root.completer:
        module, _, function = root.completer.partition(":")
        return list(getattr(importlib.import_module(module), function)(call))
    if call.args:
        return []
    return [name for command in call.command.commands for name in command.names]


def show_help(call: Call) -> None:
    """Print what the command is for, how it is typed, its commands and its flags."""
    command = call.command
    parts = [f"NAME:\n   {call.path} - {command.about}\n"]
    middle = "[global options] " if call.parent is None and command.commands else ""
    options = "[command options] " if command.module and command.flags() else ""
    parts.append(f"USAGE:\n   {call.path} {middle}{options}{command.usage()}".rstrip() + "\n")
    if command.version:
        parts.append(f"VERSION:\n   {command.version.removeprefix('version ')}\n")
    if command.description():
        indented = "\n".join(f"   {line}".rstrip() for line in command.description().split("\n"))
        parts.append(f"DESCRIPTION:\n{indented}\n")
    if command.commands:
        rows = [(", ".join(each.names), each.about) for each in command.commands]
        parts.append("COMMANDS:\n" + _aligned([*rows, ("help, h", "show help for a command")]))
    flags = [(_spelling(flag), _explained(flag)) for flag in command.flags()]
    heading = "GLOBAL OPTIONS:\n" if call.parent is None and command.commands else "OPTIONS:\n"
    parts.append(heading + _aligned([*flags, ("--help, -h", "show help")]))
    sys.stdout.write("\n".join(parts))


def _aligned(rows: Sequence[tuple[str, str]]) -> str:
    width = max(len(left) for left, _ in rows) + 2
    return "".join(f"   {left:<{width}}{right}\n" for left, right in rows)


def _spelling(flag: Flag) -> str:
    value = "" if flag.kind == "bool" else f" {flag.placeholder}"
    return ", ".join(("--" if len(name) > 1 else "-") + name + value for name in flag.names)


def _explained(flag: Flag) -> str:
    default = ""
    if flag.kind == "string" and flag.default:
        default = f' (default: "{flag.default}")'
    elif flag.kind in ("int", "float") and flag.default:
        default = f" (default: {flag.default})"
    return flag.about + default + (f" [${flag.env}]" if flag.env else "")


_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)"


def parse_duration(text: str) -> float:
    """Seconds in a Go duration such as ``1h2m3.5s``; raises ``ValueError``."""
    if text == "0":
        return 0.0
    parts = re.findall(_DURATION, text)
    if not parts or "".join(amount + unit for amount, unit in parts) != text:
        raise ValueError(text)
    return sum(float(amount) * _UNITS[unit] for amount, unit in parts)


def _parse_bool(text: str) -> bool:
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise ValueError(text)


_PARSERS: dict[str, Any] = {
    "bool": _parse_bool,
    "string": str,
    "list": str,
    "int": lambda text: int(text, 0),
    "float": float,
    "duration": parse_duration,
}
_EXPECTED = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "duration": "a duration such as 1m30s",
    "string": "a string",
    "list": "a string",
}
