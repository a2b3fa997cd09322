"""``--format`` templates, as Go's text/template has them, with the functions that Docker's tools add.

Understood: fields (``.A.B``), variables, pipelines, parentheses, ``if``, ``else``, ``range``, ``with``,
comments and trim marks. Values print as Go prints them: ``[a b]``, ``map[a:b]``, ``<nil>``. Left out, as
command lines have no use for it: ``define``, ``template`` and ``block``. (Rules: pkg.go.dev/text/template.)
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pinnace.cli import gofunctions
from pinnace.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Scope = dict[str, Any]
    Node = Callable[["_Run", Any], None]
    Expression = Callable[["_Run", Any], Any]

_ACTION = re.compile(r"\{\{(- |-(?=/\*))?(.*?)( -)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<string>"(?:[^"\\]|\\.)*"|`[^`]*`)
  | (?P<number>-?\d+(?:\.\d+)?)
  | (?P<variable>\$\w*(?:\.\w+)*)
  | (?P<field>(?:\.[A-Za-z_]\w*)+|\.)
  | (?P<word>[A-Za-z_]\w*)
  | (?P<mark>:=|[|(),=])
)""",
    re.VERBOSE,
)
_MAX_DEPTH = 64


def render(template: str, document: Any) -> str:
    """*template* filled from *document* (what JSON has).

    Raises InvalidArgument for a template that is wrong, or names a field that is not there.
    """
    if template.startswith("table "):
        template = template.removeprefix("table ")
    template = {"json": "{{json .}}"}.get(template, template)
    node = _Parser(template).parse()
    run = _Run(document)
    node(run, document)
    return "".join(run.out)


class _Run:
    """One rendering: its output so far and its variables."""

    def __init__(self, document: Any) -> None:
        self.out: list[str] = []
        self.root = document
        self.variables: Scope = {"$": document}

    def field(self, value: Any, names: Sequence[str]) -> Any:
        """``.A.B`` of a value; unknown names of the whole document are mistakes, others are none."""
        for name in names:
            if isinstance(value, dict):
                if name not in value and value is self.root:
                    known = ", ".join(sorted(value))
                    raise InvalidArgument(
                        f"template: there is no field {name!r}", hint=f"there are {known}"
                    )
                value = value.get(name, gofunctions.NO_VALUE)
            elif value is None or value is gofunctions.NO_VALUE:
                value = gofunctions.NO_VALUE
            else:
                raise InvalidArgument(f"template: {name!r} is asked of {gofunctions.show(value)}")
        return value


class _Parser:
    """Turns a template into a function that renders it."""

    def __init__(self, template: str) -> None:
        self._pieces = list(_pieces(template))
        self._at = 0
        self._depth = 0

    def parse(self) -> Node:
        node, end = self._block(())
        if end:
            raise InvalidArgument(f"template: unexpected {{{{{end}}}}}")
        return node

    def _block(self, ends: tuple[str, ...]) -> tuple[Node, str]:
        """Everything up to one of the actions *ends*, which is returned, too."""
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise InvalidArgument("template: nested too deeply")
        nodes: list[Node] = []
        while self._at < len(self._pieces):
            is_action, text = self._pieces[self._at]
            self._at += 1
            if not is_action:
                nodes.append(_literal(text))
                continue
            word = text.split(None, 1)[0] if text else ""
            if word in ends or word in ("end", "else"):
                if word not in ends:
                    raise InvalidArgument(f"template: unexpected {{{{{word}}}}}")
                self._depth -= 1
                return _sequence(nodes), text
            nodes.append(self._action(word, text))
        if ends:
            raise InvalidArgument("template: {{end}} is missing")
        self._depth -= 1
        return _sequence(nodes), ""

    def _action(self, word: str, text: str) -> Node:
        if word in ("if", "with"):
            return self._condition(text[len(word) :], sets_dot=word == "with")
        if word == "range":
            return self._range(text[len(word) :])
        if word in ("define", "template", "block", "break", "continue"):
            raise InvalidArgument(f"template: {{{{{word}}}}} is not supported")
        names, expression = _pipeline(text)

        def show(run: _Run, dot: Any) -> None:
            value = expression(run, dot)
            if names:
                run.variables[names[-1]] = value
            else:
                run.out.append(gofunctions.show(value))

        return show

    def _condition(self, text: str, *, sets_dot: bool) -> Node:
        names, expression = _pipeline(text)
        then, end = self._block(("end", "else"))
        otherwise = self._otherwise(end)

        def choose(run: _Run, dot: Any) -> None:
            value = expression(run, dot)
            if names:
                run.variables[names[-1]] = value
            if gofunctions.truth(value):
                then(run, value if sets_dot else dot)
            else:
                otherwise(run, dot)

        return choose

    def _otherwise(self, end: str) -> Node:
        if end == "end":
            return _sequence([])
        rest = end.removeprefix("else").strip()
        if not rest:
            return self._block(("end",))[0]
        word = rest.split(None, 1)[0]
        if word not in ("if", "with"):
            raise InvalidArgument(f"template: unexpected {{{{{end}}}}}")
        return self._condition(rest[len(word) :], sets_dot=word == "with")

    def _range(self, text: str) -> Node:
        names, expression = _pipeline(text)
        body, end = self._block(("end", "else"))
        otherwise = self._otherwise(end)

        def loop(run: _Run, dot: Any) -> None:
            pairs = gofunctions.pairs(expression(run, dot))
            for key, value in pairs:
                if names:
                    run.variables[names[-1]] = value
                if len(names) > 1:
                    run.variables[names[0]] = key
                body(run, value)
            if not pairs:
                otherwise(run, dot)

        return loop


def _pieces(template: str) -> Iterator[tuple[bool, str]]:
    """Text and actions in turn; ``{{-`` and ``-}}`` take the space beside them."""
    at = 0
    trim = False
    for match in _ACTION.finditer(template):
        text = template[at : match.start()]
        text = text.lstrip() if trim else text
        yield False, text.rstrip() if match[1] is not None else text
        trim = match[3] is not None
        inner = match[2].strip()
        if not inner.startswith("/*"):
            if not inner:
                raise InvalidArgument("template: an action is empty")
            yield True, inner
        at = match.end()
    rest = template[at:]
    if "{{" in rest:
        raise InvalidArgument("template: {{ is not closed")
    yield False, rest.lstrip() if trim else rest


def _literal(text: str) -> Node:
    return lambda run, _dot: run.out.append(text)


def _sequence(nodes: Sequence[Node]) -> Node:
    def every(run: _Run, dot: Any) -> None:
        for node in nodes:
            node(run, dot)

    return every


# Expressions.


def _pipeline(text: str) -> tuple[list[str], Expression]:
    """The variables that an action sets, and what to."""
    tokens = list(_tokens(text))
    names: list[str] = []
    words = [value for _, value in tokens]
    for mark in (":=", "="):
        if mark in words:
            cut = words.index(mark)
            names = [value for kind, value in tokens[:cut] if kind == "variable"]
            if len(names) * 2 - 1 != cut:
                raise InvalidArgument(f"template: {text.strip()!r} sets something strange")
            tokens = tokens[cut + 1 :]
            break
    stream = _Tokens(tokens, text)
    expression = _piped(stream)
    if stream.peek()[0]:
        raise stream.error()
    return names, expression


class _Tokens:
    def __init__(self, tokens: list[tuple[str, str]], text: str) -> None:
        self._tokens = tokens
        self._text = text.strip()
        self._at = 0
        self.depth = 0

    def peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("", "")

    def take(self) -> tuple[str, str]:
        token = self.peek()
        self._at += 1
        return token

    def error(self) -> InvalidArgument:
        return InvalidArgument(f"template: cannot understand {self._text!r}")


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at, text = 0, text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise InvalidArgument(f"template: cannot understand {text[at:].strip()[:40]!r}")
        yield match.lastgroup, match[match.lastgroup]
        at = match.end()


def _piped(stream: _Tokens) -> Expression:
    """Commands joined by ``|``: each gets the value before it as its last argument."""
    stages = [_command(stream)]
    while stream.peek() == ("mark", "|"):
        stream.take()
        stages.append(_command(stream))

    def evaluate(run: _Run, dot: Any) -> Any:
        value: list[Any] = []
        for stage in stages:
            value = [stage(run, dot, value)]
        return value[0]

    return evaluate


def _command(stream: _Tokens) -> Callable[[_Run, Any, list[Any]], Any]:
    """A function with its arguments, or one value."""
    kind, word = stream.peek()
    name = ""
    if kind == "word" and word not in ("true", "false", "nil"):
        stream.take()
        name = word
        if name not in gofunctions.FUNCTIONS:
            raise InvalidArgument(f"template: there is no function {name!r}")
    operands: list[Expression] = []
    while stream.peek()[0] and stream.peek() not in (("mark", "|"), ("mark", ")")):
        operands.append(_operand(stream))
    if not name and len(operands) != 1:
        raise stream.error()

    def evaluate(run: _Run, dot: Any, piped: list[Any]) -> Any:
        values = [operand(run, dot) for operand in operands] + piped
        return gofunctions.call(name, values) if name else values[0]

    return evaluate


def _operand(stream: _Tokens) -> Expression:
    kind, word = stream.take()
    if (kind, word) == ("mark", "("):
        return _inner(stream)
    if kind == "string":
        text = gofunctions.unquote(word)
        return lambda _run, _dot: text
    if kind == "number":
        number = float(word) if "." in word else int(word)
        return lambda _run, _dot: number
    if kind == "field":
        names = [name for name in word.split(".") if name]
        return lambda run, dot: run.field(dot, names)
    if kind == "variable":
        first, *rest = word.split(".")
        return lambda run, _dot: run.field(_variable(run, first), rest)
    constants = {"true": True, "false": False, "nil": None}
    if kind == "word" and word in constants:
        return lambda _run, _dot: constants[word]
    if kind == "word":
        return lambda _run, _dot: gofunctions.call(word, [])
    raise stream.error()


def _inner(stream: _Tokens) -> Expression:
    """What stands in parentheses."""
    stream.depth += 1
    if stream.depth > _MAX_DEPTH:
        raise stream.error()
    inner = _piped(stream)
    if stream.take() != ("mark", ")"):
        raise stream.error()
    stream.depth -= 1
    kind, word = stream.peek()
    if kind == "field" and word != ".":
        stream.take()
        names = [name for name in word.split(".") if name]
        return lambda run, dot: run.field(inner(run, dot), names)
    return inner


def _variable(run: _Run, name: str) -> Any:
    if name not in run.variables:
        raise InvalidArgument(f"template: there is no variable {name}")
    return run.variables[name]
