"""Options of the runc runtime, as ``ctr run`` and CRI pass them."""

from __future__ import annotations

from pinnace.api import codec as pb

PACKAGE = "containerd.runc.v1"


class Options(pb.Message):
    no_pivot_root = pb.boolean(1)
    no_new_keyring = pb.boolean(2)
    shim_cgroup = pb.string(3)
    io_uid = pb.uint32(4)
    io_gid = pb.uint32(5)
    binary_name = pb.string(6)
    root = pb.string(7)
    systemd_cgroup = pb.boolean(9)
    criu_image_path = pb.string(10)
    criu_work_path = pb.string(11)
    task_api_address = pb.string(12)
    task_api_version = pb.uint32(13)


class CheckpointOptions(pb.Message):
    exit = pb.boolean(1)
    open_tcp = pb.boolean(2)
    external_unix_sockets = pb.boolean(3)
    terminal = pb.boolean(4)
    file_locks = pb.boolean(5)
    empty_namespaces = pb.strings(6)
    cgroups_mode = pb.string(7)
    image_path = pb.string(8)
    work_path = pb.string(9)


class ProcessDetails(pb.Message):
    exec_id = pb.string(1)
