"""config.toml in its versions, and what a mistake in it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinnace.daemon import config, toml
from pinnace.errors import InvalidArgument

VERSION_2 = """
version = 2
root = "/data/pinnace"
[grpc]
  address = "/run/x.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.lab/pause:1"
  stream_server_port = "10010"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = true
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "/etc/certs"
    [plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]
      endpoint = ["https://mirror.lab"]
"""
VERSION_3 = """
version = 3
root = '/data/pinnace'
[grpc]
address = '/run/x.sock'
[plugins.'io.containerd.cri.v1.images']
snapshotter = 'native'
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = 'registry.lab/pause:1'
[plugins.'io.containerd.cri.v1.images'.registry]
config_path = '/etc/certs'
[plugins.'io.containerd.cri.v1.images'.registry.mirrors.'docker.io']
endpoint = ['https://mirror.lab']
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
SystemdCgroup = true
[plugins.'io.containerd.grpc.v1.cri']
stream_server_port = '10010'
"""


def write(path: Path, text: str) -> str:
    (path / "config.toml").write_text(text)
    return str(path / "config.toml")


@pytest.mark.parametrize("text", [VERSION_2, VERSION_3, VERSION_3.replace("= 3", "= 4")])
def test_all_layouts_mean_the_same(tmp_path: Path, text: str) -> None:
    found = config.load(write(tmp_path, text))
    assert found.warnings == ()
    assert found["root"] == "/data/pinnace"
    assert found["address"] == "/run/x.sock"
    assert found["snapshotter"] == "native"
    assert found["sandbox_image"] == "registry.lab/pause:1"
    assert found["stream_server_port"] == "10010"
    assert found["runtimes"]["runc"]["options"]["SystemdCgroup"] is True
    assert found.paths("registry_config_path") == ("/etc/certs",)
    assert found["registry_mirrors"]["docker.io"]["endpoint"] == ["https://mirror.lab"]
    assert found["log_level"] == "info"


def test_migrating_gives_the_current_layout_with_the_same_meaning(tmp_path: Path) -> None:
    found = config.load(write(tmp_path, VERSION_2))
    migrated = toml.dump(config.document(found, defaults=False))
    assert "version = 3" in migrated
    assert "io.containerd.cri.v1.images" in migrated
    again = config.load(write(tmp_path, migrated))
    assert again.given == found.given


def test_the_default_configuration_is_complete_and_valid(tmp_path: Path) -> None:
    text = toml.dump(config.document(config.Config({}), defaults=True))
    found = config.load(write(tmp_path, text))
    assert found.warnings == ()
    assert found["root"] == "/var/lib/pinnace"


def test_unknown_settings_are_warned_of_with_their_place(tmp_path: Path) -> None:
    path = write(tmp_path, 'version = 3\n[metrics]\n  adress = "x"\n[grpc]\ntcp_port = 5\n')
    assert config.load(path).warnings == (
        f"{path}:3: metrics.adress: unknown setting, ignored; the nearest known is metrics.address",
        f"{path}:5: grpc.tcp_port: unknown setting, ignored",
    )


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("[grpc]\nadress = 1", "grpc.adress", "grpc.address"),
        ("[grcp]\naddress = 1", "grcp.address", "grpc.address"),
        ("stat = '/x'", "stat", "state"),
        (
            '[plugins."io.containerd.grpc.v1.cri"]\nsandbox_imgae = "x"',
            'plugins."io.containerd.grpc.v1.cri".sandbox_imgae',
            'plugins."io.containerd.grpc.v1.cri".sandbox_image',
        ),
        (
            '[plugins."io.containerd.grpc.v1.cri".registry.mirrosr."docker.io"]\nendpoint = []',
            'plugins."io.containerd.grpc.v1.cri".registry.mirrosr."docker.io".endpoint',
            "",
        ),
    ],
)
def test_the_nearest_known_setting_is_named(
    tmp_path: Path, text: str, key: str, nearest: str
) -> None:
    (warning,) = config.load(write(tmp_path, text)).warnings
    hint = f"; the nearest known is {nearest}" if nearest else ""
    assert warning.endswith(f": {key}: unknown setting, ignored{hint}")


def test_a_plugin_of_containerd_that_is_not_here_is_one_warning(tmp_path: Path) -> None:
    table = '[plugins."io.containerd.nri.v1.nri"]\ndisable = true\n'
    path = write(tmp_path, f'{table}[plugins."io.containerd.nri.v1.nri".more]\na = 1\n')
    assert config.load(path).warnings == (
        f'{path}:1: plugins."io.containerd.nri.v1.nri": unknown plugin, ignored',
    )


def test_drop_ins_beside_the_file_come_last_in_order(tmp_path: Path) -> None:
    path = write(tmp_path, 'imports = ["more.toml"]\nroot = "/one"\nstate = "/s"\n')
    (tmp_path / "more.toml").write_text('root = "/two"\noom_score = 5\n')
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/20-b.toml").write_text('root = "/four"\n')
    (tmp_path / "conf.d/10-a.toml").write_text('root = "/three"\n[debug]\nlevel = "warn"\n')
    (tmp_path / "conf.d/30-c.conf").write_text("not looked at")
    found = config.load(path)
    assert [found[it] for it in ("root", "state", "oom_score", "log_level")] == ["/four", "/s", 5, "warn"]  # fmt: skip


def test_drop_ins_count_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "DEFAULT_PATH", str(tmp_path / "config.toml"))
    assert config.load()["root"] == "/var/lib/pinnace"
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/a.toml").write_text('root = "/one"\n')
    assert config.load()["root"] == "/one"


def test_what_a_running_daemon_takes_over() -> None:
    old = config.Config({"root": "/a", "log_level": "info", "snapshotter": "native"})
    new = config.Config({"root": "/b", "log_level": "debug", "registry_mirrors": {"x": {}}})
    found, changed, waiting = config.reloaded(old, new)
    assert (found["root"], found["log_level"], found["snapshotter"]) == ("/a", "debug", "overlayfs")
    assert changed == [
        "debug.level",
        'plugins."io.containerd.cri.v1.images".snapshotter',
        'plugins."io.containerd.cri.v1.images".registry.mirrors',
    ]
    assert waiting == ["root"]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("version = 1\n", 1, "version: must be 2, 3 or 4, not 1"),
        ("version = 2\nroot = 5\n", 2, "root: must be a string, not 5"),
        ('version = 2\n\nroot = "data"\n', 3, "root: must be an absolute path, not 'data'"),
        ("root = \n", 1, "Invalid value"),
        ("[grpc\n", 1, "Expected ']'"),
        ('a = "x\n', 1, "Illegal character"),
        ("oom_score = 2000", 1, "oom_score: must be from -1000 to 1000: 2000"),
        ('[debug]\n  level = "loud"\n', 2, "debug.level: must be one of"),
        (f'[grpc]\naddress = "/{"x" * 120}"\n', 2, "grpc.address: is longer than the 107 bytes"),
        (
            '[plugins."io.containerd.grpc.v1.cri"]\n# c\nsandbox_image = ""\n',
            3,
            'plugins."io.containerd.grpc.v1.cri".sandbox_image: must name an image',
        ),
        (
            '[plugins]\n  [plugins."io.containerd.gc.v1.scheduler"]\n    schedule_delay = "soon"\n',
            3,
            'plugins."io.containerd.gc.v1.scheduler".schedule_delay: must be a duration',
        ),
        ("grpc = 3\n", 1, "grpc: must be a table, not 3"),
        ('imports = "a.toml"\n', 1, "imports: must be a list of strings, not 'a.toml'"),
    ],
)
def test_a_mistake_names_file_line_and_key(
    tmp_path: Path, text: str, line: int, reason: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InvalidArgument) as caught:
        config.load(path)
    assert caught.value.message.startswith(f"{path}:{line}: {reason}")
    assert "\n" not in caught.value.message


def test_a_file_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"none\.toml: No such file"):
        config.load(str(tmp_path / "none.toml"))


def test_imported_files_add_and_override(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('root = "/one"\nimports = ["config.toml"]\n')
    path = write(tmp_path, 'imports = ["*.toml"]\nroot = "/two"\nstate = "/s"\n')
    found = config.load(path)
    assert (found["root"], found["state"]) == ("/one", "/s")


def test_flags_override_and_are_checked() -> None:
    found = config.Config({"root": "/a"}).replaced(root="/b", state="")
    assert (found["root"], found["state"]) == ("/b", "/run/pinnace")
    with pytest.raises(InvalidArgument, match="--root: must be an absolute path"):
        found.replaced(root="relative")


def test_lines_are_found_for_dotted_and_quoted_keys() -> None:
    text = '# x\na.b = 1\n["c d"]\n"e.f" = 2\n[[g]]\nh = 1\n'
    assert toml.line_of(text, ("a", "b")) == 2
    assert toml.line_of(text, ("c d", "e.f")) == 4
    assert toml.line_of(text, ("c d", "missing")) == 3
    assert toml.line_of(text, ("g", "h")) == 6
