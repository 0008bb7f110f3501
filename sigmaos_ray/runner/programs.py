"""Which programs have a template of their own, and whether it still fits. Looks at files, and does nothing else.

A program is known by its name. Functions of one name share a template, though each may be another one, as those that a
loop makes are: what their procs have to import is what the template has, and what one needs beyond that is added.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, TypeAlias

from sigmaos_ray.runner import freshness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sigmaos_ray.config import Workers
    from sigmaos_ray.pb import proc_pb2 as pb
    from sigmaos_ray.runner.templatelink import TemplateLink

Files: TypeAlias = dict[str, freshness.Stamp]
_Key: TypeAlias = tuple[str, bool]


def _key_of(spec: pb.ProcSpec) -> _Key:
    return spec.program, bool(spec.pickled)


def fits_program_template(spec: pb.ProcSpec) -> bool:
    """Whether a proc may begin with modules that were imported before it was there: those that it imports may read its
    variables."""
    return not spec.fresh and "/" not in spec.program and all(name.startswith("SIGMA") for name in spec.env)


class _Entry:
    def __init__(self, link: TemplateLink, modules: Sequence[str]) -> None:
        self.link: TemplateLink | None = link
        self.modules = tuple(modules)
        self.is_ready = False
        self.files: Files = {}
        self.refusal = ""
        self.refused_s = 0.0

    def is_fresh(self) -> bool:
        return all(freshness.stamp_of(file) == stamp for file, stamp in self.files.items())


class Programs:
    """Those of one worker; those used last."""

    def __init__(self, limits: Workers) -> None:
        self._limits = limits
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()
        self._stale: list[TemplateLink] = []

    def fitting(self, spec: pb.ProcSpec) -> TemplateLink | None:
        """The template of a proc's program, if it has one and its modules are as they are on the disk."""
        key = _key_of(spec)
        entry = self._entries.get(key)
        if entry is None or not entry.is_ready or entry.link is None:
            return None
        if not entry.is_fresh():
            self._remove(key)
            return None
        self._entries.move_to_end(key)
        return entry.link

    def stale(self) -> list[TemplateLink]:
        """Templates that nobody gets any more, each told once."""
        stale, self._stale = self._stale, []
        return stale

    def wanted(self, spec: pb.ProcSpec, modules: list[str]) -> list[str]:
        """A proc had to import some modules. What a template of its program is to import now; none if it is to be left
        as it is."""
        if not fits_program_template(spec):
            return []
        entry = self._entries.get(_key_of(spec))
        if entry is None or (entry.refusal and self._may_try_again(entry)):
            return modules
        if spec.pickled and entry.is_ready and (more := [name for name in modules if name not in entry.modules]):
            return [*entry.modules, *more]
        return []

    def _may_try_again(self, entry: _Entry) -> bool:
        if entry.files:
            return not entry.is_fresh()
        return time.monotonic() - entry.refused_s > self._limits.refused_again_s

    def add(self, spec: pb.ProcSpec, link: TemplateLink, modules: list[str]) -> list[TemplateLink]:
        """One is being made. Returns those that nobody gets any more: it takes their place, or the room."""
        if _key_of(spec) in self._entries:
            self._remove(_key_of(spec))
        self._entries[_key_of(spec)] = _Entry(link, modules)
        kept = [key for key, entry in self._entries.items() if entry.link is not None]
        refused = [key for key, entry in self._entries.items() if entry.link is None]
        kept_max, refused_max = self._limits.program_templates_max, self._limits.programs_refused_max
        for key in (*kept[:-kept_max], *refused[:-refused_max]):
            self._remove(key)
        return self.stale()

    def ready(self, link: TemplateLink, files: Files) -> bool:
        """It has imported its modules; false if nobody wants it any more."""
        entry = self._entry_of(link)
        if entry is None:
            return False
        entry.is_ready, entry.files = True, files
        return True

    def refuse(self, link: TemplateLink, why: str, files: Files) -> None:
        """Its processes would not be like others of that program. Tried again when its files are others; without
        files, after a while."""
        entry = self._entry_of(link)
        if entry is not None:
            entry.link, entry.refusal, entry.files, entry.refused_s = None, why, files, time.monotonic()

    def forget(self, link: TemplateLink) -> None:
        """It has ended; the next proc of its program has another one made. One that is not ready yet may still be
        refused."""
        for key, entry in list(self._entries.items()):
            if entry.link is link and entry.is_ready:
                del self._entries[key]

    def drop(self, link: TemplateLink) -> None:
        """It ended, and not by its own doing: the same, also for one that is not ready."""
        for key, entry in list(self._entries.items()):
            if entry.link is link:
                del self._entries[key]

    def is_used(self, link: TemplateLink) -> bool:
        """Whether procs get processes of it."""
        return self._entry_of(link) is not None

    def _entry_of(self, link: TemplateLink) -> _Entry | None:
        return next((entry for entry in self._entries.values() if entry.link is link), None)

    def _remove(self, key: _Key) -> None:
        entry = self._entries.pop(key)
        if entry.link is not None:
            self._stale.append(entry.link)

    def report(self) -> dict[str, Any]:
        """Which there are, for people; those that cannot be, with the reason."""
        return {
            key[0]: entry.refusal or ("ready" if entry.is_ready else "made") for key, entry in self._entries.items()
        }
