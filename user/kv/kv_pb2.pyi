from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DONE: _ClassVar[Outcome]
    ABSENT: _ClassVar[Outcome]
    REFUSED: _ClassVar[Outcome]
    MOVING: _ClassVar[Outcome]
    ELSEWHERE: _ClassVar[Outcome]
    OVER: _ClassVar[Outcome]
    TOO_LARGE: _ClassVar[Outcome]
    LATER: _ClassVar[Outcome]

class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PUT: _ClassVar[Kind]
    APPEND: _ClassVar[Kind]
    DELETE: _ClassVar[Kind]
    CAS: _ClassVar[Kind]
DONE: Outcome
ABSENT: Outcome
REFUSED: Outcome
MOVING: Outcome
ELSEWHERE: Outcome
OVER: Outcome
TOO_LARGE: Outcome
LATER: Outcome
PUT: Kind
APPEND: Kind
DELETE: Kind
CAS: Kind

class GetRequest(_message.Message):
    __slots__ = ("keys",)
    KEYS_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, keys: _Optional[_Iterable[str]] = ...) -> None: ...

class GetReply(_message.Message):
    __slots__ = ("outcomes", "values")
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    outcomes: bytes
    values: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, outcomes: _Optional[bytes] = ..., values: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Write(_message.Message):
    __slots__ = ("seqno", "kind", "key", "value", "expected")
    SEQNO_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    seqno: int
    kind: Kind
    key: str
    value: bytes
    expected: bytes
    def __init__(self, seqno: _Optional[int] = ..., kind: _Optional[_Union[Kind, str]] = ..., key: _Optional[str] = ..., value: _Optional[bytes] = ..., expected: _Optional[bytes] = ...) -> None: ...

class WriteRequest(_message.Message):
    __slots__ = ("client", "floor", "writes")
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    FLOOR_FIELD_NUMBER: _ClassVar[int]
    WRITES_FIELD_NUMBER: _ClassVar[int]
    client: int
    floor: int
    writes: _containers.RepeatedCompositeFieldContainer[Write]
    def __init__(self, client: _Optional[int] = ..., floor: _Optional[int] = ..., writes: _Optional[_Iterable[_Union[Write, _Mapping]]] = ...) -> None: ...

class WriteReply(_message.Message):
    __slots__ = ("outcomes",)
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    outcomes: bytes
    def __init__(self, outcomes: _Optional[bytes] = ...) -> None: ...

class ScanRequest(_message.Message):
    __slots__ = ("shard", "after", "keys_only")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    KEYS_ONLY_FIELD_NUMBER: _ClassVar[int]
    shard: int
    after: str
    keys_only: bool
    def __init__(self, shard: _Optional[int] = ..., after: _Optional[str] = ..., keys_only: _Optional[bool] = ...) -> None: ...

class ScanReply(_message.Message):
    __slots__ = ("outcome", "keys", "values", "more")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    outcome: Outcome
    keys: _containers.RepeatedScalarFieldContainer[str]
    values: _containers.RepeatedScalarFieldContainer[bytes]
    more: bool
    def __init__(self, outcome: _Optional[_Union[Outcome, str]] = ..., keys: _Optional[_Iterable[str]] = ..., values: _Optional[_Iterable[bytes]] = ..., more: _Optional[bool] = ...) -> None: ...

class Number(_message.Message):
    __slots__ = ("epoch", "seqno")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQNO_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    seqno: int
    def __init__(self, epoch: _Optional[int] = ..., seqno: _Optional[int] = ...) -> None: ...

class ShardsRequest(_message.Message):
    __slots__ = ("shards", "number")
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    shards: _containers.RepeatedScalarFieldContainer[int]
    number: Number
    def __init__(self, shards: _Optional[_Iterable[int]] = ..., number: _Optional[_Union[Number, _Mapping]] = ...) -> None: ...

class FreezeRequest(_message.Message):
    __slots__ = ("shard", "number")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    shard: int
    number: Number
    def __init__(self, shard: _Optional[int] = ..., number: _Optional[_Union[Number, _Mapping]] = ...) -> None: ...

class FreezeReply(_message.Message):
    __slots__ = ("gone",)
    GONE_FIELD_NUMBER: _ClassVar[int]
    gone: bool
    def __init__(self, gone: _Optional[bool] = ...) -> None: ...

class DumpRequest(_message.Message):
    __slots__ = ("shard", "number", "part")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    shard: int
    number: Number
    part: int
    def __init__(self, shard: _Optional[int] = ..., number: _Optional[_Union[Number, _Mapping]] = ..., part: _Optional[int] = ...) -> None: ...

class DumpReply(_message.Message):
    __slots__ = ("data", "last", "digest")
    DATA_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    last: bool
    digest: int
    def __init__(self, data: _Optional[bytes] = ..., last: _Optional[bool] = ..., digest: _Optional[int] = ...) -> None: ...

class InstallRequest(_message.Message):
    __slots__ = ("shard", "number", "part", "data", "last", "digest")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    shard: int
    number: Number
    part: int
    data: bytes
    last: bool
    digest: int
    def __init__(self, shard: _Optional[int] = ..., number: _Optional[_Union[Number, _Mapping]] = ..., part: _Optional[int] = ..., data: _Optional[bytes] = ..., last: _Optional[bool] = ..., digest: _Optional[int] = ...) -> None: ...

class NothingRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class NothingReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ServerStatsReply(_message.Message):
    __slots__ = ("shards", "keys", "value_bytes", "gets", "writes", "cpu_s", "uptime_s", "pid", "log_bytes", "nodes")
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    VALUE_BYTES_FIELD_NUMBER: _ClassVar[int]
    GETS_FIELD_NUMBER: _ClassVar[int]
    WRITES_FIELD_NUMBER: _ClassVar[int]
    CPU_S_FIELD_NUMBER: _ClassVar[int]
    UPTIME_S_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    LOG_BYTES_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    shards: _containers.RepeatedScalarFieldContainer[int]
    keys: int
    value_bytes: int
    gets: int
    writes: int
    cpu_s: float
    uptime_s: float
    pid: str
    log_bytes: int
    nodes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, shards: _Optional[_Iterable[int]] = ..., keys: _Optional[int] = ..., value_bytes: _Optional[int] = ..., gets: _Optional[int] = ..., writes: _Optional[int] = ..., cpu_s: _Optional[float] = ..., uptime_s: _Optional[float] = ..., pid: _Optional[str] = ..., log_bytes: _Optional[int] = ..., nodes: _Optional[_Iterable[str]] = ...) -> None: ...

class AddRequest(_message.Message):
    __slots__ = ("group", "members")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    group: str
    members: int
    def __init__(self, group: _Optional[str] = ..., members: _Optional[int] = ...) -> None: ...

class RemoveRequest(_message.Message):
    __slots__ = ("group",)
    GROUP_FIELD_NUMBER: _ClassVar[int]
    group: str
    def __init__(self, group: _Optional[str] = ...) -> None: ...

class GroupReply(_message.Message):
    __slots__ = ("group",)
    GROUP_FIELD_NUMBER: _ClassVar[int]
    group: str
    def __init__(self, group: _Optional[str] = ...) -> None: ...

class GroupStats(_message.Message):
    __slots__ = ("group", "state", "server", "trouble", "starts")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    TROUBLE_FIELD_NUMBER: _ClassVar[int]
    STARTS_FIELD_NUMBER: _ClassVar[int]
    group: str
    state: str
    server: ServerStatsReply
    trouble: str
    starts: int
    def __init__(self, group: _Optional[str] = ..., state: _Optional[str] = ..., server: _Optional[_Union[ServerStatsReply, _Mapping]] = ..., trouble: _Optional[str] = ..., starts: _Optional[int] = ...) -> None: ...

class JobStatsReply(_message.Message):
    __slots__ = ("epoch", "seqno", "moves", "groups", "longest_move_s")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQNO_FIELD_NUMBER: _ClassVar[int]
    MOVES_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    LONGEST_MOVE_S_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    seqno: int
    moves: int
    groups: _containers.RepeatedCompositeFieldContainer[GroupStats]
    longest_move_s: float
    def __init__(self, epoch: _Optional[int] = ..., seqno: _Optional[int] = ..., moves: _Optional[int] = ..., groups: _Optional[_Iterable[_Union[GroupStats, _Mapping]]] = ..., longest_move_s: _Optional[float] = ...) -> None: ...

class AutoRequest(_message.Message):
    __slots__ = ("groups_max", "members")
    GROUPS_MAX_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    groups_max: int
    members: int
    def __init__(self, groups_max: _Optional[int] = ..., members: _Optional[int] = ...) -> None: ...
