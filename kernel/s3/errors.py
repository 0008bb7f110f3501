"""boto3's errors in SigmaOS: one table, one place. And which of them are worth another try."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

import msgspec
from boto3.exceptions import Boto3Error
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from sigmaos_ray import serr

if TYPE_CHECKING:
    from collections.abc import Mapping

BOTO_ERRORS: Final = (boto.ClientError, boto.BotoCoreError, Boto3Error, ResponseParserError)
"""All that boto3 raises."""

CODES: Final[Mapping[str, type[serr.SigmaError]]] = {
    "404": serr.NotFound,
    "NoSuchKey": serr.NotFound,
    "NoSuchBucket": serr.NotFound,
    "NotFound": serr.NotFound,
    "403": serr.Perm,
    "AccessDenied": serr.Perm,
    "Forbidden": serr.Perm,
    "AllAccessDisabled": serr.Perm,
    "AccountProblem": serr.Perm,
    "InvalidAccessKeyId": serr.Perm,
    "InvalidClientTokenId": serr.Perm,
    "SignatureDoesNotMatch": serr.Perm,
    "RequestTimeTooSkewed": serr.Perm,
    "ExpiredToken": serr.Perm,
    "InvalidToken": serr.Perm,
    "412": serr.Exists,
    "PreconditionFailed": serr.Exists,
    "409": serr.Exists,
    "BucketAlreadyExists": serr.Exists,
    "BucketAlreadyOwnedByYou": serr.Exists,
    "TooManyBuckets": serr.NoCreate,
    # A conditional write that met another one under way: tried again first, and Exists only if that does not help.
    "ConditionalRequestConflict": serr.Exists,
    "400": serr.Inval,
    "KeyTooLongError": serr.Inval,
    "EntityTooLarge": serr.Inval,
    "InvalidBucketName": serr.NotFound,
    "InvalidObjectState": serr.NotSupported,
    "NotImplemented": serr.NotSupported,
}
"""Codes of S3's answers, and bare statuses where an answer has no body (HEAD). Others are ``Error`` with S3's words."""

PRECONDITION_FAILED: Final = ("PreconditionFailed", "412")
INVALID_RANGE: Final = ("InvalidRange", "416")
MISSING: Final = ("404", "NoSuchKey", "NotFound")

CLASSES: Final[Mapping[type[Exception], type[serr.SigmaError]]] = {
    boto.NoCredentialsError: serr.Perm,
    boto.PartialCredentialsError: serr.Perm,
    boto.CredentialRetrievalError: serr.Perm,
    boto.TokenRetrievalError: serr.Perm,
    boto.SSOTokenLoadError: serr.Perm,
    boto.UnauthorizedSSOTokenError: serr.Perm,
    boto.ProfileNotFound: serr.Perm,
    boto.ParamValidationError: serr.Inval,
}
"""Errors of boto3 itself, the first that fits: never signed (Perm), never sent (Inval). Others are ``Error``. Where S3
does not answer that is no Unreachable: our own server is there, and walking to it anew does not help."""


class Fate(enum.Enum):
    """What became of a request that failed."""

    SAID = "said"
    """S3 has said why; asking again does not help."""
    REFUSED = "refused"
    """Not carried out: S3 is busy, or cannot be reached."""
    UNKNOWN = "unknown"
    """S3 failed, or the connection broke: it may have been carried out."""


# 503 stands here: AWS says it of requests that it did not begin, and asks for fewer.
_REFUSED_CODES: Final = frozenset(
    {
        *("503", "SlowDown", "ServiceUnavailable", "Busy", "429", "TooManyRequests", "RequestLimitExceeded"),
        *("Throttling", "ThrottlingException", "RequestThrottled", "BandwidthLimitExceeded"),
        *("RequestTimeout", "OperationAborted", "ConditionalRequestConflict"),
    }
)
_UNKNOWN_CODES: Final = frozenset({"500", "InternalError", "502", "BadGateway", "504", "GatewayTimeout"})
_NEVER_SENT: Final = (boto.EndpointConnectionError, boto.ConnectTimeoutError, boto.ProxyConnectionError)
_BROKEN: Final = (
    boto.ConnectionClosedError,
    boto.ReadTimeoutError,
    boto.ResponseStreamingError,
    boto.IncompleteReadError,
    ResponseParserError,
)


def code_of(error: Exception) -> str:
    """S3's code, ``""`` for an error that is not S3's."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, boto.ClientError) else ""


def fate_of(error: Exception) -> Fate:
    """What became of the request that raised this."""
    code = code_of(error)
    if code in _REFUSED_CODES or isinstance(error, _NEVER_SENT):
        return Fate.REFUSED
    if code in _UNKNOWN_CODES or isinstance(error, _BROKEN):
        return Fate.UNKNOWN
    if type(error) is boto.HTTPClientError:  # its subclasses tell what they are, a bad certificate say
        return Fate.UNKNOWN
    return Fate.SAID


class About(msgspec.Struct, frozen=True):
    """What a request is about, for the words of its errors."""

    name: str
    """The component concerned."""
    bucket: str = ""
    """Where that may be what is missing."""
    changes: bool = False
    """It changes something: if its fate is unknown that is IOErr."""


# The fate comes before the tables: whatever S3 calls it, of a change of unknown fate nobody may believe that it was not
# made.
def from_boto(error: Exception, about: About, note: str = "") -> serr.SigmaError:
    """What an error of boto3 is in SigmaOS. ``note`` goes behind its words."""
    words = f"{error}{note}"
    if fate_of(error) is Fate.UNKNOWN:
        return serr.IOErr(about.name, words) if about.changes else serr.Error(about.name, words)
    if isinstance(error, boto.ClientError):
        code = code_of(error)
        missing_bucket = code in ("NoSuchBucket", "InvalidBucketName") and about.bucket
        return CODES.get(code, serr.Error)(about.bucket if missing_bucket else about.name, words)
    if isinstance(error, boto.ParamValidationError) and "Invalid bucket name" in str(error):
        return serr.NotFound(about.bucket or about.name, "no name for a bucket")
    kind = next((ours for theirs, ours in CLASSES.items() if isinstance(error, theirs)), serr.Error)
    return kind(about.name, words)


def refusal(code: str, name: str) -> serr.SigmaError:
    """What S3's code for one key of several is in SigmaOS."""
    return CODES.get(code, serr.Error)(name, f"S3 refused: {code}")
