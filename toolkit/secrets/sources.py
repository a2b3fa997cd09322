"""Where secrets are read from. What programs print goes nowhere but to the caller; no value is in an error."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from toolkit.errors import MissingPrerequisite, UsageError
from toolkit.process import last_line

_SECONDS = 120.0
"""For a key that wants a finger, or a passphrase."""
_taken: dict[str, bytes] = {}


def take(name: str) -> None:
    """Take a variable out of this process's environment: no program that is started inherits it."""
    value = os.environb.pop(name.encode(), None)
    if value is not None:
        _taken[name] = value


def environment(name: str) -> bytes:
    take(name)
    if not _taken.get(name):
        raise UsageError("the environment variable is not set", hint=f"export {name}=...")
    return _taken[name]


def command(words: Sequence[str], base: Path) -> bytes:
    """What a program prints, without the newline at its end; run in ``base``, without a shell."""
    try:
        done = subprocess.run(
            words, cwd=base, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False
        )  # fmt: skip
    except FileNotFoundError:
        raise UsageError(f"there is no program {words[0]}") from None
    except PermissionError:
        raise UsageError(f"{words[0]} cannot be run") from None
    except subprocess.TimeoutExpired:
        # Its own error carries what was printed so far.
        raise UsageError(f"{words[0]} did not end within {_SECONDS:.0f} s") from None
    if done.returncode:
        # Not what it said: nobody knows what it says of a secret.
        raise UsageError(f"{words[0]} failed with status {done.returncode}", hint="run it by hand to see why")  # fmt: skip
    value = done.stdout.removesuffix(b"\n").removesuffix(b"\r")
    if not value:
        raise UsageError(f"{words[0]} printed nothing")
    return value


def age(path: Path) -> bytes:
    """What a file encrypted with age contains, without the newline at its end."""
    _readable(path)
    keys = identities()
    if not keys:
        raise UsageError("there is no key to decrypt it with", hint=f"PINNACE_AGE_IDENTITY=FILE, or {_PLACES[0]}")  # fmt: skip
    flags = [word for key in keys for word in ("--identity", str(key))]
    value = _decrypt(["age", "--decrypt", *flags, str(path)], path, "apt-get install age", _of_age)
    return value.removesuffix(b"\n").removesuffix(b"\r")


def sops(path: Path, *, values: bool) -> bytes:
    """What a file encrypted with sops contains: ``values`` as JSON, else as it was, without the newline at its end."""
    _readable(path)
    where = "it is not in Debian: https://github.com/getsops/sops/releases; or encrypt with age"
    form = ["--output-type", "json"] if values else []
    value = _decrypt(["sops", "--decrypt", *form, str(path)], path, where, _of_sops)
    return value if values else value.removesuffix(b"\n").removesuffix(b"\r")


_PLACES = ("~/.config/pinnace/age.txt", "~/.config/sops/age/keys.txt", "~/.ssh/id_ed25519", "~/.ssh/id_rsa")  # fmt: skip
"""age decrypts with SSH's keys, too."""


def identities() -> list[Path]:
    """Files with keys: the one that ``PINNACE_AGE_IDENTITY`` or ``SOPS_AGE_KEY_FILE`` names, else those in their places."""
    named = os.environ.get("PINNACE_AGE_IDENTITY") or os.environ.get("SOPS_AGE_KEY_FILE")
    places = [Path(place).expanduser() for place in ([named] if named else _PLACES)]
    return [path for path in places if path.is_file()]


def _readable(path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as problem:
        raise UsageError(f"cannot read {path}: {problem.strerror}") from None


def _of_age(lines: list[str]) -> str:
    """Why age failed: what it says last, before the invitation to report it."""
    said = [line for line in lines if not line.startswith("age: report unexpected")]
    return last_line("\n".join(said)).removeprefix("age: error: ")


def _of_sops(lines: list[str]) -> str:
    """Why sops failed: what it says first; behind it are paragraphs for each key, and a warning may be before it."""
    said = [line for line in lines if line.strip() and not line.startswith("[")]
    return said[0].rstrip(".") if said else "no output"


def _decrypt(
    words: Sequence[str], path: Path, remedy: str, why: Callable[[list[str]], str]
) -> bytes:
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False)  # fmt: skip
    except FileNotFoundError:
        raise MissingPrerequisite(f"{words[0]} is not installed", hint=remedy) from None
    except subprocess.TimeoutExpired:
        raise UsageError(f"{words[0]} did not end within {_SECONDS:.0f} s") from None
    if done.returncode:
        said = why(done.stderr.decode("utf-8", "replace").splitlines())
        raise UsageError(f"{path} is not decrypted: {said}", hint=f"{words[0]} --decrypt {path} says more")  # fmt: skip
    return done.stdout
