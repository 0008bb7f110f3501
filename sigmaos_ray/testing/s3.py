"""The instance's S3 from outside of SigmaOS: buckets are made with boto3, since the namespace makes none."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from sigmaos_ray import extras, serr

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mypy_boto3_s3 import S3Client

    from sigmaos_ray.instance import Instance


_KEYS_PER_CALL: Final = 1000
"""S3's own limit for one delete."""


class S3:
    """boto3 on the S3 that the instance uses: ``client`` is boto3's own, for all else. ``close`` it, or use it as a
    context manager. Its methods block, and raise Unreachable or Error. NotSupported if the instance has no S3."""

    def __init__(self, instance: Instance) -> None:
        if not instance.s3_endpoint and not instance.s3_credentials_profile:
            raise serr.NotSupported("s3", "the instance runs without S3")
        with _translated("s3"):  # a machine may lack the profile of the instance's
            self.client = _client(instance)

    def make_bucket(self, bucket: str) -> bool:
        """Makes the bucket; False if it was there already."""
        with _translated(bucket):
            if bucket in {entry["Name"] for entry in self.client.list_buckets()["Buckets"]}:
                return False
            self.client.create_bucket(Bucket=bucket)
        return True

    def upload_dir(self, directory: Path, bucket: str, prefix: str = "") -> list[str]:
        """Uploads the files directly in ``directory``; returns their keys, ``prefix`` and file name."""
        keys = []
        for file in sorted(entry for entry in directory.iterdir() if entry.is_file()):
            key = f"{prefix.rstrip('/')}/{file.name}" if prefix else file.name
            with _translated(f"{bucket}/{key}"):
                self.client.upload_file(str(file), bucket, key)
            keys.append(key)
        return keys

    def remove_keys(self, bucket: str, keys: Sequence[str]) -> None:
        """Removes objects; those that are not there are no error."""
        for at in range(0, len(keys), _KEYS_PER_CALL):
            batch = keys[at : at + _KEYS_PER_CALL]
            with _translated(bucket):
                self.client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in batch]})

    def remove_bucket(self, bucket: str) -> None:
        """Removes the bucket with all that is in it. Not at one moment: an error leaves the rest."""
        with _translated(bucket):
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
            keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        self.remove_keys(bucket, keys)
        with _translated(bucket):
            self.client.delete_bucket(Bucket=bucket)

    def close(self) -> None:
        self.client.close()

    def __enter__(self) -> S3:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    """boto3's errors become Unreachable or Error, with the bucket or the key."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, EndpointConnectionError

    try:
        yield
    except (ConnectionError, EndpointConnectionError) as error:
        raise serr.Unreachable(what, str(error)) from error
    except (BotoCoreError, Boto3Error, ClientError) as error:
        raise serr.Error(what, str(error)) from error


def _client(instance: Instance) -> S3Client:
    extras.need("boto3", for_="the harness's S3")
    import boto3  # late: it takes half a second, and most tests do without
    from botocore.config import Config

    profile = instance.s3_credentials_profile
    session = (
        boto3.Session(profile_name=profile)
        if profile
        else boto3.Session(aws_access_key_id="sigmaos", aws_secret_access_key="sigmaos", region_name="us-east-1")
    )
    options = Config(s3={"addressing_style": "path"}) if instance.s3_endpoint else None
    return session.client("s3", endpoint_url=instance.s3_endpoint, config=options)
