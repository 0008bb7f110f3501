"""What a command left behind."""

from __future__ import annotations

from typing import NamedTuple


class Outcome(NamedTuple):
    code: object
    out: str
    err: str

    def failed_with(self, code: int, text: str) -> None:
        """Asserts the exit code, and one line on stderr that has the text in it and no traceback."""
        assert self.code == code, self
        assert text in self.err
        assert self.err.startswith("sigmaos: ")
        assert self.err.count("\n") == 1
