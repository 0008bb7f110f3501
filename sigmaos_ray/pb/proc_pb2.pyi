from sigmaos_ray.pb import sigmap_pb2 as _sigmap_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ProcSpec(_message.Message):
    __slots__ = ("pid", "program", "args", "env", "mcpu", "mem_mb", "realm", "parent_pid", "fresh", "pickled", "spawned_s", "kernel_id", "kernels", "secrets", "package", "reuse", "parent_schedd_id")
    class EnvEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PID_FIELD_NUMBER: _ClassVar[int]
    PROGRAM_FIELD_NUMBER: _ClassVar[int]
    ARGS_FIELD_NUMBER: _ClassVar[int]
    ENV_FIELD_NUMBER: _ClassVar[int]
    MCPU_FIELD_NUMBER: _ClassVar[int]
    MEM_MB_FIELD_NUMBER: _ClassVar[int]
    REALM_FIELD_NUMBER: _ClassVar[int]
    PARENT_PID_FIELD_NUMBER: _ClassVar[int]
    FRESH_FIELD_NUMBER: _ClassVar[int]
    PICKLED_FIELD_NUMBER: _ClassVar[int]
    SPAWNED_S_FIELD_NUMBER: _ClassVar[int]
    KERNEL_ID_FIELD_NUMBER: _ClassVar[int]
    KERNELS_FIELD_NUMBER: _ClassVar[int]
    SECRETS_FIELD_NUMBER: _ClassVar[int]
    PACKAGE_FIELD_NUMBER: _ClassVar[int]
    REUSE_FIELD_NUMBER: _ClassVar[int]
    PARENT_SCHEDD_ID_FIELD_NUMBER: _ClassVar[int]
    pid: str
    program: str
    args: _containers.RepeatedScalarFieldContainer[str]
    env: _containers.ScalarMap[str, str]
    mcpu: float
    mem_mb: float
    realm: str
    parent_pid: str
    fresh: bool
    pickled: bytes
    spawned_s: float
    kernel_id: str
    kernels: _containers.RepeatedScalarFieldContainer[str]
    secrets: _containers.RepeatedCompositeFieldContainer[_sigmap_pb2.Secret]
    package: str
    reuse: bool
    parent_schedd_id: str
    def __init__(self, pid: _Optional[str] = ..., program: _Optional[str] = ..., args: _Optional[_Iterable[str]] = ..., env: _Optional[_Mapping[str, str]] = ..., mcpu: _Optional[float] = ..., mem_mb: _Optional[float] = ..., realm: _Optional[str] = ..., parent_pid: _Optional[str] = ..., fresh: _Optional[bool] = ..., pickled: _Optional[bytes] = ..., spawned_s: _Optional[float] = ..., kernel_id: _Optional[str] = ..., kernels: _Optional[_Iterable[str]] = ..., secrets: _Optional[_Iterable[_Union[_sigmap_pb2.Secret, _Mapping]]] = ..., package: _Optional[str] = ..., reuse: _Optional[bool] = ..., parent_schedd_id: _Optional[str] = ...) -> None: ...

class ProcStatus(_message.Message):
    __slots__ = ("code", "msg", "data", "crash", "times")
    class Code(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSET: _ClassVar[ProcStatus.Code]
        OK: _ClassVar[ProcStatus.Code]
        EVICTED: _ClassVar[ProcStatus.Code]
        ERROR: _ClassVar[ProcStatus.Code]
        FATAL: _ClassVar[ProcStatus.Code]
    UNSET: ProcStatus.Code
    OK: ProcStatus.Code
    EVICTED: ProcStatus.Code
    ERROR: ProcStatus.Code
    FATAL: ProcStatus.Code
    CODE_FIELD_NUMBER: _ClassVar[int]
    MSG_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CRASH_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    code: ProcStatus.Code
    msg: str
    data: bytes
    crash: bool
    times: ProcTimes
    def __init__(self, code: _Optional[_Union[ProcStatus.Code, str]] = ..., msg: _Optional[str] = ..., data: _Optional[bytes] = ..., crash: _Optional[bool] = ..., times: _Optional[_Union[ProcTimes, _Mapping]] = ...) -> None: ...

class ProcTimes(_message.Message):
    __slots__ = ("worker_s", "main_s", "ended_s")
    WORKER_S_FIELD_NUMBER: _ClassVar[int]
    MAIN_S_FIELD_NUMBER: _ClassVar[int]
    ENDED_S_FIELD_NUMBER: _ClassVar[int]
    worker_s: float
    main_s: float
    ended_s: float
    def __init__(self, worker_s: _Optional[float] = ..., main_s: _Optional[float] = ..., ended_s: _Optional[float] = ...) -> None: ...

class SpawnRequest(_message.Message):
    __slots__ = ("proc", "collected")
    PROC_FIELD_NUMBER: _ClassVar[int]
    COLLECTED_FIELD_NUMBER: _ClassVar[int]
    proc: ProcSpec
    collected: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, proc: _Optional[_Union[ProcSpec, _Mapping]] = ..., collected: _Optional[_Iterable[str]] = ...) -> None: ...

class SpawnReply(_message.Message):
    __slots__ = ("kernel_id",)
    KERNEL_ID_FIELD_NUMBER: _ClassVar[int]
    kernel_id: str
    def __init__(self, kernel_id: _Optional[str] = ...) -> None: ...

class SpawnBurstRequest(_message.Message):
    __slots__ = ("procs",)
    PROCS_FIELD_NUMBER: _ClassVar[int]
    procs: _containers.RepeatedCompositeFieldContainer[ProcSpec]
    def __init__(self, procs: _Optional[_Iterable[_Union[ProcSpec, _Mapping]]] = ...) -> None: ...

class SpawnRefusal(_message.Message):
    __slots__ = ("index", "error")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    index: int
    error: _sigmap_pb2.Rerror
    def __init__(self, index: _Optional[int] = ..., error: _Optional[_Union[_sigmap_pb2.Rerror, _Mapping]] = ...) -> None: ...

class SpawnBurstReply(_message.Message):
    __slots__ = ("kernel_id", "refused")
    KERNEL_ID_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    kernel_id: str
    refused: _containers.RepeatedCompositeFieldContainer[SpawnRefusal]
    def __init__(self, kernel_id: _Optional[str] = ..., refused: _Optional[_Iterable[_Union[SpawnRefusal, _Mapping]]] = ...) -> None: ...

class PackageRequest(_message.Message):
    __slots__ = ("folder", "machine")
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    MACHINE_FIELD_NUMBER: _ClassVar[int]
    folder: str
    machine: str
    def __init__(self, folder: _Optional[str] = ..., machine: _Optional[str] = ...) -> None: ...

class PackageReply(_message.Message):
    __slots__ = ("is_wanted",)
    IS_WANTED_FIELD_NUMBER: _ClassVar[int]
    is_wanted: bool
    def __init__(self, is_wanted: _Optional[bool] = ...) -> None: ...

class PutPackageRequest(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class PutPackageReply(_message.Message):
    __slots__ = ("package",)
    PACKAGE_FIELD_NUMBER: _ClassVar[int]
    package: str
    def __init__(self, package: _Optional[str] = ...) -> None: ...

class PidRequest(_message.Message):
    __slots__ = ("pid", "timeout_s", "peek", "grace_s", "caller_pid")
    PID_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_S_FIELD_NUMBER: _ClassVar[int]
    PEEK_FIELD_NUMBER: _ClassVar[int]
    GRACE_S_FIELD_NUMBER: _ClassVar[int]
    CALLER_PID_FIELD_NUMBER: _ClassVar[int]
    pid: str
    timeout_s: float
    peek: bool
    grace_s: float
    caller_pid: str
    def __init__(self, pid: _Optional[str] = ..., timeout_s: _Optional[float] = ..., peek: _Optional[bool] = ..., grace_s: _Optional[float] = ..., caller_pid: _Optional[str] = ...) -> None: ...

class CollectRequest(_message.Message):
    __slots__ = ("pids", "caller_pid")
    PIDS_FIELD_NUMBER: _ClassVar[int]
    CALLER_PID_FIELD_NUMBER: _ClassVar[int]
    pids: _containers.RepeatedScalarFieldContainer[str]
    caller_pid: str
    def __init__(self, pids: _Optional[_Iterable[str]] = ..., caller_pid: _Optional[str] = ...) -> None: ...

class StatusReply(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: ProcStatus
    def __init__(self, status: _Optional[_Union[ProcStatus, _Mapping]] = ...) -> None: ...

class EmptyReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ExitedRequest(_message.Message):
    __slots__ = ("pid", "status")
    PID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    pid: str
    status: ProcStatus
    def __init__(self, pid: _Optional[str] = ..., status: _Optional[_Union[ProcStatus, _Mapping]] = ...) -> None: ...

class ChildrenRequest(_message.Message):
    __slots__ = ("parent_pid",)
    PARENT_PID_FIELD_NUMBER: _ClassVar[int]
    parent_pid: str
    def __init__(self, parent_pid: _Optional[str] = ...) -> None: ...

class ChildrenReply(_message.Message):
    __slots__ = ("pids",)
    PIDS_FIELD_NUMBER: _ClassVar[int]
    pids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, pids: _Optional[_Iterable[str]] = ...) -> None: ...

class LoadRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LoadReply(_message.Message):
    __slots__ = ("cores", "wanted_cores", "mem_mb", "wanted_mem_mb", "be_cores")
    CORES_FIELD_NUMBER: _ClassVar[int]
    WANTED_CORES_FIELD_NUMBER: _ClassVar[int]
    MEM_MB_FIELD_NUMBER: _ClassVar[int]
    WANTED_MEM_MB_FIELD_NUMBER: _ClassVar[int]
    BE_CORES_FIELD_NUMBER: _ClassVar[int]
    cores: float
    wanted_cores: float
    mem_mb: float
    wanted_mem_mb: float
    be_cores: float
    def __init__(self, cores: _Optional[float] = ..., wanted_cores: _Optional[float] = ..., mem_mb: _Optional[float] = ..., wanted_mem_mb: _Optional[float] = ..., be_cores: _Optional[float] = ...) -> None: ...

class NamedRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class NamedReply(_message.Message):
    __slots__ = ("endpoint",)
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    endpoint: bytes
    def __init__(self, endpoint: _Optional[bytes] = ...) -> None: ...

class LivesRequest(_message.Message):
    __slots__ = ("table", "slot", "mark")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    MARK_FIELD_NUMBER: _ClassVar[int]
    table: str
    slot: int
    mark: bytes
    def __init__(self, table: _Optional[str] = ..., slot: _Optional[int] = ..., mark: _Optional[bytes] = ...) -> None: ...

class LivesReply(_message.Message):
    __slots__ = ("lives",)
    LIVES_FIELD_NUMBER: _ClassVar[int]
    lives: bool
    def __init__(self, lives: _Optional[bool] = ...) -> None: ...

class ListProcsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ProcInfo(_message.Message):
    __slots__ = ("proc", "state", "note", "started_s", "ended_s", "os_pid", "status", "machine", "node")
    PROC_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    STARTED_S_FIELD_NUMBER: _ClassVar[int]
    ENDED_S_FIELD_NUMBER: _ClassVar[int]
    OS_PID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MACHINE_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    proc: ProcSpec
    state: str
    note: str
    started_s: float
    ended_s: float
    os_pid: int
    status: ProcStatus
    machine: str
    node: str
    def __init__(self, proc: _Optional[_Union[ProcSpec, _Mapping]] = ..., state: _Optional[str] = ..., note: _Optional[str] = ..., started_s: _Optional[float] = ..., ended_s: _Optional[float] = ..., os_pid: _Optional[int] = ..., status: _Optional[_Union[ProcStatus, _Mapping]] = ..., machine: _Optional[str] = ..., node: _Optional[str] = ...) -> None: ...

class ListProcsReply(_message.Message):
    __slots__ = ("procs",)
    PROCS_FIELD_NUMBER: _ClassVar[int]
    procs: _containers.RepeatedCompositeFieldContainer[ProcInfo]
    def __init__(self, procs: _Optional[_Iterable[_Union[ProcInfo, _Mapping]]] = ...) -> None: ...

class LeasedProc(_message.Message):
    __slots__ = ("pid", "number")
    PID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    pid: str
    number: int
    def __init__(self, pid: _Optional[str] = ..., number: _Optional[int] = ...) -> None: ...

class LeaseRunner(_message.Message):
    __slots__ = ("machine", "os_pid", "started_ticks", "ray_node_id", "kernel_id")
    MACHINE_FIELD_NUMBER: _ClassVar[int]
    OS_PID_FIELD_NUMBER: _ClassVar[int]
    STARTED_TICKS_FIELD_NUMBER: _ClassVar[int]
    RAY_NODE_ID_FIELD_NUMBER: _ClassVar[int]
    KERNEL_ID_FIELD_NUMBER: _ClassVar[int]
    machine: str
    os_pid: int
    started_ticks: int
    ray_node_id: str
    kernel_id: str
    def __init__(self, machine: _Optional[str] = ..., os_pid: _Optional[int] = ..., started_ticks: _Optional[int] = ..., ray_node_id: _Optional[str] = ..., kernel_id: _Optional[str] = ...) -> None: ...

class LeaseEnded(_message.Message):
    __slots__ = ("proc", "status", "started")
    PROC_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    proc: LeasedProc
    status: ProcStatus
    started: bool
    def __init__(self, proc: _Optional[_Union[LeasedProc, _Mapping]] = ..., status: _Optional[_Union[ProcStatus, _Mapping]] = ..., started: _Optional[bool] = ...) -> None: ...

class LeaseNextRequest(_message.Message):
    __slots__ = ("lease", "runner", "ended", "returned")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    RUNNER_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    RETURNED_FIELD_NUMBER: _ClassVar[int]
    lease: str
    runner: LeaseRunner
    ended: LeaseEnded
    returned: LeasedProc
    def __init__(self, lease: _Optional[str] = ..., runner: _Optional[_Union[LeaseRunner, _Mapping]] = ..., ended: _Optional[_Union[LeaseEnded, _Mapping]] = ..., returned: _Optional[_Union[LeasedProc, _Mapping]] = ...) -> None: ...

class LeaseNextReply(_message.Message):
    __slots__ = ("proc", "number", "over", "start_awaited", "token")
    PROC_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    OVER_FIELD_NUMBER: _ClassVar[int]
    START_AWAITED_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    proc: ProcSpec
    number: int
    over: bool
    start_awaited: bool
    token: str
    def __init__(self, proc: _Optional[_Union[ProcSpec, _Mapping]] = ..., number: _Optional[int] = ..., over: _Optional[bool] = ..., start_awaited: _Optional[bool] = ..., token: _Optional[str] = ...) -> None: ...

class LeaseTellRequest(_message.Message):
    __slots__ = ("lease", "proc", "runner", "started", "reported", "wait_over")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    PROC_FIELD_NUMBER: _ClassVar[int]
    RUNNER_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    REPORTED_FIELD_NUMBER: _ClassVar[int]
    WAIT_OVER_FIELD_NUMBER: _ClassVar[int]
    lease: str
    proc: LeasedProc
    runner: LeaseRunner
    started: bool
    reported: ProcStatus
    wait_over: int
    def __init__(self, lease: _Optional[str] = ..., proc: _Optional[_Union[LeasedProc, _Mapping]] = ..., runner: _Optional[_Union[LeaseRunner, _Mapping]] = ..., started: _Optional[bool] = ..., reported: _Optional[_Union[ProcStatus, _Mapping]] = ..., wait_over: _Optional[int] = ...) -> None: ...

class LeaseHeedRequest(_message.Message):
    __slots__ = ("lease", "evicted", "killed", "start_awaited")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    EVICTED_FIELD_NUMBER: _ClassVar[int]
    KILLED_FIELD_NUMBER: _ClassVar[int]
    START_AWAITED_FIELD_NUMBER: _ClassVar[int]
    lease: str
    evicted: int
    killed: int
    start_awaited: int
    def __init__(self, lease: _Optional[str] = ..., evicted: _Optional[int] = ..., killed: _Optional[int] = ..., start_awaited: _Optional[int] = ...) -> None: ...

class LeaseHeedReply(_message.Message):
    __slots__ = ("evicted", "killed", "over", "start_awaited")
    EVICTED_FIELD_NUMBER: _ClassVar[int]
    KILLED_FIELD_NUMBER: _ClassVar[int]
    OVER_FIELD_NUMBER: _ClassVar[int]
    START_AWAITED_FIELD_NUMBER: _ClassVar[int]
    evicted: int
    killed: int
    over: bool
    start_awaited: int
    def __init__(self, evicted: _Optional[int] = ..., killed: _Optional[int] = ..., over: _Optional[bool] = ..., start_awaited: _Optional[int] = ...) -> None: ...

class ProcStart(_message.Message):
    __slots__ = ("proc", "instance", "log_dir", "token")
    PROC_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    LOG_DIR_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    proc: ProcSpec
    instance: bytes
    log_dir: str
    token: str
    def __init__(self, proc: _Optional[_Union[ProcSpec, _Mapping]] = ..., instance: _Optional[bytes] = ..., log_dir: _Optional[str] = ..., token: _Optional[str] = ...) -> None: ...

class ProcWord(_message.Message):
    __slots__ = ("loaded", "started", "reported", "waits", "done")
    LOADED_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    REPORTED_FIELD_NUMBER: _ClassVar[int]
    WAITS_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    loaded: ProcLoaded
    started: bool
    reported: ProcStatus
    waits: bool
    done: ProcStatus
    def __init__(self, loaded: _Optional[_Union[ProcLoaded, _Mapping]] = ..., started: _Optional[bool] = ..., reported: _Optional[_Union[ProcStatus, _Mapping]] = ..., waits: _Optional[bool] = ..., done: _Optional[_Union[ProcStatus, _Mapping]] = ...) -> None: ...

class ProcLoaded(_message.Message):
    __slots__ = ("modules",)
    MODULES_FIELD_NUMBER: _ClassVar[int]
    modules: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, modules: _Optional[_Iterable[str]] = ...) -> None: ...
