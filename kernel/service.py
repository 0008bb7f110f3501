"""What is known of a kernel service before it runs.

Each service's package has a module ``descriptor`` with one ``SERVICE``; a package below ``kernel`` that has one is a
service, and no other place lists them. Boot, the command line and the tests read the descriptors, which import neither
Ray nor anything of the service itself.
"""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass
from typing import Any, Final

import kernel
from sigmaos_ray import serr
from sigmaos_ray.selectors import Selectors, descriptor_files


@dataclass(frozen=True, kw_only=True)
class Service:
    """One kernel service. Its name is that of its directory in the namespace, of its actors and of its logs."""

    name: str
    actor: str
    """``module:class`` of its Ray actor. A path, so that a service that is not wanted is not imported."""
    selectors: Selectors
    """At least the ones that every service has: ``debug_selector``, ``crash_event`` and ``perf_selector``."""
    calls_max: int = 8
    """Ray calls that its actor takes at a time; ``KernelActor`` needs 4."""
    is_per_node: bool = True
    """One on every kernel node, all started at once; if not, the realm has as many as it wants, anywhere, and they are
    started before those of the nodes and stopped after them."""
    serves_files: bool = True
    """It shows a tree of its own, to which the suites for file servers apply; if not, RPC or the like."""
    needs: tuple[str, ...] = ()
    """Modules of ``extras.PACKAGES`` that it cannot do without, besides those that every service needs."""
    keeps: tuple[str, ...] = ()
    """Patterns of what it keeps below ``KernelArgs.state_dir`` or ``node_dir``; ``sigmaos start --clean`` forgets it.
    ``{realm}`` stands for a realm's name: what such a pattern matches goes with its realm, too."""

    @property
    def debug_selector(self) -> str:
        return self.name.upper()

    @property
    def crash_event(self) -> str:
        """The fault that ends its process."""
        return f"{self.name.upper()}_CRASH"

    @property
    def perf_selector(self) -> str:
        return self.name.upper()

    def actor_class(self) -> Any:
        """Imports its actor, and with it Ray."""
        module, _, name = self.actor.partition(":")
        return getattr(importlib.import_module(module), name)


COMMON: Final = Selectors(
    debug={
        "BOOT": "boot: Ray, etcd, the S3 emulator, kernel nodes",
        "KERNEL": "the shells of kernel actors",
    }
)
"""Selectors of the kernel that belong to no service."""


@functools.cache
def all_services() -> tuple[Service, ...]:
    """Every service, those of a realm before those of its nodes, each by name."""
    modules = [importlib.import_module(f"kernel.{name}.descriptor") for name in descriptor_files(kernel)]
    services: list[Service] = [module.SERVICE for module in modules]
    return tuple(sorted(services, key=lambda service: (service.is_per_node, service.name)))


def service_names() -> tuple[str, ...]:
    """In the order of ``all_services``."""
    return tuple(service.name for service in all_services())


def services_of(names: tuple[str, ...]) -> tuple[Service, ...]:
    """The services of those names, in the order of ``all_services``. Inval if there is none of a name."""
    if unknown := set(names) - set(service_names()):
        message = f"no such service; there are {', '.join(service_names())}"
        raise serr.Inval(", ".join(sorted(unknown)), message)
    return tuple(service for service in all_services() if service.name in names)
