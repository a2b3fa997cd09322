"""The root file system of a board: Debian for any architecture, made without emulating anything.

The native root comes from mmdebstrap, which runs the packages' maintainer scripts at full speed.
A root for a foreign architecture is put together from two halves:

- the files of the foreign packages, unpacked as they are, with dpkg's database written by hand;
- what the maintainer scripts made (accounts, PAM and ssh configuration, certificates, enabled
  units ...), taken from the native root of the same release and package list, its *twin*. These
  files do not depend on the processor, which :mod:`toolkit.boards.twin` checks.

So a root takes seconds instead of the minutes that emulated maintainer scripts need, and is built
without binfmt_misc. Roots are cached by release, architecture, package list and recipe; boards use
them as the read-only lower layer of an overlay.
"""

from __future__ import annotations

import collections
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from toolkit import console, debian, host
from toolkit.arch import Arch
from toolkit.boards import emulator, machine, recipe, source, twin
from toolkit.boards.config import Config
from toolkit.debian import Archive, kept_tree
from toolkit.errors import PinnaceError
from toolkit.paths import cache_dir
from toolkit.process import Words, run

# What a Raspberry Pi OS Lite host has of what the roles, the runtime and the tests use.
PACKAGES = (
    "ca-certificates",
    "dbus",
    "iproute2",
    "kmod",
    "libseccomp2",
    "libzstd1",
    "nftables",
    "openssh-server",
    "procps",
    "python3",
    "sudo",
    "systemd-sysv",
)

# The essential system and apt: mmdebstrap's variant "minbase", as apt patterns.
MINBASE = ("?essential", "?priority(required)", "apt")

_RECIPE = "1"
"""Part of the cache key: raised when this module, recipe or twin change what a root holds."""

_UNWANTED = ("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian")  # fmt: skip


def build(arch: Arch, release: str, host_arch: str, *, yes: bool = False) -> Path:
    """The root of ``arch`` (``host_arch`` is this machine's Debian architecture), from the cache.

    The directory is shared by all boards of the kind: mount it as a lower layer, never write to it.
    Needs root. Raises :class:`PinnaceError` when packages cannot be fetched or unpacked.
    """
    entry = _entry(release, arch.facts.debian)
    if entry / "files" in _in_use():
        # Checking it could end in making it anew, under the feet of a running board.
        return entry / "files"
    if arch.facts.debian == host_arch:
        return kept_tree(entry, lambda tree: _build_native(tree, release, host_arch, yes))

    def fill(tree: Path) -> None:
        native = build(Arch.from_debian(host_arch), release, host_arch, yes=yes)
        _build_foreign(tree, arch, release, native, host_arch)

    return kept_tree(entry, fill)


def _in_use() -> set[Path]:
    """The roots under boards that run now."""
    found = set()
    for record in machine.records():
        with suppress(PinnaceError):
            found.add(Config.read(Path(record.state, record.name)).root)
    return found


def _entry(release: str, debian_arch: str) -> Path:
    key = debian.content_key(
        release, debian_arch, *PACKAGES, *_UNWANTED, _RECIPE, source.plain(recipe.text())
    )
    return cache_dir("roots") / f"{release}-{debian_arch}-{key}"


def _build_native(tree: Path, release: str, debian_arch: str, yes: bool) -> None:
    host.need_packages(["mmdebstrap"], yes=yes, why="building board roots")
    excludes = [f"--dpkgopt=path-exclude=/{folder}/*" for folder in _UNWANTED]
    proxies = [f"--aptopt={line}" for line in debian.machine_acquire()]
    command = [
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        f"--architectures={debian_arch}",
        f"--include={','.join(PACKAGES)}",
        *excludes,
        *proxies,
        release,
        str(tree),
        *debian.machine_sources().lines(release),
    ]
    with console.step(f"build the {release} {debian_arch} root") as step:
        last: collections.deque[str] = collections.deque(maxlen=20)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:  # fmt: skip
            for line in process.stderr or ():
                last.append(line.strip())
                if line.startswith("I: "):
                    step.say(line.removeprefix("I: ").strip())
        if process.returncode:
            errors = [line for line in last if line.startswith("E: ")]
            raise PinnaceError(f"mmdebstrap failed: {(errors or list(last) or ['no message'])[0]}")
        step.say("configuring")
        recipe.apply(tree)


def _build_foreign(tree: Path, arch: Arch, release: str, native: Path, host_arch: str) -> None:
    facts = arch.facts
    archive = Archive(release, facts.debian)
    debs = archive.resolve([*MINBASE, *PACKAGES], dependencies=True)
    archive.fetch(debs)
    with console.step(f"build the {release} {facts.debian} root") as step:
        step.say("unpacking")
        for link in ("bin", "lib", "sbin"):
            (tree / link).symlink_to(f"usr/{link}")
            (tree / "usr" / link).mkdir(parents=True)
        database = twin.Database(tree, facts.debian)
        for index, deb in enumerate(debs, 1):
            step.say(f"unpacking {index}/{len(debs)} {deb.package}")
            _unpack(archive.path(deb), tree, database)
        database.write()
        step.say("taking over the configuration")
        twin.take_over(native, tree)
        recipe.emulate(tree, release)
        # The linker's cache depends on the processor; ldconfig is a static program.
        ldconfig: Words = [emulator.build(arch, host_arch), tree / "usr/sbin/ldconfig", "-r", tree]
        run(ldconfig, "making the linker's cache")


def _unpack(deb: Path, tree: Path, database: twin.Database) -> None:
    """Unpack one package with its numeric owners, and enter it into dpkg's database."""
    with tempfile.TemporaryDirectory() as scratch:
        run(["dpkg-deb", "-e", deb, f"{scratch}/DEBIAN"], f"reading {deb.name}")
        archive = f"{scratch}/data.tar"
        with open(archive, "wb") as data:
            run(["dpkg-deb", "--fsys-tarfile", deb], f"reading {deb.name}", stdout=data)
        excludes = [f"--exclude=./{folder}/*" for folder in _UNWANTED]
        extract: list[str | Path] = [
            "tar",
            "-xpf",
            archive,
            "-C",
            tree,
            "--numeric-owner",
            "--keep-directory-symlink",
        ]
        run([*extract, *excludes], f"unpacking {deb.name}")
        listing = subprocess.run(
            ["tar", "-tf", archive], capture_output=True, text=True, check=True
        )
        database.add(Path(scratch, "DEBIAN"), listing.stdout)
