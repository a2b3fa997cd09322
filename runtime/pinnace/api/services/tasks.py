"""The Tasks service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema import runc, tasktypes
from pinnace.api.schema import tasks as wire
from pinnace.api.schema.types import Metric
from pinnace.api.schema.wellknown import Empty, Timestamp
from pinnace.api.services import convert, metrics
from pinnace.api.services.runtime import options_of
from pinnace.daemon import bundle
from pinnace.daemon.checkpoints import Place
from pinnace.daemon.task import ProcessState, Stdio, Task
from pinnace.errors import DeadlineExceeded, Error, InvalidArgument

if TYPE_CHECKING:
    from pinnace.api.server import Context
    from pinnace.daemon.daemon import Daemon
    from pinnace.daemon.tasks import Exit

SCHEMA = wire.Tasks

_STATUS = {
    "created": tasktypes.STATUS_CREATED,
    "running": tasktypes.STATUS_RUNNING,
    "stopped": tasktypes.STATUS_STOPPED,
    "paused": tasktypes.STATUS_PAUSED,
}


class Service:
    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._tasks = daemon.tasks
        self._containers = daemon.store.containers
        self._log = daemon.log
        self._restored: set[tuple[str, str]] = set()

    def create(self, request: wire.CreateTaskRequest, context: Context) -> wire.CreateTaskResponse:
        namespace = context.namespace
        container = self._containers.get(namespace, request.container_id)
        if container.spec is None:
            raise InvalidArgument(f"container {container.id} has no runtime spec")
        message = request.options or convert.any_message(container.runtime_options)
        runtime = self._daemon.runtime(container.runtime_name, convert.typed_value(message))
        options = {} if runtime.program else options_of(message)
        images = str(options.get("criu_image_path") or "")
        if not images and request.checkpoint is not None and request.checkpoint.digest:
            memory = convert.descriptor_record(request.checkpoint, "checkpoint")
            images = self._daemon.checkpoints.unpack(namespace, container.id, memory)
        try:
            pid = self._tasks.create(
                namespace,
                container.id,
                container.spec.value,
                convert.mount_records(request.rootfs),
                Stdio(request.stdin, request.stdout, request.stderr, request.terminal),
                options,
                runtime,
                images,
            )
        except BaseException:
            if images:
                self._daemon.checkpoints.forget(namespace, container.id)
            raise
        if images:
            self._restored.add((namespace, container.id))
        return wire.CreateTaskResponse(container_id=container.id, pid=pid)

    def start(self, request: wire.StartRequest, context: Context) -> wire.StartResponse:
        pid = self._tasks.start(context.namespace, request.container_id, request.exec_id)
        self._forget_restored(context.namespace, request.container_id)
        return wire.StartResponse(pid=pid)

    def delete(self, request: wire.DeleteTaskRequest, context: Context) -> wire.DeleteResponse:
        gone = self._tasks.delete(context.namespace, request.container_id)
        self._forget_restored(context.namespace, request.container_id)
        return _deleted(gone)

    def delete_process(
        self, request: wire.DeleteProcessRequest, context: Context
    ) -> wire.DeleteResponse:
        if not request.exec_id:
            raise InvalidArgument("exec id must be set")
        return _deleted(
            self._tasks.delete_process(context.namespace, request.container_id, request.exec_id)
        )

    def get(self, request: wire.GetRequest, context: Context) -> wire.GetResponse:
        task = self._tasks.find(context.namespace, request.container_id)
        state = task.process(request.exec_id)
        return wire.GetResponse(process=_process(task, state))

    def list(self, request: wire.ListTasksRequest, context: Context) -> wire.ListTasksResponse:
        found = self._tasks.list(context.namespace)
        return wire.ListTasksResponse(
            tasks=[
                _process(task, state)
                for task in found
                for state in task.processes()
                if not state.exec_id
            ]
        )

    def kill(self, request: wire.KillRequest, context: Context) -> Empty:
        self._tasks.kill(
            context.namespace,
            request.container_id,
            request.exec_id,
            request.signal,
            everyone=request.all,
        )
        return Empty()

    def exec(self, request: wire.ExecProcessRequest, context: Context) -> Empty:
        if request.spec is None:
            raise InvalidArgument("process spec must be set")
        self._tasks.exec(
            context.namespace,
            request.container_id,
            request.exec_id,
            request.spec.value,
            Stdio(request.stdin, request.stdout, request.stderr, request.terminal),
        )
        return Empty()

    def resize_pty(self, request: wire.ResizePtyRequest, context: Context) -> Empty:
        self._tasks.call(
            context.namespace,
            request.container_id,
            "resize",
            exec_id=request.exec_id,
            width=request.width,
            height=request.height,
        )
        return Empty()

    def close_io(self, request: wire.CloseIORequest, context: Context) -> Empty:
        if request.stdin:
            self._tasks.call(
                context.namespace, request.container_id, "close_io", exec_id=request.exec_id
            )
        return Empty()

    def pause(self, request: wire.PauseTaskRequest, context: Context) -> Empty:
        self._tasks.pause(context.namespace, request.container_id, paused=True)
        return Empty()

    def resume(self, request: wire.ResumeTaskRequest, context: Context) -> Empty:
        self._tasks.pause(context.namespace, request.container_id, paused=False)
        return Empty()

    def list_pids(self, request: wire.ListPidsRequest, context: Context) -> wire.ListPidsResponse:
        found = self._tasks.call(context.namespace, request.container_id, "pids")["pids"]
        return wire.ListPidsResponse(
            processes=[tasktypes.ProcessInfo(pid=int(pid)) for pid in found]
        )

    def checkpoint(
        self, request: wire.CheckpointTaskRequest, context: Context
    ) -> wire.CheckpointTaskResponse:
        namespace, identifier = context.namespace, request.container_id
        wanted = runc.CheckpointOptions()
        if request.options is not None and request.options.type_url:
            wanted = request.options.unpack(runc.CheckpointOptions)
        options = {name: getattr(wanted, name) for name in wanted.fields}
        if wanted.image_path:
            self._tasks.checkpoint(namespace, identifier, wanted.image_path, options)
            return wire.CheckpointTaskResponse()
        self._tasks.find(namespace, identifier)
        spec = convert.any_message(self._containers.get(namespace, identifier).spec)
        place = Place(namespace, context.lease)
        found = self._daemon.checkpoints.save(
            place, identifier, spec.encode() if spec is not None else b"", options
        )
        return wire.CheckpointTaskResponse(descriptors=[convert.descriptor(each) for each in found])

    def _forget_restored(self, namespace: str, identifier: str) -> None:
        """What a task was restored from is of no more use."""
        if (namespace, identifier) in self._restored:
            self._restored.discard((namespace, identifier))
            self._daemon.checkpoints.forget(namespace, identifier)

    def update(self, request: wire.UpdateTaskRequest, context: Context) -> Empty:
        if request.resources is None:
            raise InvalidArgument("resources must be set")
        resources = bundle.parse_json(request.resources.value, "resources")
        self._tasks.call(context.namespace, request.container_id, "update", resources=resources)
        return Empty()

    def metrics(self, request: wire.MetricsRequest, context: Context) -> wire.MetricsResponse:
        wanted = metrics.matcher(request.filters)
        found = []
        for task in self._tasks.list(context.namespace):
            if not wanted(task.id):
                continue
            try:
                data = metrics.message(task.call("stats"))
            except Error as problem:
                # One that ends just now does not hide the others.
                self._log.debug(f"no metrics of {task.id}: {problem}")
                continue
            found.append(Metric(timestamp=Timestamp.of(convert.now()), id=task.id, data=data))
        return wire.MetricsResponse(metrics=found)

    def wait(self, request: wire.WaitRequest, context: Context) -> wire.WaitResponse:
        task = self._tasks.find(context.namespace, request.container_id)
        context.on_cancel(task.wake)
        try:
            state = task.wait(request.exec_id, lambda: context.cancelled, context.remaining())
        except TimeoutError:
            raise DeadlineExceeded(f"task {task.id} did not end in time") from None
        return wire.WaitResponse(
            exit_status=state.exit_status, exited_at=convert.timestamp(state.exited_at)
        )


def _process(task: Task, state: ProcessState) -> tasktypes.Process:
    return tasktypes.Process(
        container_id=task.id,
        id=state.exec_id or task.id,
        pid=state.pid,
        status=_STATUS.get(state.status, tasktypes.STATUS_UNKNOWN),
        exit_status=state.exit_status,
        exited_at=convert.timestamp(state.exited_at),
        **state.stdio._asdict(),
    )


def _deleted(found: Exit) -> wire.DeleteResponse:
    return wire.DeleteResponse(
        id=found.id,
        pid=found.pid,
        exit_status=found.status,
        exited_at=convert.timestamp(found.exited_at),
    )
