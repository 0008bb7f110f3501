"""boto3's errors in SigmaOS: one table, one place."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from boto3.exceptions import Boto3Error
from botocore import exceptions as boto

from sigmaos_ray import serr

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CODES: Final[Mapping[str, type[serr.SigmaError]]] = {
    "404": serr.NotFound,
    "NoSuchKey": serr.NotFound,
    "NoSuchBucket": serr.NotFound,
    "NotFound": serr.NotFound,
    "403": serr.Perm,
    "AccessDenied": serr.Perm,
    "Forbidden": serr.Perm,
    "AllAccessDisabled": serr.Perm,
    "InvalidAccessKeyId": serr.Perm,
    "SignatureDoesNotMatch": serr.Perm,
    "ExpiredToken": serr.Perm,
    "InvalidToken": serr.Perm,
    "412": serr.Exists,
    "PreconditionFailed": serr.Exists,
    "409": serr.Exists,
    "ConditionalRequestConflict": serr.Exists,
    "400": serr.Inval,
    "KeyTooLongError": serr.Inval,
    "InvalidBucketName": serr.NotFound,
}
"""Codes of S3's answers, and bare statuses where an answer has no body (HEAD). Others are ``Error`` with S3's words."""

PRECONDITION_FAILED: Final = ("PreconditionFailed", "412")
INVALID_RANGE: Final = ("InvalidRange", "416")

CLASSES: Final[Mapping[type[Exception], type[serr.SigmaError]]] = {
    boto.ConnectionClosedError: serr.IOErr,
    boto.ReadTimeoutError: serr.IOErr,
    boto.ResponseStreamingError: serr.IOErr,
    boto.IncompleteReadError: serr.IOErr,
    boto.ConnectionError: serr.Error,
    boto.HTTPClientError: serr.Error,
    boto.NoCredentialsError: serr.Perm,
    boto.PartialCredentialsError: serr.Perm,
    boto.CredentialRetrievalError: serr.Perm,
    boto.TokenRetrievalError: serr.Perm,
    boto.SSOTokenLoadError: serr.Perm,
    boto.UnauthorizedSSOTokenError: serr.Perm,
    boto.ProfileNotFound: serr.Perm,
    boto.ParamValidationError: serr.Inval,
}
"""Errors of boto3 itself, the first that fits: the request was sent and its fate is unknown (IOErr), S3 is not there
(Error: our own server is, so walking there anew does not help), never signed (Perm). Others are ``Error``."""


def code_of(error: boto.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def from_boto(error: Exception, obj: str, bucket: str = "") -> serr.SigmaError:
    """What an error of boto3 is in SigmaOS. ``obj``: the component concerned; ``bucket`` where that may be what is
    missing."""
    if isinstance(error, boto.ClientError):
        code = code_of(error)
        missing_bucket = code in ("NoSuchBucket", "InvalidBucketName") and bucket
        return CODES.get(code, serr.Error)(bucket if missing_bucket else obj, str(error))
    if isinstance(error, boto.ParamValidationError) and "Invalid bucket name" in str(error):
        return serr.NotFound(bucket or obj, "no name for a bucket")
    kind = next((ours for theirs, ours in CLASSES.items() if isinstance(error, theirs)), serr.Error)
    return kind(obj, str(error))


@contextlib.contextmanager
def translated(obj: str, bucket: str = "") -> Iterator[None]:
    try:
        yield
    except (boto.ClientError, boto.BotoCoreError, Boto3Error) as error:
        raise from_boto(error, obj, bucket) from error
