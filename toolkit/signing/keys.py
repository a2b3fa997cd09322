"""Which key signs: the one that is named, one of ssh-agent, or one of our own that is made on first use."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from toolkit import console
from toolkit.errors import PinnaceError, UsageError
from toolkit.paths import give_to_user, state_dir
from toolkit.process import last_line, run
from toolkit.provision.journal import by

NAMESPACE = "pinnace-fleet"
"""What signatures are for (ssh-keygen(1), ``-n``): one made for mail or commits is none of ours."""
AGENT = "agent"
"""``--sign-key agent`` is the first key of ssh-agent, ``agent:WORD`` the first whose comment has that word."""


@dataclass(frozen=True, slots=True)
class Signer:
    """A key that signs.

    Attributes:
        path: the private key, or a public key whose private half ssh-agent has.
        public: type and key of the public half, without a comment.
        name: the principal that boards know it by.
    """

    path: Path
    public: str
    name: str

    @property
    def line(self) -> str:
        """The key in the form of ssh-keygen(1), "ALLOWED SIGNERS", good for our namespace alone."""
        return f'{self.name} namespaces="{NAMESPACE}" {self.public}\n'

    @property
    def fingerprint(self) -> str:
        done = subprocess.run(
            ["ssh-keygen", "-lf", "-"], input=self.public, capture_output=True, text=True, check=False
        )  # fmt: skip
        return done.stdout.split()[1] if done.returncode == 0 else "unknown"


def choose(named: str = "") -> Signer:
    """The signer of ``--sign-key``: a file, ``agent``, ``agent:WORD``, or nothing for our own.

    It is among :func:`allowed_signers` from now on. Raises :class:`UsageError` when there is no such key.
    """
    if named == AGENT or named.startswith(f"{AGENT}:"):
        signer = _of_agent(named.partition(":")[2])
    else:
        signer = _of_file(Path(named).expanduser()) if named else _own()
    path = allowed_signers()
    if signer.line not in (path.read_text() if path.exists() else ""):
        with path.open("a") as file:
            file.write(signer.line)
        give_to_user(path)
    return signer


def allowed_signers() -> Path:
    """The keys that were used here, as boards are given them where the inventory names no others."""
    return state_dir("signing") / "allowed_signers"


def _own() -> Signer:
    path = state_dir("signing") / "id_ed25519"
    if not path.exists():
        name = by()
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", path], "making a key")
        for made in (path, path.with_suffix(".pub")):
            give_to_user(made)
        signer = _of_file(path)
        console.note(
            f"made a key to sign with: {path} ({signer.fingerprint}). Boards will trust it: keep it "
            "to yourself, and a copy in a safe place. --sign-key chooses another"
        )
        return signer
    return _of_file(path)


def _of_file(path: Path) -> Signer:
    public = path if path.suffix == ".pub" else path.with_name(f"{path.name}.pub")
    if path.suffix == ".pub" and path.with_suffix("").exists():
        path = path.with_suffix("")
    try:
        words = public.read_text().split()
        os.stat(path)
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageError(f"--sign-key {path}: {problem}", hint="a private key with its .pub beside it, a .pub whose key ssh-agent has, or `agent`") from None  # fmt: skip
    if len(words) < 2 or not words[0].startswith(("ssh-", "ecdsa-", "sk-")):
        raise UsageError(f"--sign-key: {public} is not a public key")
    return Signer(path, f"{words[0]} {words[1]}", _name(" ".join(words[2:])))


def _of_agent(word: str) -> Signer:
    done = subprocess.run(["ssh-add", "-L"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UsageError(f"--sign-key {AGENT}: {last_line(done.stderr or done.stdout)}", hint="ssh-add the key, and see `ssh-add -l`")  # fmt: skip
    for line in done.stdout.splitlines():
        kind, key, *comment = line.split()
        if word in " ".join(comment):
            path = state_dir("signing") / "agent.pub"
            path.write_text(f"{line}\n")
            give_to_user(path)
            return Signer(path, f"{kind} {key}", _name(" ".join(comment)))
    raise UsageError(f"--sign-key: ssh-agent has no key whose comment has {word!r}", hint="ssh-add -l lists them")  # fmt: skip


def _name(comment: str) -> str:
    """A principal: patterns, commas and spaces have a meaning of their own in allowed_signers."""
    kept = "".join(letter if letter.isalnum() or letter in "@._-" else "-" for letter in comment)
    return kept or by()


def sign(data: bytes, signer: Signer) -> str:
    """The armored signature of ``data``; raises :class:`PinnaceError` in ssh-keygen's words."""
    command = ["ssh-keygen", "-Y", "sign", "-q", "-f", str(signer.path), "-n", NAMESPACE]
    try:
        done = subprocess.run(command, input=data, capture_output=True, check=False)
    except FileNotFoundError:
        raise PinnaceError("ssh-keygen is needed to sign", hint="install OpenSSH's client") from None  # fmt: skip
    if done.returncode or b"BEGIN SSH SIGNATURE" not in done.stdout:
        said = last_line(done.stderr.decode(errors="replace"))
        raise PinnaceError(f"{signer.path} did not sign: {said}", hint="is the key in ssh-agent, or its passphrase right?")  # fmt: skip
    return done.stdout.decode()
