from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class SelectorsRequest(_message.Message):
    __slots__ = ("change", "selectors")
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    SELECTORS_FIELD_NUMBER: _ClassVar[int]
    change: bool
    selectors: str
    def __init__(self, change: _Optional[bool] = ..., selectors: _Optional[str] = ...) -> None: ...

class SelectorsReply(_message.Message):
    __slots__ = ("selectors", "who")
    SELECTORS_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    selectors: str
    who: str
    def __init__(self, selectors: _Optional[str] = ..., who: _Optional[str] = ...) -> None: ...

class GenerationsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GenerationsReply(_message.Message):
    __slots__ = ("generations",)
    GENERATIONS_FIELD_NUMBER: _ClassVar[int]
    generations: str
    def __init__(self, generations: _Optional[str] = ...) -> None: ...

class ProfileRequest(_message.Message):
    __slots__ = ("kind", "seconds", "rate_hz", "pid")
    KIND_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    kind: str
    seconds: float
    rate_hz: float
    pid: str
    def __init__(self, kind: _Optional[str] = ..., seconds: _Optional[float] = ..., rate_hz: _Optional[float] = ..., pid: _Optional[str] = ...) -> None: ...

class ProfileReply(_message.Message):
    __slots__ = ("stacks", "unit", "how", "who")
    STACKS_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    HOW_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    stacks: bytes
    unit: str
    how: str
    who: str
    def __init__(self, stacks: _Optional[bytes] = ..., unit: _Optional[str] = ..., how: _Optional[str] = ..., who: _Optional[str] = ...) -> None: ...
