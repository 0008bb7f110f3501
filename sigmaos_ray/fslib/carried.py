"""The fences that a client's changes carry, by directory."""

from __future__ import annotations

from sigmaos_ray.sigmap import NO_FENCE, Fence, path


class CarriedFences:
    """Which stamp a change of a pathname gets: that of the nearest fenced directory on its way."""

    def __init__(self) -> None:
        self._by_directory: dict[str, Fence] = {}

    def of(self, parts: list[str]) -> Fence:
        """The fence of a change at or below these components."""
        if self._by_directory:
            for length in range(len(parts), 0, -1):
                fence = self._by_directory.get("/".join(parts[:length]))
                if fence is not None:
                    return fence
        return NO_FENCE

    def of_pathname(self, pn: str) -> Fence:
        """``of``, for a pathname as text."""
        return self.of(path.split(pn))

    def put(self, directory: str, fence: Fence) -> None:
        """From now on changes below ``directory`` carry ``fence``; an empty fence takes it off."""
        key = "/".join(path.split(directory))
        if fence:
            self._by_directory[key] = fence
        else:
            self._by_directory.pop(key, None)

    def has_below(self, pn: str) -> bool:
        """True if a directory below ``pn`` is fenced by itself."""
        parts = path.split(pn)
        fenced = map(path.split, self._by_directory)
        return any(len(each) > len(parts) and each[: len(parts)] == parts for each in fenced)
