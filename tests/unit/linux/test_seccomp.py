"""Profiles that are refused, programs that are kept, and the keeping itself under attack."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pinnace.errors import FailedPrecondition, InvalidArgument
from pinnace.linux.fake import FakeKernel
from pinnace.linux.kernel import KERNEL
from pinnace.linux.seccomp import Filter, bpf, cache, library, loading, profile
from pinnace.linux.seccomp.library import Compiled, Library
from pinnace.linux.seccomp.profile import Profile
from tests.calls import LIVING, attempt

_ALLOW = {"defaultAction": "SCMP_ACT_ALLOW"}
_REFUSE = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "syscalls": [{"names": ["getpid", "clock_gettime"], "action": "SCMP_ACT_ALLOW"}],
}


def _rule(**change: Any) -> dict[str, Any]:
    return {**_ALLOW, "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", **change}]}


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({}, "defaultAction"),
        ({"defaultAction": "SCMP_ACT_BOGUS"}, "SCMP_ACT_BOGUS"),
        ({**_ALLOW, "architectures": ["SCMP_ARCH_PDP11"]}, "PDP11"),
        ({**_ALLOW, "flags": ["SECCOMP_FILTER_FLAG_BOGUS"]}, "FLAG_BOGUS"),
        ({**_ALLOW, "syscalls": [{"action": "SCMP_ACT_KILL"}]}, "names no system call"),
        (_rule(action="SCMP_ACT_NOTIFY"), "listenerPath"),
        ({**_ALLOW, "listenerMetadata": "x"}, "without a listenerPath"),
        ({**_ALLOW, "listenerPath": "/x", "listenerMetadata": "x" * 40000}, "larger than"),
        (_rule(errnoRet=1 << 16), "larger than 65535"),
        (_rule(errnoRet="EPERM"), "not an unsigned number"),
        (_rule(action="SCMP_ACT_KILL", errnoRet=1), "takes no errnoRet"),
        (_rule(args=[{"index": 0, "op": "SCMP_CMP_LIKE", "value": 0}]), "operator"),
        (_rule(args=[{"index": 6, "op": "SCMP_CMP_EQ", "value": 0}]), "no argument 6"),
        (_rule(args=[{"index": 0, "op": "SCMP_CMP_EQ", "value": -1}]), "not an unsigned number"),
    ],
)
def test_a_wrong_profile_is_named(shape: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        Profile(shape)


def test_flags_go_to_the_kernel() -> None:
    everything = {
        **_rule(action="SCMP_ACT_NOTIFY"),
        "listenerPath": "/x",
        "flags": sorted(profile.FLAGS),
    }
    assert Profile(everything).kernel_flags() == 0x3F
    assert Profile({**_ALLOW, "flags": []}).kernel_flags() == 0
    assert Profile(_ALLOW).kernel_flags() == profile.FLAGS["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]


def test_a_kernel_without_seccomp_says_so_before_anything_is_made() -> None:
    kernel = FakeKernel(failures={"seccomp": errno.ENOSYS})
    with pytest.raises(FailedPrecondition, match="no seccomp"):
        Filter(_REFUSE, kernel=kernel, directory="")


def test_what_an_older_kernel_lacks_is_named() -> None:
    kernel = FakeKernel(failures={"seccomp": errno.EOPNOTSUPP})
    with pytest.raises(FailedPrecondition, match="no SCMP_ACT_LOG"):
        loading.require(kernel, Profile({"defaultAction": "SCMP_ACT_LOG"}))
    kernel = FakeKernel(failures={"seccomp": errno.EINVAL})
    flags = ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]
    with pytest.raises(FailedPrecondition, match="WAIT_KILLABLE"):
        loading.require(kernel, Profile({**_ALLOW, "flags": flags}))


def test_this_kernel_knows_its_flags_and_actions() -> None:
    assert loading.has_action(KERNEL, profile.ERRNO)
    assert not loading.has_action(KERNEL, 0x12340000)
    assert loading.has_flag(KERNEL, profile.FLAGS["SECCOMP_FILTER_FLAG_LOG"])
    assert not loading.has_flag(KERNEL, 1 << 30)


def _run(program: bytes, architecture: int, number: int) -> int | None:
    """Interpret the few opcodes that ``bpf`` writes; None when the program goes on behind its end."""
    data = {0: number, 4: architecture}
    code = list(bpf.INSTRUCTION.iter_unpack(program))
    position = accumulator = 0
    while position < len(code):
        opcode, true, false, value = code[position]
        position += 1
        if opcode == 0x20:
            accumulator = data[value]
        elif opcode == 0x06:
            return int(value)
        else:
            compare = {0x15: int.__eq__, 0x25: int.__gt__, 0x35: int.__ge__}[opcode]
            position += true if compare(accumulator, value) else false
    return None


def test_calls_newer_than_the_profile_do_not_exist() -> None:
    arm, wide = (profile.ARCHITECTURES[f"SCMP_ARCH_{name}"] for name in ("ARM", "AARCH64"))
    program = bpf.unknown_calls({arm: 398, wide: 280}, {arm: 0x0F0000})
    enosys = profile.ERRNO | errno.ENOSYS
    assert _run(program, arm, 403) == enosys  # clock_gettime64
    assert _run(program, arm, 398) is None
    assert _run(program, arm, 0x0F0005) is None  # set_tls: private to the architecture
    assert _run(program, wide, 281) == enosys
    assert _run(program, wide, 280) is None
    assert _run(program, 0x1234, 500) is None


@pytest.fixture
def lib() -> Library:
    try:
        return Library()
    except FailedPrecondition as missing:
        pytest.skip(str(missing))


def test_64_bit_times_of_32_bit_machines_fall_back(lib: Library) -> None:
    """moby#40734: a profile of 2019, which allows newer calls by chance, on 32-bit Arm."""
    shape = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_ARM"],
        "syscalls": [
            {"names": ["clock_gettime", "openat2", "set_tls"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["futex_time64"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5},
        ],
    }
    program = lib.compile(Profile(shape)).program
    arm = profile.ARCHITECTURES["SCMP_ARCH_ARM"]
    verdicts = {
        number: _verdict(program, arm, number) for number in (263, 403, 422, 437, 500, 39, 0xF0005)
    }
    enosys, eperm = profile.ERRNO | errno.ENOSYS, profile.ERRNO | errno.EPERM
    assert verdicts == {
        263: profile.ALLOW, 403: enosys, 422: profile.ERRNO | 5, 437: profile.ALLOW, 500: enosys,
        39: eperm, 0xF0005: profile.ALLOW,
    }  # fmt: skip


def _verdict(program: bytes, architecture: int, number: int) -> int | None:
    """The same for whole programs of libseccomp without conditions: they use one jump more (BPF_JA)."""
    code = [
        (0x35, 0, 0, 0) if opcode == 0x05 and not value else (opcode, true, false, value)
        for opcode, true, false, value in bpf.INSTRUCTION.iter_unpack(program)
    ]
    packed = b"".join(bpf.INSTRUCTION.pack(*each) for each in code)
    return _run(packed, architecture, number)


def test_the_kernel_gives_enosys_for_what_a_profile_can_not_know(lib: Library) -> None:
    """And the profile's own error for calls that it is old enough to know."""
    names = [*LIVING, "openat2"]
    rules = [{"names": names, "action": "SCMP_ACT_ALLOW"}]
    held = Filter({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}, directory="")
    mkdir = lib.number("mkdirat", lib.native())
    assert attempt(held, mkdir, [0]).errno == errno.EPERM
    assert attempt(held, 2000, [0]).errno == errno.ENOSYS


@pytest.fixture
def kept(tmp_path: Path, lib: Library) -> tuple[Profile, Path]:
    """A profile whose program is in a directory, and that directory."""
    place = tmp_path / "pinnace/seccomp"
    wanted = Profile(_REFUSE)
    assert cache.compiled(wanted, str(place)) == lib.compile(wanted).program
    return wanted, place


def _without_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: Library) -> None:
        raise FailedPrecondition("no libseccomp")

    monkeypatch.setattr(library.Library, "__init__", missing)


def test_a_kept_program_needs_no_library(
    kept: tuple[Profile, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, place = kept
    assert place.stat().st_mode & 0o777 == 0o700
    before = cache.compiled(wanted, str(place))
    _without_library(monkeypatch)
    assert cache.compiled(wanted, str(place)) == before
    with pytest.raises(FailedPrecondition, match="no libseccomp"):
        cache.compiled(Profile(_ALLOW), str(place))


def _truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])


def _replace_program(file: Path) -> None:
    """The whole file for another profile: an attacker's wish, allow everything."""
    cache._write(str(file.parent), "0" * 64, Compiled(bpf.INSTRUCTION.pack(6, 0, 0, 0x7FFF0000), ()), "")  # fmt: skip
    os.replace(file.parent / ("0" * 64), file)


def _link(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


def _hard_link(file: Path) -> None:
    os.link(file, file.parent.parent / "mine")


@pytest.mark.parametrize(
    "attack",
    [
        _truncate,
        _replace_program,
        _link,
        _hard_link,
        lambda file: file.chmod(0o620),
        lambda file: file.parent.chmod(0o770),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"\xff\n\xff"),
    ],
    ids=["torn", "another's", "link", "hard-link", "group", "directory", "empty", "garbage"],
)
def test_a_program_somebody_else_may_have_written_is_not_loaded(
    kept: tuple[Profile, Path], attack: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, place = kept
    attack(place / cache.key_of(wanted))
    _without_library(monkeypatch)
    with pytest.raises(FailedPrecondition, match="no libseccomp"):
        cache.compiled(wanted, str(place))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_program_of_another_user_is_not_loaded(
    kept: tuple[Profile, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, place = kept
    os.chown(place / cache.key_of(wanted), 1000, 1000)
    _without_library(monkeypatch)
    with pytest.raises(FailedPrecondition, match="no libseccomp"):
        cache.compiled(wanted, str(place))


def test_a_newer_library_is_asked_again_about_names_it_did_not_know(
    tmp_path: Path, lib: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = str(tmp_path / "seccomp")
    wanted = Profile(
        {**_ALLOW, "syscalls": [{"names": ["call_of_2040"], "action": "SCMP_ACT_KILL"}]}
    )
    assert lib.compile(wanted).unknown == ("call_of_2040",)
    old = cache.compiled(wanted, place)
    newer = bpf.INSTRUCTION.pack(6, 0, 0, 0)
    monkeypatch.setattr(Library, "compile", lambda *_: Compiled(newer, ()))
    assert cache.compiled(wanted, place) == old
    monkeypatch.setattr(Library, "version", lambda _: "99.0.0")
    assert cache.compiled(wanted, place) == newer


def test_old_programs_make_room(tmp_path: Path, lib: Library) -> None:
    place = tmp_path / "seccomp"
    for number in range(70):
        rule = {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": number}
        cache.compiled(Profile({**_ALLOW, "syscalls": [rule]}), str(place))
    assert len(list(place.iterdir())) == 64


def test_another_profile_is_another_program() -> None:
    assert cache.key_of(Profile(_ALLOW)) != cache.key_of(Profile(_REFUSE))
    described = {**_ALLOW, "listenerPath": "/x", "flags": []}
    assert cache.key_of(Profile(_ALLOW)) == cache.key_of(Profile(described))


def test_two_conditions_of_which_libseccomp_forgets_one(lib: Library) -> None:
    """Two NE on one argument: libseccomp 2.5.4 keeps only the one, and the other's value gets the default."""
    rules = [
        {"names": ["getpgid"], "action": "SCMP_ACT_ERRNO", "errnoRet": number, "args": [condition]}
        for number, condition in (
            (1001, {"index": 0, "value": 7, "op": "SCMP_CMP_NE"}),
            (1002, {"index": 0, "value": 8, "op": "SCMP_CMP_NE"}),
        )
    ]
    shape = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}
    held = Filter(shape, directory="")
    number = lib.number("getpgid", lib.native())
    assert [attempt(held, number, [each]).errno for each in (7, 8, 9)] == [1002, 1001, 1001]


def test_a_call_that_32_bit_x86_also_makes_through_socketcall(lib: Library) -> None:
    rules = [
        {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [condition]}
        for condition in (
            {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"},
            {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"},
        )
    ]
    architecture = profile.ARCHITECTURES["SCMP_ARCH_X86"]
    shape = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": rules,
        "architectures": ["SCMP_ARCH_X86"],
    }
    program = lib.compile(Profile(shape)).program
    socket_of_x86 = bpf.INSTRUCTION.pack(bpf.JUMP_EQUAL, 1, 0, 359)
    assert (
        bpf.INSTRUCTION.pack(bpf.JUMP_EQUAL, 0, 2, architecture)
        + bpf.INSTRUCTION.pack(bpf.LOAD, 0, 0, 0)
        + socket_of_x86
        in program
    )
