from sigmaos_ray.pb import sigmap_pb2 as _sigmap_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RpcRequest(_message.Message):
    __slots__ = ("method", "timeout_s", "part", "argument")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_S_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    ARGUMENT_FIELD_NUMBER: _ClassVar[int]
    method: str
    timeout_s: float
    part: Part
    argument: int
    def __init__(self, method: _Optional[str] = ..., timeout_s: _Optional[float] = ..., part: _Optional[_Union[Part, _Mapping]] = ..., argument: _Optional[int] = ...) -> None: ...

class Part(_message.Message):
    __slots__ = ("kind", "number", "offset", "bytes")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SEND: _ClassVar[Part.Kind]
        TAKE: _ClassVar[Part.Kind]
        DROP_ARGUMENT: _ClassVar[Part.Kind]
        DROP_RESULT: _ClassVar[Part.Kind]
    SEND: Part.Kind
    TAKE: Part.Kind
    DROP_ARGUMENT: Part.Kind
    DROP_RESULT: Part.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    kind: Part.Kind
    number: int
    offset: int
    bytes: int
    def __init__(self, kind: _Optional[_Union[Part.Kind, str]] = ..., number: _Optional[int] = ..., offset: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class RpcReply(_message.Message):
    __slots__ = ("error", "result", "result_bytes", "raised")
    ERROR_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    RESULT_BYTES_FIELD_NUMBER: _ClassVar[int]
    RAISED_FIELD_NUMBER: _ClassVar[int]
    error: _sigmap_pb2.Rerror
    result: int
    result_bytes: int
    raised: str
    def __init__(self, error: _Optional[_Union[_sigmap_pb2.Rerror, _Mapping]] = ..., result: _Optional[int] = ..., result_bytes: _Optional[int] = ..., raised: _Optional[str] = ...) -> None: ...

class AskLeaseRequest(_message.Message):
    __slots__ = ("ttl_s",)
    TTL_S_FIELD_NUMBER: _ClassVar[int]
    ttl_s: float
    def __init__(self, ttl_s: _Optional[float] = ...) -> None: ...

class AskLeaseReply(_message.Message):
    __slots__ = ("lease_id", "ttl_s")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    TTL_S_FIELD_NUMBER: _ClassVar[int]
    lease_id: int
    ttl_s: float
    def __init__(self, lease_id: _Optional[int] = ..., ttl_s: _Optional[float] = ...) -> None: ...

class LeaseRequest(_message.Message):
    __slots__ = ("lease_id",)
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    lease_id: int
    def __init__(self, lease_id: _Optional[int] = ...) -> None: ...

class LeaseReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
