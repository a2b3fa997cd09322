"""Packages of any Debian release and architecture, fetched beside the machine's own apt.

An :class:`Archive` has apt's state of its own in the cache directory: nothing is installed on this
machine, no source is added to its apt, and it may run another release or be Ubuntu. apt checks the
Debian archive's signature on everything it fetches. Only the ``Acquire`` settings of the machine's
apt (proxies, time limits) and its credentials are inherited, and its Debian mirror where it has one.

Cache, all of it deletable at any time::

    debian/<suite>-<arch>/           lists and configuration of one Archive
    debian/pool/                     .deb files, checked by SHA-256 before each use
    debian/unpacked/<name>-<key>/    content-keyed trees; a tree that changed is made again
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import stat
import subprocess
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from toolkit import console, host
from toolkit.errors import MissingPrerequisite, PinnaceError
from toolkit.paths import cache_dir, give_to_user
from toolkit.process import last_line, run

MIRROR = "http://deb.debian.org/debian"
SECURITY_MIRROR = "http://deb.debian.org/debian-security"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

_FRESH_SECONDS = 24 * 3600
"""Lists younger than this are used as they are; a package that vanished meanwhile renews them."""

_RETRY_SECONDS = 900
"""How long lists that could not be renewed are used before the next attempt."""


@dataclass(frozen=True, slots=True)
class Deb:
    """One package file of the archive: ``size`` in bytes, ``sha256`` in hexadecimal."""

    package: str
    version: str
    arch: str
    filename: str
    size: int
    sha256: str

    @property
    def selector(self) -> str:
        """How apt is asked for exactly this file."""
        return f"{self.package}:{self.arch}={self.version}"


@dataclass(frozen=True, slots=True)
class Sources:
    """Where packages come from: the archive, and its security updates."""

    mirror: str = MIRROR
    security: str = SECURITY_MIRROR

    def lines(self, suite: str, keyring: Path = KEYRING) -> list[str]:
        """One-line-style entries of sources.list(5) for ``suite`` and its security updates; sid has none."""
        options = f"[signed-by={keyring}]"
        release = f"deb {options} {self.mirror} {suite} main"
        if suite in ("sid", "unstable"):
            return [release]
        return [release, f"deb {options} {self.security} {suite}-security main"]


class Archive:
    """The packages of one Debian release (``bookworm``) and architecture (``armel``)."""

    def __init__(self, suite: str, arch: str, *, sources: Sources | None = None) -> None:
        self.suite = suite
        self.arch = arch
        self._sources = sources
        self._home = cache_dir("debian", f"{suite}-{arch}")
        self._pool = cache_dir("debian", "pool")

    def resolve(self, packages: Iterable[str], *, dependencies: bool = False) -> list[Deb]:
        """The exact package files for ``packages``, sorted; with ``dependencies`` all they need.

        Dependencies are complete down to libc (nothing counts as installed) and leave out
        recommended packages. Raises :class:`PinnaceError` for a name the archive does not have.
        """
        wanted = sorted(set(packages))
        with self._locked():
            self._prepare()
            try:
                return self._resolve(wanted, dependencies)
            except PinnaceError:
                if self._age() < 60:  # the lists are as new as they get
                    raise
                self._update()
                return self._resolve(wanted, dependencies)

    def download(self, packages: Iterable[str], dependencies: bool = False) -> list[Path]:
        """The .deb files of ``packages`` in the cache, fetched and verified as needed."""
        debs = self.resolve(packages, dependencies=dependencies)
        self.fetch(debs)
        return [self.path(deb) for deb in debs]

    def path(self, deb: Deb) -> Path:
        """Where the pool has ``deb`` once it was fetched."""
        return self._pool / deb.filename

    def fetch(self, debs: Sequence[Deb]) -> None:
        """Bring these files into the pool; those already there are checked, not fetched."""
        with self._locked():
            self._prepare()
            missing = [deb for deb in debs if not _is_intact(self._pool / deb.filename, deb)]
            if missing:
                self._fetch(missing)

    def unpack(self, packages: Iterable[str], dependencies: bool = False) -> Path:
        """A directory with the files of ``packages``, as their .debs hold them.

        No maintainer script runs. The directory belongs to the cache: read it, do not change it.
        """
        wanted = sorted(set(packages))
        debs = self.resolve(wanted, dependencies=dependencies)
        name = f"{'+'.join(wanted)[:60]}-{self.suite}-{self.arch}"
        key = content_key(*(f"{deb.filename} {deb.sha256}" for deb in debs))

        def fill(tree: Path) -> None:
            self.fetch(debs)
            for deb in debs:
                run(["dpkg-deb", "-x", self._pool / deb.filename, tree], f"unpacking {deb.package}")

        return kept_tree(cache_dir("debian", "unpacked") / f"{name}-{key}", fill)

    # -- apt -----------------------------------------------------------------------------------

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # The pool is shared by all archives: a fetch of one must not see a half file of another,
        # which apt's partial directory per archive and a rename take care of.
        with locked(self._home / "lock"):
            yield

    def _prepare(self) -> None:
        need_apt()
        configuration = self._configuration()
        target = self._home / "apt.conf"
        changed = not target.exists() or target.read_text() != configuration
        if changed:
            for directory in ("lists", "lists/partial", "archives", "archives/partial"):
                (self._home / directory).mkdir(exist_ok=True)
                give_to_user(self._home / directory)
            (self._home / "status").touch()
            _replace(target, configuration)
        sources = self._sources or machine_sources()
        text = "".join(f"{line}\n" for line in sources.lines(self.suite))
        listing = self._home / "sources.list"
        if not listing.exists() or listing.read_text() != text:
            _replace(listing, text)
            changed = True
        if changed or self._age() > _FRESH_SECONDS:
            self._update()

    def _configuration(self) -> str:
        home = self._home
        own = {
            "APT::Architecture": self.arch,
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "root",  # _apt cannot write below a private home
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "Dir::State": str(home),
            "Dir::State::lists": str(home / "lists"),
            "Dir::State::status": str(home / "status"),
            "Dir::Cache": str(home),
            "Dir::Cache::archives": str(home / "archives"),
            "Dir::Etc::sourcelist": str(home / "sources.list"),
            **dict.fromkeys(_FOREIGN_SETTINGS, "/dev/null"),
        }
        lines = [f"{name} {json.dumps(value)};" for name, value in own.items()]
        return "\n".join(
            [*machine_acquire(), *lines, f'APT::Architectures {{"{self.arch}";}};', ""]
        )

    def _age(self) -> float:
        """Seconds since the lists were fetched; infinite when they never were."""
        try:
            return time.time() - (self._home / "updated").stat().st_mtime
        except FileNotFoundError:
            return float("inf")

    def _update(self) -> None:
        with console.step(f"package lists of Debian {self.suite} {self.arch}") as step:
            done = self._apt("update", "--error-on=any")
            if done.returncode:
                # A mirror in the middle of its own update is the usual reason; it passes.
                step.say("again")
                time.sleep(2)
                done = self._apt("update", "--error-on=any")
            if done.returncode == 0:
                _replace(self._home / "updated", "")
            elif self._have_lists():
                _replace(self._home / "updated", "")
                soon = time.time() - _FRESH_SECONDS + _RETRY_SECONDS
                os.utime(self._home / "updated", (soon, soon))
                step.status, step.detail = (
                    "skipped",
                    f"using what there is: {apt_error(done.stderr)}",
                )
            else:
                raise PinnaceError(
                    f"cannot fetch the package lists of Debian {self.suite}: {apt_error(done.stderr)}",
                    hint="check the network, or name a mirror in PINNACE_DEBIAN_MIRROR",
                )

    def _have_lists(self) -> bool:
        """Whether the release itself, though perhaps not its security updates, can be read."""
        pattern = f"*dists_{self.suite}_main_binary-{self.arch}_Packages*"
        return any((self._home / "lists").glob(pattern))

    def _resolve(self, packages: list[str], dependencies: bool) -> list[Deb]:
        selectors = packages
        if dependencies:
            done = self._apt("install", "--print-uris", "-y", *packages)
            self._check(done, packages)
            selectors = [deb.selector for deb in parse_uris(done.stdout)]
        # Only this form prints SHA-256 sums.
        done = self._apt("download", "--print-uris", *selectors)
        self._check(done, packages)
        return sorted(parse_uris(done.stdout), key=lambda deb: deb.filename)

    def _check(self, done: subprocess.CompletedProcess[str], packages: list[str]) -> None:
        if done.returncode:
            raise PinnaceError(
                f"Debian {self.suite} {self.arch} cannot give {' '.join(packages)}: "
                f"{apt_error(done.stderr)}"
            )

    def _fetch(self, debs: Sequence[Deb]) -> None:
        with (
            tempfile.TemporaryDirectory(dir=self._home, prefix="fetch-") as scratch,
            console.step(
                f"fetch {len(debs)} packages of {self.suite} {self.arch}",
                total=sum(deb.size for deb in debs),
            ) as step,
        ):
            folder = Path(scratch)
            with self._start("download", *(deb.selector for deb in debs), cwd=folder) as process:
                seen = 0
                while process.poll() is None:
                    time.sleep(0.2)
                    now = sum(entry.stat().st_size for entry in folder.iterdir())
                    step.advance(now - seen)
                    seen = now
                problem = process.stderr.read() if process.stderr else ""
            for deb in debs:
                if not _is_intact(folder / deb.filename, deb):
                    raise PinnaceError(f"cannot fetch {deb.filename}: {apt_error(problem)}")
                os.replace(folder / deb.filename, self._pool / deb.filename)

    def _apt(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["apt-get", "-q", *words],
            env=self._environ(),
            capture_output=True,
            text=True,
            check=False,
        )

    def _start(self, *words: str, cwd: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["apt-get", "-q", *words],
            env=self._environ(),
            cwd=cwd,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _environ(self) -> dict[str, str]:
        return {**os.environ, "APT_CONFIG": str(self._home / "apt.conf"), "LC_ALL": "C"}


_FOREIGN_SETTINGS = (
    # The machine's own sources, hooks and pins have no say here.
    "Dir::Etc::sourceparts",
    "Dir::Etc::main",
    "Dir::Etc::parts",
    "Dir::Etc::preferences",
    "Dir::Etc::preferencesparts",
)


def need_apt() -> None:
    """Raise :class:`MissingPrerequisite` unless apt, dpkg-deb and Debian's keys are here."""
    host.need_linux("unpacking Debian packages")
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise MissingPrerequisite(
            "apt-get and dpkg-deb are needed to fetch Debian packages, and this machine lacks them",
            hint="use a Debian or Ubuntu machine",
        )
    if not KEYRING.exists():
        host.need_packages(["debian-archive-keyring"], why="checking Debian's signatures")


def machine_sources() -> Sources:
    """Debian's mirrors: from the environment, the machine's own apt, or deb.debian.org.

    ``PINNACE_DEBIAN_MIRROR`` and ``PINNACE_DEBIAN_SECURITY_MIRROR`` come first. The machine's apt
    counts where it names a Debian archive for any release.
    """
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    found = mirrors_in(done.stdout)
    return Sources(
        os.environ.get("PINNACE_DEBIAN_MIRROR") or found.mirror,
        os.environ.get("PINNACE_DEBIAN_SECURITY_MIRROR") or found.security,
    )


def mirrors_in(targets: str) -> Sources:
    """The Debian mirrors among lines of ``URI release component``; the defaults for the rest.

    Ubuntu's archive and vendors' repositories do not count: a mirror of Debian ends in ``/debian``
    or ``/debian-security`` and has the component main (Docker's own, for one, has not).
    """
    mirror, security = MIRROR, SECURITY_MIRROR
    for line in reversed(targets.splitlines()):
        words = line.split()
        if len(words) != 3 or words[2] != "main":
            continue
        uri = words[0].rstrip("/")
        if uri.endswith("/debian-security") and words[1].endswith("-security"):
            security = uri
        elif uri.endswith("/debian") and "-" not in words[1]:
            mirror = uri
    return Sources(mirror, security)


def machine_acquire() -> list[str]:
    """The machine's Acquire settings in apt.conf(5) form, less what selects indexes."""
    done = subprocess.run(
        ["apt-config", "dump", "--no-empty", "--format", '%f "%v";%n', "Acquire"],
        capture_output=True,
        text=True,
        check=False,
    )
    unwanted = ("Acquire::IndexTargets", "Acquire::Languages", "Acquire::cdrom")
    return [line for line in done.stdout.splitlines() if not line.startswith(unwanted)]


def parse_uris(text: str) -> list[Deb]:
    """The files in the output of ``apt-get --print-uris``: ``'URI' NAME SIZE [KIND:SUM]``.

    ``install`` prints only MD5 sums: a line of an archive without them ends after the size.
    """
    debs = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 3 or not words[0].startswith("'") or not words[1].endswith(".deb"):
            continue
        package, version, arch = words[1].removesuffix(".deb").split("_")
        kind, _, checksum = words[3].partition(":") if len(words) > 3 else ("", "", "")
        sha256 = checksum if kind == "SHA256" else ""
        debs.append(
            Deb(package, urllib.parse.unquote(version), arch, words[1], int(words[2]), sha256)
        )
    return debs


def apt_error(stderr: str) -> str:
    """The first error that apt printed, without its mark; warnings do not count."""
    for line in stderr.splitlines():
        if line.startswith("E: "):
            return line.removeprefix("E: ").strip()
    return last_line(stderr)


# -- cache entries -----------------------------------------------------------------------------


def content_key(*parts: str) -> str:
    """A short key for what an entry is made from: 16 hexadecimal digits of a SHA-256."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def kept_tree(entry: Path, fill: Callable[[Path], None]) -> Path:
    """The directory ``entry/files``, made by ``fill`` when it is absent or not as it was made.

    The entry appears by rename, so another process sees all of it or nothing. ``entry/made``
    holds a digest over names, types and sizes; a file lost or cut short since makes a new entry.
    """
    with locked(entry.with_name(f"{entry.name}.lock")):
        if not tree_is_intact(entry):
            for unfinished in entry.parent.glob(
                f"{entry.name}.part-*"
            ):  # of a process that was killed
                shutil.rmtree(unfinished)
            scratch = Path(tempfile.mkdtemp(dir=entry.parent, prefix=f"{entry.name}.part-"))
            try:
                tree = scratch / "files"
                tree.mkdir(mode=0o755)
                fill(tree)
                (scratch / "made").write_text(tree_digest(tree))
                scratch.chmod(0o755)
                shutil.rmtree(entry, ignore_errors=True)
                os.rename(scratch, entry)
            except BaseException:
                shutil.rmtree(scratch, ignore_errors=True)
                raise
    return entry / "files"


def tree_is_intact(entry: Path) -> bool:
    """Whether ``entry`` is complete and its tree has the names and sizes it was made with."""
    try:
        return (entry / "made").read_text() == tree_digest(entry / "files")
    except OSError:
        return False


def tree_digest(tree: Path) -> str:
    """SHA-256 over the relative names, modes and (for files) sizes below ``tree``."""
    total = hashlib.sha256()
    for folder, names, files in os.walk(tree):
        names.sort()
        for name in sorted([*names, *files]):
            path = os.path.join(folder, name)
            found = os.lstat(path)
            size = found.st_size if stat.S_ISREG(found.st_mode) else 0
            total.update(f"{os.path.relpath(path, tree)} {found.st_mode:o} {size}\n".encode())
    return total.hexdigest()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file ``path``; waits for whoever holds it. Its holder may remove the file."""
    while True:
        with path.open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            # Whoever comes after a holder that removed the file has another one.
            if _is_at(handle, path):
                give_to_user(path)
                yield
                return


def _is_at(handle: IO[str], path: Path) -> bool:
    """Whether ``path`` is the name of the open file."""
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _replace(path: Path, text: str) -> None:
    """Write a small file anew: whoever made the old one need not be who writes now."""
    path.unlink(missing_ok=True)
    path.write_text(text)
    give_to_user(path)


def _is_intact(path: Path, deb: Deb) -> bool:
    try:
        if path.stat().st_size != deb.size:
            return False
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == deb.sha256
    except FileNotFoundError:
        return False
