"""The fences that a client's changes carry, by directory."""

from __future__ import annotations

from sigmaos_ray.sigmap import NO_FENCE, Fence, path


class CarriedFences:
    """Which stamp a change of a pathname gets: that of the nearest fenced directory on its way.

    A directory is fenced by the pathname that was given, and by the one that its links and unions led to then: whoever
    comes to it by another way carries the fence too, and whatever a union stands for next is under the fence as well.
    """

    def __init__(self) -> None:
        self._by_directory: dict[str, Fence] = {}
        self._resolved: dict[str, str] = {}
        """What pathnames that were given led to."""

    def of(self, *ways: list[str]) -> Fence:
        """The fence of a change at or below these components: several pathnames of one place, the resolved one first.
        Of two fences of one pathname the newer one."""
        found = NO_FENCE
        for way in ways if self._by_directory else ():
            nearest = self._nearest(way)
            if not found or (nearest.pathname == found.pathname and nearest > found):
                found = nearest
        return found

    def _nearest(self, parts: list[str]) -> Fence:
        for length in range(len(parts), 0, -1):
            fence = self._by_directory.get("/".join(parts[:length]))
            if fence is not None:
                return fence
        return NO_FENCE

    def put(self, directory: list[str], resolved: list[str], fence: Fence) -> None:
        """From now on changes below a directory carry ``fence``."""
        given, real = "/".join(directory), "/".join(resolved)
        self._by_directory[given] = self._by_directory[real] = fence
        self._resolved[given] = real

    def take_off(self, directory: list[str]) -> None:
        """Changes below a directory carry no fence of it any more, whichever way they come."""
        given = "/".join(directory)
        real = self._resolved.pop(given, given)
        for other in [given, real, *(name for name, led_to in self._resolved.items() if led_to in (given, real))]:
            self._by_directory.pop(other, None)
            self._resolved.pop(other, None)

    def __bool__(self) -> bool:
        return bool(self._by_directory)

    def has_below(self, pn: str) -> bool:
        """True if a directory below ``pn`` is fenced by itself."""
        parts = path.split(pn)
        fenced = map(path.split, self._by_directory)
        return any(len(each) > len(parts) and each[: len(parts)] == parts for each in fenced)
