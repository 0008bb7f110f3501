"""An instance runs only on a Ray that the use of its private parts was tried with."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from kernel.boot import installed
from kernel.boot.request import BootRequest
from kernel.raylib import version
from sigmaos_ray import serr

ROOT = Path(__file__).parents[3]


def _install(monkeypatch: pytest.MonkeyPatch, release: str) -> None:
    monkeypatch.setattr(importlib.metadata, "version", {"ray": release}.__getitem__)


def test_what_is_installed_here_fits() -> None:
    version.check()


def test_a_patch_release_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, "2.60.9")
    version.check()


@pytest.mark.parametrize("release", ["2.6.0", "2.59.3", "2.61.0", "3.0.0rc1"])
def test_another_series_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch, release: str) -> None:
    _install(monkeypatch, release)
    with pytest.raises(serr.NotSupported) as refusal:
        version.check()
    sentence = str(refusal.value)
    assert f"ray {release}" in sentence
    assert "tried with 2.60.0" in sentence
    assert "pip install 'ray[default]==2.60.0'" in sentence
    assert "\n" not in sentence


def test_boot_asks_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, "2.59.3")
    with pytest.raises(serr.NotSupported, match=r"ray 2\.59\.3"):
        installed.check(BootRequest(state_dir="x"))


def test_the_project_asks_for_a_release_that_was_tried() -> None:
    (line,) = re.findall(r'"(ray\[default\][^"]*)"', (ROOT / "pyproject.toml").read_text())
    requirement = Requirement(line)
    assert requirement.specifier.contains(version.TRIED[-1])
    assert not requirement.specifier.contains("2.0.0")
    assert not requirement.specifier.contains("99.0.0")
