"""A board that follows a tag in a registry (pull mode): its agent, what it follows, and a timer."""

from __future__ import annotations

import json
from collections.abc import Iterator

from roles.context import CURRENT, Board
from toolkit.agent.signed import SIGNERS
from toolkit.errors import UsageError
from toolkit.follow import program
from toolkit.resources import RELOAD_UNITS, Directory, File, Link, Resource, Unit, render
from toolkit.signing import keys

PROGRAM = "/usr/local/lib/pinnace/agent.pyz"
CONFIG = "/etc/pinnace/follow.json"
_UNITS = "/etc/systemd/system"
_ARMED = "/var/lib/pinnace-agent/follow.json"
TIMER = "pinnace-follow.timer"


def recipe(board: Board) -> Iterator[Resource]:
    settings = board.settings
    if not settings.follow:
        raise UsageError(f"{board.name}: the role agent follows nothing", hint="follow=registry.example/fleet in the inventory")  # fmt: skip
    if not settings.allowed_signers:  # the role base writes those of the inventory
        keys.choose()
        yield File(path=SIGNERS, source=keys.allowed_signers())
    config = {
        "host": board.name,
        "repository": settings.follow,
        "tag": settings.follow_tag or board.name,
        "confirm": settings.follow_confirm,
        "certificates": settings.registry_config_path,
        "authfile": settings.follow_authfile,
        "library": f"{CURRENT}/lib",
    }
    yield File(path=CONFIG, source=(json.dumps(config, indent=2) + "\n").encode())
    yield Directory(path="/usr/local/lib/pinnace")
    yield File(path=PROGRAM, source=program.archive())
    # As files: a unit that is to be stopped or restarted would be the one that is at work.
    for name, verb, description, condition in (
        ("pinnace-follow.service", "look", "Take on what the registry has for this board", ""),
        ("pinnace-resume.service", "resume", "Bring an interrupted release to its end", _ARMED),
    ):
        source = render(
            "pinnace-follow.service.j2", description=description, condition=condition, verb=verb,
            program=PROGRAM, python="/usr/bin/python3",
        )  # fmt: skip
        yield File(path=f"{_UNITS}/{name}", source=source.encode(), notify=(RELOAD_UNITS,))
    yield Link(
        path=f"{_UNITS}/multi-user.target.wants/pinnace-resume.service",
        target=f"{_UNITS}/pinnace-resume.service",
    )
    interval = settings.follow_interval
    source = render("pinnace-follow.timer.j2", interval=interval, jitter=max(1, interval // 2))
    yield Unit(unit=TIMER, source=source)
