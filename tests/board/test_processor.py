"""A container on an ARMv6 board has an ARMv6 processor: what was built for a newer one dies."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from toolkit.arch import Arch
from toolkit.boards import proof
from toolkit.boards.elf import tiny_program

_ILLEGAL_INSTRUCTION = 128 + 4


@pytest.fixture
def programs(host: Any) -> Iterator[str]:
    """A directory on the board with ``newer``, which has an instruction of ARMv7, and ``own``."""
    arch = Arch.from_machine(host.run("uname -m").stdout.strip())
    if arch is not Arch.ARMV6L:
        pytest.skip(
            "the board's processor is not an ARMv6 one, whose images are mistaken for ARMv7"
        )
    folder = host.run("mktemp -d /var/lib/pinnace-verify.XXXX").stdout.strip()
    for name, code in (("newer", proof.lacking(arch)), ("own", proof.running(arch))):
        content = base64.b64encode(tiny_program("arm", code, proof.flags(arch))).decode()
        written = host.run(f"echo {content} | base64 -d >{folder}/{name}")
        assert written.succeeded, written.stderr
    assert host.run(f"chmod -R a+rx {folder}").succeeded
    yield folder
    host.run(f"rm -r {folder}")


@pytest.mark.parametrize(("name", "status"), [("own", 0), ("newer", _ILLEGAL_INSTRUCTION)])
def test_only_programs_for_the_processor_run(
    host: Any, pulled: str, programs: str, name: str, status: int
) -> None:
    mount = f"--mount type=bind,src={programs},dst=/programs,options=rbind:ro"
    # Not as the container's first process: an emulator cannot end its own init.
    script = f"/programs/{name}; exit $?"
    done = host.run(f"ctr run --rm {mount} {pulled} verify-{name} sh -c '{script}'")
    assert done.rc == status, done.stderr
