"""``runc``: the low-level runtime by hand, or for another program that drives OCI runtimes.

This module is the table of what there is; each command's code is in a module of its own, imported when
the command runs.
"""

from __future__ import annotations

import sys

from pinnace.cli import options
from pinnace.cli.options import Command, switch, text
from pinnace.errors import Error
from pinnace.version import VERSION

ROOT = "/run/pinnace/runc"


def _leaf(name: str, module: str, about: str) -> Command:
    return Command(name, about, module=f"pinnace.cli.runc.{module}")


APP = Command(
    "runc",
    "run containers from OCI bundles, without a daemon",
    version=f"{VERSION}\nspec: 1.2.0",
    details="A bundle is a directory with config.json and a root file system (`runc spec` writes one).",
    flags=(
        text("root", default=ROOT, about="where the state of containers is kept"),
        text("log", about="also write errors to this file"),
        text("log-format", default="text", about="form of the log: text or json"),
        switch("version", "v", about="print the version"),
    ),
    commands=(
        _leaf("create", "create", "create a container, whose program waits for start"),
        _leaf("delete", "delete", "delete what a container has left"),
        _leaf("exec", "exec", "run a further process in a running container"),
        _leaf("kill", "kill", "send a signal to a container (SIGTERM by default)"),
        _leaf("list", "list", "list containers"),
        _leaf("pause", "pause", "freeze the processes of a container"),
        _leaf("ps", "ps", "list the processes of a container"),
        _leaf("resume", "resume", "let a frozen container go on"),
        _leaf("run", "run", "create and start a container, and wait for it"),
        _leaf("spec", "spec", "write an example config.json"),
        _leaf("start", "start", "run the program of a created container"),
        _leaf("state", "state", "print the state of a container as JSON"),
    ),
)


def main(words: list[str]) -> int:
    """Run ``runc`` with the words behind its name; returns the exit status."""
    try:
        return options.run(APP, words)
    except Error as problem:
        _log(words, problem)
        raise


def _log(words: list[str], problem: Error) -> None:
    """Say an error where the caller looks for it: containerd's shim reads the log of a failed runc."""
    try:
        call = options.parse(APP, words)
    except (Error, options.HelpWanted):
        return
    if not call.text("log"):
        return
    import json
    import time

    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    line = f'time="{now}" level=error msg={json.dumps(str(problem))}'
    if call.text("log-format") == "json":
        line = json.dumps({"level": "error", "msg": str(problem), "time": now})
    try:
        with open(call.text("log"), "a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as refused:
        sys.stderr.write(f"runc: cannot write {call.text('log')}: {refused.strerror}\n")
