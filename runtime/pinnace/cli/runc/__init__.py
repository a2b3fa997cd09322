"""``runc``: the low-level runtime by hand, or for another program that drives OCI runtimes.

This module is the table of what there is; each command's code is in a module of its own, imported when
the command runs.
"""

from __future__ import annotations

from pinnace.cli import options
from pinnace.cli.options import Call, Command, switch, text
from pinnace.cli.runc.log import Log
from pinnace.errors import Error, described
from pinnace.spec.runtime import VERSION as SPEC
from pinnace.version import VERSION

ROOT = "/run/pinnace/runc"
_EXEC_FAILED = 255
"""What a failed ``exec`` exits with, as in runc, so that 1 may be the program's own."""


def _leaf(name: str, module: str, about: str) -> Command:
    return Command(name, about, module=f"pinnace.cli.runc.{module}")


APP = Command(
    "runc",
    "run containers from OCI bundles, without a daemon",
    version=f"{VERSION}\nspec: {SPEC}",
    details="A bundle is a directory with config.json and a root file system (`runc spec` writes one).",
    flags=(
        text("root", default=ROOT, about="where the state of containers is kept"),
        text("log", about="also write errors to this file"),
        text("log-format", default="text", about="form of the log: text or json"),
        switch(
            "debug", about="write what is done to the log, too (without --log to standard error)"
        ),
        switch(
            "systemd-cgroup",
            about="let systemd make the control groups; cgroupsPath is slice:prefix:name",
        ),
        text("cgroup-manager", about="who makes them: cgroupfs (the default), systemd or disabled"),
        text(
            "rootless",
            default="auto",
            about="live with control groups that may not be used: true, false or auto",
        ),
        switch("version", "v", about="print the version"),
    ),
    commands=(
        _leaf("checkpoint", "checkpoint", "write a running container to files, with criu"),
        _leaf("create", "create", "create a container, whose program waits for start"),
        _leaf("delete", "delete", "delete what a container has left"),
        _leaf("events", "events", "print what a container uses, and when its memory runs out"),
        _leaf("exec", "exec", "run a further process in a running container"),
        _leaf("features", "features", "print what this runtime can do, as JSON"),
        _leaf("kill", "kill", "send a signal to a container (SIGTERM by default)"),
        _leaf("list", "list", "list containers"),
        _leaf("pause", "pause", "freeze the processes of a container"),
        _leaf("ps", "ps", "list the processes of a container"),
        _leaf("restore", "restore", "make a container from what checkpoint wrote"),
        _leaf("resume", "resume", "let a frozen container go on"),
        _leaf("run", "run", "create and start a container, and wait for it"),
        _leaf("spec", "spec", "write an example config.json"),
        _leaf("start", "start", "run the program of a created container"),
        _leaf("state", "state", "print the state of a container as JSON"),
        _leaf("update", "update", "change the limits of a container"),
    ),
)


def main(words: list[str]) -> int:
    """Run ``runc`` with the words behind its name; returns the exit status."""
    call = _parsed(words)
    log = Log.of(call)
    log.debug(f"runc {' '.join(words)}")
    try:
        status = options.run(APP, words) if call is None else options.run_parsed(APP, call)
    except BrokenPipeError:
        raise  # of who reads what is printed: no error of ours
    except Exception as problem:
        error = described(problem)
        log.error(str(error))
        log.trace(problem)
        if log.command == "exec":
            error.exit_status = _EXEC_FAILED
        raise error from None
    log.debug(f"exit status {status}")
    return status


def _parsed(words: list[str]) -> Call | None:
    """What the words ask for; None for a wish that is none of a command's, and for wrong words, of which the run tells."""
    if words and words[-1] == options.COMPLETE:
        return None
    try:
        return options.parse(APP, words)
    except (Error, options.HelpWanted):
        return None


def wants_caller(words: list[str]) -> bool:
    """Whether the command must be a child of who typed it, so that the keeper can't stand in for it.

    Descriptors beyond the standard ones come from the caller, and what criu restores becomes a child of who asks it.
    A container that is left behind has to become a child of the nearest subreaper above the caller (that is how
    engines, conmon and containerd's shim among them, learn of its exit): the launcher starts it (``caller.py``).
    """
    if not any(word == "restore" or "preserve-fds" in word for word in words):
        return False  # most often, and the keeper asks for every command
    call = _parsed(words)
    return call is not None and (
        call.command.name == "restore"
        or bool(call.has("preserve-fds") and call.integer("preserve-fds"))
    )
