"""What this machine (the laptop) must have: root, a Debian-like system, packages, kernel features.

Every function either makes sure of one prerequisite or raises
:class:`~toolkit.errors.MissingPrerequisite` with one sentence that says what is missing and what to
do. Debian packages are named before they are installed, and installed only after a yes.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NoReturn

from toolkit import console
from toolkit.errors import MissingPrerequisite
from toolkit.process import last_line

# What survives the step through sudo: where caches and settings are, how to reach the network, and
# how output looks. The rest of the environment stays behind, as sudo's own policy wants it.
_KEPT = ("HOME", "PATH", "CI", "TERM", "LANG", "NO_COLOR", "COLUMNS", "SSH_AUTH_SOCK")
_KEPT_PREFIXES = ("XDG_CACHE_", "XDG_STATE_", "XDG_CONFIG_", "PINNACE_", "LC_")
_KEPT_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "ftp_proxy")


def need_linux(what: str) -> None:
    """Raise unless this is Linux: ``what`` is the thing that cannot be done elsewhere."""
    if sys.platform != "linux":
        raise MissingPrerequisite(
            f"{what} needs a Linux machine, and this is {platform.system() or sys.platform}",
            hint="use a Debian or Ubuntu machine for it; provisioning a real board works from here",
        )


def need_root(what: str) -> None:
    """Return as root, or run this very command again through sudo, or raise.

    The command that sudo starts keeps ``HOME``, the XDG directories, ``PINNACE_*`` and the proxy
    settings, so that it uses the same caches and state as the person who typed it.
    """
    if os.geteuid() == 0:
        return
    sudo = shutil.which("sudo")
    if sudo is None:
        raise MissingPrerequisite(
            f"{what} needs root, and sudo is not installed", hint="run it again as root"
        )
    quiet = [] if sys.stdin.isatty() else ["-n"]
    if quiet and subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode:
        raise MissingPrerequisite(
            f"{what} needs root, and sudo asks for a password with no terminal to ask on",
            hint="run it again as root",
        )
    console.note(f"{what} needs root: going on through sudo")
    _become(sudo_command([sudo, *quiet], os.environ, [sys.executable, *sys.orig_argv[1:]]))


def sudo_command(sudo: list[str], environ: Mapping[str, str], command: list[str]) -> list[str]:
    """``command`` behind sudo and env(1), which hands over the part of ``environ`` that is kept.

    env(1) and not ``--preserve-env``: sudoers may forbid the latter.
    """
    kept = [
        f"{name}={value}"
        for name, value in sorted(environ.items())
        if name in _KEPT or name.startswith(_KEPT_PREFIXES) or name.lower() in _KEPT_PROXIES
    ]
    return [*sudo, "--", "env", *kept, *command]


def _become(command: list[str]) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os.execvp(command[0], command)  # noqa: S606  no shell is wanted


def need_packages(packages: Iterable[str], *, yes: bool = False, why: str = "this") -> None:
    """Install those Debian packages that are not installed yet, after naming them.

    ``yes`` (or ``CI=true``) installs without asking. Raises when the machine has no apt, when the
    answer is no, when there is nobody to ask, or when apt fails.
    """
    wanted = sorted(set(packages))
    if shutil.which("dpkg-query") is None or shutil.which("apt-get") is None:
        raise MissingPrerequisite(
            f"{why} needs {_listed(wanted)}, and this machine has no apt",
            hint="use a Debian or Ubuntu machine, or install what these packages hold yourself",
        )
    missing = missing_packages(wanted)
    if not missing:
        return
    console.note(f"Debian packages needed for {why}: {' '.join(missing)}")
    if not (yes or os.environ.get("CI") == "true"):
        _ask_to_install(missing)
    _install(missing)


def missing_packages(packages: Iterable[str]) -> list[str]:
    """Those of ``packages`` that dpkg does not have installed, in the given order."""
    wanted = list(packages)
    done = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *wanted],
        capture_output=True,
        text=True,
        check=False,  # exits 1 when it does not know one of them
    )
    installed = {
        line.split()[0] for line in done.stdout.splitlines() if line.endswith(" installed")
    }
    return [package for package in wanted if package not in installed]


def _ask_to_install(packages: list[str]) -> None:
    refused = MissingPrerequisite(
        f"{_listed(packages)} not installed",
        hint=f"install with: apt-get install {' '.join(packages)}, or run again with --yes",
    )
    if not sys.stdin.isatty():
        raise refused
    if console.err.input("Install them now? [Y/n] ").strip().lower() not in ("", "y", "yes"):
        raise refused


def _install(packages: list[str]) -> None:
    prefix = [] if os.geteuid() == 0 else ["sudo"]
    if prefix and shutil.which("sudo") is None:
        raise MissingPrerequisite(
            f"installing {_listed(packages)} needs root, and sudo is not installed",
            hint=f"as root: apt-get install {' '.join(packages)}",
        )
    apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]
    install = [*apt, "install", "-y", "--no-install-recommends", *packages]
    with console.step(f"install {' '.join(packages)}") as step:
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        if done.returncode:
            # The lists may never have been fetched, or name versions that are gone by now.
            step.say("apt-get update")
            subprocess.run([*apt, "update"], capture_output=True, check=False)
            done = subprocess.run(install, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MissingPrerequisite(
                f"apt could not install {_listed(packages)}: {last_line(done.stderr)}",
                hint="see what `apt-get install` says",
            )


def need_programs(programs: Mapping[str, str], *, yes: bool = False, why: str = "this") -> None:
    """Make sure of programs by name; the values are the Debian packages that bring them."""
    # A user's PATH often lacks the sbin directories, where half of what we need lives.
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    absent = {package for name, package in programs.items() if not shutil.which(name, path=path)}
    if absent:
        need_packages(absent, yes=yes, why=why)


def filesystem_type(path: Path) -> str:
    """The type of the file system that holds ``path`` (``ext4``, ``overlay``, ``nfs`` ...)."""
    best, kind = "", ""
    resolved = f"{path.resolve()}/"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        target = left.split()[4].replace("\\040", " ")
        prefix = target.rstrip("/") + "/"
        if resolved.startswith(prefix) and len(prefix) >= len(best):
            best, kind = prefix, right.split()[0]
    return kind


def _listed(packages: list[str]) -> str:
    noun = "package" if len(packages) == 1 else "packages"
    return f"the Debian {noun} {', '.join(packages)}"


def debian_arch() -> str:
    """This machine's Debian architecture (``amd64``); raises where there is no dpkg."""
    need_linux("building for Debian")
    if shutil.which("dpkg") is None:
        raise MissingPrerequisite(
            "dpkg is needed to build Debian systems, and this machine lacks it",
            hint="use a Debian or Ubuntu machine",
        )
    done = subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
