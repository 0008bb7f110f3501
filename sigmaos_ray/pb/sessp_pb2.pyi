from sigmaos_ray.pb import sigmap_pb2 as _sigmap_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Request(_message.Message):
    __slots__ = ("seqno", "version", "auth", "attach", "walk", "open", "create", "read", "write", "clunk", "remove", "removefile", "stat", "wstat", "renameat", "getfile", "putfile", "watch", "detach", "writeread", "transact", "openfile")
    SEQNO_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    AUTH_FIELD_NUMBER: _ClassVar[int]
    ATTACH_FIELD_NUMBER: _ClassVar[int]
    WALK_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    CREATE_FIELD_NUMBER: _ClassVar[int]
    READ_FIELD_NUMBER: _ClassVar[int]
    WRITE_FIELD_NUMBER: _ClassVar[int]
    CLUNK_FIELD_NUMBER: _ClassVar[int]
    REMOVE_FIELD_NUMBER: _ClassVar[int]
    REMOVEFILE_FIELD_NUMBER: _ClassVar[int]
    STAT_FIELD_NUMBER: _ClassVar[int]
    WSTAT_FIELD_NUMBER: _ClassVar[int]
    RENAMEAT_FIELD_NUMBER: _ClassVar[int]
    GETFILE_FIELD_NUMBER: _ClassVar[int]
    PUTFILE_FIELD_NUMBER: _ClassVar[int]
    WATCH_FIELD_NUMBER: _ClassVar[int]
    DETACH_FIELD_NUMBER: _ClassVar[int]
    WRITEREAD_FIELD_NUMBER: _ClassVar[int]
    TRANSACT_FIELD_NUMBER: _ClassVar[int]
    OPENFILE_FIELD_NUMBER: _ClassVar[int]
    seqno: int
    version: _sigmap_pb2.Tversion
    auth: _sigmap_pb2.Tauth
    attach: _sigmap_pb2.Tattach
    walk: _sigmap_pb2.Twalk
    open: _sigmap_pb2.Topen
    create: _sigmap_pb2.Tcreate
    read: _sigmap_pb2.Tread
    write: _sigmap_pb2.Twrite
    clunk: _sigmap_pb2.Tclunk
    remove: _sigmap_pb2.Tremove
    removefile: _sigmap_pb2.Tremovefile
    stat: _sigmap_pb2.Tstat
    wstat: _sigmap_pb2.Twstat
    renameat: _sigmap_pb2.Trenameat
    getfile: _sigmap_pb2.Tgetfile
    putfile: _sigmap_pb2.Tputfile
    watch: _sigmap_pb2.Twatch
    detach: _sigmap_pb2.Tdetach
    writeread: _sigmap_pb2.Twriteread
    transact: _sigmap_pb2.Ttransact
    openfile: _sigmap_pb2.Topenfile
    def __init__(self, seqno: _Optional[int] = ..., version: _Optional[_Union[_sigmap_pb2.Tversion, _Mapping]] = ..., auth: _Optional[_Union[_sigmap_pb2.Tauth, _Mapping]] = ..., attach: _Optional[_Union[_sigmap_pb2.Tattach, _Mapping]] = ..., walk: _Optional[_Union[_sigmap_pb2.Twalk, _Mapping]] = ..., open: _Optional[_Union[_sigmap_pb2.Topen, _Mapping]] = ..., create: _Optional[_Union[_sigmap_pb2.Tcreate, _Mapping]] = ..., read: _Optional[_Union[_sigmap_pb2.Tread, _Mapping]] = ..., write: _Optional[_Union[_sigmap_pb2.Twrite, _Mapping]] = ..., clunk: _Optional[_Union[_sigmap_pb2.Tclunk, _Mapping]] = ..., remove: _Optional[_Union[_sigmap_pb2.Tremove, _Mapping]] = ..., removefile: _Optional[_Union[_sigmap_pb2.Tremovefile, _Mapping]] = ..., stat: _Optional[_Union[_sigmap_pb2.Tstat, _Mapping]] = ..., wstat: _Optional[_Union[_sigmap_pb2.Twstat, _Mapping]] = ..., renameat: _Optional[_Union[_sigmap_pb2.Trenameat, _Mapping]] = ..., getfile: _Optional[_Union[_sigmap_pb2.Tgetfile, _Mapping]] = ..., putfile: _Optional[_Union[_sigmap_pb2.Tputfile, _Mapping]] = ..., watch: _Optional[_Union[_sigmap_pb2.Twatch, _Mapping]] = ..., detach: _Optional[_Union[_sigmap_pb2.Tdetach, _Mapping]] = ..., writeread: _Optional[_Union[_sigmap_pb2.Twriteread, _Mapping]] = ..., transact: _Optional[_Union[_sigmap_pb2.Ttransact, _Mapping]] = ..., openfile: _Optional[_Union[_sigmap_pb2.Topenfile, _Mapping]] = ...) -> None: ...

class Reply(_message.Message):
    __slots__ = ("seqno", "error", "version", "auth", "attach", "walk", "open", "create", "read", "write", "clunk", "remove", "stat", "wstat", "renameat", "getfile", "watch", "detach", "writeread", "transact")
    SEQNO_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    AUTH_FIELD_NUMBER: _ClassVar[int]
    ATTACH_FIELD_NUMBER: _ClassVar[int]
    WALK_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    CREATE_FIELD_NUMBER: _ClassVar[int]
    READ_FIELD_NUMBER: _ClassVar[int]
    WRITE_FIELD_NUMBER: _ClassVar[int]
    CLUNK_FIELD_NUMBER: _ClassVar[int]
    REMOVE_FIELD_NUMBER: _ClassVar[int]
    STAT_FIELD_NUMBER: _ClassVar[int]
    WSTAT_FIELD_NUMBER: _ClassVar[int]
    RENAMEAT_FIELD_NUMBER: _ClassVar[int]
    GETFILE_FIELD_NUMBER: _ClassVar[int]
    WATCH_FIELD_NUMBER: _ClassVar[int]
    DETACH_FIELD_NUMBER: _ClassVar[int]
    WRITEREAD_FIELD_NUMBER: _ClassVar[int]
    TRANSACT_FIELD_NUMBER: _ClassVar[int]
    seqno: int
    error: _sigmap_pb2.Rerror
    version: _sigmap_pb2.Rversion
    auth: _sigmap_pb2.Rauth
    attach: _sigmap_pb2.Rattach
    walk: _sigmap_pb2.Rwalk
    open: _sigmap_pb2.Ropen
    create: _sigmap_pb2.Rcreate
    read: _sigmap_pb2.Rread
    write: _sigmap_pb2.Rwrite
    clunk: _sigmap_pb2.Rclunk
    remove: _sigmap_pb2.Rremove
    stat: _sigmap_pb2.Rstat
    wstat: _sigmap_pb2.Rwstat
    renameat: _sigmap_pb2.Rrenameat
    getfile: _sigmap_pb2.Rgetfile
    watch: _sigmap_pb2.Rwatch
    detach: _sigmap_pb2.Rdetach
    writeread: _sigmap_pb2.Rwriteread
    transact: _sigmap_pb2.Rtransact
    def __init__(self, seqno: _Optional[int] = ..., error: _Optional[_Union[_sigmap_pb2.Rerror, _Mapping]] = ..., version: _Optional[_Union[_sigmap_pb2.Rversion, _Mapping]] = ..., auth: _Optional[_Union[_sigmap_pb2.Rauth, _Mapping]] = ..., attach: _Optional[_Union[_sigmap_pb2.Rattach, _Mapping]] = ..., walk: _Optional[_Union[_sigmap_pb2.Rwalk, _Mapping]] = ..., open: _Optional[_Union[_sigmap_pb2.Ropen, _Mapping]] = ..., create: _Optional[_Union[_sigmap_pb2.Rcreate, _Mapping]] = ..., read: _Optional[_Union[_sigmap_pb2.Rread, _Mapping]] = ..., write: _Optional[_Union[_sigmap_pb2.Rwrite, _Mapping]] = ..., clunk: _Optional[_Union[_sigmap_pb2.Rclunk, _Mapping]] = ..., remove: _Optional[_Union[_sigmap_pb2.Rremove, _Mapping]] = ..., stat: _Optional[_Union[_sigmap_pb2.Rstat, _Mapping]] = ..., wstat: _Optional[_Union[_sigmap_pb2.Rwstat, _Mapping]] = ..., renameat: _Optional[_Union[_sigmap_pb2.Rrenameat, _Mapping]] = ..., getfile: _Optional[_Union[_sigmap_pb2.Rgetfile, _Mapping]] = ..., watch: _Optional[_Union[_sigmap_pb2.Rwatch, _Mapping]] = ..., detach: _Optional[_Union[_sigmap_pb2.Rdetach, _Mapping]] = ..., writeread: _Optional[_Union[_sigmap_pb2.Rwriteread, _Mapping]] = ..., transact: _Optional[_Union[_sigmap_pb2.Rtransact, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("session_id", "resume", "outstanding", "key", "bind", "numbered_to", "still", "payloads", "token")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    OUTSTANDING_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    BIND_FIELD_NUMBER: _ClassVar[int]
    NUMBERED_TO_FIELD_NUMBER: _ClassVar[int]
    STILL_FIELD_NUMBER: _ClassVar[int]
    PAYLOADS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    session_id: int
    resume: bool
    outstanding: _containers.RepeatedScalarFieldContainer[int]
    key: bytes
    bind: bool
    numbered_to: int
    still: bool
    payloads: bool
    token: str
    def __init__(self, session_id: _Optional[int] = ..., resume: _Optional[bool] = ..., outstanding: _Optional[_Iterable[int]] = ..., key: _Optional[bytes] = ..., bind: _Optional[bool] = ..., numbered_to: _Optional[int] = ..., still: _Optional[bool] = ..., payloads: _Optional[bool] = ..., token: _Optional[str] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("server_id", "accepted", "error", "plain", "payloads")
    SERVER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    PLAIN_FIELD_NUMBER: _ClassVar[int]
    PAYLOADS_FIELD_NUMBER: _ClassVar[int]
    server_id: int
    accepted: bool
    error: _sigmap_pb2.Rerror
    plain: str
    payloads: bool
    def __init__(self, server_id: _Optional[int] = ..., accepted: _Optional[bool] = ..., error: _Optional[_Union[_sigmap_pb2.Rerror, _Mapping]] = ..., plain: _Optional[str] = ..., payloads: _Optional[bool] = ...) -> None: ...

class Frames(_message.Message):
    __slots__ = ("hello", "welcome", "requests", "replies", "acks", "bye", "all_answered", "unbind", "ping", "pong", "error")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    REPLIES_FIELD_NUMBER: _ClassVar[int]
    ACKS_FIELD_NUMBER: _ClassVar[int]
    BYE_FIELD_NUMBER: _ClassVar[int]
    ALL_ANSWERED_FIELD_NUMBER: _ClassVar[int]
    UNBIND_FIELD_NUMBER: _ClassVar[int]
    PING_FIELD_NUMBER: _ClassVar[int]
    PONG_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    welcome: Welcome
    requests: _containers.RepeatedCompositeFieldContainer[Request]
    replies: _containers.RepeatedCompositeFieldContainer[Reply]
    acks: _containers.RepeatedScalarFieldContainer[int]
    bye: bool
    all_answered: bool
    unbind: bool
    ping: bool
    pong: bool
    error: _sigmap_pb2.Rerror
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., welcome: _Optional[_Union[Welcome, _Mapping]] = ..., requests: _Optional[_Iterable[_Union[Request, _Mapping]]] = ..., replies: _Optional[_Iterable[_Union[Reply, _Mapping]]] = ..., acks: _Optional[_Iterable[int]] = ..., bye: _Optional[bool] = ..., all_answered: _Optional[bool] = ..., unbind: _Optional[bool] = ..., ping: _Optional[bool] = ..., pong: _Optional[bool] = ..., error: _Optional[_Union[_sigmap_pb2.Rerror, _Mapping]] = ...) -> None: ...
