"""S3 through boto3: the only code of s3 that talks to it, with its errors told in ``errors``. Each call is one request
in a thread of the store's own; boto3 retries what S3 asks to be tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import boto3
from botocore.config import Config as BotoConfig
from botocore.exceptions import ClientError

from kernel.s3.errors import INVALID_RANGE, PRECONDITION_FAILED, code_of, translated
from kernel.s3.state import Listing, ObjectInfo, names_of_prefixes, within
from sigmaos_ray import serr
from sigmaos_ray.protsrv.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import (
        CompleteMultipartUploadRequestTypeDef,
        GetObjectRequestTypeDef,
        ListObjectsV2RequestTypeDef,
    )

CONNECT_TIMEOUT_S: Final = 5
READ_TIMEOUT_S: Final = 60
ATTEMPTS_MAX: Final = 3
LIST_KEYS_MAX: Final = 1000
"""S3's own limit for a page."""


class S3Store:
    """S3 at ``endpoint`` (None: AWS), with the credentials of an AWS profile. An endpoint without a profile is the
    embedded emulator, which takes any credentials. Owned by the server, which closes it."""

    def __init__(self, endpoint: str | None, profile: str | None, threads_max: int) -> None:
        """Blocks for some 0.3 s while boto3 loads its tables. Perm if there is no such profile."""
        with translated("s3"):
            self._client = _make_client(endpoint, profile, threads_max)
        self._threads = Threads("s3", threads_max)

    def close(self) -> None:
        """Waits for requests under way."""
        self._threads.close()
        self._client.close()

    # -- looking

    async def buckets(self) -> list[tuple[str, float]]:
        """Names and times of creation (seconds since 1970), in order of name."""
        return await self._threads.run(self._buckets)

    def _buckets(self) -> list[tuple[str, float]]:
        with translated("s3"):
            found = self._client.list_buckets()["Buckets"]
        return sorted((bucket["Name"], bucket["CreationDate"].timestamp()) for bucket in found)

    async def has_bucket(self, bucket: str) -> bool:
        return await self._threads.run(self._has_bucket, bucket)

    def _has_bucket(self, bucket: str) -> bool:
        try:
            with translated(bucket, bucket):
                self._client.head_bucket(Bucket=bucket)
        except serr.NotFound:
            return False
        return True

    async def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """None if there is no such object, or no such bucket."""
        return await self._threads.run(self._head, bucket, key)

    def _head(self, bucket: str, key: str) -> ObjectInfo | None:
        try:
            with translated(_name(key), bucket):
                found = self._client.head_object(Bucket=bucket, Key=key)
        except serr.NotFound:
            return None
        return ObjectInfo(found["ContentLength"], found["ETag"], found["LastModified"].timestamp())

    async def first_keys(self, bucket: str, prefix: str, count: int) -> list[str]:
        """The first keys in a directory, at any depth. NotFound of the bucket if there is none of that name."""
        return await self._threads.run(self._first_keys, bucket, prefix, count)

    def _first_keys(self, bucket: str, prefix: str, count: int) -> list[str]:
        with translated(_name(prefix), bucket):
            page = self._client.list_objects_v2(Bucket=bucket, Prefix=within(prefix), MaxKeys=count)
        return [entry["Key"] for entry in page.get("Contents", [])]

    async def list(self, bucket: str, prefix: str, after: str, token: str) -> Listing:
        """One page of a directory, behind the name ``after``, or going on from ``token``."""
        return await self._threads.run(self._list, bucket, prefix, after, token)

    def _list(self, bucket: str, prefix: str, after: str, token: str) -> Listing:
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
        with translated(_name(prefix), bucket):
            page = self._client.list_objects_v2(**request)
        files = [
            (entry["Key"][len(base) :], ObjectInfo(entry["Size"], entry["ETag"], entry["LastModified"].timestamp()))
            for entry in page.get("Contents", [])
        ]
        dirs = names_of_prefixes([entry["Prefix"] for entry in page.get("CommonPrefixes", [])], base)
        return Listing(files, dirs, not page["IsTruncated"], page.get("NextContinuationToken", ""))

    # -- contents

    async def get(self, bucket: str, key: str, offset: int, count: int, etag: str) -> tuple[bytes, ObjectInfo]:
        """A range, and what object it is of: the one with this ETag, else Version; without an ETag, the present one.
        Empty past the end."""
        return await self._threads.run(self._get, bucket, key, offset, count, etag)

    def _get(self, bucket: str, key: str, offset: int, count: int, etag: str) -> tuple[bytes, ObjectInfo]:
        request: GetObjectRequestTypeDef = {
            "Bucket": bucket,
            "Key": key,
            "Range": f"bytes={offset}-{offset + count - 1}",
        }
        if etag:
            request["IfMatch"] = etag
        with translated(_name(key), bucket):
            try:
                found = self._client.get_object(**request)
            except ClientError as error:
                if etag and code_of(error) in (*PRECONDITION_FAILED, *INVALID_RANGE):
                    raise serr.Version(_name(key), "replaced since it was opened") from error
                if code_of(error) in INVALID_RANGE:
                    return b"", self._head_there(bucket, key)
                raise
            with found["Body"] as body:
                data = body.read()
        size = int(found["ContentRange"].rpartition("/")[2])
        return data, ObjectInfo(size, found["ETag"], found["LastModified"].timestamp())

    def _head_there(self, bucket: str, key: str) -> ObjectInfo:
        info = self._head(bucket, key)
        if info is None:
            raise serr.NotFound(_name(key))
        return info

    async def put(self, bucket: str, key: str, data: bytes, *, exclusive: bool) -> str:
        """The whole object, at once; returns its ETag. ``exclusive``: Exists if there is one."""
        return await self._threads.run(self._put, bucket, key, data, exclusive)

    def _put(self, bucket: str, key: str, data: bytes, exclusive: bool) -> str:
        with translated(_name(key), bucket):
            if exclusive:
                try:
                    return self._client.put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*")["ETag"]
                except ClientError as error:
                    if code_of(error) != "NotImplemented":
                        raise
                    self._check_absent(bucket, key)
            return self._client.put_object(Bucket=bucket, Key=key, Body=data)["ETag"]

    def _check_absent(self, bucket: str, key: str) -> None:
        """For stores that do not know conditional writes."""
        if self._head(bucket, key) is not None:
            raise serr.Exists(_name(key))

    async def delete(self, bucket: str, key: str) -> None:
        """A key that is not there is no error."""
        await self._threads.run(self._delete, bucket, key)

    def _delete(self, bucket: str, key: str) -> None:
        with translated(_name(key), bucket):
            self._client.delete_object(Bucket=bucket, Key=key)

    # -- objects in parts

    async def start_parts(self, bucket: str, key: str) -> str:
        """Begins an upload; returns its id. It ends by ``finish_parts`` or ``abort_parts``."""
        return await self._threads.run(self._start_parts, bucket, key)

    def _start_parts(self, bucket: str, key: str) -> str:
        with translated(_name(key), bucket):
            return self._client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]

    async def put_part(self, bucket: str, key: str, upload: str, number: int, data: bytes) -> str:
        """Returns the part's ETag. Numbers begin at 1."""
        return await self._threads.run(self._put_part, bucket, key, upload, number, data)

    def _put_part(self, bucket: str, key: str, upload: str, number: int, data: bytes) -> str:
        with translated(_name(key), bucket):
            sent = self._client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=data)
            return sent["ETag"]

    async def finish_parts(self, bucket: str, key: str, upload: str, etags: Sequence[str], *, exclusive: bool) -> str:
        """The object appears; returns its ETag. ``exclusive``: Exists if there is one."""
        return await self._threads.run(self._finish_parts, bucket, key, upload, etags, exclusive)

    def _finish_parts(self, bucket: str, key: str, upload: str, etags: Sequence[str], exclusive: bool) -> str:
        request: CompleteMultipartUploadRequestTypeDef = {
            "Bucket": bucket,
            "Key": key,
            "UploadId": upload,
            "MultipartUpload": {
                "Parts": [{"ETag": etag, "PartNumber": number} for number, etag in enumerate(etags, 1)]
            },
        }
        if exclusive:  # asked before too: not every store minds the condition of this request
            self._check_absent(bucket, key)
            request["IfNoneMatch"] = "*"
        with translated(_name(key), bucket):
            return self._client.complete_multipart_upload(**request)["ETag"]

    async def abort_parts(self, bucket: str, key: str, upload: str) -> None:
        """Drops the parts; nothing appears."""
        await self._threads.run(self._abort_parts, bucket, key, upload)

    def _abort_parts(self, bucket: str, key: str, upload: str) -> None:
        with translated(_name(key), bucket):
            self._client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)


def _name(key: str) -> str:
    """The component that an error is about."""
    return key.rpartition("/")[2]


def _make_client(endpoint: str | None, profile: str | None, threads_max: int) -> S3Client:
    if endpoint and not profile:
        session = boto3.Session(aws_access_key_id="sigmaos", aws_secret_access_key="sigmaos", region_name="us-east-1")
    else:
        session = boto3.Session(profile_name=profile)
    options = BotoConfig(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        max_pool_connections=threads_max,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS_MAX},
    )
    if endpoint:
        compatible = BotoConfig(  # what other stores than AWS's understand
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        options = options.merge(compatible)
    return session.client("s3", endpoint_url=endpoint, config=options)
