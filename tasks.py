"""What a person types: ``./inv --list``. Each task is a few lines over ``toolkit/``."""

from __future__ import annotations

from pathlib import Path

from invoke.context import Context

from toolkit.cli import assume_yes, remainder, task, words
from toolkit.errors import UsageError

_ACCESS = {
    "accept-new": "trust host keys that are not known yet",
    "ask-sudo-password": "read the sudo password from standard input when boards ask for one",
    "ask-password": "read the password to log in with from standard input, for boards that take no key",
}
"""How boards are reached: flags of every task that connects to them."""


@task(
    help={
        "fast": "unit tests and linters only (under a minute, no root)",
        "only": "pytest expression (-k) to run a part",
        "all-boards": "test on every board there is, not only on one of each tier (nightly)",
    }
)
def test(
    _: Context, fast: bool = False, only: str = "", all_boards: bool = False, yes: bool = False
) -> int:
    """Run the project's tests: linters, unit, property, conformance, emulated boards."""
    from toolkit import testing

    return testing.run(fast=fast, only=only, all_boards=all_boards, yes=yes)


@task()
def lock(_: Context) -> None:
    """Write the lock files in locks/ anew from their .in files."""
    from toolkit import testing

    testing.lock()


@task(
    positional=["action"],
    help={
        "action": "start, stop, fill (push the lab's images) or list",
        "arch": "fill only these architectures, separated by commas (armv6l,armv7l,arm64,amd64)",
        "update": "fill: make the images anew from today's packages",
        "yes": "install missing Debian packages without asking",
    },
)
def registry(
    _: Context, action: str = "", arch: str = "", update: bool = False, yes: bool = False
) -> int:
    """The lab registry that boards and tests pull from: Debian's docker-registry with TLS."""
    from toolkit.lab import command

    return command.run(action, arch=arch, update=update, yes=yes)


_SIGNING = {
    "sign-key": "sign with this key: a file, `agent`, or `agent:WORD` (a word of its comment); else our own, made once",
    "release": "the release's number; boards take on no lower one than they had (default: the time)",
    "expires": "boards do not take it on after that long: 720h (default: never)",
    "packages": "put the Debian packages in that roles name (--no-packages: boards have them)",
}
"""What is signed for boards: flags of every task that makes such a thing."""


@task(
    letters={"output": "o"},
    help={
        "arch": "only these architectures, separated by commas (armv6l,armv7l,arm64,amd64)",
        "python": "the board's Python: 3.11 (Debian 12) or 3.13 (Debian 13)",
        "limit": "instead: everything that these hosts need, in one signed file for `provision --offline`",
        "output": "with --limit: the file (fleet.tar)",
        "inventory": "another inventory than inventory.ini",
        "role": "with --limit: only these roles, separated by commas",
        "tags": "with --limit: only what has one of these tags, separated by commas",
        "skip-tags": "with --limit: not what has one of these tags",
        **_SIGNING,
        **_ACCESS,
        "yes": "install what this machine lacks without asking",
    },
)
def bundle(
    _: Context,
    arch: str = "",
    python: str = "3.11",
    limit: str = "",
    output: str = "",
    inventory: str = "",
    role: str = "",
    tags: str = "",
    skip_tags: str = "",
    sign_key: str = "",
    release: int = 0,
    expires: str = "",
    packages: bool = True,
    accept_new: bool = False,
    ask_sudo_password: bool = False,
    ask_password: bool = False,
    yes: bool = False,
) -> int:
    """Build what a board gets: the runtime alone, or with --limit all that boards without a network need."""
    if not limit:
        from toolkit.build import command

        if output:
            raise UsageError(
                "--output: for which hosts?", hint="--limit NAME, a group, or a pattern"
            )
        command.run(arch=arch, python=python)
        return 0
    from toolkit.airgap import command as airgap
    from toolkit.airgap.make import Chosen
    from toolkit.durations import seconds

    chosen = Chosen(words(role), words(tags), words(skip_tags), packages)
    wanted = airgap.Wanted(
        limit, output, inventory, sign_key, release,
        seconds(expires, "--expires") if expires else 0, chosen, assume_yes(yes),
    )  # fmt: skip
    return airgap.bundle(wanted, airgap.Access(accept_new, ask_sudo_password, ask_password))


@task(
    help={
        "limit": "hosts: a group or pattern of the inventory; all follow one repository",
        "to": "the repository, where one wants to be sure (the inventory's `follow` says it)",
        "hold": "push, and move no tags: no board sees it yet",
        "inventory": "another inventory than inventory.ini",
        "role": "only these roles, separated by commas",
        "tags": "only what has one of these tags, separated by commas",
        "skip-tags": "not what has one of these tags",
        **_SIGNING,
        **_ACCESS,
        "yes": "install what this machine lacks without asking",
    }
)
def publish(
    _: Context,
    limit: str = "",
    to: str = "",
    hold: bool = False,
    inventory: str = "",
    role: str = "",
    tags: str = "",
    skip_tags: str = "",
    sign_key: str = "",
    release: int = 0,
    expires: str = "",
    packages: bool = True,
    accept_new: bool = False,
    ask_sudo_password: bool = False,
    ask_password: bool = False,
    yes: bool = False,
) -> int:
    """Sign the hosts' plans and all they need, and push them to the registry that the boards follow."""
    from toolkit.airgap import command as airgap
    from toolkit.airgap.make import Chosen
    from toolkit.durations import seconds
    from toolkit.follow import command

    chosen = Chosen(words(role), words(tags), words(skip_tags), packages)
    wanted = airgap.Wanted(
        limit, "", inventory, sign_key, release,
        seconds(expires, "--expires") if expires else 0, chosen, assume_yes(yes),
    )  # fmt: skip
    access = airgap.Access(accept_new, ask_sudo_password, ask_password)
    return command.publish(wanted, access, to=to, hold=hold)


@task(
    positional=["action", "name"],
    help={
        "action": "create, start, stop, ssh, list, destroy; sys-* also snapshot, restore, export, reset, console, power-cut",
        "name": "emu-armv6l, sys-arm64 ... (`list` shows all); with a word behind for more of a kind",
        "tag": "the snapshot's name (snapshot, restore; restore without it: as after the first boot)",
        "cold": "boot a new board instead of restoring one that booted (start)",
        "image": "make the new board from this directory, which `export` wrote (create, start)",
        "to": "the directory to write (export)",
        "as_": "raspberry-pi-os: a kernel without the memory controller until cmdline.txt asks for it",
        "spared": "share of unflushed blocks that a power cut does not lose, 0 to 1",
        "seed": "which of them: the same number, the same blocks",
        "yes": "install missing Debian packages without asking",
    },
)
def board(
    _: Context,
    action: str = "",
    name: str = "",
    tag: str = "",
    cold: bool = False,
    spared: float = 0.0,
    seed: int = 0,
    image: str = "",
    to: str = "",
    as_: str = "",
    yes: bool = False,
) -> int:
    """Emulated boards: `./inv board ACTION NAME`; `./inv board ssh NAME -- COMMAND` runs a command on one."""
    from toolkit.boards import command

    folder = Path(to or image).expanduser().absolute() if to or image else None
    options = command.Options(tag, cold, kept=spared, seed=seed, system=as_, image=folder)
    return command.run(action, name, words=remainder(), yes=yes, options=options)


@task(
    positional=["name"],
    help={
        "name": "run only this benchmark (daemon, fleet, ...)",
        "json": "print the results as JSON",
        "plot": "also draw them into docs/benchmarks/",
    },
)
def bench(_: Context, name: str = "", json: bool = False, plot: bool = False) -> None:
    """Measure beside the peers: containerd, runc, crun, Ansible, pyinfra, mmdebstrap."""
    from benchmarks import command

    command.run(name, as_json=json, plot=plot)


@task(
    help={
        "list": "groups, hosts and variables as JSON, the same as ansible-inventory prints",
        "graph": "the tree of groups and hosts",
        "host": "the variables of one host as JSON",
        "limit": "with --list: only the hosts of this pattern",
        "vars": "with --graph: variables too",
        "export": "with --list: variables where they are set, not merged into the hosts",
        "inventory": "another inventory than inventory.ini",
    }
)
def inventory(
    _: Context,
    list: bool = False,  # noqa: A002 - the flag is called --list
    graph: bool = False,
    host: str = "",
    limit: str = "",
    vars: bool = False,  # noqa: A002 - the flag is called --vars
    export: bool = False,
    inventory: str = "",
) -> None:
    """What the inventory says: --list, --graph or --host NAME."""
    from toolkit.inventory import command

    command.run(command.Wanted(list, graph, host, limit, vars, export), inventory)


@task(
    help={
        "host": "a host, group or pattern of the inventory: pi, boards, 'emulated:!emu-arm64', a,b",
        "limit": "the same as --host",
        "offline": "from this file of `bundle --limit`, over SSH alone (all its hosts, unless --host says which)",
        "inventory": "another inventory than inventory.ini",
        "check": "only say what would change; exit status 3 when something would",
        "diff": "show changed files as unified diffs",
        "role": "only these roles, separated by commas",
        "tags": "only what has one of these tags (a role's name is one), separated by commas",
        "skip-tags": "not what has one of these tags",
        **_ACCESS,
        "confirm": "how long a board waits for a risky change to be confirmed before it puts it back (0: not at all)",
        "verify": "run the tests of tests/board afterwards, where something changed (--no-verify: do not)",
        "json": "events as JSON lines on standard output",
        "junit": "write how each board ended, and the results of its tests, there as JUnit XML",
        "report": "write an HTML page with a timeline per board there",
        "parallel": "boards at once",
        "yes": "install what this machine lacks without asking",
    }
)
def provision(
    _: Context,
    host: str = "",
    limit: str = "",
    offline: str = "",
    inventory: str = "",
    check: bool = False,
    diff: bool = False,
    role: str = "",
    tags: str = "",
    skip_tags: str = "",
    accept_new: bool = False,
    ask_sudo_password: bool = False,
    ask_password: bool = False,
    confirm: str = "60s",
    verify: bool = True,
    json: bool = False,
    junit: str = "",
    report: str = "",
    parallel: int = 4,
    yes: bool = False,
) -> int:
    """Make boards what their roles say, and verify them."""
    from toolkit.durations import seconds
    from toolkit.provision import command

    options = command.Options(
        check=check,
        diff=diff or check,
        yes=assume_yes(yes),
        roles=words(role),
        tags=words(tags),
        skip_tags=words(skip_tags),
        confirm=seconds(confirm, "--confirm"),
    )
    host = host or limit
    if offline:
        from toolkit.airgap import command as airgap

        access = airgap.Access(accept_new, ask_sudo_password, ask_password)
        return airgap.provision(offline, host, inventory, options, access, parallel)
    return command.run(
        host,
        inventory=inventory,
        options=options,
        accept_new=accept_new,
        ask_sudo_password=ask_sudo_password,
        ask_password=ask_password,
        verify=verify,
        output=command.Output(json, junit, report),
        parallel=parallel,
    )


@task(
    help={
        "host": "a host, group or pattern of the inventory",
        "inventory": "another inventory than inventory.ini",
        "role": "only these roles, separated by commas",
        "tags": "only what has one of these tags, separated by commas",
        "skip-tags": "not what has one of these tags",
        **_ACCESS,
        "json": "events as JSON lines on standard output",
        "report": "write an HTML page with what would change on each board there",
        "parallel": "boards at once",
    }
)
def plan(
    _: Context,
    host: str = "",
    inventory: str = "",
    role: str = "",
    tags: str = "",
    skip_tags: str = "",
    accept_new: bool = False,
    ask_sudo_password: bool = False,
    ask_password: bool = False,
    json: bool = False,
    report: str = "",
    parallel: int = 4,
) -> int:
    """Show what provision would change, as diffs; exit status 3 when something would."""
    from toolkit.provision import command

    options = command.Options(
        check=True, diff=True, roles=words(role), tags=words(tags), skip_tags=words(skip_tags)
    )
    return command.run(
        host,
        inventory=inventory,
        options=options,
        accept_new=accept_new,
        ask_sudo_password=ask_sudo_password,
        ask_password=ask_password,
        verify=False,
        output=command.Output(json, html=report),
        parallel=parallel,
    )


@task(
    help={
        "host": "a host, group or pattern of the inventory",
        "inventory": "another inventory than inventory.ini",
        **_ACCESS,
        "parallel": "boards at once",
        "pull": "what boards that follow a registry reported there, without a connection to them",
        "json": "print the same as JSON",
    }
)
def status(
    _: Context,
    host: str = "",
    inventory: str = "",
    accept_new: bool = False,
    ask_sudo_password: bool = False,
    ask_password: bool = False,
    parallel: int = 8,
    pull: bool = False,
    json: bool = False,
) -> int:
    """How boards are: release, drift, health, disk, clock, temperature."""
    if pull:
        from toolkit.follow import command as following

        return following.status(host, inventory, as_json=json)
    from toolkit.provision import command

    return command.status(
        host,
        inventory=inventory,
        accept_new=accept_new,
        ask_sudo_password=ask_sudo_password,
        ask_password=ask_password,
        parallel=parallel,
        as_json=json,
    )


@task(
    positional=["run"],
    help={
        "run": "all that this run did; the beginning of its id is enough",
        "host": "only runs on this host",
        "limit": "how many runs",
        "json": "print the same as JSON",
    },
)
def history(_: Context, run: str = "", host: str = "", limit: int = 20, json: bool = False) -> None:
    """The last runs of this machine: when, who, what, which boards."""
    from toolkit.provision import history

    history.show(run, host=host, limit=limit, as_json=json)


@task(
    help={
        "host": "a host, group or pattern of the inventory",
        "inventory": "another inventory than inventory.ini",
        "junit": "write the results there as JUnit XML",
        **_ACCESS,
        "only": "only these tests, by the names of their files: units,files",
        "reboot": "also reboot the board, and test that the stack comes back",
        "yes": "install what this machine lacks without asking",
    }
)
def verify(
    _: Context,
    host: str = "",
    inventory: str = "",
    junit: str = "",
    accept_new: bool = False,
    ask_sudo_password: bool = False,
    ask_password: bool = False,
    reboot: bool = True,
    only: str = "",
    yes: bool = False,
) -> int:
    """Run the tests of tests/board against boards, over SSH."""
    from toolkit.verify import command

    return command.run(
        host,
        inventory=inventory,
        junit=junit,
        accept_new=accept_new,
        ask_sudo_password=ask_sudo_password,
        ask_password=ask_password,
        reboot=reboot,
        only=only,
        yes=assume_yes(yes),
    )


@task(
    help={
        "limit": "hosts: a group or pattern of the inventory",
        "inventory": "another inventory than inventory.ini",
        "batch": "sizes of the batches, hosts or percent of all, the last one repeated",
        "canary": "hosts that go first, by name, separated by commas",
        "max-fail": "hosts (or percent of all) that may fail; one more stops the rollout",
        "pause": "time between two batches: 30s, 5m",
        "health-time": "how long a changed host must be healthy before it counts",
        "health-limit": "how long it may take until it was",
        "host-time": "how long a host may take to change",
        "confirm": "how long a board waits for a risky change to be confirmed before it puts it back",
        "parallel": "hosts at once",
        "revert": "what is put back when it is stopped: batch, all or nothing",
        "role": "only these roles, separated by commas",
        "verify": "hosts also have to pass these tests of tests/board after their batch: units,files",
        "pull": "boards follow tags in a registry: move those batch by batch, and wait for what boards report",
        "sign-key": "with --pull: sign with this key (see publish)",
        "resume": "go on with a rollout that was stopped or cut off: its name, or `latest`",
        "json": "events as JSON lines on standard output",
        "junit": "write the results there as JUnit XML",
        "report": "write an HTML page with a timeline per host there",
        **_ACCESS,
        "yes": "install what this machine lacks without asking",
    }
)
def rollout(
    _: Context,
    limit: str = "",
    inventory: str = "",
    batch: str = "1,10%,50%",
    canary: str = "",
    max_fail: str = "0",
    pause: str = "0s",
    health_time: str = "10s",
    health_limit: str = "60s",
    host_time: str = "30m",
    confirm: str = "60s",
    parallel: int = 25,
    revert: str = "batch",
    role: str = "",
    verify: str = "",
    pull: bool = False,
    sign_key: str = "",
    resume: str = "",
    json: bool = False,
    junit: str = "",
    report: str = "",
    accept_new: bool = False,
    ask_sudo_password: bool = False,
    ask_password: bool = False,
    yes: bool = False,
) -> int:
    """Change a fleet batch by batch, watch its health, stop and put back when hosts fail."""
    from toolkit.rollout import command

    access = command.Access(accept_new, ask_sudo_password, ask_password, assume_yes(yes))
    reports = command.Reports(json, junit, report)
    if resume:
        return command.resume("" if resume == "latest" else resume, access, reports)
    asked = command.Asked(
        limit, inventory, batch, canary, max_fail, pause, health_time, health_limit, host_time,
        confirm, parallel, revert, role, pull, sign_key, verify,
    )  # fmt: skip
    return command.run(asked, access, reports)


@task(
    help={
        "host": "a host, group or pattern of the inventory",
        "inventory": "another inventory than inventory.ini",
        "parallel": "hosts at once",
        **_ACCESS,
        "yes": "install what this machine lacks without asking",
    }
)
def rollback(
    _: Context,
    host: str = "",
    inventory: str = "",
    parallel: int = 25,
    accept_new: bool = False,
    ask_sudo_password: bool = False,
    ask_password: bool = False,
    yes: bool = False,
) -> int:
    """Put back what the latest run changed on boards."""
    from toolkit.rollout import command

    access = command.Access(accept_new, ask_sudo_password, ask_password, assume_yes(yes))
    return command.rollback(host, inventory, access, parallel)
