"""``./inv bundle --limit`` and ``./inv provision --offline``."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from toolkit import console
from toolkit.airgap import archive
from toolkit.airgap.make import Chosen, Made, make, plan_of
from toolkit.airgap.offline import Offline, trusted
from toolkit.connection.hostkeys import KnownHosts
from toolkit.connection.sudo import asked_for
from toolkit.errors import UsageError
from toolkit.plan.compile import check_roles
from toolkit.provision import command as provisioning
from toolkit.provision.converge import Options
from toolkit.provision.selection import select
from toolkit.resources import Content
from toolkit.signing.keys import choose

_ORDER = ("plan", "bundle", "image", "package", "file")


@dataclass(frozen=True, slots=True)
class Access:
    """How boards are reached."""

    accept_new: bool = False
    ask_sudo_password: bool = False
    ask_password: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line of ``bundle --limit`` said; ``expires`` in seconds from now, 0: never."""

    limit: str
    output: str = ""
    inventory: str = ""
    sign_key: str = ""
    release: int = 0
    expires: float = 0
    chosen: Chosen = field(default_factory=Chosen)
    yes: bool = False


def bundle(wanted: Wanted, access: Access) -> int:
    """Make one signed file for the hosts; prints what is in it."""
    if wanted.release < 0:
        raise UsageError("--release: a number above those that were used before")
    output = Path(wanted.output or "fleet.tar")
    if not output.absolute().parent.is_dir():
        raise UsageError(f"{output}: there is no directory {output.parent}")
    check_roles(wanted.chosen.roles)
    made = collect(wanted, access)
    sizes = sum(content.size for content in made.contents.values())
    with console.step(f"write {output}", total=sizes) as step:
        archive.write(output, made.index, made.signature, made.contents, step.advance)
        step.detail = _size(output.stat().st_size)
    show(made.contents, made.names)
    console.note(f"on a machine that reaches the boards: ./inv provision --offline {output.name} --limit {wanted.limit}")  # fmt: skip
    return 0


def collect(wanted: Wanted, access: Access) -> Made:
    """The plans of the hosts with all they need, signed."""
    hosts = select(wanted.limit, wanted.inventory)
    signer = choose(wanted.sign_key)
    known = KnownHosts(accept_new=access.accept_new)
    password = asked_for(sudo=access.ask_sudo_password, login=access.ask_password)
    provisioning.lab_for(hosts, yes=wanted.yes)
    plans = {}
    for host in hosts:
        with console.step(f"{host.target.name}: plan") as step:
            plans[host.target.name] = plan_of(host, known, password, wanted.chosen)
            step.detail = f"{len(plans[host.target.name].contents)} contents"
    expires = time.time() + wanted.expires if wanted.expires else 0
    return make(plans, signer, release=wanted.release, expires=expires)


def show(contents: Mapping[str, Content], names: Mapping[str, tuple[str, str]]) -> None:
    """A row for each content, small files of the plans together, and the sum."""
    rows, small = [], Counter[str]()
    for digest, content in contents.items():
        kind, name = names[digest]
        if kind in _ORDER[:-1]:
            rows.append((_ORDER.index(kind), kind, name, content.size, digest[:12]))
        else:
            small.update(count=1, size=content.size)
    rows.sort()
    shown = [[kind, name, _size(size), digest] for _, kind, name, size, digest in rows]
    if small["count"]:
        shown.append(["file", f"{small['count']} files", _size(small["size"]), ""])
    total = sum(content.size for content in contents.values())
    console.table(("KIND", "NAME", "SIZE", "SHA-256"), [*shown, ["all", "", _size(total), ""]])


def provision(
    path: str, pattern: str, inventory: str, options: Options, access: Access, parallel: int
) -> int:
    """Provision hosts from a file, over SSH alone; returns the exit status."""
    if options.roles or options.tags or options.skip_tags:
        raise UsageError("--offline: a signed plan is taken whole", hint="choose with --role, --tags or --skip-tags when the bundle is made")  # fmt: skip
    file = Path(path)
    size = file.stat().st_size if file.exists() else 0
    with console.step(f"check {file}", total=size) as step:
        opened = archive.read(file, step.advance)
        index = opened.index
        step.detail = f"release {index['release']} for {len(index['hosts'])} hosts"
    pattern = pattern or ",".join(sorted(index["hosts"]))
    for host in select(pattern, inventory):
        opened.plan_of(host.target.name)
    trust = trusted(access.accept_new)
    return provisioning.run(
        pattern,
        inventory=inventory,
        options=options,
        accept_new=access.accept_new,
        ask_sudo_password=access.ask_sudo_password,
        ask_password=access.ask_password,
        verify=False,
        parallel=parallel,
        converge=lambda *rest: Offline(opened, trust, *rest),
    )


def _size(size: int) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000 or unit == "MB":
            break
        size /= 1000  # type: ignore[assignment]
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
