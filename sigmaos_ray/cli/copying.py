"""The rules of ``cp``, between any two trees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sigmaos_ray import serr
from sigmaos_ray.cli.trees import ObjectKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sigmaos_ray.cli.trees import FileTree, FoundObject

NOT_RECURSIVE: Final = "with -r it is copied"


def destinations(tree: FileTree, sources: Sequence[tuple[str, str]], target: str) -> list[tuple[str, str]]:
    """Each source with where it goes: into ``target`` if that is a directory, else it becomes ``target``. ``sources``:
    with what they are called there. NotDir for several that would become one."""
    found = tree.look(target)
    if found is not None and found.kind is ObjectKind.DIRECTORY:
        return [(source, tree.below(target, last) if last else target) for source, last in sources]
    if len(sources) > 1:
        raise serr.NotDir(target, "several are put into a directory" if found is None else None)
    return [(source, target) for source, _ in sources]


class Copier:
    """Copies from one tree into another one. ``tell`` gets the error of what could not be copied: the rest is."""

    def __init__(
        self,
        source: FileTree,
        target: FileTree,
        tell: Callable[[Exception], None],
        *,
        recursive: bool,
        keep_links: bool = False,
    ) -> None:
        """``keep_links``: links below are copied as links; else what they lead to is."""
        self._source = source
        self._target = target
        self._tell = tell
        self._recursive = recursive
        self._keep_links = keep_links

    def copy_all(self, sources: Sequence[str], target: str) -> None:
        """As ``cp SOURCE... TARGET`` does."""
        named = [(source, self._source.last(source)) for source in sources]
        for source, destination in destinations(self._target, named, target):
            self._copy_telling(source, destination, ())

    def _copy_telling(self, source: str, destination: str, above: tuple[tuple[int, int], ...]) -> None:
        """``above``: the directories that are being copied, from the outermost on."""
        try:
            self._copy(source, destination, above)
        except (serr.SigmaError, OSError) as error:
            self._tell(error)

    def _copy(self, source: str, destination: str, above: tuple[tuple[int, int], ...]) -> None:
        if self._keep_links and not source.endswith("/"):
            entry = self._source.look(source, follow=False)
            if entry is not None and entry.kind is ObjectKind.LINK:
                self._source.copy_link(source, destination)
                return
        entry = self._source.look(source)
        if entry is None:
            raise self._source.missing(source)
        if entry.kind is ObjectKind.DIRECTORY:
            self._copy_directory(source, entry, destination, above)
        elif entry.kind is ObjectKind.OTHER and self._recursive:
            raise serr.NotSupported(source, entry.kind.value)
        else:
            self._copy_file(source, entry, destination)

    def _copy_file(self, source: str, entry: FoundObject, destination: str) -> None:
        if destination.endswith("/"):
            raise serr.NotDir(destination, "there is no such directory")
        there = self._target.look(destination)
        if there is not None:
            self._check_other(source, entry, destination, there)
            if there.kind is ObjectKind.DIRECTORY:
                raise serr.IsDir(destination, "a file does not take its place")
        with self._source.open(source) as file:
            self._target.write(destination, file, entry.perm)

    def _copy_directory(
        self, source: str, entry: FoundObject, destination: str, above: tuple[tuple[int, int], ...]
    ) -> None:
        if not self._recursive:
            raise serr.IsDir(source, NOT_RECURSIVE)
        if entry.identity in above:
            raise serr.Inval(source, "a link that leads back up")
        there = self._target.look(destination)
        self._check_not_into_itself(source, entry, destination)
        if there is None:
            self._target.make_directory(destination, entry.perm)
        elif there.kind is not ObjectKind.DIRECTORY:
            raise serr.NotDir(destination, "a directory does not take its place")
        for name in self._source.names(source):
            below = self._source.below(source, name)
            if not self._is_servers_own(below):
                self._copy_telling(below, self._target.below(destination, name), (*above, entry.identity))

    def _is_servers_own(self, name: str) -> bool:
        found = self._source.look(name, follow=False)
        return found is not None and found.is_own

    def _check_other(self, source: str, entry: FoundObject, destination: str, there: FoundObject) -> None:
        if self._source is self._target and entry.identity == there.identity:
            raise serr.Inval(destination, f"is the same as {source}")

    def _check_not_into_itself(self, source: str, entry: FoundObject, destination: str) -> None:
        """Inval if the destination is the directory itself, or below it."""
        if self._source is not self._target:
            return
        parts = destination.split("/")
        for length in range(2, len(parts) + 1):
            there = self._target.look("/".join(parts[:length]))
            if there is None:
                return
            if there.kind is ObjectKind.DIRECTORY and there.identity == entry.identity:
                raise serr.Inval(destination, f"is {source} itself, or below it")
