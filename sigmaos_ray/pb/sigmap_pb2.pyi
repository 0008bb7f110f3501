from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Qid(_message.Message):
    __slots__ = ("type", "version", "path")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    type: int
    version: int
    path: int
    def __init__(self, type: _Optional[int] = ..., version: _Optional[int] = ..., path: _Optional[int] = ...) -> None: ...

class Stat(_message.Message):
    __slots__ = ("type", "dev", "qid", "mode", "atime", "mtime", "length", "name", "uid", "gid", "muid")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DEV_FIELD_NUMBER: _ClassVar[int]
    QID_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    ATIME_FIELD_NUMBER: _ClassVar[int]
    MTIME_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    GID_FIELD_NUMBER: _ClassVar[int]
    MUID_FIELD_NUMBER: _ClassVar[int]
    type: int
    dev: int
    qid: Qid
    mode: int
    atime: float
    mtime: float
    length: int
    name: str
    uid: str
    gid: str
    muid: str
    def __init__(self, type: _Optional[int] = ..., dev: _Optional[int] = ..., qid: _Optional[_Union[Qid, _Mapping]] = ..., mode: _Optional[int] = ..., atime: _Optional[float] = ..., mtime: _Optional[float] = ..., length: _Optional[int] = ..., name: _Optional[str] = ..., uid: _Optional[str] = ..., gid: _Optional[str] = ..., muid: _Optional[str] = ...) -> None: ...

class Fence(_message.Message):
    __slots__ = ("pathname", "epoch", "seqno")
    PATHNAME_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQNO_FIELD_NUMBER: _ClassVar[int]
    pathname: str
    epoch: int
    seqno: int
    def __init__(self, pathname: _Optional[str] = ..., epoch: _Optional[int] = ..., seqno: _Optional[int] = ...) -> None: ...

class Tversion(_message.Message):
    __slots__ = ("msize", "version")
    MSIZE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    msize: int
    version: str
    def __init__(self, msize: _Optional[int] = ..., version: _Optional[str] = ...) -> None: ...

class Rversion(_message.Message):
    __slots__ = ("msize", "version")
    MSIZE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    msize: int
    version: str
    def __init__(self, msize: _Optional[int] = ..., version: _Optional[str] = ...) -> None: ...

class Tauth(_message.Message):
    __slots__ = ("afid", "principal", "aname")
    AFID_FIELD_NUMBER: _ClassVar[int]
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    ANAME_FIELD_NUMBER: _ClassVar[int]
    afid: int
    principal: str
    aname: str
    def __init__(self, afid: _Optional[int] = ..., principal: _Optional[str] = ..., aname: _Optional[str] = ...) -> None: ...

class Rauth(_message.Message):
    __slots__ = ("aqid",)
    AQID_FIELD_NUMBER: _ClassVar[int]
    aqid: Qid
    def __init__(self, aqid: _Optional[_Union[Qid, _Mapping]] = ...) -> None: ...

class Secret(_message.Message):
    __slots__ = ("service", "id", "key", "session_token")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    SESSION_TOKEN_FIELD_NUMBER: _ClassVar[int]
    service: str
    id: str
    key: str
    session_token: str
    def __init__(self, service: _Optional[str] = ..., id: _Optional[str] = ..., key: _Optional[str] = ..., session_token: _Optional[str] = ...) -> None: ...

class Tattach(_message.Message):
    __slots__ = ("fid", "aname", "client_id", "realm", "principal", "token", "secrets", "seeks_named")
    FID_FIELD_NUMBER: _ClassVar[int]
    ANAME_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    REALM_FIELD_NUMBER: _ClassVar[int]
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    SECRETS_FIELD_NUMBER: _ClassVar[int]
    SEEKS_NAMED_FIELD_NUMBER: _ClassVar[int]
    fid: int
    aname: str
    client_id: int
    realm: str
    principal: str
    token: str
    secrets: _containers.RepeatedCompositeFieldContainer[Secret]
    seeks_named: bool
    def __init__(self, fid: _Optional[int] = ..., aname: _Optional[str] = ..., client_id: _Optional[int] = ..., realm: _Optional[str] = ..., principal: _Optional[str] = ..., token: _Optional[str] = ..., secrets: _Optional[_Iterable[_Union[Secret, _Mapping]]] = ..., seeks_named: _Optional[bool] = ...) -> None: ...

class Rattach(_message.Message):
    __slots__ = ("qid", "standbys")
    QID_FIELD_NUMBER: _ClassVar[int]
    STANDBYS_FIELD_NUMBER: _ClassVar[int]
    qid: Qid
    standbys: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, qid: _Optional[_Union[Qid, _Mapping]] = ..., standbys: _Optional[_Iterable[str]] = ...) -> None: ...

class Twalk(_message.Message):
    __slots__ = ("fid", "newfid", "names")
    FID_FIELD_NUMBER: _ClassVar[int]
    NEWFID_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    fid: int
    newfid: int
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, fid: _Optional[int] = ..., newfid: _Optional[int] = ..., names: _Optional[_Iterable[str]] = ...) -> None: ...

class Rwalk(_message.Message):
    __slots__ = ("qids",)
    QIDS_FIELD_NUMBER: _ClassVar[int]
    qids: _containers.RepeatedCompositeFieldContainer[Qid]
    def __init__(self, qids: _Optional[_Iterable[_Union[Qid, _Mapping]]] = ...) -> None: ...

class Topen(_message.Message):
    __slots__ = ("fid", "mode", "fence")
    FID_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    fid: int
    mode: int
    fence: Fence
    def __init__(self, fid: _Optional[int] = ..., mode: _Optional[int] = ..., fence: _Optional[_Union[Fence, _Mapping]] = ...) -> None: ...

class Ropen(_message.Message):
    __slots__ = ("qid", "iounit", "perm", "removes_all", "one_version", "stays")
    QID_FIELD_NUMBER: _ClassVar[int]
    IOUNIT_FIELD_NUMBER: _ClassVar[int]
    PERM_FIELD_NUMBER: _ClassVar[int]
    REMOVES_ALL_FIELD_NUMBER: _ClassVar[int]
    ONE_VERSION_FIELD_NUMBER: _ClassVar[int]
    STAYS_FIELD_NUMBER: _ClassVar[int]
    qid: Qid
    iounit: int
    perm: int
    removes_all: bool
    one_version: bool
    stays: bool
    def __init__(self, qid: _Optional[_Union[Qid, _Mapping]] = ..., iounit: _Optional[int] = ..., perm: _Optional[int] = ..., removes_all: _Optional[bool] = ..., one_version: _Optional[bool] = ..., stays: _Optional[bool] = ...) -> None: ...

class Topenfile(_message.Message):
    __slots__ = ("fid", "newfid", "names", "resolve", "mode", "fence", "makes", "perm", "lease")
    FID_FIELD_NUMBER: _ClassVar[int]
    NEWFID_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    RESOLVE_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    MAKES_FIELD_NUMBER: _ClassVar[int]
    PERM_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    fid: int
    newfid: int
    names: _containers.RepeatedScalarFieldContainer[str]
    resolve: bool
    mode: int
    fence: Fence
    makes: bool
    perm: int
    lease: int
    def __init__(self, fid: _Optional[int] = ..., newfid: _Optional[int] = ..., names: _Optional[_Iterable[str]] = ..., resolve: _Optional[bool] = ..., mode: _Optional[int] = ..., fence: _Optional[_Union[Fence, _Mapping]] = ..., makes: _Optional[bool] = ..., perm: _Optional[int] = ..., lease: _Optional[int] = ...) -> None: ...

class Tcreate(_message.Message):
    __slots__ = ("fid", "name", "perm", "mode", "lease", "fence", "data", "newfid", "names")
    FID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PERM_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    NEWFID_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    fid: int
    name: str
    perm: int
    mode: int
    lease: int
    fence: Fence
    data: bytes
    newfid: int
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, fid: _Optional[int] = ..., name: _Optional[str] = ..., perm: _Optional[int] = ..., mode: _Optional[int] = ..., lease: _Optional[int] = ..., fence: _Optional[_Union[Fence, _Mapping]] = ..., data: _Optional[bytes] = ..., newfid: _Optional[int] = ..., names: _Optional[_Iterable[str]] = ...) -> None: ...

class Rcreate(_message.Message):
    __slots__ = ("qid", "iounit")
    QID_FIELD_NUMBER: _ClassVar[int]
    IOUNIT_FIELD_NUMBER: _ClassVar[int]
    qid: Qid
    iounit: int
    def __init__(self, qid: _Optional[_Union[Qid, _Mapping]] = ..., iounit: _Optional[int] = ...) -> None: ...

class Tread(_message.Message):
    __slots__ = ("fid", "offset", "count")
    FID_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    fid: int
    offset: int
    count: int
    def __init__(self, fid: _Optional[int] = ..., offset: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class Rread(_message.Message):
    __slots__ = ("data", "is_end")
    DATA_FIELD_NUMBER: _ClassVar[int]
    IS_END_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    is_end: bool
    def __init__(self, data: _Optional[bytes] = ..., is_end: _Optional[bool] = ...) -> None: ...

class Twrite(_message.Message):
    __slots__ = ("fid", "offset", "data", "fence")
    FID_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    fid: int
    offset: int
    data: bytes
    fence: Fence
    def __init__(self, fid: _Optional[int] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ..., fence: _Optional[_Union[Fence, _Mapping]] = ...) -> None: ...

class Rwrite(_message.Message):
    __slots__ = ("count",)
    COUNT_FIELD_NUMBER: _ClassVar[int]
    count: int
    def __init__(self, count: _Optional[int] = ...) -> None: ...

class Tclunk(_message.Message):
    __slots__ = ("fid", "abort")
    FID_FIELD_NUMBER: _ClassVar[int]
    ABORT_FIELD_NUMBER: _ClassVar[int]
    fid: int
    abort: bool
    def __init__(self, fid: _Optional[int] = ..., abort: _Optional[bool] = ...) -> None: ...

class Rclunk(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Tremove(_message.Message):
    __slots__ = ("fid", "fence", "all", "version")
    FID_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    fid: int
    fence: Fence
    all: bool
    version: int
    def __init__(self, fid: _Optional[int] = ..., fence: _Optional[_Union[Fence, _Mapping]] = ..., all: _Optional[bool] = ..., version: _Optional[int] = ...) -> None: ...

class Rremove(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Tremovefile(_message.Message):
    __slots__ = ("fid", "names", "resolve", "fence", "path")
    FID_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    RESOLVE_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    fid: int
    names: _containers.RepeatedScalarFieldContainer[str]
    resolve: bool
    fence: Fence
    path: int
    def __init__(self, fid: _Optional[int] = ..., names: _Optional[_Iterable[str]] = ..., resolve: _Optional[bool] = ..., fence: _Optional[_Union[Fence, _Mapping]] = ..., path: _Optional[int] = ...) -> None: ...

class Tstat(_message.Message):
    __slots__ = ("fid", "names", "resolve")
    FID_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    RESOLVE_FIELD_NUMBER: _ClassVar[int]
    fid: int
    names: _containers.RepeatedScalarFieldContainer[str]
    resolve: bool
    def __init__(self, fid: _Optional[int] = ..., names: _Optional[_Iterable[str]] = ..., resolve: _Optional[bool] = ...) -> None: ...

class Rstat(_message.Message):
    __slots__ = ("stat",)
    STAT_FIELD_NUMBER: _ClassVar[int]
    stat: Stat
    def __init__(self, stat: _Optional[_Union[Stat, _Mapping]] = ...) -> None: ...

class Twstat(_message.Message):
    __slots__ = ("fid", "stat", "fence", "names", "length")
    FID_FIELD_NUMBER: _ClassVar[int]
    STAT_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    fid: int
    stat: Stat
    fence: Fence
    names: _containers.RepeatedScalarFieldContainer[str]
    length: int
    def __init__(self, fid: _Optional[int] = ..., stat: _Optional[_Union[Stat, _Mapping]] = ..., fence: _Optional[_Union[Fence, _Mapping]] = ..., names: _Optional[_Iterable[str]] = ..., length: _Optional[int] = ...) -> None: ...

class Rwstat(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Trenameat(_message.Message):
    __slots__ = ("old_fid", "old_name", "new_fid", "new_name", "fence", "old_fence")
    OLD_FID_FIELD_NUMBER: _ClassVar[int]
    OLD_NAME_FIELD_NUMBER: _ClassVar[int]
    NEW_FID_FIELD_NUMBER: _ClassVar[int]
    NEW_NAME_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    OLD_FENCE_FIELD_NUMBER: _ClassVar[int]
    old_fid: int
    old_name: str
    new_fid: int
    new_name: str
    fence: Fence
    old_fence: Fence
    def __init__(self, old_fid: _Optional[int] = ..., old_name: _Optional[str] = ..., new_fid: _Optional[int] = ..., new_name: _Optional[str] = ..., fence: _Optional[_Union[Fence, _Mapping]] = ..., old_fence: _Optional[_Union[Fence, _Mapping]] = ...) -> None: ...

class Rrenameat(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Tgetfile(_message.Message):
    __slots__ = ("fid", "mode", "offset", "count", "names", "resolve")
    FID_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    RESOLVE_FIELD_NUMBER: _ClassVar[int]
    fid: int
    mode: int
    offset: int
    count: int
    names: _containers.RepeatedScalarFieldContainer[str]
    resolve: bool
    def __init__(self, fid: _Optional[int] = ..., mode: _Optional[int] = ..., offset: _Optional[int] = ..., count: _Optional[int] = ..., names: _Optional[_Iterable[str]] = ..., resolve: _Optional[bool] = ...) -> None: ...

class Rgetfile(_message.Message):
    __slots__ = ("data", "qid")
    DATA_FIELD_NUMBER: _ClassVar[int]
    QID_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    qid: Qid
    def __init__(self, data: _Optional[bytes] = ..., qid: _Optional[_Union[Qid, _Mapping]] = ...) -> None: ...

class Tputfile(_message.Message):
    __slots__ = ("fid", "mode", "perm", "offset", "names", "resolve", "lease", "fence", "data")
    FID_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    PERM_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    RESOLVE_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    fid: int
    mode: int
    perm: int
    offset: int
    names: _containers.RepeatedScalarFieldContainer[str]
    resolve: bool
    lease: int
    fence: Fence
    data: bytes
    def __init__(self, fid: _Optional[int] = ..., mode: _Optional[int] = ..., perm: _Optional[int] = ..., offset: _Optional[int] = ..., names: _Optional[_Iterable[str]] = ..., resolve: _Optional[bool] = ..., lease: _Optional[int] = ..., fence: _Optional[_Union[Fence, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class Change(_message.Message):
    __slots__ = ("kind", "dirfid", "name", "version", "perm", "lease", "data", "sequential")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CREATE: _ClassVar[Change.Kind]
        PUT: _ClassVar[Change.Kind]
        REMOVE: _ClassVar[Change.Kind]
        CHECK: _ClassVar[Change.Kind]
    CREATE: Change.Kind
    PUT: Change.Kind
    REMOVE: Change.Kind
    CHECK: Change.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    DIRFID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PERM_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    SEQUENTIAL_FIELD_NUMBER: _ClassVar[int]
    kind: Change.Kind
    dirfid: int
    name: str
    version: int
    perm: int
    lease: int
    data: bytes
    sequential: bool
    def __init__(self, kind: _Optional[_Union[Change.Kind, str]] = ..., dirfid: _Optional[int] = ..., name: _Optional[str] = ..., version: _Optional[int] = ..., perm: _Optional[int] = ..., lease: _Optional[int] = ..., data: _Optional[bytes] = ..., sequential: _Optional[bool] = ...) -> None: ...

class Changed(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class Ttransact(_message.Message):
    __slots__ = ("changes", "fences")
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    FENCES_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[Change]
    fences: _containers.RepeatedCompositeFieldContainer[Fence]
    def __init__(self, changes: _Optional[_Iterable[_Union[Change, _Mapping]]] = ..., fences: _Optional[_Iterable[_Union[Fence, _Mapping]]] = ...) -> None: ...

class Rtransact(_message.Message):
    __slots__ = ("changed",)
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    changed: _containers.RepeatedCompositeFieldContainer[Changed]
    def __init__(self, changed: _Optional[_Iterable[_Union[Changed, _Mapping]]] = ...) -> None: ...

class Twatch(_message.Message):
    __slots__ = ("dirfid", "watchfid")
    DIRFID_FIELD_NUMBER: _ClassVar[int]
    WATCHFID_FIELD_NUMBER: _ClassVar[int]
    dirfid: int
    watchfid: int
    def __init__(self, dirfid: _Optional[int] = ..., watchfid: _Optional[int] = ...) -> None: ...

class Rwatch(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchEvent(_message.Message):
    __slots__ = ("kind", "name")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CREATED: _ClassVar[WatchEvent.Kind]
        REMOVED: _ClassVar[WatchEvent.Kind]
    CREATED: WatchEvent.Kind
    REMOVED: WatchEvent.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    kind: WatchEvent.Kind
    name: str
    def __init__(self, kind: _Optional[_Union[WatchEvent.Kind, str]] = ..., name: _Optional[str] = ...) -> None: ...

class WatchEventList(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[WatchEvent]
    def __init__(self, events: _Optional[_Iterable[_Union[WatchEvent, _Mapping]]] = ...) -> None: ...

class Tdetach(_message.Message):
    __slots__ = ("client_id",)
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    client_id: int
    def __init__(self, client_id: _Optional[int] = ...) -> None: ...

class Rdetach(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Twriteread(_message.Message):
    __slots__ = ("fid", "frames")
    FID_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    fid: int
    frames: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, fid: _Optional[int] = ..., frames: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Rwriteread(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, frames: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Rerror(_message.Message):
    __slots__ = ("code", "obj", "msg", "detail", "leader")
    CODE_FIELD_NUMBER: _ClassVar[int]
    OBJ_FIELD_NUMBER: _ClassVar[int]
    MSG_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    code: int
    obj: str
    msg: str
    detail: str
    leader: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, code: _Optional[int] = ..., obj: _Optional[str] = ..., msg: _Optional[str] = ..., detail: _Optional[str] = ..., leader: _Optional[_Iterable[str]] = ...) -> None: ...
