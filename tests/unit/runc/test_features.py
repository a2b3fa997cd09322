"""``features`` and ``spec`` are what the specification's schemas allow, and true."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pinnace.cli import options
from pinnace.cli import runc as command
from pinnace.linux.kernel import KERNEL
from pinnace.linux.mount import parse_options
from pinnace.linux.seccomp import loading, profile
from pinnace.runc import features, mapped
from pinnace.spec import oci, runtime
from tests import oci_schema


def _printed(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert options.run(command.APP, list(words)) == 0
    return json.loads(capsys.readouterr().out)


def _written(place: Path, *words: str) -> Any:
    assert options.run(command.APP, ["spec", "--bundle", str(place), *words]) == 0
    return json.loads((place / "config.json").read_text())


def test_features_are_as_the_schema_says(capsys: pytest.CaptureFixture[str]) -> None:
    oci_schema.FEATURES(_printed(capsys, "features"), "")


def test_features_are_true() -> None:
    found = features.describe()
    linux = found["linux"]
    assert found["hooks"] == list(runtime.HOOKS)
    for word in found["mountOptions"]:
        kept = mapped.plain_options({"options": [word]})
        assert not parse_options(kept).data, f"{word} would be the file system's"
    for action in linux["seccomp"]["actions"]:
        shape = {"defaultAction": action, "listenerPath": "/x"}
        assert profile.Profile(shape).default & ~0xFFFF == profile.ACTIONS[action]
    assert set(linux["seccomp"]["supportedFlags"]) <= set(linux["seccomp"]["knownFlags"])
    for name in linux["seccomp"]["supportedFlags"]:
        assert loading.has_flag(KERNEL, profile.FLAGS[name])
    assert linux["intelRdt"]["enabled"] is False


@pytest.mark.parametrize("version", [features.OLDEST, runtime.VERSION])
def test_the_versions_that_features_names_are_accepted(version: str) -> None:
    runtime.check({**runtime.default_spec("/x"), "ociVersion": version})


@pytest.mark.parametrize("words", [[], ["--rootless"]])
def test_specs_are_as_the_schema_says(tmp_path: Path, words: list[str]) -> None:
    oci_schema.CONFIG(_written(tmp_path, *words), "")


def test_what_the_daemon_makes_is_as_the_schema_says() -> None:
    spec = oci.default_spec("id", "namespace")
    oci.with_args(spec, ["sh"])
    oci_schema.CONFIG(spec, "")


def test_a_rootless_spec_asks_for_nothing_that_takes_rights(tmp_path: Path) -> None:
    spec = _written(tmp_path, "--rootless")
    linux = spec["linux"]
    kinds = {item["type"] for item in linux["namespaces"]}
    assert "user" in kinds
    assert "network" not in kinds
    assert linux["uidMappings"] == [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
    assert linux["gidMappings"] == [{"containerID": 0, "hostID": os.getegid(), "size": 1}]
    assert "resources" not in linux
    assert not [word for each in spec["mounts"] for word in each["options"] if "id=" in word]
    (sys,) = [each for each in spec["mounts"] if each["destination"] == "/sys"]
    assert "rbind" in sys["options"]


def _delete(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda shape: shape.pop(key)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda spec: spec.pop("ociVersion"),
        lambda spec: spec.update(ociVersion="new"),
        lambda spec: spec.update(bogus=1),
        lambda spec: spec["process"].pop("cwd"),
        lambda spec: spec["process"].update(args="sh"),
        lambda spec: spec["process"]["rlimits"][0].update(type="NOFILE"),
        lambda spec: spec["process"]["user"].update(uid=-1),
        lambda spec: spec["mounts"][0].pop("destination"),
        lambda spec: spec["linux"]["namespaces"][0].update(type="net"),
        lambda spec: spec["linux"].update(seccomp={"defaultAction": "SCMP_ACT_NO"}),
        lambda spec: spec["linux"].update(hugepageLimits=[]) or spec.update(hooks={"late": []}),
    ],
)
def test_the_schema_of_configurations_finds_faults(spoil: Callable[[dict[str, Any]], None]) -> None:
    spec = copy.deepcopy(runtime.default_spec("/x"))
    oci_schema.CONFIG(spec, "")
    spoil(spec)
    with pytest.raises(oci_schema.Wrong):
        oci_schema.CONFIG(spec, "")


@pytest.mark.parametrize(
    "spoil",
    [
        _delete("ociVersionMax"),
        lambda shape: shape["hooks"].append("late"),
        lambda shape: shape["linux"].update(memoryPolicy={}),
        lambda shape: shape["linux"]["seccomp"].update(enabled="yes"),
        lambda shape: shape["linux"]["seccomp"]["archs"].append("SCMP_ARCH_PDP11"),
        lambda shape: shape["linux"]["capabilities"].append("chown"),
    ],
)
def test_the_schema_of_features_finds_faults(spoil: Callable[[dict[str, Any]], None]) -> None:
    shape = features.describe()
    spoil(shape)
    with pytest.raises(oci_schema.Wrong):
        oci_schema.FEATURES(shape, "")
