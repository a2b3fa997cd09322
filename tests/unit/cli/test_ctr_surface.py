"""Everything that containerd's ctr (2.4) has, ours has: commands, aliases and flags, and help that names them.

The table is facts: a command's path, its aliases in brackets, its own flags. ``*NAME`` stands for a group of flags.
"""

from __future__ import annotations

import re

import pytest

from pinnace.cli.ctr import APP
from pinnace.cli.ctr import main as ctr
from pinnace.cli.options import Command

REGISTRY = (
    "--skip-verify -k --plain-http --user -u --refresh --hosts-dir --tlscacert --tlscert --tlskey "
    "--http-dump --http-trace"
)
RUNTIME = "--runtime --runtime-config-path --runc-binary --runc-root --runc-systemd-cgroup"
SNAPSHOT = "--snapshotter --snapshotter-label"
CONTAINER = (
    "--config -c --cwd --env --env-file --label --annotation --mount --net-host --privileged --read-only "
    "--sandbox --tty -t --with-ns --pid-file --gpus --allow-new-privs --memory-limit --cap-add --cap-drop "
    "--seccomp --seccomp-profile --apparmor-default-profile --apparmor-profile --blockio-config-file "
    "--blockio-class --rdt-class --hostname --user -u --rootfs --no-pivot --cpu-quota --cpu-period "
    "--rootfs-propagation --device"
)
LINUX = (
    "--uidmap --gidmap --remap-labels --privileged-without-host-devices --cpus --cpu-shares --cpuset-cpus "
    "--cpuset-mems --rlimit-nofile"
)
GROUPS = {
    "*registry": REGISTRY,
    "*runtime": RUNTIME,
    "*snapshot": SNAPSHOT,
    "*container": CONTAINER,
    "*linux": LINUX,
}

TABLE = """
containers (c container)
containers checkpoint --rw --image --task
containers create
containers delete (del remove rm) --keep-snapshot
containers info --spec
containers label
containers list (ls) --quiet
containers restore --rw --live
content
content active --timeout --root
content delete (del remove rm)
content edit --validate --editor
content fetch --platform --all-platforms --all-metadata --skip-metadata --metadata-only
content fetch-blob --media-type
content fetch-object
content get
content ingest --expected-size --expected-digest
content label
content list (ls) --quiet
content prune
content push-object
content prune references
deprecations
deprecations list --format
events (event)
images (image i)
images build-erofs-cache --compressors --mkfs-options --platform --dmverity
images check --quiet
images convert --uncompress --oci --erofs --erofs-compressors --erofs-mkfs-options --platform --all-platforms
images delete (del remove rm) --sync
images export --skip-manifest-json --skip-non-distributable --platform --all-platforms --local
images import --base-name --digests --skip-digest-for-named --index-name --all-platforms --platform --no-unpack --local --compress-blobs --discard-unpacked-layers --sync-fs
images inspect (i) --content
images label --replace-all
images list (ls) --quiet
images mount --rw --platform --sync-fs --expiration
images prune --all
images pull --platform --all-platforms --all-metadata --skip-metadata --print-chainid --max-concurrent-downloads --local --sync-fs
images push --manifest --manifest-type --platform --max-concurrent-uploaded-layers --local --allow-non-distributable-blobs
images tag --force --local --skip-reference-check
images unmount --rm
images usage
info
install --libs --replace --path
leases
leases create --id --expires
leases delete (del remove rm) --sync
leases list (ls) --quiet
namespaces (namespace ns)
namespaces create (c)
namespaces label
namespaces list (ls) --quiet
namespaces remove (rm) --cgroup
oci
oci spec --platform
plugins (plugin)
plugins inspect-runtime
plugins list (ls) --quiet --detailed
pprof --debug-socket
pprof block --debug
pprof goroutines --debug
pprof heap --debug
pprof profile --seconds --debug
pprof threadcreate --debug
pprof trace --seconds --debug
run --rm --null-io --log-uri --detach --fifo-dir --cgroup --platform --cni --sync-fs --dump-config
sandboxes (sandbox sb s)
sandboxes info (i)
sandboxes list (ls) --filters
sandboxes remove (rm) --force
sandboxes run (create c r) --runtime
shim --id --shim-address
shim pprof block --debug
shim delete
shim exec --attach --env --cwd --spec
shim pprof goroutines --debug
shim pprof heap --debug
shim pprof
shim pprof profile --seconds --debug
shim shutdown --api-version
shim start
shim state --task-id --api-version
shim pprof threadcreate --debug
shim pprof trace --seconds --debug
snapshots (snapshot)
snapshots commit
snapshots delete (del remove rm)
snapshots diff --media-type --ref --keep
snapshots info
snapshots label
snapshots list (ls)
snapshots mounts (m mount) --temp
snapshots prepare --target --mounts
snapshots tree
snapshots unpack --sync-fs
snapshots usage -b
snapshots view --target --mounts
tasks (t task)
tasks attach
tasks checkpoint --exit --image-path --work-path
tasks delete (del remove rm) --force --exec-id
tasks exec --cwd --tty --detach --exec-id --fifo-dir --log-uri --user
tasks kill --signal --exec-id --all
tasks list (ls) --quiet
tasks metrics (metric)
tasks pause
tasks ps
tasks resume
tasks start --null-io --log-uri --fifo-dir --pid-file --detach
version
"""
WITH_GROUPS = {
    "run": "*runtime *snapshot *container *linux -d",
    "containers create": "*runtime *snapshot *container",
    "plugins inspect-runtime": "*runtime",
    "images pull": "*registry --snapshotter --label",
    "images push": "*registry",
    "images mount": "--snapshotter",
    "images unmount": "--snapshotter",
    "images check": "--snapshotter",
    "images usage": "--snapshotter",
    "images import": "--snapshotter",
    "content fetch": "*registry --label",
    "content fetch-object": "*registry",
    "content fetch-blob": "*registry",
    "content push-object": "*registry",
    "snapshots": "--snapshotter",
    "snapshots diff": "--label",
    "tasks start": "--no-pivot",
}


def rows() -> dict[str, tuple[list[str], list[str]]]:
    """Path to aliases and flags."""
    found = {}
    for line in TABLE.strip().splitlines():
        head, _, tail = line.partition(" --") if " --" in line else line.partition(" -")
        flags = f"{line[len(head) :]}".split() if tail else []
        path, _, aliases = head.partition(" (")
        more = " ".join(GROUPS.get(word, word) for word in WITH_GROUPS.get(path, "").split())
        found[path] = (aliases.rstrip(")").split(), [*flags, *more.split()])
    return found


ROWS = rows()


def find(path: str) -> Command:
    command = APP
    for word in path.split():
        child = command.child(word)
        assert child is not None, f"ctr has no {path}"
        command = child
    return command


def test_the_table_is_read_whole() -> None:
    assert len(ROWS) == len(TABLE.strip().splitlines()) > 100
    assert ROWS["snapshots mounts"] == (["m", "mount"], ["--temp"])
    assert WITH_GROUPS.keys() <= ROWS.keys()


@pytest.mark.parametrize("path", ROWS)
def test_a_command_is_there_with_its_aliases_and_flags_and_says_so(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    aliases, flags = ROWS[path]
    command = find(path)
    assert set(aliases) <= set(command.names)
    assert ctr([*path.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    words = set(re.findall(r"(?<=[\s,])--?[a-z][a-z0-9-]*", shown))
    assert set(flags) <= words, f"missing: {set(flags) - words}"


@pytest.mark.parametrize(
    "flag",
    [
        "--debug",
        "--address",
        "-a",
        "--timeout",
        "--connect-timeout",
        "--namespace",
        "-n",
        "--version",
    ],
)
def test_flags_of_all_commands(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctr(["--help"]) == 0
    assert re.search(rf"\s{flag}\b", capsys.readouterr().out)
