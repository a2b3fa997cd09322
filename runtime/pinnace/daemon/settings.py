"""Every setting of ``config.toml`` that the daemon has: its places, its type, its default.

The first place is where current versions of containerd (configuration versions 3 and 4) have it,
the others are those of version 2. Source: containerd's docs/man/containerd-config.toml.5.md and
docs/cri/config.md; ``io.pinnace.*`` are our own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    Path = tuple[str, ...]
    Check = Callable[[Any], str]

_CRI = ("plugins", "io.containerd.grpc.v1.cri")
_IMAGES = ("plugins", "io.containerd.cri.v1.images")
_RUNTIME = ("plugins", "io.containerd.cri.v1.runtime")
_TRANSFER = ("plugins", "io.containerd.transfer.v1.local")
_GC = ("plugins", "io.containerd.gc.v1.scheduler")
_RESTART = ("plugins", "io.containerd.monitor.container.v1.restart")
_RESTART_2 = ("plugins", "io.containerd.internal.v1.restart")
_CERTS = "/etc/pinnace/certs.d:/etc/containerd/certs.d:/etc/docker/certs.d"


class Setting(NamedTuple):
    """``paths[0]`` is written, all are read; ``kind`` is a key of ``_KINDS``.

    A ``live`` one is looked at whenever it is needed, so that a running daemon can take another value.
    """

    name: str
    kind: str
    default: Any
    paths: tuple[Path, ...]
    check: Check | None = None
    flag: str = ""
    live: bool = False

    def problem(self, value: Any) -> str:
        """Why the value can't be; empty when it can."""
        expected, allowed = _KINDS[self.kind]
        if not allowed(value):
            return f"must be {expected}, not {_shown(value)}"
        return self.check(value) if self.check else ""


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_strings(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)


_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "string": ("a string", lambda value: isinstance(value, str)),
    "integer": ("an integer", _is_integer),
    "boolean": ("true or false", lambda value: isinstance(value, bool)),
    "strings": ("a list of strings", _is_strings),
    "table": ("a table", lambda value: isinstance(value, dict)),
}


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _absolute(value: str) -> str:
    return "" if value.startswith("/") else f"must be an absolute path, not {value!r}"


def _socket(value: str) -> str:
    # sun_path has 108 bytes with its closing zero (unix(7)).
    if len(value.encode()) > 107:
        return f"is longer than the 107 bytes of a socket's path: {value!r}"
    return _absolute(value)


def _socket_or_none(value: str) -> str:
    return _socket(value) if value else ""


def _tcp_address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not value or (host and port.isdecimal() and int(port) < 1 << 16):
        return ""
    return f"must be an address such as 127.0.0.1:1338: {value!r}"


def _one_of(*words: str) -> Check:
    return lambda value: "" if value in words else f"must be one of {', '.join(words)}: {value!r}"


def _between(low: int, high: int) -> Check:
    return lambda value: "" if low <= value <= high else f"must be from {low} to {high}: {value}"


def _programs(value: dict[str, Any]) -> str:
    for name, program in value.items():
        if not isinstance(program, str) or not program.startswith("/"):
            return f"{name} must be the absolute path of a shim, not {_shown(program)}"
    return ""


def _image(value: str) -> str:
    return "" if value and not value.isspace() else "must name an image"


def _duration(value: str) -> str:
    return (
        "" if seconds(value) is not None else f"must be a duration such as 100ms or 2s: {value!r}"
    )


def seconds(text: str) -> float | None:
    """A duration as Go writes it, of one unit or several; ``None`` when it is none."""
    import re

    units = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None if text != "0" else 0.0
    return sum(float(number) * units[unit] for number, unit in parts)


def _of(tables: Path, key: str, *more: Path) -> tuple[Path, ...]:
    return ((*tables, *key.split(".")), *more)


def _cri(*keys: str) -> Path:
    return (*_CRI, *keys)


_ALL = (
    Setting("root", "string", "/var/lib/pinnace", (("root",),), _absolute, "root"),
    Setting("state", "string", "/run/pinnace", (("state",),), _absolute, "state"),
    Setting("oom_score", "integer", 0, (("oom_score",),), _between(-1000, 1000)),
    Setting("address", "string", "/run/pinnace/pinnace.sock", (("grpc", "address"),), _socket, "address"),
    Setting("uid", "integer", 0, (("grpc", "uid"),), _between(0, (1 << 32) - 2)),
    Setting("gid", "integer", 0, (("grpc", "gid"),), _between(0, (1 << 32) - 2)),
    Setting("ttrpc_address", "string", "", (("ttrpc", "address"),), _socket_or_none),
    Setting("ttrpc_uid", "integer", 0, (("ttrpc", "uid"),), _between(0, (1 << 32) - 2)),
    Setting("ttrpc_gid", "integer", 0, (("ttrpc", "gid"),), _between(0, (1 << 32) - 2)),
    Setting("log_level", "string", "info", (("debug", "level"),),
            _one_of("trace", "debug", "info", "warn", "error", "fatal", "panic"), "log-level", live=True),
    Setting("log_format", "string", "text", (("debug", "format"),), _one_of("text", "json"), "log-format"),
    Setting("debug_address", "string", "", (("debug", "address"),), _socket_or_none),
    Setting("debug_uid", "integer", 0, (("debug", "uid"),), _between(0, (1 << 32) - 2)),
    Setting("debug_gid", "integer", 0, (("debug", "gid"),), _between(0, (1 << 32) - 2)),
    Setting("metrics_address", "string", "", (("metrics", "address"),), _tcp_address),
    Setting("keeper_address", "string", "/run/pinnace/keeper.sock",
            (("plugins", "io.pinnace.keeper", "address"),), _socket),
    Setting("runtime_programs", "table", {}, (("plugins", "io.pinnace.runtimes"),), _programs, live=True),
    Setting("gc_schedule_delay", "string", "500ms", _of(_GC, "schedule_delay"), _duration),
    Setting("gc_startup_delay", "string", "100ms", _of(_GC, "startup_delay"), _duration),
    Setting("restart_interval", "string", "10s",
            _of(_RESTART, "interval", (*_RESTART_2, "interval")), _duration),
    Setting("transfer_config_path", "string", _CERTS, _of(_TRANSFER, "config_path"), live=True),
    Setting("max_concurrent_downloads", "integer", 3,
            _of(_TRANSFER, "max_concurrent_downloads", (*_IMAGES, "max_concurrent_downloads"),
                _cri("max_concurrent_downloads")), _between(1, 64), live=True),
    Setting("snapshotter", "string", "overlayfs",
            _of(_IMAGES, "snapshotter", _cri("containerd", "snapshotter")),
            _one_of("overlayfs", "native"), live=True),
    Setting("sandbox_image", "string", "registry.k8s.io/pause:3.10.2",
            _of(_IMAGES, "pinned_images.sandbox", _cri("sandbox_image")), _image),
    Setting("registry_config_path", "string", _CERTS,
            _of(_IMAGES, "registry.config_path", _cri("registry", "config_path")), live=True),
    Setting("registry_mirrors", "table", {},
            _of(_IMAGES, "registry.mirrors", _cri("registry", "mirrors")), live=True),
    Setting("registry_configs", "table", {},
            _of(_IMAGES, "registry.configs", _cri("registry", "configs")), live=True),
    Setting("registry_auths", "table", {},
            _of(_IMAGES, "registry.auths", _cri("registry", "auths")), live=True),
    Setting("default_runtime", "string", "runc",
            _of(_RUNTIME, "containerd.default_runtime_name", _cri("containerd", "default_runtime_name"))),
    Setting("runtimes", "table",
            {"runc": {"runtime_type": "io.containerd.runc.v2", "options": {"SystemdCgroup": False}}},
            _of(_RUNTIME, "containerd.runtimes", _cri("containerd", "runtimes"))),
    Setting("cni_bin_dirs", "strings", ["/opt/cni/bin", "/usr/lib/cni"], _of(_RUNTIME, "cni.bin_dirs")),
    Setting("cni_bin_dir", "string", "", _of(_RUNTIME, "cni.bin_dir", _cri("cni", "bin_dir"))),
    Setting("cni_conf_dir", "string", "/etc/cni/net.d",
            _of(_RUNTIME, "cni.conf_dir", _cri("cni", "conf_dir")), _absolute),
    Setting("cni_max_conf_num", "integer", 1,
            _of(_RUNTIME, "cni.max_conf_num", _cri("cni", "max_conf_num")), _between(0, 1000)),
    Setting("max_container_log_line_size", "integer", 16384,
            _of(_RUNTIME, "max_container_log_line_size", _cri("max_container_log_line_size"))),
    Setting("stream_server_address", "string", "127.0.0.1", (_cri("stream_server_address"),)),
    Setting("stream_server_port", "string", "0", (_cri("stream_server_port"),)),
    Setting("stream_idle_timeout", "string", "4h0m0s", (_cri("stream_idle_timeout"),), _duration),
    Setting("enable_tls_streaming", "boolean", False, (_cri("enable_tls_streaming"),)),
    Setting("disable_tcp_service", "boolean", True, (_cri("disable_tcp_service"),)),
)  # fmt: skip

SETTINGS: dict[str, Setting] = {setting.name: setting for setting in _ALL}
BY_PATH: dict[Path, Setting] = {path: setting for setting in _ALL for path in setting.paths}
TABLES = frozenset(setting.name for setting in _ALL if setting.kind == "table")
