"""Whether the installed Ray is one that this package's use of its private parts was tried with. Imports no Ray."""

from __future__ import annotations

import importlib.metadata
from typing import Final

from sigmaos_ray import serr

TRIED: Final = ("2.60.0",)
"""Releases that all tests passed with; the last one is what we say to install."""


def check() -> None:
    """NotSupported, in one sentence that says what to install, unless the installed Ray is of a series (``2.60``) that
    was tried; PackageNotFoundError without any. To be called before Ray is imported: what does not fit would fail
    somewhere inside, with a traceback."""
    installed = importlib.metadata.version("ray")
    if _series(installed) not in {_series(release) for release in TRIED}:
        reason = f"sigmaos-ray uses private parts of Ray, and was tried with {', '.join(TRIED)}"
        raise serr.NotSupported(f"ray {installed}", f"{reason}: pip install 'ray[default]=={TRIED[-1]}'")


def _series(release: str) -> str:
    """``2.60`` of ``2.60.1``: patch releases leave the private parts alone."""
    return ".".join(release.split(".")[:2])
