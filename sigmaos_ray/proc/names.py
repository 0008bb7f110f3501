"""Which modules a program's name may mean. No I/O."""

from __future__ import annotations

from typing import Final

USER_PACKAGE: Final = "user"


def module_names(program: str) -> list[str]:
    """The modules that a program's name may mean, first choice first."""
    name = program.replace("-", "_")
    return [name] if "." in name else [f"{USER_PACKAGE}.{name}", name]
