"""Notes in the namespace, one file each, below a directory."""

from __future__ import annotations

from sigmaos_ray import SigmaClnt


def keep(sc: SigmaClnt, directory: str, title: str, text: str) -> None:
    """Makes the note, or replaces it; the directory too, if it is missing."""
    sc.makedirs(directory)
    sc.put_file(f"{directory}/{title}", text.encode())


def all_notes(sc: SigmaClnt, directory: str) -> dict[str, str]:
    """Texts by title."""
    return {entry.name: sc.get_file(f"{directory}/{entry.name}").decode() for entry in sc.get_dir(directory)}
