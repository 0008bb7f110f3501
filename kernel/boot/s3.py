"""The instance's S3: a configured one, or an emulator as a child process that keeps its objects in memory only."""

from __future__ import annotations

import configparser
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kernel.boot.children import Child, free_port
from kernel.s3.descriptor import SERVICE as S3
from sigmaos_ray import debug

if TYPE_CHECKING:
    from kernel.boot.request import BootRequest
    from sigmaos_ray.config import Config

PROFILE: Final = "sigmaos"


class EmulatedS3:
    """moto's server."""

    def __init__(self, host: str, log_dir: Path, config: Config) -> None:
        self._config = config
        self._host = host
        self._port = free_port(host)
        command = [sys.executable, "-m", "moto.server", "-H", host, "-p", str(self._port)]
        quiet = {"PYTHONWARNINGS": "ignore", "MOTO_ALLOW_NONEXISTENT_REGION": "true"}
        self.child = Child("s3", command, log_dir / "s3-emulator.log", self._answers, quiet)

    @property
    def endpoint(self) -> str:
        return f"http://{self._host}:{self._port}"

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.endpoint}/moto-api/", timeout=1):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    def start(self) -> None:
        self.child.launch()

    def wait(self) -> None:
        self.child.wait_ready(self._config.boot.part_start_timeout_s)

    def line(self) -> str:
        return f"s3 emulator (moto) at {self.endpoint}; it keeps objects in memory only"


def is_emulated(request: BootRequest) -> bool:
    """True if the request asks for S3 and nobody has configured one."""
    return S3.name in request.services and request.s3_endpoint is None and not has_profile()


def has_profile() -> bool:
    """True if the user has an AWS profile for SigmaOS."""
    files = {
        os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"): PROFILE,
        os.environ.get("AWS_CONFIG_FILE", "~/.aws/config"): f"profile {PROFILE}",
    }
    for file, section in files.items():
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        try:
            parser.read(Path(file).expanduser())
        except configparser.Error:
            continue
        if parser.has_section(section):
            return True
    return False


def lend_profile() -> None:
    """Lends the profile's credentials to nodes that lack it. Blocks, for boto3 and for Ray."""
    from botocore.exceptions import BotoCoreError

    from kernel.s3 import lending  # late: boto3 takes half a second

    try:
        lending.lend(PROFILE)
    except BotoCoreError as error:  # s3 on this machine will say it as well
        debug.error(f"profile {PROFILE} cannot be lent to other machines: {error}")


def end_lending() -> None:
    """Takes back what ``lend_profile`` lent."""
    from kernel.s3 import lending

    lending.end(PROFILE)
