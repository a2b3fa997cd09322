"""Runtime specifications: what a container gets by default and what each wish changes."""

from __future__ import annotations

from typing import Any

import pytest

from pinnace.errors import InvalidArgument
from pinnace.spec import oci

PASSWD = "root:x:0:0:root:/root:/bin/sh\n# no:x:9:9::/:\nweb:x:33:44:web:/home:/bin/sh\n7:x:70:71::/:/bin/sh\n"  # fmt: skip
GROUP = "root:x:0:root\nweb:x:44:\nextra:x:55:web,root\n"


@pytest.fixture
def spec() -> oci.Spec:
    made = oci.default_spec("c1", "default")
    oci.with_args(made, ["sh"])
    return made


def test_default_is_confined(spec: oci.Spec) -> None:
    assert spec["process"]["noNewPrivileges"] is True
    assert "CAP_SYS_ADMIN" not in spec["process"]["capabilities"]["bounding"]
    assert spec["linux"]["resources"]["devices"][0] == {"allow": False, "access": "rwm"}
    assert "/proc/kcore" in spec["linux"]["maskedPaths"]
    assert "/proc/sys" in spec["linux"]["readonlyPaths"]
    kinds = {each["type"] for each in spec["linux"]["namespaces"]}
    assert kinds == {"pid", "ipc", "uts", "mount", "network"}
    assert spec["linux"]["cgroupsPath"] == "/default/c1"
    sys_mount = next(each for each in spec["mounts"] if each["destination"] == "/sys")
    assert "ro" in sys_mount["options"]


def test_two_specs_share_nothing() -> None:
    one, two = oci.default_spec("a", "n"), oci.default_spec("b", "n")
    one["linux"]["maskedPaths"].clear()
    one["mounts"].clear()
    assert two["linux"]["maskedPaths"]
    assert two["mounts"]


def test_image_config_fills_in(spec: oci.Spec) -> None:
    config = {
        "Env": ["PATH=/bin", "A=1"], "Entrypoint": ["/entry"], "Cmd": ["default"],
        "WorkingDir": "/srv", "User": "web",
    }  # fmt: skip
    oci.with_env(spec, ["A=2"])
    assert oci.with_image_config(spec, config, []) == "web"
    process = spec["process"]
    assert process["args"] == ["/entry", "default"]
    assert process["cwd"] == "/srv"
    assert process["env"] == ["PATH=/bin", "A=2"]
    oci.with_image_config(spec, config, ["other"])
    assert process["args"] == ["/entry", "other"]


def test_an_image_without_a_command(spec: oci.Spec) -> None:
    with pytest.raises(InvalidArgument, match="no command"):
        oci.with_image_config(spec, {}, [])


def test_path_is_always_set(spec: oci.Spec) -> None:
    oci.with_image_config(spec, {"Cmd": ["sh"]}, [])
    assert spec["process"]["env"] == [oci.DEFAULT_PATH]


@pytest.mark.parametrize(
    ("user", "uid", "gid", "more"),
    [
        ("root", 0, 0, [0, 55]),
        ("0:0", 0, 0, [0, 55]),
        ("web", 33, 44, [44, 55]),
        ("33", 33, 44, [44, 55]),
        ("web:root", 33, 0, [0, 55]),
        ("1000", 1000, 0, [0]),
        ("1000:55", 1000, 55, [55]),
        ("7", 70, 71, [71]),  # a name made of digits wins over the number
    ],
)
def test_users(spec: oci.Spec, user: str, uid: int, gid: int, more: list[int]) -> None:
    oci.with_user(spec, user, PASSWD, GROUP)
    assert spec["process"]["user"] == {"uid": uid, "gid": gid, "additionalGids": more}


@pytest.mark.parametrize(
    "user", ["nobody", "web:nogroup", "-1", "4294967295", "99999999999", "web:-1", "1.5"]
)
def test_bad_users(spec: oci.Spec, user: str) -> None:
    with pytest.raises(InvalidArgument):
        oci.with_user(spec, user, PASSWD, GROUP)


def test_a_hostile_passwd_is_not_trusted(spec: oci.Spec) -> None:
    hostile = "web:x:-5:0::/:\nweb:x:9\nweb:x:4294967295:0::/:\n"
    with pytest.raises(InvalidArgument):
        oci.with_user(spec, "web", hostile, "")


def test_capabilities(spec: oci.Spec) -> None:
    oci.with_capabilities(spec, ["CAP_NET_ADMIN", "sys_time"], ["CAP_MKNOD"])
    for kind in ("bounding", "effective", "permitted"):
        names = spec["process"]["capabilities"][kind]
        assert {"CAP_NET_ADMIN", "CAP_SYS_TIME"} <= set(names)
        assert "CAP_MKNOD" not in names
    oci.with_capabilities(spec, [], ["ALL"])
    assert spec["process"]["capabilities"]["bounding"] == []
    with pytest.raises(InvalidArgument, match="CAP_FLY"):
        oci.with_capabilities(spec, ["CAP_FLY"], [])


def test_mounts() -> None:
    assert oci.parse_mount("type=bind,src=/tmp,dst=/host,options=rbind:ro") == {
        "type": "bind", "source": "/tmp", "destination": "/host", "options": ["rbind", "ro"],
    }  # fmt: skip
    for bad in ("type=bind", "dst=relative", "nonsense", "src=/a,dst=/b,speed=9"):
        with pytest.raises(InvalidArgument):
            oci.parse_mount(bad)


def test_a_mount_replaces_the_one_at_its_place(spec: oci.Spec) -> None:
    oci.with_mount(spec, oci.parse_mount("type=tmpfs,src=tmpfs,dst=/run,options=size=1m"))
    found = [each for each in spec["mounts"] if each["destination"] == "/run"]
    assert [each["options"] for each in found] == [["size=1m"]]


def test_host_network(spec: oci.Spec) -> None:
    oci.with_host_network(spec, "pi")
    assert "network" not in {each["type"] for each in spec["linux"]["namespaces"]}
    assert {"/etc/hosts", "/etc/resolv.conf"} <= {each["destination"] for each in spec["mounts"]}
    assert "HOSTNAME=pi" in spec["process"]["env"]


def test_joining_a_namespace(spec: oci.Spec) -> None:
    oci.join_namespace(spec, "network:/run/netns/blue")
    found = [each for each in spec["linux"]["namespaces"] if each["type"] == "network"]
    assert found == [{"type": "network", "path": "/run/netns/blue"}]
    for bad in ("network", "network:", "planet:/x"):
        with pytest.raises(InvalidArgument):
            oci.join_namespace(spec, bad)


def test_privileges(spec: oci.Spec) -> None:
    device = {"path": "/dev/kvm", "type": "c", "major": 10, "minor": 232}
    oci.with_privileges(spec, [device], 0b101)
    assert spec["process"]["capabilities"]["bounding"] == ["CAP_CHOWN", "CAP_DAC_READ_SEARCH"]
    assert spec["linux"]["maskedPaths"] == []
    assert spec["linux"]["devices"] == [device]
    assert spec["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert all("ro" not in each["options"] for each in spec["mounts"] if each["type"] == "sysfs")


def test_limits(spec: oci.Spec) -> None:
    oci.with_memory_limit(spec, 1 << 20)
    oci.with_cpus(spec, 1.5)
    resources: dict[str, Any] = spec["linux"]["resources"]
    assert resources["memory"] == {"limit": 1 << 20}
    assert resources["cpu"] == {"quota": 150_000, "period": 100_000}
    for wrong in (lambda: oci.with_memory_limit(spec, 0), lambda: oci.with_cpus(spec, 0.0)):
        with pytest.raises(InvalidArgument):
            wrong()
