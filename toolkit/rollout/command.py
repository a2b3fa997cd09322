"""``./inv rollout`` and ``./inv rollback``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from toolkit import console
from toolkit.connection.hostkeys import KnownHosts
from toolkit.connection.sudo import SudoPassword, asked_for
from toolkit.durations import seconds
from toolkit.errors import HostFailed, HostUnreachable, MaxFailExceeded, PinnaceError, UsageError
from toolkit.provision.command import lab_for
from toolkit.provision.converge import Options
from toolkit.provision.journal import RunJournal, by
from toolkit.provision.selection import Selected, select
from toolkit.report import html, junit
from toolkit.report.events import Event, Sink, Status
from toolkit.report.live import Shown
from toolkit.report.timeline import Timeline
from toolkit.report.together import together
from toolkit.rollout import journal
from toolkit.rollout.batches import amount, amounts, split
from toolkit.rollout.fleet import Hosts
from toolkit.rollout.model import Fleet, Revert, Rules
from toolkit.rollout.runner import Rollout, Verify

_ROLLBACK_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line said; kept in the journal, so that a resumed rollout is the same one."""

    limit: str = ""
    inventory: str = ""
    batch: str = "1,10%,50%"
    canary: str = ""
    max_fail: str = "0"
    pause: str = "0s"
    health_time: str = "10s"
    health_limit: str = "60s"
    host_time: str = "30m"
    confirm: str = "60s"
    parallel: int = 25
    revert: str = "batch"
    role: str = ""
    pull: bool = False
    sign_key: str = ""
    verify: str = ""


@dataclass(frozen=True, slots=True)
class Access:
    """How hosts are reached; asked anew each time."""

    accept_new: bool = False
    ask_sudo_password: bool = False
    ask_password: bool = False
    yes: bool = False


@dataclass(frozen=True, slots=True)
class Reports:
    """Where reports go; empty for none."""

    json: bool = False
    junit: str = ""
    html: str = ""


def run(asked: Asked, access: Access, reports: Reports) -> int:
    """Start a rollout; returns the exit status. Raises :class:`MaxFailExceeded` when it was stopped."""
    chosen, rules, options = _prepare(asked, access)
    record = journal.begin(asdict(asked))
    return _go(record, chosen, rules, options, access, reports, {})


def resume(name: str, access: Access, reports: Reports) -> int:
    """Go on with the rollout ``name`` (empty: the latest): hosts that it finished well stay as they are."""
    record = journal.find(name)
    chosen, rules, options = _prepare(Asked(**record.asked), access)
    return _go(record, chosen, rules, options, access, reports, journal.done(record))


def rollback(pattern: str, inventory: str, access: Access, parallel: int) -> int:
    """Put back the latest run on each host of ``pattern``; returns the exit status."""
    chosen = select(pattern, inventory)
    fleet = Hosts(chosen, *_secrets(access), Options(yes=access.yes))
    problems: list[PinnaceError] = []
    for told in together(
        [host.target.name for host in chosen], fleet.take_back, parallel=parallel,
        limit=_ROLLBACK_SECONDS, abandon=fleet.abandon,
    ):  # fmt: skip
        if told.problem is not None:
            console.line("failed", told.host, told.problem.message)
            problems.append(told.problem)
        elif told.last:
            count = told.result
            console.line("changed" if count else "ok", told.host, f"{count} {'thing' if count == 1 else 'things'} put back" if count else "there was nothing to put back")  # fmt: skip
    return _status(type(problem) for problem in problems)


def _prepare(asked: Asked, access: Access) -> tuple[list[Selected], Rules, Options]:
    if not asked.limit:
        raise UsageError("which hosts?", hint="--limit GROUP, or a pattern like 'boards:!pi'")
    chosen = select(asked.limit, asked.inventory)
    names = [host.target.name for host in chosen]
    canaries = [word for word in asked.canary.split(",") if word]
    if asked.revert not in list(Revert):
        raise UsageError(f"--revert: {asked.revert!r}", hint=f"one of {', '.join(Revert)}")
    if asked.parallel < 1:
        raise UsageError("--parallel: at least 1")
    rules = Rules(
        batches=tuple(split(names, amounts(asked.batch, "--batch"), canaries)),
        max_fail=amount(asked.max_fail, "--max-fail"),
        pause=seconds(asked.pause, "--pause"),
        health_time=seconds(asked.health_time, "--health-time"),
        health_limit=seconds(asked.health_limit, "--health-limit"),
        host_limit=seconds(asked.host_time, "--host-time"),
        parallel=asked.parallel,
        revert=Revert(asked.revert),
    )
    _tests(asked)
    roles = tuple(word for word in asked.role.split(",") if word)
    options = Options(yes=access.yes, roles=roles, confirm=seconds(asked.confirm, "--confirm"))
    lab_for(chosen, yes=access.yes)
    return chosen, rules, options


def _go(
    record: journal.Journal,
    chosen: list[Selected],
    rules: Rules,
    options: Options,
    access: Access,
    reports: Reports,
    done: Mapping[str, Status],
) -> int:
    """The rollout, which ``./inv history`` tells of as of every other run."""
    names = [host.target.name for host in chosen]
    notes = RunJournal("rollout", by(), hosts=names, rollout=record.id)
    options = replace(options, journal=notes)
    try:
        with ExitStack() as stack:
            fleet = stack.enter_context(_fleet(record, chosen, options, access))
            verify = _verify(Asked(**record.asked), chosen, access)
            status = _over(fleet, record, rules, reports, done, notes, verify)
    except PinnaceError as problem:
        notes.close(problem.exit_code)
        raise
    notes.close(status)
    return status


@contextmanager
def _fleet(
    record: journal.Journal, chosen: list[Selected], options: Options, access: Access
) -> Iterator[Fleet]:
    """The hosts: over SSH, or by the tags that they follow."""
    asked = Asked(**record.asked)
    if not asked.pull:
        yield Hosts(chosen, *_secrets(access), options, journal.runs(record))
        return
    from toolkit.airgap.command import Access as Reach
    from toolkit.airgap.command import Wanted
    from toolkit.airgap.make import Chosen
    from toolkit.follow.command import followers

    wanted = Wanted(asked.limit, inventory=asked.inventory, sign_key=asked.sign_key, chosen=Chosen(options.roles), yes=access.yes)  # fmt: skip
    reach = Reach(access.accept_new, access.ask_sudo_password, access.ask_password)
    with followers(chosen, wanted, reach) as fleet:
        yield fleet


def _over(
    fleet: Fleet,
    record: journal.Journal,
    rules: Rules,
    reports: Reports,
    done: Mapping[str, Status],
    notes: RunJournal,
    verify: Verify | None,
) -> int:
    # What a page shows of a resumed rollout begins with its first part.
    before = journal.events(record)
    timeline = Timeline().follow(before)
    with _sink(record, before, timeline, reports, notes) as sink:
        rollout = Rollout(rules, fleet, sink, done, verify)
        try:
            rollout.run()
        except KeyboardInterrupt:
            console.note(f"go on with: ./inv rollout --resume {record.id}")
            raise
        finally:
            _write(reports, timeline, f"Rollout {record.id}")
    if rollout.stopped:
        failed = len(rollout.failed)
        raise MaxFailExceeded(f"the rollout was stopped: {failed} failed, --max-fail is {rules.max_fail}", hint=f"when it is mended: ./inv rollout --resume {record.id}")  # fmt: skip
    unreachable = (rollout.status[host] is Status.UNREACHABLE for host in rollout.failed)
    return _status(HostUnreachable if away else HostFailed for away in unreachable)


@contextmanager
def _sink(
    record: journal.Journal,
    before: list[Event],
    timeline: Timeline,
    reports: Reports,
    notes: RunJournal,
) -> Iterator[Sink]:
    """Every event goes to the disk first, then to who shows it."""
    with ExitStack() as stack:
        stack.callback(record.close)
        shown = None if reports.json else stack.enter_context(Shown(before))

        def sink(event: Event) -> None:
            record.record(event)
            if event.status is not None and event.status.ended:
                ended = event.data.get("counts") or {str(event.status): event.detail}
                notes.record("host", host=event.host, ended=ended)
            timeline(event)
            if shown is not None:
                shown(event)
            else:
                sys.stdout.write(json.dumps(event.wire()) + "\n")
                sys.stdout.flush()

        yield sink
        if shown is not None:
            stack.pop_all().close()
            shown.recap()


def _tests(asked: Asked) -> tuple[str, ...]:
    """The files of tests that hosts have to pass."""
    if not asked.verify:
        return ()
    if asked.pull:
        raise UsageError("--verify: boards that follow a registry are not looked at over SSH", hint="they report whether they are well")  # fmt: skip
    # It imports pytest, which others do not need.
    from toolkit.verify import session

    return session.modules(asked.verify)


def _verify(asked: Asked, chosen: list[Selected], access: Access) -> Verify | None:
    """What runs tests of ``tests/board`` against a host, where some are asked for."""
    if not asked.verify:
        return None
    from toolkit.verify import command

    only, (known, password) = _tests(asked), _secrets(access)
    hosts = {host.target.name: host for host in chosen}

    def verify(name: str) -> PinnaceError | None:
        return command.attempt(hosts[name], known, password, reboot=False, tell=lambda _: None, only=only)  # fmt: skip

    return verify


def _write(reports: Reports, timeline: Timeline, title: str) -> None:
    if reports.junit:
        junit.write(Path(reports.junit), timeline, title)
    if reports.html:
        html.write(Path(reports.html), timeline, title)


def _secrets(access: Access) -> tuple[KnownHosts, SudoPassword]:
    return KnownHosts(accept_new=access.accept_new), asked_for(
        sudo=access.ask_sudo_password, login=access.ask_password
    )


def _status(kinds: Iterable[type[PinnaceError]]) -> int:
    """A host that failed counts more than one that could not be reached."""
    found = {issubclass(kind, HostUnreachable) for kind in kinds}
    if not found:
        return 0
    return HostFailed.exit_code if False in found else HostUnreachable.exit_code
