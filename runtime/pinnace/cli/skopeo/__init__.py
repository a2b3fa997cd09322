"""``skopeo``: look at images and carry them between registries, archives and directories; no daemon.

This module is the table of what there is; each command's code is in a module of its own, imported when
the command runs.
"""

from __future__ import annotations

from pinnace.cli import options
from pinnace.cli.options import Command, switch, text
from pinnace.errors import NotFound
from pinnace.version import VERSION

_NOT_FOUND = 2
"""Exit status when the image does not exist, as skopeo has it."""


def _leaf(name: str, module: str, about: str) -> Command:
    return Command(name, about, module=f"pinnace.cli.skopeo.{module}", interspersed=True)


APP = Command(
    "skopeo",
    "look at images and carry them about, without a daemon",
    version=VERSION,
    details=(
        "Images are named TRANSPORT:DETAILS: docker://NAME[:TAG|@DIGEST], oci:PATH[:REFERENCE],\n"
        "oci-archive:PATH[:REFERENCE], docker-archive:PATH[:NAME], dir:PATH."
    ),
    flags=(
        switch("insecure-policy", about="allow every image, whatever the policy says"),
        text("override-arch", about="take images for this architecture instead of this machine's"),
        text("override-os", about="take images for this operating system"),
        text("override-variant", about="take images for this variant of the architecture"),
        text("tmpdir", about="directory for what is too large for memory", env="TMPDIR"),
        text("user-agent-prefix", about="begin the User-Agent that registries see with this"),
        switch("version", "v", about="print the version"),
    ),
    commands=(
        _leaf("copy", "copying", "copy an image from one place to another"),
        _leaf("delete", "delete", "delete an image"),
        _leaf("inspect", "inspect", "show what an image is"),
        _leaf("list-tags", "tags", "list the tags of a repository or an archive"),
        _leaf("manifest-digest", "digest", "print the digest of a manifest in a file"),
    ),
)  # fmt: skip


def main(words: list[str]) -> int:
    """Run ``skopeo`` with the words behind its name; returns the exit status."""
    try:
        return options.run(APP, words)
    except NotFound as problem:
        problem.exit_status = _NOT_FOUND
        raise
