"""Logins as people keep them: ``auth.json``, Docker's ``config.json``, and credential helpers.

Sources: containers-auth.json(5), Docker's documentation of ``config.json`` ("credsStore",
"credHelpers"), and the protocol of docker-credential-helpers. A key is a registry or a part of its
namespace (``quay.io/team``); the longest that fits an image wins.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from pinnace.errors import FailedPrecondition, InvalidArgument, PermissionDenied, Unavailable
from pinnace.registry.auth import IDENTITY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pinnace.registry.auth import Credentials
    from pinnace.spec.reference import Reference

_DOCKER_HUB = "docker.io"
_HUB_NAMES = ("docker.io", "index.docker.io", "registry-1.docker.io")
_HUB_KEY = "https://index.docker.io/v1/"
_HELPER = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
_HELPER_SECONDS = 30.0
_MAX_FILE = 1 << 20


class Login(NamedTuple):
    """User name and password; the user ``<token>`` has an identity token as its password."""

    user: str
    secret: str


def default_path() -> str:
    """The file that ``login`` writes: ``$REGISTRY_AUTH_FILE`` or ``auth.json`` of the session."""
    chosen = os.environ.get("REGISTRY_AUTH_FILE")
    if chosen:
        return chosen
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return os.path.join(runtime, "containers", "auth.json")
    return f"/run/containers/{os.getuid()}/auth.json"


def paths() -> list[str]:
    """The files that are searched, in order."""
    if os.environ.get("REGISTRY_AUTH_FILE"):
        return [default_path()]
    home = os.environ.get("HOME") or "/"
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    docker = os.environ.get("DOCKER_CONFIG") or os.path.join(home, ".docker")
    return [
        default_path(),
        os.path.join(config, "containers", "auth.json"),
        os.path.join(docker, "config.json"),
    ]


def for_image(reference: Reference, files: Sequence[str] = ()) -> Credentials:
    """What to answer hosts that ask who we are, when this image is meant.

    A mirror gets the login that is kept for the mirror, never that of the registry.
    """
    searched = list(files) or paths()

    def answer(host: str) -> tuple[str, str]:
        own = host in (reference.hostname, *_hub(reference.hostname))
        return find(f"{_name(host)}/{reference.repository}" if own else host, searched) or ("", "")

    return answer


def fixed(reference: Reference, login: Login) -> Credentials:
    """This login for the registry of an image; no mirror gets it."""
    own = (reference.hostname, *_hub(reference.hostname))
    return lambda host: login if host in own else ("", "")


def _hub(hostname: str) -> tuple[str, ...]:
    return _HUB_NAMES if hostname == _DOCKER_HUB else ()


def _name(host: str) -> str:
    return _DOCKER_HUB if host in _HUB_NAMES else host


def find(image: str, files: Iterable[str]) -> Login | None:
    """The login for ``host[/path]``; raises InvalidArgument for a file that cannot be read."""
    for path in files:
        document = _read(path)
        if document is None:
            continue
        for key in _keys(image):
            found = _from(document, key, path)
            if found:
                return found
    return None


def _keys(image: str) -> list[str]:
    """``host/a/b``, ``host/a``, ``host``; each of Docker Hub's older spellings at the end."""
    parts = image.split("/")
    keys = ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
    if parts[0] == _DOCKER_HUB:
        keys += [_HUB_KEY, *_HUB_NAMES[1:]]
    return [*keys, f"https://{parts[0]}", f"http://{parts[0]}"]


def _read(path: str) -> dict[str, Any] | None:
    try:
        with open(path, "rb") as file:
            document = json.loads(file.read(_MAX_FILE) or b"{}")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidArgument(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"{path}: {error}") from None
    if not isinstance(document, dict):
        raise InvalidArgument(f"{path}: is not a JSON object")
    return document


def _table(document: dict[str, Any], key: str, path: str) -> dict[str, Any]:
    value = document.get(key) or {}
    if not isinstance(value, dict):
        raise InvalidArgument(f"{path}: {key} is not an object")
    return value


def _from(document: dict[str, Any], key: str, path: str) -> Login | None:
    helper = _table(document, "credHelpers", path).get(key)
    if not helper and "/" not in key.removeprefix("https://"):
        helper = document.get("credsStore")
    if isinstance(helper, str) and helper:
        found = _ask_helper(helper, key)
        if found:
            return found
    entry = _table(document, "auths", path).get(key)
    if not isinstance(entry, dict):
        return None
    if entry.get("identitytoken"):
        return Login(IDENTITY, str(entry["identitytoken"]))
    if entry.get("auth"):
        return decode(str(entry["auth"]), f"{path}: auths.{key}")
    if entry.get("username"):
        return Login(str(entry["username"]), str(entry.get("password", "")))
    return None


def decode(text: str, where: str) -> Login:
    """The login in an ``auth`` value; raises InvalidArgument naming *where* it stands."""
    try:
        user, colon, secret = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise InvalidArgument(f"{where}: auth is not valid base64") from None
    if not colon:
        raise InvalidArgument(f"{where}: auth has no password")
    return Login(user, secret.rstrip("\0"))


def _ask_helper(name: str, key: str) -> Login | None:
    done = _run_helper(name, "get", key)
    if done.returncode:
        words = (done.stdout or done.stderr).strip()
        if "not found" in words.lower():
            return None
        raise Unavailable(f"credential helper {name} failed for {key}: {words[:200]}")
    try:
        answer = json.loads(done.stdout)
        return Login(str(answer["Username"]), str(answer["Secret"]))
    except (ValueError, KeyError, TypeError):
        raise Unavailable(f"credential helper {name} gave a malformed answer") from None


def _run_helper(name: str, verb: str, text: str) -> subprocess.CompletedProcess[str]:
    if not _HELPER.match(name):
        raise InvalidArgument(f"credential helper {name[:80]!r} is not the name of a program")
    program = f"docker-credential-{name}"
    try:
        return subprocess.run(
            [program, verb], input=text, capture_output=True, text=True, check=False,
            timeout=_HELPER_SECONDS,
        )  # fmt: skip
    except FileNotFoundError:
        # Not NotFound: what is missing is neither the image nor the login.
        raise FailedPrecondition(f"credential helper {program} is not installed") from None
    except PermissionError:
        raise PermissionDenied(f"credential helper {program} may not be run") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"credential helper {program} does not answer") from None


def store(path: str, key: str, login: Login) -> None:
    """Keep a login in the file, or with the helper that the file names; others stay as they are."""
    document = _read(path) or {}
    helper = _table(document, "credHelpers", path).get(key) or document.get("credsStore")
    if helper:
        answer = {"ServerURL": key, "Username": login.user, "Secret": login.secret}
        text = json.dumps(answer, separators=(",", ":"))  # as Go writes it: helpers may be simple
        done = _run_helper(str(helper), "store", text)
        if done.returncode:
            raise Unavailable(f"credential helper {helper} failed: {done.stdout.strip()[:200]}")
        return
    packed = base64.b64encode(f"{login.user}:{login.secret}".encode()).decode()
    document["auths"] = {**_table(document, "auths", path), key: {"auth": packed}}
    _write(path, document)


def erase(path: str, key: str = "") -> bool:
    """Forget the login for *key*, or all of them; False when there was none."""
    document = _read(path)
    if document is None:
        return False
    # A part of a registry has a login of its own; that of the registry stays.
    wanted = {key, *(_keys(key) if "/" not in key else ())} if key else None
    auths = _table(document, "auths", path)
    left = {
        name: entry for name, entry in auths.items() if wanted is not None and name not in wanted
    }
    kept = _with_helpers(document, path, wanted)
    erased = [_erase_with(helper, name) for helper, name in sorted(kept)]
    if len(left) < len(auths):
        _write(path, {**document, "auths": left})
    return any(erased) or len(left) < len(auths)


def _with_helpers(
    document: dict[str, Any], path: str, wanted: set[str] | None
) -> set[tuple[str, str]]:
    """Helpers, and what each may keep of the *wanted* keys, or of all."""
    helpers = _table(document, "credHelpers", path)
    found = {
        (str(helper), key) for key, helper in helpers.items() if wanted is None or key in wanted
    }
    store = document.get("credsStore")
    if isinstance(store, str) and store:
        keys = _listed(store) if wanted is None else {key for key in wanted if _is_plain(key)}
        found |= {(store, key) for key in keys if key not in helpers}
    return found


def _is_plain(key: str) -> bool:
    """Not one of the older spellings with a scheme, but for Docker Hub's, which is the usual one."""
    return key == _HUB_KEY or "://" not in key


def _listed(helper: str) -> set[str]:
    """What a helper has logins for; raises Unavailable."""
    done = _run_helper(helper, "list", "")
    try:
        found = json.loads(done.stdout or "{}")
    except (ValueError, RecursionError):
        found = None
    if done.returncode or not isinstance(found, dict):
        raise Unavailable(f"credential helper {helper} failed to list what it has")
    return set(found)


def _erase_with(helper: str, key: str) -> bool:
    """Let a helper forget a login; False when it had none."""
    done = _run_helper(helper, "erase", key)
    if not done.returncode:
        return True
    words = (done.stdout or done.stderr).strip()
    if "not found" in words.lower():
        return False
    raise Unavailable(f"credential helper {helper} failed for {key}: {words[:200]}")


def _write(path: str, document: dict[str, Any]) -> None:
    """Written whole, for its owner's eyes only."""
    folder = os.path.dirname(os.path.abspath(path))
    partial = ""
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        fd, partial = tempfile.mkstemp(dir=folder, prefix=".auth-")  # mode 0600
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            json.dump(document, file, indent="\t")
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.rename(partial, path)
    except OSError as error:
        if partial:
            with suppress(OSError):
                os.unlink(partial)
        raise PermissionDenied(f"cannot write {path}: {error.strerror}") from None
