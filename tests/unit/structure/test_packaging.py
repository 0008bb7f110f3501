"""What pyproject.toml promises to whoever installs the project, against what the sources say and ``make`` installs."""

from __future__ import annotations

import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest
from arrows import HEAVY
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from kernel.raylib import version
from sigmaos_ray import extras

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
OURS = "sigmaos-ray"
FOR_US = ("dev",)
"""Extras that nobody else installs."""

NAMED_EXTRAS = re.compile(r"sigmaos-ray\[([\w,]+)\]")
TEXT_ENDS = (".py", ".md", ".toml", ".sh")


def _requirements(extra: str) -> list[Requirement]:
    """Of an extra and of those that it includes."""
    own = [Requirement(requirement) for requirement in EXTRAS[extra]]
    included = [name for requirement in own if requirement.name == OURS for name in requirement.extras]
    return [*(each for each in own if each.name != OURS), *chain(*(_requirements(name) for name in included))]


def _bare() -> list[Requirement]:
    return [Requirement(requirement) for requirement in PROJECT["dependencies"]]


def _texts() -> list[Path]:
    tops = ("sigmaos_ray", "kernel", "user", "tests", "docs", "tools")
    below = (file for top in tops for file in sorted((ROOT / top).rglob("*")))
    return [file for file in (*below, ROOT / "README.md", ROOT / "pyproject.toml") if file.suffix in TEXT_ENDS]


@pytest.mark.parametrize("module", sorted(extras.PACKAGES))
def test_an_extra_brings_what_is_said_to_be_missing(module: str) -> None:
    package = extras.PACKAGES[module]
    names = {canonicalize_name(requirement.name) for requirement in _requirements(package.extra)}
    assert canonicalize_name(package.name) in names


def test_every_extra_that_is_named_exists() -> None:
    named = {
        (str(file.relative_to(ROOT)), extra)
        for file in _texts()
        for extras_ in NAMED_EXTRAS.findall(file.read_text())
        for extra in extras_.split(",")
    }
    assert len(named) > len(EXTRAS)
    assert not {(file, extra) for file, extra in named if extra not in EXTRAS}


def test_a_client_is_light() -> None:
    assert not {requirement.name for requirement in _bare()} & set(HEAVY)


def test_everything_is_in_all() -> None:
    everything = {requirement.name for requirement in _requirements("all")}
    others = (extra for extra in EXTRAS if extra not in (*FOR_US, "testing"))
    assert not {each.name for extra in others for each in _requirements(extra)} - everything


@pytest.mark.parametrize("extra", ["", *(extra for extra in EXTRAS if extra not in FOR_US)])
def test_users_get_ranges_with_two_ends(extra: str) -> None:
    for requirement in _requirements(extra) if extra else _bare():
        assert {specifier.operator for specifier in requirement.specifier} == {">=", "<"}, requirement


def test_ray_is_the_series_that_was_tried() -> None:
    (ray,) = (requirement for requirement in _requirements("ray") if requirement.name == "ray")
    bounds = {specifier.operator: specifier.version for specifier in ray.specifier}
    major, minor, _ = version.TRIED[-1].split(".")
    assert bounds == {">=": version.TRIED[-1], "<": f"{major}.{int(minor) + 1}"}


def test_the_lock_is_within_the_ranges() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    for requirement in (*_bare(), *_requirements("dev")):
        version = pins.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in constraints.txt: make lock"
        assert version in requirement.specifier, f"{requirement}: constraints.txt has {version}: make lock"


def test_generated_code_takes_the_oldest_versions() -> None:
    sources = (ROOT / "sigmaos_ray" / "pb" / "sessp_pb2_grpc.py").read_text()
    (generated,) = re.findall(r"GRPC_GENERATED_VERSION = '([\d.]+)'", sources)
    (grpcio,) = (requirement for requirement in _bare() if requirement.name == "grpcio")
    assert f">={generated}" in str(grpcio.specifier)
