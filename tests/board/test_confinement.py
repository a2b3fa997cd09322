"""Containers are confined by the board's own kernel: seccomp, supervisors, user namespaces, AppArmor."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.runc import supervisor
from toolkit.boards import capability
from toolkit.verify.session import Subject

_BUNDLE = "/run/verify-confinement"
_RUNC = "/opt/pinnace/current/bin/runc"
# mkdir(2) and mkdirat(2) by what uname(2) calls the machine (the kernel's system call tables).
_MKDIR = {"x86_64": {83, 258}, "aarch64": {34}, "armv6l": {39, 323}, "armv7l": {39, 323}}

Change = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def root(host: Any, pulled: str) -> Iterator[str]:
    """A bundle's root with the programs of the image."""
    name = "verify-confinement"
    assert host.run(f"ctr run -d {pulled} {name} sleep 600").succeeded
    rows = [line.split() for line in host.run("ctr task ls").stdout.splitlines()]
    pid = next(row[1] for row in rows if row[0] == name)
    made = host.run(
        f"rm -rf {_BUNDLE}; mkdir -p {_BUNDLE}/rootfs && cp -a /proc/{pid}/root/bin {_BUNDLE}/rootfs/ && "
        f"cd {_BUNDLE}/rootfs && mkdir proc sys dev run && chown -R 100000:100000 . && chmod 755 .. ."
    )
    host.run(f"ctr task kill -s SIGKILL {name}; ctr task delete -f {name}; ctr container delete {name}")  # fmt: skip
    assert made.succeeded, made.stderr
    yield f"{_BUNDLE}/rootfs"
    host.run(f"rm -rf {_BUNDLE}")


@pytest.fixture
def run(host: Any, root: str) -> Iterator[Callable[..., Any]]:
    """Run a container of the bundle: its configuration is the default one, changed."""

    def call(change: Change, *words: str) -> Any:
        host.run(f"rm -f {_BUNDLE}/config.json; {_RUNC} spec --bundle {_BUNDLE}")
        spec = json.loads(host.run(f"cat {_BUNDLE}/config.json").stdout)
        spec["process"] |= {"terminal": False, "args": list(words)}
        spec["root"]["readonly"] = False
        change(spec)
        written = host.run(f"cat > {_BUNDLE}/config.json <<'END'\n{json.dumps(spec)}\nEND")
        assert written.succeeded, written.stderr
        return host.run(f"{_RUNC} run --bundle {_BUNDLE} verify-confined </dev/null")

    yield call
    host.run(f"{_RUNC} delete --force verify-confined")


def _seccomp(action: str, **more: Any) -> Change:
    rule = {"names": ["mkdir", "mkdirat"], "action": action}
    if "errnoRet" in more:
        rule["errnoRet"] = more.pop("errnoRet")

    def change(spec: dict[str, Any]) -> None:
        shape = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule], **more}
        spec["linux"]["seccomp"] = shape

    return change


@pytest.mark.requires("seccomp")
def test_a_profile_refuses_calls(run: Callable[..., Any]) -> None:
    done = run(_seccomp("SCMP_ACT_ERRNO", errnoRet=18), "mkdir", "/x")
    assert done.rc == 1
    assert "cross-device" in done.stderr.lower()


def test_a_profile_is_refused_where_nothing_would_hold_it(
    run: Callable[..., Any], subject: Subject
) -> None:
    if capability.SECCOMP in subject.shows:
        pytest.skip("this board has seccomp")
    done = run(_seccomp("SCMP_ACT_ERRNO"), "true")
    assert done.rc != 0
    assert "seccomp" in done.stderr


_SUPERVISE = """
import sys, time
supervisor = Supervisor(sys.argv[1], {refused})
print("ready", flush=True)
sys.stdin.read()
supervisor.close()
"""


@pytest.mark.requires("seccomp")
def test_a_supervisor_decides(run: Callable[..., Any], host: Any) -> None:
    refused = _MKDIR[host.run("uname -m").stdout.strip()]
    program = Path(supervisor.__file__).read_text() + _SUPERVISE.format(refused=refused)
    path, pid = f"{_BUNDLE}/supervisor", f"{_BUNDLE}/supervisor.pid"
    assert host.run(f"cat > {path}.py <<'END'\n{program}\nEND").succeeded
    host.run(
        f"mkfifo {path}.in; (sleep 300 > {path}.in 2>/dev/null & echo $! > {pid});"
        f" nohup python3 {path}.py {path}.sock < {path}.in > {path}.log 2>&1 &"
        f" for i in $(seq 100); do grep -q ready {path}.log && break; sleep 0.1; done"
    )
    try:
        done = run(_seccomp("SCMP_ACT_NOTIFY", listenerPath=f"{path}.sock"), "mkdir", "/x")
        assert "cross-device" in done.stderr.lower(), host.run(f"cat {path}.log").stdout
    finally:
        host.run(f"kill $(cat {pid})")  # the supervisor reads the end of its input, and ends


# A board that shares its kernel has a /proc with read-only parts, and the kernel lets no user namespace
# have a new one that would show more (mount_namespaces(7)).
@pytest.mark.requires("user-namespaces", "own-kernel")
def test_a_user_namespace_maps_its_users(run: Callable[..., Any]) -> None:
    def change(spec: dict[str, Any]) -> None:
        mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        spec["linux"] |= {"uidMappings": mapping, "gidMappings": mapping}
        spec["linux"]["namespaces"].append({"type": "user"})

    done = run(change, "sh", "-c", "cat /proc/self/uid_map; touch /made && stat -c %u /made")
    assert done.rc == 0, done.stderr
    assert done.stdout.split() == ["0", "100000", "65536", "0"]


@pytest.mark.requires("own-kernel")
def test_apparmor_profiles(run: Callable[..., Any], host: Any) -> None:
    enabled = host.run("cat /sys/module/apparmor/parameters/enabled").stdout.startswith("Y")

    def confined(profile: str) -> Change:
        return lambda spec: spec["process"].update(apparmorProfile=profile)

    done = run(confined("pinnace-nosuch"), "true")
    assert done.rc != 0
    assert "pinnace-nosuch" in done.stderr
    if enabled:
        done = run(confined("unconfined"), "cat", "/proc/self/attr/current")
        assert done.stdout.strip() == "unconfined", done.stderr
