"""``ctr content edit``: change a blob in an editor; the result is a new blob."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

from pinnace.api.schema.content import Content, ReadContentRequest
from pinnace.cli import upload
from pinnace.cli.client import Client
from pinnace.cli.options import Flag, text
from pinnace.errors import Error, FailedPrecondition, InvalidArgument
from pinnace.spec.digest import Digest, sha256

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] <digest>"
FLAGS: tuple[Flag, ...] = (
    text("validate", about="refuse a result that is not of this form (json)"),
    text("editor", env="EDITOR", about="the editor's command line"),
)
DETAILS = "Prints the digest of the result, which nothing refers to yet."


def run(call: Call) -> int:
    digest = Digest.parse(call.only_argument("please specify a digest"))
    if call.text("validate") not in ("", "json"):
        raise InvalidArgument(f'--validate {call.text("validate")}: only "json" can be checked')
    editor = shlex.split(call.text("editor"))
    if not editor:
        raise InvalidArgument("there is no editor", hint="give --editor vi, or set EDITOR")
    with Client.of(call) as client:
        request = ReadContentRequest(digest=str(digest))
        before = b"".join(answer.data for answer in client.read(Content.read, request))
        after = _edited(before, editor)
        if after == before:
            raise FailedPrecondition(f"nothing was changed: {digest} stays as it is")
        if call.text("validate"):
            _check_json(after)
        made = str(sha256(after))
        name = f"edit-object-{os.urandom(6).hex()}"
        upload.write(client, name, [after], size=len(after), digest=made)
    sys.stdout.write(f"{made}\n")
    return 0


def _edited(data: bytes, editor: list[str]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="ctr-edit-") as directory:
        path = os.path.join(directory, "blob")
        with open(path, "wb") as file:
            file.write(data)
        try:
            status = subprocess.run([*editor, path], check=False).returncode
        except OSError as problem:
            raise InvalidArgument(f"editor {editor[0]}: {problem.strerror}") from None
        if status:
            raise Error(f"the editor {editor[0]} exited with {status}")
        with open(path, "rb") as file:  # opened anew: many editors replace the file
            return file.read()


def _check_json(data: bytes) -> None:
    try:
        json.loads(data)
    except ValueError as problem:
        raise InvalidArgument(f"the result is not valid JSON: {problem}") from None
