"""Plans that come with a signature: nothing of one is used before the board knows who made it.

An index names, for each host, the plan and the facts that it was made for. It is good when a key that the
board trusts signed it for our purpose, when the board is among its hosts, when it has not expired, and when
the board took on nothing newer before. Everything else is named by the index, by digest.

    /etc/pinnace/signing/allowed_signers    who may sign (ssh-keygen(1), "ALLOWED SIGNERS")
    /etc/pinnace/signing/revoked_keys       who may not any more (a list of keys, or a KRL)
    /var/lib/pinnace-agent/signed.json      the newest release taken on, and the name it was for
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time

from toolkit.agent.errors import AgentError
from toolkit.agent.journal import DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from toolkit.agent.system import System

SIGNERS = "/etc/pinnace/signing/allowed_signers"
REVOKED = "/etc/pinnace/signing/revoked_keys"
NAMESPACE = "pinnace-fleet"
FORMAT = 1
LARGEST_INDEX = 16 << 20
_DAY = 86400
_SENSIBLE = 1_700_000_000
"""A clock that shows less (seconds since 1970) was never set."""
"""Bytes; a host takes some hundreds."""
_STATE = DIRECTORY + "/signed.json"
_ARMOR = "-----BEGIN SSH SIGNATURE-----"


class Taken:
    """An index whose signature, host and age are good."""

    def __init__(self, index: dict[str, Any], digest: str, host: str, signer: str) -> None:
        self.index = index
        self.digest = digest
        self.host = host
        self.signer = signer

    @property
    def release(self) -> int:
        return int(self.index["release"])

    @property
    def plan_digest(self) -> str:
        return str(self.index["hosts"][self.host]["plan"])

    def plan(self, text: bytes, facts: Mapping[str, Any]) -> dict[str, Any]:
        """The host's plan; raises unless ``text`` is what the index names and was made for this board."""
        if hashlib.sha256(text).hexdigest() != self.plan_digest:
            raise AgentError("the plan is not the one that was signed", "fetch or copy it again")
        for name, wanted in self.index["hosts"][self.host]["facts"].items():
            if facts.get(name) != wanted:
                raise AgentError(f"this was made for a board whose {name} is {wanted!r}, and here it is {facts.get(name)!r}", "make it anew, with the board in reach")  # fmt: skip
        return dict(json.loads(text))


def fill(plan: dict[str, Any], late: Mapping[str, Mapping[str, Any]]) -> None:
    """Put into ``plan`` what holds secrets, which come beside it; raises :class:`AgentError` when one did not.

    Of what comes so, only what the signed plan left open counts.
    """
    for resource in plan["resources"]:
        for name in resource.pop("late", ()):
            if name not in late.get(resource["id"], {}):
                raise AgentError(f"{resource['id']} needs a secret, and none came with the plan")
            resource[name] = late[resource["id"]][name]


def take(system: System, message: Mapping[str, Any]) -> Taken:
    """Check ``index`` and ``signature`` of ``message`` for its ``host``; raises :class:`AgentError`.

    ``now`` is the time of who sent it, where that is somebody who may say; ``trust`` are the signers for a
    board that has none yet.
    """
    index, host = message["index"].encode(), str(message["host"])
    if len(index) > LARGEST_INDEX:
        raise AgentError("the index is too large")
    state = _state(system)
    told = float(message.get("now") or time.time())
    now = max(told, float(state.get("release", 0)))
    signer = verify(system, index, str(message["signature"]), now, message.get("trust", ""))
    found = _parsed(index)
    taken = Taken(found, hashlib.sha256(index).hexdigest(), host, signer)
    _meant_for(found, host, state)
    _young(taken, state, told)
    return taken


def remember(system: System, taken: Taken, trust: str = "") -> None:
    """From now on nothing older is taken on, and nothing for another host."""
    if trust and system.lstat(SIGNERS) is None:
        system.make_directory(os.path.dirname(SIGNERS))
        system.write(SIGNERS, iter((trust.encode(),)), 0o644, os.getuid(), os.getgid())
    state = {"release": taken.release, "index": taken.digest, "host": taken.host}
    if _state(system) != state:
        system.make_directory(DIRECTORY, 0o700)
        system.rewrite(_STATE, json.dumps(state).encode(), 0o600)


def verify(system: System, data: bytes, signature: str, now: float, trust: str = "") -> str:
    """Who signed ``data``; raises :class:`AgentError` unless it is somebody whom the board trusts."""
    if not signature.startswith(_ARMOR):
        raise AgentError("it is not signed; nothing was changed", "./inv bundle and ./inv publish sign")  # fmt: skip
    place = f"/run/pinnace-verify-{os.getpid()}"
    system.make_directory(place, 0o700)
    try:
        return _verify(system, place, data, signature, now, trust)
    finally:
        for name in os.listdir(system.path(place)):
            os.unlink(system.path(f"{place}/{name}"))
        os.rmdir(system.path(place))


def _verify(system: System, place: str, data: bytes, signature: str, now: float, trust: str) -> str:
    signers = _signers(system, place, trust)
    _put(system, f"{place}/data", data)
    _put(system, f"{place}/data.sig", signature.encode())
    # A board without a clock of its own thinks of 1970: keys have a time in which they are good.
    when = "-Overify-time=" + time.strftime("%Y%m%d%H%M%S", time.localtime(now))
    files = ["-f", system.path(signers), "-s", system.path(f"{place}/data.sig"), when]
    status, output = system.run(["ssh-keygen", "-Y", "find-principals", *files])
    if status == 127:
        raise AgentError("ssh-keygen is missing on the board", "apt-get install openssh-client")
    names = [name for line in output.splitlines() for name in line.split(",") if name]
    if status or not names:
        raise AgentError(f"it is not signed by anybody this board trusts ({_last(output)}); nothing was changed", f"who is trusted is in {SIGNERS}")  # fmt: skip
    revoked = ["-r", system.path(REVOKED)] if _own_file(system, REVOKED) else []
    script = 'in=$1; shift; exec ssh-keygen "$@" < "$in"'
    said = ""
    for name in names:
        words = ["-Y", "verify", "-I", name, "-n", NAMESPACE, *files, *revoked]
        status, said = system.run(["sh", "-c", script, "sh", system.path(f"{place}/data"), *words])
        if status == 0:
            return name
    raise AgentError(f"its signature is not good: {_last(said)}; nothing was changed", f"was it altered, or its key revoked? See {SIGNERS}")  # fmt: skip


def _signers(system: System, place: str, trust: str) -> str:
    if _own_file(system, SIGNERS):
        return SIGNERS
    if not trust:
        raise AgentError("this board trusts no signers yet; nothing was changed", "provision it over a network first, or use --accept-new")  # fmt: skip
    _put(system, f"{place}/signers", trust.encode())
    return f"{place}/signers"


def _own_file(system: System, path: str) -> bool:
    """Whether there is such a file; raises when others than root could have written it."""
    found = system.lstat(path)
    if found is None:
        return False
    if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o022 or found.st_uid != os.getuid():
        raise AgentError(f"{path} is not a file that only root can write", f"on the board: chown root:root {path}; chmod 644 {path}")  # fmt: skip
    return True


def _put(system: System, path: str, data: bytes) -> None:
    with system.unnoted():
        system.write(path, iter((data,)), 0o600, os.getuid(), os.getgid())


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
        good = found["format"] == FORMAT and int(found["release"]) > 0 and found["hosts"].items()
    except (ValueError, KeyError, TypeError, AttributeError):
        raise AgentError("the index is signed and yet not one of ours") from None
    if not good:
        raise AgentError(f"the index has the format {found['format']}, and this board knows {FORMAT}", "use the toolkit that made it")  # fmt: skip
    return dict(found)


def _meant_for(index: Mapping[str, Any], host: str, state: Mapping[str, Any]) -> None:
    if host not in index["hosts"]:
        known = ", ".join(sorted(index["hosts"]))
        raise AgentError(f"this is not for {host} (it is for {known}); nothing was changed")
    before = state.get("host", host)
    if before != host:
        raise AgentError(f"this board is {before}, and the plan is for {host}; nothing was changed", f"is the address right? If the board was renamed, remove {_STATE} there")  # fmt: skip


def _young(taken: Taken, state: Mapping[str, Any], now: float) -> None:
    newest = int(state.get("release", 0))
    # Numbers are times unless somebody chose them; a board without a clock thinks of long ago.
    ahead = newest - now > _DAY and now > _SENSIBLE
    if taken.release < newest or (taken.release == newest and state.get("index") != taken.digest):
        if ahead:
            raise AgentError(f"the board took on release {newest} before, a number of {_date(newest)}: the clock of who made it was ahead, and this one is {taken.release}; nothing was changed", f"make it with --release {newest + 1}: what is made after it on the same machine counts on from there")  # fmt: skip
        raise AgentError(f"this is release {taken.release}, and the board took on {newest} before; nothing was changed", "an old one that is wanted again has to be made and signed anew")  # fmt: skip
    expires = float(taken.index.get("expires") or 0)
    if expires and max(now, newest) > expires:
        if ahead and now <= expires:
            raise AgentError(f"this expires on {_date(expires)}, and the board took on a release of {_date(newest)} before, by a clock that was ahead; nothing was changed", "make it without --expires")  # fmt: skip
        raise AgentError(f"this expired on {_date(expires)}; nothing was changed", "make it anew")


def _date(seconds: float) -> str:
    try:
        return time.strftime("%Y-%m-%d", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "a time that no clock shows"


def _state(system: System) -> dict[str, Any]:
    data = system.read(_STATE)
    if data is None:
        return {}
    try:
        found = json.loads(data)
        int(found["release"])
    except (ValueError, KeyError, TypeError):
        raise AgentError(f"{_STATE} is damaged: what is older cannot be told; nothing was changed", "remove it on the board if you know what you send") from None  # fmt: skip
    return dict(found)


def _last(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "no signer found"
