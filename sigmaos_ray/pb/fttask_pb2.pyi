from sigmaos_ray.pb import sigmap_pb2 as _sigmap_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TaskStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TODO: _ClassVar[TaskStatus]
    WIP: _ClassVar[TaskStatus]
    DONE: _ClassVar[TaskStatus]
    ERROR: _ClassVar[TaskStatus]
TODO: TaskStatus
WIP: TaskStatus
DONE: TaskStatus
ERROR: TaskStatus

class Task(_message.Message):
    __slots__ = ("id", "data")
    ID_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    id: int
    data: bytes
    def __init__(self, id: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class TasksRequest(_message.Message):
    __slots__ = ("tasks", "fence")
    TASKS_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedCompositeFieldContainer[Task]
    fence: _sigmap_pb2.Fence
    def __init__(self, tasks: _Optional[_Iterable[_Union[Task, _Mapping]]] = ..., fence: _Optional[_Union[_sigmap_pb2.Fence, _Mapping]] = ...) -> None: ...

class TaskIdsReply(_message.Message):
    __slots__ = ("ids",)
    IDS_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, ids: _Optional[_Iterable[int]] = ...) -> None: ...

class AcquireTasksRequest(_message.Message):
    __slots__ = ("wait", "acquirer", "limit", "fence")
    WAIT_FIELD_NUMBER: _ClassVar[int]
    ACQUIRER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    wait: bool
    acquirer: str
    limit: int
    fence: _sigmap_pb2.Fence
    def __init__(self, wait: _Optional[bool] = ..., acquirer: _Optional[str] = ..., limit: _Optional[int] = ..., fence: _Optional[_Union[_sigmap_pb2.Fence, _Mapping]] = ...) -> None: ...

class AcquireTasksReply(_message.Message):
    __slots__ = ("ids", "stopped")
    IDS_FIELD_NUMBER: _ClassVar[int]
    STOPPED_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    stopped: bool
    def __init__(self, ids: _Optional[_Iterable[int]] = ..., stopped: _Optional[bool] = ...) -> None: ...

class TaskIdsRequest(_message.Message):
    __slots__ = ("ids", "status", "acquirer", "fence")
    IDS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ACQUIRER_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    status: TaskStatus
    acquirer: str
    fence: _sigmap_pb2.Fence
    def __init__(self, ids: _Optional[_Iterable[int]] = ..., status: _Optional[_Union[TaskStatus, str]] = ..., acquirer: _Optional[str] = ..., fence: _Optional[_Union[_sigmap_pb2.Fence, _Mapping]] = ...) -> None: ...

class MoveTasksByStatusRequest(_message.Message):
    __slots__ = ("old_status", "new_status", "fence")
    OLD_STATUS_FIELD_NUMBER: _ClassVar[int]
    NEW_STATUS_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    old_status: TaskStatus
    new_status: TaskStatus
    fence: _sigmap_pb2.Fence
    def __init__(self, old_status: _Optional[_Union[TaskStatus, str]] = ..., new_status: _Optional[_Union[TaskStatus, str]] = ..., fence: _Optional[_Union[_sigmap_pb2.Fence, _Mapping]] = ...) -> None: ...

class CountReply(_message.Message):
    __slots__ = ("count",)
    COUNT_FIELD_NUMBER: _ClassVar[int]
    count: int
    def __init__(self, count: _Optional[int] = ...) -> None: ...

class TasksReply(_message.Message):
    __slots__ = ("tasks",)
    TASKS_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedCompositeFieldContainer[Task]
    def __init__(self, tasks: _Optional[_Iterable[_Union[Task, _Mapping]]] = ...) -> None: ...

class AddTaskOutputsRequest(_message.Message):
    __slots__ = ("ids", "outputs", "mark_done", "fence")
    IDS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    MARK_DONE_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    outputs: _containers.RepeatedScalarFieldContainer[bytes]
    mark_done: bool
    fence: _sigmap_pb2.Fence
    def __init__(self, ids: _Optional[_Iterable[int]] = ..., outputs: _Optional[_Iterable[bytes]] = ..., mark_done: _Optional[bool] = ..., fence: _Optional[_Union[_sigmap_pb2.Fence, _Mapping]] = ...) -> None: ...

class TaskOutputsReply(_message.Message):
    __slots__ = ("outputs",)
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    outputs: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, outputs: _Optional[_Iterable[bytes]] = ...) -> None: ...

class TaskStatsReply(_message.Message):
    __slots__ = ("todo", "wip", "done", "error", "submitted_last")
    TODO_FIELD_NUMBER: _ClassVar[int]
    WIP_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    SUBMITTED_LAST_FIELD_NUMBER: _ClassVar[int]
    todo: int
    wip: int
    done: int
    error: int
    submitted_last: bool
    def __init__(self, todo: _Optional[int] = ..., wip: _Optional[int] = ..., done: _Optional[int] = ..., error: _Optional[int] = ..., submitted_last: _Optional[bool] = ...) -> None: ...

class FenceRequest(_message.Message):
    __slots__ = ("fence",)
    FENCE_FIELD_NUMBER: _ClassVar[int]
    fence: _sigmap_pb2.Fence
    def __init__(self, fence: _Optional[_Union[_sigmap_pb2.Fence, _Mapping]] = ...) -> None: ...

class NothingReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
