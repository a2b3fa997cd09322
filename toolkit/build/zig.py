"""The C compiler for the boards: zig, from one pip package, fetched only when something is compiled.

``ziglang`` is 90 MB to download and 380 MB unpacked, so it is not part of the project's environment:
it is installed from ``locks/zig.lock`` (with hashes) into the cache on first use.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from toolkit import packages
from toolkit.arch import Arch
from toolkit.errors import PinnaceError
from toolkit.paths import LOCKS, cache_dir

LOCK = LOCKS / "zig.lock"


def version() -> str:
    """The locked version of the compiler, for cache keys."""
    for line in LOCK.read_text().splitlines():
        if line.startswith("ziglang=="):
            return line.split("==")[1].split()[0]
    raise PinnaceError(f"{LOCK} does not lock ziglang", hint="Run ./inv lock.")


def compiler() -> Path:
    """The path of ``zig``, installed when it is not there yet."""
    return (
        packages.installed(LOCK, f"zig {version()}", detail="380 MB in the cache")
        / "ziglang"
        / "zig"
    )


def compile_static(
    sources: list[Path], target: Path, arch: Arch, definitions: dict[str, str]
) -> None:
    """Compile C files of one directory to a small static program for ``arch``; raises with the first error.

    The output depends on nothing but the arguments: no path or time of this machine gets into it.
    """
    facts = arch.facts
    zig = compiler()
    command = [
        str(zig), "cc", "-target", facts.zig_target, f"-mcpu={facts.zig_cpu}",
        "-std=gnu11", "-Os", "-static", "-s", "-Wall", "-Wextra", "-Werror",
        "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections",
        *(f'-D{name}="{value}"' for name, value in definitions.items()),
        "-o", str(target), *(source.name for source in sources),
    ]  # fmt: skip
    done = subprocess.run(
        command,
        cwd=sources[0].parent,
        capture_output=True,
        text=True,
        check=False,
        env={
            "PATH": "/usr/bin:/bin",
            "ZIG_GLOBAL_CACHE_DIR": str(cache_dir("zig", "objects")),
            "ZIG_LOCAL_CACHE_DIR": str(cache_dir("zig", "objects")),
        },
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        reason = next((line for line in lines if "error:" in line), lines[-1])
        raise PinnaceError(f"{sources[0].name} does not compile for {arch.label}: {reason}")
