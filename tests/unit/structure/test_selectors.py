"""Selectors are declared where they are used: the library's in its lists, others in the descriptor of their package."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from arrows import HEAVY
from fileservers import SERVERS

import kernel
import user
from kernel.service import COMMON, all_services, services_of
from sigmaos_ray import crash, debug, perf, serr
from sigmaos_ray.cli import catalogue
from sigmaos_ray.selectors import Selectors, descriptor_files

ROOT = Path(__file__).parents[3]
BY_DEFINITION = {"ALWAYS", "ERROR", "NEVER"}
LIBRARY = Selectors(debug.KNOWN, crash.KNOWN, perf.KNOWN)
SERVICES = {service.name: service.selectors for service in all_services()}
PROGRAMS = {name: runpy.run_path(str(file))["SELECTORS"] for name, file in descriptor_files(user).items()}
DECLARED = [LIBRARY, COMMON, *SERVICES.values(), *PROGRAMS.values()]

DEBUG = re.compile(r'^\w+ = debug\.selector\("(\w+)"\)', re.MULTILINE)
FAULT = re.compile(r'"([A-Z0-9_]+_(?:CRASH|PARTITION|DELAY))"')
DECLARING = {"debug.py", "crash.py", "descriptor.py"}


def used(folder: Path, pattern: re.Pattern[str]) -> set[str]:
    """What the sources below a folder take by name."""
    files = [file for file in folder.rglob("*.py") if file.name not in DECLARING]
    return {name for file in files for name in pattern.findall(file.read_text())}


def test_the_librarys_lists_are_what_the_library_uses() -> None:
    taken = used(ROOT / "sigmaos_ray", DEBUG) | {"CRASH"}
    assert taken - BY_DEFINITION == set(LIBRARY.debug) - BY_DEFINITION
    assert used(ROOT / "sigmaos_ray", FAULT) == set(LIBRARY.faults)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_declares_what_it_uses(name: str) -> None:
    [service] = services_of((name,))
    own = service.selectors
    assert service.debug_selector in own.debug
    assert service.perf_selector in own.perf
    assert used(ROOT / "kernel" / name, FAULT) | {service.crash_event} == set(own.faults)
    assert set(own.debug) <= used(ROOT / "kernel" / name, DEBUG) <= {*own.debug, *COMMON.debug, *LIBRARY.debug}


@pytest.mark.parametrize("folder", sorted(file.parent.name for file in (ROOT / "user").glob("*/__init__.py")))
def test_a_program_declares_what_it_uses(folder: str) -> None:
    own = PROGRAMS.get(folder, Selectors())
    where = f"user/{folder}/descriptor.py declares them"
    assert used(ROOT / "user" / folder, FAULT) == set(own.faults), where
    assert set(own.debug) <= used(ROOT / "user" / folder, DEBUG) <= {*own.debug, *LIBRARY.debug}, where


def test_what_of_the_kernel_is_no_service() -> None:
    files = [file for file in (ROOT / "kernel").rglob("*.py") if file.parent.name not in SERVICES]
    taken = {name for file in files for name in DEBUG.findall(file.read_text())}
    assert set(COMMON.debug) <= taken <= {*COMMON.debug, *LIBRARY.debug}


@pytest.mark.parametrize("kind", Selectors._fields)
def test_no_name_is_declared_twice(kind: str) -> None:
    names = Counter(name for selectors in DECLARED for name in getattr(selectors, kind))
    assert [name for name, count in names.items() if count > 1] == []
    assert set(names) == set(getattr(catalogue.catalogue(), kind))


def test_faults_say_of_which_kind_they_are() -> None:
    lines = catalogue.catalogue().faults.values()
    assert [line for line in lines if not line.startswith(("event: ", "point: "))] == []


def test_descriptors_are_light() -> None:
    read = "from sigmaos_ray.cli.catalogue import catalogue; catalogue()"  # the services', too
    run = [sys.executable, "-c", f"{read}; import sys; print(*({set(HEAVY)} & {{*sys.modules}}))"]
    printed = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert printed.stdout.strip() == ""


def test_services_are_the_packages_with_a_descriptor() -> None:
    [first, *others] = all_services()
    assert not first.is_per_node
    assert all(service.is_per_node for service in others)
    assert {first.name, *(service.name for service in others)} == descriptor_files(kernel).keys()
    for service in all_services():
        assert service.actor.startswith(f"kernel.{service.name}.")
        assert service.calls_max >= 4


def test_the_suites_for_file_servers_try_each() -> None:
    assert SERVERS.keys() == {"memfs"} | {service.name for service in all_services() if service.serves_files}


def test_a_service_that_there_is_not() -> None:
    with pytest.raises(serr.Inval, match=r"nosuch \(no such service; there are named, "):
        services_of(("named", "nosuch"))


@pytest.mark.parametrize("label", ["UX_CRAHS_CRASH", "NOSUCH_PARTITION"])
def test_a_fault_that_nothing_has(label: str) -> None:
    with pytest.raises(serr.Inval, match=f"no fault {label}.*--list"):
        catalogue.check_faults(f'{{"events": {{"{label}": {{}}}}}}')


def test_faults_that_there_are() -> None:
    catalogue.check_faults("")
    catalogue.check_faults('{"events": {"UX_CRASH": {}, "KVD_CRASH": {}, "PROC_CRASH": {}}}')


def test_a_selector_that_nobody_declares() -> None:
    assert catalogue.unknown_selectors("UX;PROCCLNT;KVBAL;;") == []
    assert catalogue.unknown_selectors("PROCCLIENT;MINE;UX") == ["MINE", "PROCCLIENT (is it PROCCLNT?)"]
