"""Host ranges of Ansible's INI inventory: ``web[01:20:2].lan``, ``db-[a:f]``.

Both ends belong to the range, numbers keep the padding of the first one, letters run through the
ASCII alphabet, and several ranges in a name multiply. A range that yields nothing is an error here
(Ansible passes over it without a word).
"""

from __future__ import annotations

import string

_LETTERS = string.ascii_letters


def expand(pattern: str) -> list[str]:
    """The host names that ``pattern`` stands for, in order; raises ``ValueError`` with the reason."""
    head, bracket, rest = pattern.partition("[")
    if not bracket:
        return [pattern]
    body, closing, tail = rest.partition("]")
    if not closing:
        raise ValueError(f"{pattern!r}: a bracket is not closed")
    values = _values(body)
    return [f"{head}{value}{end}" for value in values for end in expand(tail)]


def _values(body: str) -> list[str]:
    parts = body.split(":")
    if len(parts) not in (2, 3):
        raise ValueError(f"a range is written [first:last] or [first:last:step], not [{body}]")
    first, last = parts[0] or "0", parts[1]
    step = parts[2] if len(parts) == 3 else "1"
    if not last:
        raise ValueError(f"the range [{body}] has no end")
    if not (step.isascii() and step.isdigit()) or int(step) == 0:
        raise ValueError(f"the step of [{body}] is not a positive number")
    values = (
        _numbers(first, last, int(step)) if first.isdigit() else _alphabet(first, last, int(step))
    )
    if not values:
        raise ValueError(f"the range [{body}] is empty: its end comes before its beginning")
    return values


def _numbers(first: str, last: str, step: int) -> list[str]:
    if not (last.isascii() and last.isdigit()):
        raise ValueError(f"[{first}:{last}] mixes a number with something else")
    padded = len(first) > 1 and first.startswith("0")
    if padded and len(first) != len(last):
        raise ValueError(f"[{first}:{last}]: both ends of a padded range need the same width")
    width = len(first) if padded else 0
    if (int(last) - int(first)) // step > 100_000:
        raise ValueError(f"[{first}:{last}] names more than 100000 hosts")
    return [str(number).zfill(width) for number in range(int(first), int(last) + 1, step)]


def _alphabet(first: str, last: str, step: int) -> list[str]:
    if len(first) != 1 or len(last) != 1 or first not in _LETTERS or last not in _LETTERS:
        raise ValueError(f"[{first}:{last}] is neither two numbers nor two letters")
    return list(_LETTERS[_LETTERS.index(first) : _LETTERS.index(last) + 1 : step])
