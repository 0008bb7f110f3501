"""Which programs have a template of their own, and whether it still fits. Looks at files, and does nothing else.

A program is its name; of a function, with what it is made of.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, TypeAlias

from sigmaos_ray.runner import freshness

if TYPE_CHECKING:
    from sigmaos_ray.pb import proc_pb2 as pb
    from sigmaos_ray.runner.templatelink import TemplateLink

Files: TypeAlias = dict[str, freshness.Stamp]
_Key: TypeAlias = tuple[str, bytes]


def key_of(spec: pb.ProcSpec) -> _Key:
    return spec.program, hashlib.blake2b(spec.pickled, digest_size=16).digest() if spec.pickled else b""


def fits_program_template(spec: pb.ProcSpec) -> bool:
    """Whether a proc may begin with modules that were imported before it was there: those that it imports may read its
    variables."""
    return not spec.fresh and "/" not in spec.program and all(name.startswith("SIGMA") for name in spec.env)


class _Entry:
    def __init__(self, link: TemplateLink) -> None:
        self.link: TemplateLink | None = link
        self.is_ready = False
        self.files: Files = {}
        self.refusal = ""

    def is_fresh(self) -> bool:
        return all(freshness.stamp_of(file) == stamp for file, stamp in self.files.items())


class Programs:
    """Those of one worker; those used last, ``count_max`` of them."""

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()
        self._stale: list[TemplateLink] = []

    def fitting(self, spec: pb.ProcSpec) -> TemplateLink | None:
        """The template of a proc's program, if it has one and its modules are as they are on the disk."""
        entry = self._entries.get(key_of(spec))
        if entry is None or not entry.is_ready or entry.link is None:
            return None
        if not entry.is_fresh():
            self._remove(key_of(spec))
            return None
        self._entries.move_to_end(key_of(spec))
        return entry.link

    def stale(self) -> list[TemplateLink]:
        """Templates that nobody gets any more, each told once."""
        stale, self._stale = self._stale, []
        return stale

    def wants(self, spec: pb.ProcSpec) -> bool:
        """Whether a program is to have one now."""
        if not fits_program_template(spec):
            return False
        entry = self._entries.get(key_of(spec))
        # One that could not be made is tried again when its files are others.
        return entry is None or (bool(entry.refusal) and bool(entry.files) and not entry.is_fresh())

    def add(self, spec: pb.ProcSpec, link: TemplateLink) -> list[TemplateLink]:
        """One is being made. Returns those that make room for it."""
        self._entries.pop(key_of(spec), None)
        self._entries[key_of(spec)] = _Entry(link)
        while len(self._entries) > self._count_max:
            self._remove(next(iter(self._entries)))
        return self.stale()

    def ready(self, link: TemplateLink, files: Files) -> bool:
        """It has imported its modules; false if nobody wants it any more."""
        entry = self._entry_of(link)
        if entry is None:
            return False
        entry.is_ready, entry.files = True, files
        return True

    def refuse(self, link: TemplateLink, why: str, files: Files) -> None:
        """Its processes would not be like others of that program."""
        entry = self._entry_of(link)
        if entry is not None:
            entry.link, entry.refusal, entry.files = None, why, files

    def forget(self, link: TemplateLink) -> None:
        """It has ended; the next proc of its program has another one made."""
        for key, entry in list(self._entries.items()):
            if entry.link is link and entry.is_ready:
                del self._entries[key]

    def is_used(self, link: TemplateLink, bare: TemplateLink | None) -> bool:
        """Whether procs still get processes of it."""
        return link is bare or self._entry_of(link) is not None

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
