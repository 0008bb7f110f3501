"""What S3 is asked for: one request each, blocking, with boto3's errors but where an error is an answer."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import msgspec
from botocore.exceptions import ClientError, ReadTimeoutError

from kernel.s3.errors import INVALID_RANGE, MISSING, PRECONDITION_FAILED, code_of
from kernel.s3.state import DirPage, KeyPage, ObjectInfo, fits_xml, names_of_prefixes, within
from sigmaos_ray import serr

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import (
        CompleteMultipartUploadRequestTypeDef,
        GetObjectOutputTypeDef,
        GetObjectRequestTypeDef,
        ListObjectsV2RequestTypeDef,
    )

Chunk: TypeAlias = bytes | memoryview

LIST_KEYS_MAX: Final = 1000
"""S3's own limit for a page, and for the keys of one delete."""
PIECE_BYTES: Final = 1 << 20
"""What is read of a body at a time: as much as one sigmap read takes, so that it is handed on as it is."""
STREAMED_BYTES: Final = 1 << 20
"""Bodies from here on are sent piece by piece, each with its own time-out, once S3 has said that it wants them."""


def name_of(key: str) -> str:
    """The component that an error is about."""
    return key.rpartition("/")[2]


# -- looking


def buckets(client: S3Client) -> list[str]:
    """In order of name."""
    return sorted(bucket["Name"] for bucket in client.list_buckets()["Buckets"])


def has_bucket(client: S3Client, bucket: str) -> bool:
    """False if there is none of that name; an error (403) for one that is another account's."""
    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as error:
        if code_of(error) in (*MISSING, "NoSuchBucket"):
            return False
        raise
    return True


def make_bucket(client: S3Client, bucket: str) -> None:
    """In the client's region."""
    region = client.meta.region_name
    # The oldest region is the one that may not be named.
    if region and region != "us-east-1":
        client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})  # type: ignore[typeddict-item]
    else:
        client.create_bucket(Bucket=bucket)


def head(client: S3Client, bucket: str, key: str) -> ObjectInfo | None:
    """None if there is no such object, or no such bucket."""
    try:
        reply = client.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if code_of(error) in MISSING:
            return None
        raise
    return ObjectInfo(reply["ContentLength"], reply["ETag"], reply["LastModified"].timestamp())


def keys(client: S3Client, bucket: str, beginning: str, after: str, count: int) -> KeyPage:
    """At most ``count`` keys that begin so, behind the key ``after``, in S3's order."""
    request: ListObjectsV2RequestTypeDef = {"Bucket": bucket, "Prefix": beginning, "MaxKeys": count}
    if after:
        request["StartAfter"] = after
    page = client.list_objects_v2(**request)
    infos = [
        (entry["Key"], ObjectInfo(entry["Size"], entry["ETag"], entry["LastModified"].timestamp()))
        for entry in page.get("Contents", [])
    ]
    return KeyPage(infos, not page["IsTruncated"])


def dir_page(client: S3Client, bucket: str, prefix: str, after: str, token: str) -> DirPage:
    """One page of a directory, behind the name ``after``, or going on from ``token``."""
    base = within(prefix)
    request: ListObjectsV2RequestTypeDef = {
        "Bucket": bucket,
        "Prefix": base,
        "Delimiter": "/",
        "MaxKeys": LIST_KEYS_MAX,
    }
    if token:
        request["ContinuationToken"] = token
    elif after:
        request["StartAfter"] = base + after
    page = client.list_objects_v2(**request)
    files = [
        (entry["Key"][len(base) :], ObjectInfo(entry["Size"], entry["ETag"], entry["LastModified"].timestamp()))
        for entry in page.get("Contents", [])
    ]
    dirs = names_of_prefixes([entry["Prefix"] for entry in page.get("CommonPrefixes", [])], base)
    return DirPage(files, dirs, not page["IsTruncated"], page.get("NextContinuationToken", ""))


# -- reading


class Range(msgspec.Struct, frozen=True):
    """Part of an object: the one with this ETag, else Version; without an ETag, the present one."""

    bucket: str
    key: str
    offset: int
    count: int
    etag: str = ""


def read(client: S3Client, wanted: Range) -> tuple[bytes, ObjectInfo] | None:
    """Its bytes, fewer at the end, none past it; None if there is no such object."""
    reply = _get(client, wanted)
    if reply is None:
        # Past the end, or not there: a look at the object tells which.
        info = head(client, wanted.bucket, wanted.key)
        return None if info is None else (b"", info)
    with reply["Body"] as body:
        data = body.read()
    return data, _info_of(reply)


def read_pieces(client: S3Client, wanted: Range, taker: Taker) -> None:
    """Hands on what comes, piece by piece. NotFound if there is no such object."""
    reply = _get(client, wanted)
    if reply is None:
        info = head(client, wanted.bucket, wanted.key)
        if info is None:
            raise serr.NotFound(name_of(wanted.key))
        taker.begin(info, None)
    else:
        _read_body(reply, taker)


def _read_body(reply: GetObjectOutputTypeDef, taker: Taker) -> None:
    body = reply["Body"]
    with body:
        # The way to end a read that waits: from another thread, while this one sits in it.
        taker.begin(_info_of(reply), getattr(getattr(body, "_raw_stream", None), "shutdown", None))
        while data := body.read(PIECE_BYTES):
            if not taker.piece(data):
                return


class Taker(Protocol):
    """Who gets the pieces of a range. Called from the request's thread."""

    wanted: Range

    def rest(self) -> Range | None:
        """What a further try must fetch: of the same object. None if all came."""

    def begin(self, info: ObjectInfo, interrupt: Callable[[], None] | None) -> None:
        """``interrupt`` ends the reading from any thread."""

    def piece(self, data: bytes) -> bool:
        """False: no more is wanted."""


def _get(client: S3Client, wanted: Range) -> GetObjectOutputTypeDef | None:
    """None if the range is past the end, or the object is not there."""
    request: GetObjectRequestTypeDef = {
        "Bucket": wanted.bucket,
        "Key": wanted.key,
        "Range": f"bytes={wanted.offset}-{wanted.offset + wanted.count - 1}",
    }
    if wanted.etag:
        request["IfMatch"] = wanted.etag
    try:
        reply = client.get_object(**request)
    except ClientError as error:
        code = code_of(error)
        # Also a range that is past the end by now: with an ETag it was known to be inside.
        if wanted.etag and code in (*PRECONDITION_FAILED, *INVALID_RANGE):
            raise serr.Version(name_of(wanted.key), "replaced since it was opened") from error
        if code in (*INVALID_RANGE, *MISSING):
            return None
        raise
    # Some stores send the whole object, whatever range was asked for.
    if "ContentRange" not in reply and (wanted.offset or reply["ContentLength"] > wanted.count):
        # Unread, or the connection would have to take all of it before it is of use again.
        reply["Body"].close()
        raise serr.NotSupported(name_of(wanted.key), "this S3 does not read parts of objects")
    return reply


def _info_of(reply: GetObjectOutputTypeDef) -> ObjectInfo:
    content_range = reply.get("ContentRange", "")
    size = int(content_range.rpartition("/")[2]) if content_range else reply["ContentLength"]
    return ObjectInfo(size, reply["ETag"], reply["LastModified"].timestamp())


# -- writing


class _Body(io.BytesIO):
    """Bytes that are to be sent by a certain moment; shared with who has them, not copied."""

    def __init__(self, data: bytes, until: float) -> None:
        super().__init__(data)
        self._until = until

    def read(self, size: int | None = -1, /) -> bytes:
        # boto3's own time-outs are for each piece that is sent: a server that takes a byte now and then meets none of
        # them.
        if time.monotonic() > self._until:
            raise ReadTimeoutError(endpoint_url="S3", error="too slow with the bytes sent")
        return super().read(size)


def body_of(chunks: Sequence[Chunk], until: float) -> bytes | _Body:
    """What boto3 is to send: one copy of the chunks, none if there is but one."""
    first = chunks[0] if len(chunks) == 1 else b""
    # A small body is sent as bytes: with those boto3 does not ask first whether S3 wants them.
    data = first if isinstance(first, bytes) and len(chunks) == 1 else b"".join(chunks)
    return data if len(data) < STREAMED_BYTES else _Body(data, until)


def put(client: S3Client, bucket: str, key: str, chunks: Sequence[Chunk], until: float, *, exclusive: bool) -> str:
    """The whole object, at once; returns its ETag. ``exclusive``: Exists if there is one."""
    if exclusive:
        try:
            body = body_of(chunks, until)
            return client.put_object(Bucket=bucket, Key=key, Body=body, IfNoneMatch="*")["ETag"]
        except ClientError as error:
            if code_of(error) != "NotImplemented":
                raise
            check_absent(client, bucket, key)
    return client.put_object(Bucket=bucket, Key=key, Body=body_of(chunks, until))["ETag"]


def check_absent(client: S3Client, bucket: str, key: str) -> None:
    """For stores that do not know conditional writes."""
    if head(client, bucket, key) is not None:
        raise serr.Exists(name_of(key))


def start_parts(client: S3Client, bucket: str, key: str) -> str:
    """Begins an upload; returns its id."""
    return client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]


class UploadPart(msgspec.Struct, frozen=True):
    """Where a part goes. Numbers begin at 1."""

    bucket: str
    key: str
    upload: str
    number: int


def put_part(client: S3Client, part: UploadPart, chunks: Sequence[Chunk], until: float) -> str:
    """Returns the part's ETag."""
    body = body_of(chunks, until)
    sent = client.upload_part(Bucket=part.bucket, Key=part.key, UploadId=part.upload, PartNumber=part.number, Body=body)
    return sent["ETag"]


def finish_parts(client: S3Client, bucket: str, key: str, upload: str, etags: Sequence[str], *, exclusive: bool) -> str:
    """The object appears; returns its ETag. ``exclusive``: Exists if there is one."""
    parts = [{"ETag": etag, "PartNumber": number} for number, etag in enumerate(etags, 1)]
    request: CompleteMultipartUploadRequestTypeDef = {
        "Bucket": bucket,
        "Key": key,
        "UploadId": upload,
        "MultipartUpload": {"Parts": parts},  # type: ignore[typeddict-item]  # a comprehension loses the keys' types
    }
    if exclusive:  # asked before too: not every store minds the condition of this request
        check_absent(client, bucket, key)
        request["IfNoneMatch"] = "*"
    return client.complete_multipart_upload(**request)["ETag"]


def abort_parts(client: S3Client, bucket: str, key: str, upload: str) -> None:
    """Drops the parts; nothing appears. No error if the upload is over."""
    try:
        client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
    except ClientError as error:
        if code_of(error) not in (*MISSING, "NoSuchUpload", "NoSuchBucket"):
            raise


# -- removing


def delete(client: S3Client, bucket: str, key: str) -> None:
    """A key that is not there is no error."""
    client.delete_object(Bucket=bucket, Key=key)


def delete_many(client: S3Client, bucket: str, keys: Sequence[str]) -> list[tuple[str, str]]:
    """At most 1000 keys; returns those that were refused, each with S3's code."""
    # One by one, by their URLs, what the XML of a request for many cannot carry: it would be refused as a whole.
    for key in keys:
        if not fits_xml(key):
            delete(client, bucket, key)
    if not (carried := [key for key in keys if fits_xml(key)]):
        return []
    answer = client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in carried], "Quiet": True})
    return [(error.get("Key", ""), error.get("Code", "")) for error in answer.get("Errors", [])]
