"""What jobs, stores and services may be called."""

from __future__ import annotations

import pytest

from sigmaos_ray import serr
from sigmaos_ray.ft.naming import checked_name


@pytest.mark.parametrize("name", ["books", "grp-1", "é", "a b"])
def test_names_that_files_may_have(name: str) -> None:
    assert checked_name(name, "a job") == name


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "~any", "~local", "x" * 256])
def test_names_that_no_file_may_have(name: str) -> None:
    with pytest.raises(serr.Inval, match="the name of a job"):
        checked_name(name, "a job")
