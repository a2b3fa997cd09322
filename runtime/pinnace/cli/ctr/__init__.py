"""``ctr``: the administrator's command for the daemon, compatible with containerd's.

This module is the table of what there is; each command's code is in a module of its own, imported when the
command runs.
"""

from __future__ import annotations

from pinnace.cli import options
from pinnace.cli.options import Command, Flag, duration, switch, text
from pinnace.version import VERSION


def _leaf(name: str, module: str, about: str, *aliases: str) -> Command:
    return Command(name, about, aliases=aliases, module=f"pinnace.cli.ctr.{module}")


def _group(
    name: str,
    about: str,
    commands: tuple[Command, ...],
    *aliases: str,
    flags: tuple[Flag, ...] = (),
) -> Command:
    return Command(name, about, aliases=aliases, commands=commands, flags=flags)


_REMOVE = ("del", "remove", "rm")
_SNAPSHOTTER = text(
    "snapshotter", default="overlayfs", env="CONTAINERD_SNAPSHOTTER",
    about="which snapshotter holds the file systems",
)  # fmt: skip
"""The same flag as the commands below have themselves: containerd's ctr has it before the command."""

_CONTAINERS = (
    _leaf("checkpoint", "containers.checkpoint", "keep what makes a container as an image"),
    _leaf("create", "containers.create", "make a container from an image, without starting it"),
    _leaf("delete", "containers.remove", "delete containers that have no running task", *_REMOVE),
    _leaf("info", "containers.info", "show everything recorded about a container"),
    _leaf("label", "containers.label", "set and clear labels of a container"),
    _leaf("list", "containers.list", "list containers", "ls"),
    _leaf("restore", "containers.restore", "make a container from a checkpoint and start it"),
)
_CONTENT_PRUNE = (
    _leaf(
        "references", "content.prune.references", "let go of fetched layers; the unpacked ones stay"
    ),
)
_CONTENT = (
    _leaf("active", "content.active", "list what is being written"),
    _leaf("delete", "content.remove", "delete blobs", *_REMOVE),
    _leaf("edit", "content.edit", "change a blob in an editor; the result is a new blob"),
    _leaf("fetch", "content.fetching", "fetch an image's content without unpacking it"),
    _leaf("fetch-blob", "content.fetchblob", "write blobs of a registry to standard output"),
    _leaf(
        "fetch-object",
        "content.fetchobject",
        "write what a registry has under a name to standard output",
    ),
    _leaf("get", "content.get", "write a blob to standard output"),
    _leaf("ingest", "content.ingest", "store what comes on standard input"),
    _leaf("label", "content.label", "set and clear labels of a blob"),
    _leaf("list", "content.list", "list the blobs of the content store", "ls"),
    _group("prune", "let go of content that is only kept for later", _CONTENT_PRUNE),
    _leaf("push-object", "content.pushobject", "send a blob to a registry"),
)
_IMAGES = (
    _leaf("build-erofs-cache", "images.erofs", "refused: this daemon has no EROFS layers"),
    _leaf("check", "images.check", "tell which images are complete and unpacked"),
    _leaf("convert", "images.convert", "make an image in another form"),
    _leaf("delete", "images.remove", "delete images by name", *_REMOVE),
    _leaf("export", "images.export", "write images to an archive"),
    _leaf("import", "images.load", "read images from an archive"),
    _leaf("inspect", "images.inspect", "show an image's documents and layers", "i"),
    _leaf("label", "images.label", "set and clear labels of an image"),
    _leaf("list", "images.list", "list images", "ls"),
    _leaf("mount", "images.mounting", "mount an image's file system at a directory"),
    _leaf("prune", "images.prune", "delete the images that no container was made from"),
    _leaf("pull", "images.pull", "fetch an image from a registry and unpack it"),
    _leaf("push", "images.push", "send an image to a registry"),
    _leaf("tag", "images.tag", "give an image further names"),
    _leaf("unmount", "images.unmount", "take an image's file system away from a directory"),
    _leaf("usage", "images.usage", "show what images take on disk"),
)
_LEASES = (
    _leaf("create", "leases.create", "make a lease, which keeps content from being collected"),
    _leaf("delete", "leases.remove", "delete leases", *_REMOVE),
    _leaf("list", "leases.list", "list leases", "ls"),
)
_NAMESPACES = (
    _leaf("create", "namespaces.create", "make a namespace", "c"),
    _leaf("label", "namespaces.label", "set and clear labels of a namespace"),
    _leaf("list", "namespaces.list", "list namespaces", "ls"),
    _leaf("remove", "namespaces.remove", "delete empty namespaces", "rm"),
)
_SNAPSHOTS = (
    _leaf("commit", "snapshots.commit", "make a committed snapshot of a writable one"),
    _leaf("delete", "snapshots.remove", "delete snapshots", *_REMOVE),
    _leaf("diff", "snapshots.diff", "write what changed in a snapshot as a layer"),
    _leaf("info", "snapshots.info", "show everything recorded about a snapshot"),
    _leaf("label", "snapshots.label", "set and clear labels of a snapshot"),
    _leaf("list", "snapshots.list", "list snapshots", "ls"),
    _leaf("mounts", "snapshots.mounts", "print the commands that mount a snapshot", "m", "mount"),
    _leaf("prepare", "snapshots.prepare", "make a writable snapshot over a committed one"),
    _leaf("tree", "snapshots.tree", "show which snapshot stands on which"),
    _leaf("unpack", "snapshots.unpack", "apply the layers of an image that is stored"),
    _leaf("usage", "snapshots.usage", "show what snapshots take on disk"),
    _leaf("view", "snapshots.view", "make a read-only snapshot of a committed one"),
)
_SANDBOXES = (
    _leaf("info", "sandboxes.info", "show everything recorded about a sandbox", "i"),
    _leaf("list", "sandboxes.list", "list sandboxes", "ls"),
    _leaf("remove", "sandboxes.remove", "stop sandboxes and delete them", "rm"),
    _leaf("run", "sandboxes.run", "make a sandbox and start it", "create", "c", "r"),
)
_PROFILES = (
    _leaf("block", "pprof.block", "show where threads wait for locks"),
    _leaf("goroutines", "pprof.goroutines", "show what each thread is doing"),
    _leaf("heap", "pprof.heap", "show what the memory is used for"),
    _leaf("profile", "pprof.profile", "show where processor time goes"),
    _leaf("threadcreate", "pprof.threadcreate", "show what made the threads"),
    _leaf("trace", "pprof.trace", "record what the scheduler does"),
)
_SHIM = (
    _leaf("delete", "shim.delete", "delete a container's task"),
    _leaf("exec", "shim.exec", "run a further process"),
    _group("pprof", "a shim's insides, from its debug socket", _PROFILES),
    _leaf("shutdown", "shim.shutdown", "end a shim that has no task any more"),
    _leaf("start", "shim.start", "start a container whose task was created"),
    _leaf("state", "shim.state", "show what a shim knows of its process"),
)
_PLUGINS = (
    _leaf("inspect-runtime", "plugins_runtime", "show what a runtime says about itself"),
    _leaf("list", "plugins", "list the parts of the daemon", "ls"),
)
_TASKS = (
    _leaf("attach", "tasks.attach", "connect this terminal or these streams to a running task"),
    _leaf("checkpoint", "tasks.checkpoint", "keep a task's memory and state (takes criu)"),
    _leaf("delete", "tasks.remove", "delete tasks that have ended", *_REMOVE),
    _leaf("exec", "tasks.exec", "run a further process in a running container"),
    _leaf("kill", "tasks.kill", "send a signal to a task (SIGTERM by default)"),
    _leaf("list", "tasks.list", "list tasks", "ls"),
    _leaf("metrics", "tasks.metrics", "show what a task uses: memory, processor time, processes", "metric"),
    _leaf("pause", "tasks.pause", "freeze a task"),
    _leaf("ps", "tasks.ps", "list the processes of a task"),
    _leaf("resume", "tasks.resume", "let a frozen task go on"),
    _leaf("start", "tasks.start", "start the task of a container that was created"),
)  # fmt: skip

# Flags of groups; they stand here so that the table needs no command's module.
_DEBUG_SOCKET = text(
    "debug-socket", "d",
    about="the daemon's debug socket; default: /run/pinnace/debug.sock, then /run/containerd/debug.sock",
)  # fmt: skip
_SHIM_ID = text("id", about="the container's id (required)")
_SHIM_ADDRESS = text(
    "shim-address", about="the shim's socket; default: where containerd's shims have it"
)

APP = Command(
    "ctr",
    "work with the container daemon: images, containers and their tasks",
    version=VERSION,
    completer="pinnace.cli.ctr.completing:arguments",
    details="Compatible with containerd's ctr, and able to drive any containerd.\n"
    "Flags stand before arguments; everything happens in one namespace (--namespace).",
    flags=(
        switch("debug", about="print each call to the daemon and how long it took"),
        text(
            "address", "a", env="CONTAINERD_ADDRESS",
            about="the daemon's socket; default: /run/pinnace/pinnace.sock, then /run/containerd/containerd.sock",
        ),
        duration("timeout", about="longest time for the whole command (0s: no limit)"),
        duration("connect-timeout", about="longest time for connecting (0s: 10s)"),
        text(
            "namespace", "n", default="default", env="CONTAINERD_NAMESPACE",
            about="the namespace to work in",
        ),
        switch("version", "v", about="print the version"),
    ),
    commands=(
        _group("plugins", "parts of the daemon", _PLUGINS, "plugin"),
        _leaf("version", "version", "print the versions of this command and of the daemon"),
        _group("containers", "containers: what would run, with which root", _CONTAINERS, "c", "container"),
        _group("content", "the content store: blobs by digest", _CONTENT),
        _group("deprecations", "what is used here and will go away", (_leaf("list", "deprecations", "list what was used that will go away"),)),
        _leaf("events", "events", "print what happens in the daemon, as it happens", "event"),
        _group("images", "images: names for content", _IMAGES, "image", "i"),
        _leaf("install", "install", "install the programs of an image on this machine"),
        _leaf("info", "info", "show who the daemon is"),
        _group("leases", "leases: what must not be collected", _LEASES),
        _group("namespaces", "namespaces: separate worlds of one daemon", _NAMESPACES, "namespace", "ns"),
        _group("oci", "documents of the OCI", (_leaf("spec", "oci.spec", "print the default runtime specification"),)),
        _group("pprof", "the daemon's insides, from its debug socket", _PROFILES, flags=(_DEBUG_SOCKET,)),
        _leaf("run", "run", "make a container from an image and start it"),
        _group("sandboxes", "sandboxes: environments that containers share", _SANDBOXES, "sandbox", "sb", "s"),
        _group("shim", "one container's shim, past the daemon", _SHIM, flags=(_SHIM_ID, _SHIM_ADDRESS)),
        _group("snapshots", "snapshots: file systems of images and containers", _SNAPSHOTS, "snapshot", flags=(_SNAPSHOTTER,)),
        _group("tasks", "tasks: containers that run", _TASKS, "t", "task"),
    ),
)  # fmt: skip


def main(words: list[str]) -> int:
    """Run ``ctr`` with the words behind its name; returns the exit status."""
    return options.run(APP, words)
