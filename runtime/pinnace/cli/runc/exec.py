"""``runc exec``: a further process in a running container."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pinnace.cli.options import Flag, switch, text, texts
from pinnace.cli.runc import common, foreground
from pinnace.errors import InvalidArgument
from pinnace.runc import container
from pinnace.spec import oci, runtime

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] CONTAINER COMMAND [ARGUMENT...]"
FLAGS: tuple[Flag, ...] = (
    *common.NEW_PROCESS,
    text("cwd", about="working directory, instead of the container's"),
    texts("env", "e", about="set a variable, NAME=value"),
    switch("tty", "t", about="give it a terminal"),
    text("user", "u", about="UID or UID:GID, instead of the container's"),
    texts("additional-gids", "g", about="a further group"),
    text("process", "p", about="file with an OCI process object, instead of a command and flags"),
    switch("detach", "d", about="do not wait for it"),
    text("process-label", about="SELinux label of the process"),
    text("apparmor", about="AppArmor profile of the process"),
    switch("no-new-privs", about="never let it gain privileges"),
    texts("cap", "c", about="give it this capability, too"),
    text("cgroup", about="run it in this control group below the container's"),
    switch("ignore-paused", about="also in a paused container, where it goes on when that does"),
)


def run(call: Call) -> int:
    identifier = call.argument(0, common.ID_MISSING)
    common.secure()
    options = common.options_of(call)
    root = common.state_root(call)
    process = _process(call, container.state(identifier, root)["config"])
    common.check_terminal(call, process, detached=call.on("detach"))
    if call.on("detach"):
        common.leave_behind(process)
    else:
        foreground.adopt_orphans()
    made = common.warn(container.exec_(identifier, root, process, None, options))
    common.announce(call, made)
    if call.on("detach"):
        return 0
    return foreground.attend(made, lambda: None)


def _process(call: Call, config: str) -> dict[str, Any]:
    if call.text("process"):
        try:
            with open(call.text("process"), "rb") as file:
                return runtime.check_process(json.loads(file.read(runtime.MAX_CONFIG)))
        except (OSError, ValueError) as problem:
            raise InvalidArgument(f"{call.text('process')}: {problem}") from None
    if len(call.args) < 2:
        raise InvalidArgument("process args cannot be empty")
    process = dict(runtime.read(config)["process"])
    process["args"] = call.args[1:]
    process["terminal"] = call.on("tty")
    process["cwd"] = call.text("cwd") or process["cwd"]
    process["env"] = oci.merged_env(process.get("env") or [], call.texts("env"))
    for flag, key in (("apparmor", "apparmorProfile"), ("process-label", "selinuxLabel")):
        if call.text(flag):
            process[key] = call.text(flag)
    if call.on("no-new-privs"):
        process["noNewPrivileges"] = True
    _set_user(call, process)
    for name in call.texts("cap"):
        sets = process["capabilities"] = dict(process.get("capabilities") or {})
        for kind in ("bounding", "effective", "permitted"):
            sets[kind] = [*(sets.get(kind) or []), name]
    return process


def _set_user(call: Call, process: dict[str, Any]) -> None:
    user = process["user"] = dict(process.get("user") or {})
    if call.text("user"):
        uid, _, gid = call.text("user").partition(":")
        try:
            user["uid"] = int(uid)
            user["gid"] = int(gid) if gid else user.get("gid", 0)
        except ValueError:
            raise InvalidArgument(
                f"--user {call.text('user')}: UID or UID:GID is expected"
            ) from None
    try:
        more = [int(gid) for gid in call.texts("additional-gids")]
    except ValueError:
        raise InvalidArgument("--additional-gids: the number of a group is expected") from None
    user["additionalGids"] = [*(user.get("additionalGids") or []), *more]
