"""Standard input, output and error as a shell hands them over: closed, full, or of few characters."""

from __future__ import annotations

import io
import os
import sys
from contextlib import contextmanager, nullcontext
from typing import IO, TYPE_CHECKING, Any, Final

from sigmaos_ray import serr

if TYPE_CHECKING:
    from collections.abc import Iterator

_INPUT, _OUTPUT, _ERROR = 0, 1, 2
_OUTPUT_NAME: Final = "standard output"
_INPUT_NAME: Final = "standard input"


class NobodyReads(Exception):
    """Whoever read standard output has enough of it: ``sigmaos ls | head``."""


class _Output(io.FileIO):
    """Standard output, whose errors say that it is that."""

    def write(self, data: Any) -> int | None:  # type: ignore[override]
        try:
            return super().write(data)
        except BrokenPipeError as error:
            # No OSError: of those the library behind the commands makes an exit code of its own.
            raise NobodyReads from error
        except OSError as error:
            raise OSError(error.errno, error.strerror, _OUTPUT_NAME) from None


@contextmanager
def safe_streams() -> Iterator[None]:
    """Within the block all three are there. One that was closed fails when it is used, as it does in other programs,
    and no file that is opened later takes its number. What the output cannot show is escaped."""
    _fill(_INPUT, os.O_WRONLY)
    _fill(_OUTPUT, os.O_RDONLY)
    _fill(_ERROR, os.O_WRONLY)  # nobody is left to be told
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # for as long as the process lives
    before = sys.stdout
    if before is None or before is sys.__stdout__:
        sys.stdout = _text_output(before)
    try:
        yield
    finally:
        sys.stdout = before


def _fill(number: int, flags: int) -> None:
    """``/dev/null`` in the place of a closed descriptor, opened the wrong way round if its use is to fail."""
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, flags)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)


def _text_output(before: Any) -> io.TextIOWrapper:
    raw = _Output(_OUTPUT, "w", closefd=False)
    encoding = before.encoding if before is not None else None
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, "backslashreplace", line_buffering=raw.isatty())


def flushed(code: int) -> int:
    """The exit code, once all output is out: that of a failed write if nothing else failed. What is still buffered for
    a reader that went away is dropped without a word."""
    from sigmaos_ray.cli.context import error_line

    try:
        sys.stdout.flush()
    except (NobodyReads, BrokenPipeError):
        _drop_output()
    except OSError as error:
        _drop_output()
        if not code:
            sys.stderr.write(f"sigmaos: {error_line(error)}\n")
            return 1
    return code


def _drop_output() -> None:
    # Python flushes once more at its exit, and would print a second error then: into nothing, instead.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def standard_input() -> Iterator[IO[bytes]]:
    """Its errors, as of one that is closed, say that it is that."""
    try:
        with open(_INPUT, "rb", closefd=False) if sys.stdin is None else nullcontext(sys.stdin.buffer) as source:
            yield source
    except OSError as error:
        if isinstance(error, serr.SigmaError) or error.filename:
            raise
        raise OSError(error.errno, error.strerror, _INPUT_NAME) from None
