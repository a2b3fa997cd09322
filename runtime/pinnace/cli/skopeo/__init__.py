"""``skopeo``: look at images and carry them between registries, archives and directories; no daemon.

This module is the table of what there is; each command's code is in a module of its own, imported when
the command runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pinnace.cli import options
from pinnace.cli.options import Command, duration, switch, text
from pinnace.errors import DeadlineExceeded, Error, InvalidArgument
from pinnace.version import VERSION


def _leaf(name: str, module: str, about: str) -> Command:
    return Command(name, about, module=f"pinnace.cli.skopeo.{module}", interspersed=True)


APP = Command(
    "skopeo",
    "look at images and carry them about, without a daemon",
    version=f"version {VERSION}",
    details=(
        "Images are named TRANSPORT:DETAILS: docker://NAME[:TAG|@DIGEST], oci:PATH[:REFERENCE],\n"
        "oci-archive:PATH[:REFERENCE], docker-archive:PATH[:NAME], dir:PATH, containerd:NAME."
    ),
    flags=(
        duration("command-timeout", about="give up after this time"),
        switch("debug", about="tell each request to registries, and its status"),
        switch("insecure-policy", about="allow every image, whatever the policy says"),
        text("override-arch", about="take images for this architecture instead of this machine's"),
        text("override-os", about="take images for this operating system"),
        text("override-variant", about="take images for this variant of the architecture"),
        text("policy", about="file that says which images are allowed (policy.json)"),
        text("registries.d", about="directory that says where signatures are"),
        switch("require-signed", about="allow no image that the policy takes without a signature"),
        text("tls-details", about="refused: OpenSSL's configuration says which TLS is spoken"),
        text("tmpdir", about="directory for what is too large for memory", env="TMPDIR"),
        text("user-agent-prefix", about="begin the User-Agent that registries see with this"),
        switch("version", "v", about="print the version"),
    ),
    commands=(
        _leaf("copy", "copying", "copy an image from one place to another"),
        _leaf("delete", "delete", "delete an image"),
        _leaf("generate-sigstore-key", "keypair", "make a key pair for sigstore signatures"),
        _leaf("inspect", "inspect", "show what an image is"),
        _leaf("list-tags", "tags", "list the tags of a repository or an archive"),
        _leaf("login", "login", "log in to a registry"),
        _leaf("logout", "logout", "forget the login for a registry"),
        _leaf("manifest-digest", "digest", "print the digest of a manifest in a file"),
        _leaf("standalone-sign", "sign", "make a GPG signature for a manifest in a file"),
        _leaf("standalone-verify", "verify", "check a GPG signature of a manifest in a file"),
        _leaf("sync", "sync", "copy many images between a registry and a directory"),
    ),
)  # fmt: skip


def main(words: list[str]) -> int:
    """Run ``skopeo`` with the words behind its name; returns the exit status."""
    if not words:
        raise InvalidArgument("missing command", hint="skopeo --help lists them")
    with _time_limit(words):
        return options.run(APP, words)


@contextmanager
def _time_limit(words: list[str]) -> Iterator[None]:
    """``--command-timeout``, kept by the kernel: nothing that hangs can miss it."""
    try:
        limit = options.parse(APP, words).seconds("command-timeout")
    except (Error, options.HelpWanted):
        limit = 0.0
    if limit <= 0:
        yield
        return
    import signal

    def expired(*_: object) -> None:
        raise DeadlineExceeded(f"gave up after {limit:g} s (--command-timeout)")

    before = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
