"""``pinnaced``, the daemon, also under the name ``containerd``."""

from __future__ import annotations

from pinnace.cli import options
from pinnace.cli.options import Command, text
from pinnace.version import CONTAINERD_VERSION, REVISION

APP = Command(
    "pinnaced",
    "the container daemon: images, containers and their tasks behind containerd's API",
    version=f"github.com/containerd/containerd/v2 {CONTAINERD_VERSION} {REVISION}",
    details="Without a command it serves until it gets SIGTERM; containers go on when it ends.",
    flags=(
        text(
            "config",
            "c",
            about="the configuration file; default: /etc/pinnace/config.toml, if there",
        ),
        text("address", "a", about="the socket to listen on, instead of grpc.address"),
        text("root", about="where images and metadata are kept, instead of root"),
        text("state", about="where the state of running containers is kept, instead of state"),
        text("log-level", "l", about="trace, debug, info, warn, error, fatal or panic"),
        text("log-format", about="text or json"),
        options.switch("version", "v", about="print the version"),
    ),
    commands=(
        Command(
            "doctor",
            "look whether this machine has what containers need, and say what to do",
            module=f"{__name__}.doctor",
        ),
        Command(
            "publish",
            "tell the daemon of an event, which is read from standard input",
            module=f"{__name__}.publish",
        ),
        Command(
            "config",
            "show the configuration",
            commands=(
                Command(
                    "default", "print the built-in configuration", module=f"{__name__}.default"
                ),
                Command(
                    "check",
                    "say what is wrong with the configuration file and what of it is not used",
                    module=f"{__name__}.check",
                ),
                Command("dump", "print the configuration in effect", module=f"{__name__}.dump"),
                Command(
                    "migrate",
                    "print the configuration file in the current layout",
                    module=f"{__name__}.migrate",
                ),
            ),
        ),
    ),
)


def main(words: list[str]) -> int:
    """Serve, or run the command in ``words``; returns the exit status."""
    if words and words[-1] == options.COMPLETE:
        return options.run(APP, words)
    try:
        call = options.parse(APP, words)
    except options.HelpWanted:
        return options.run(APP, words)
    if call.command is APP and not call.args and not call.on("version"):
        from pinnace.cli.pinnaced import serve

        return serve.run(call)
    return options.run(APP, words)
