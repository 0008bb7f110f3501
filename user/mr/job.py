"""A job, as its file describes it (MR-1).

app: wc                       # wc, grep, a module of your own, or a file *.py beside this one
nreduce: 2                    # reducers, and files of output
binsz: 32MiB                  # input of one map task, at most
input: name/s3/~any/bucket/in # a directory, or one file
output: name/s3/~any/bucket/out
intermediate: name/ux/~local/mr
linesz: 64KiB                 # the longest line
wordsz: 64KiB                 # the longest word, for apps that cut at words
local: books/                 # optional: files on this machine that are put into ``input`` first
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

import msgspec
import yaml

from sigmaos_ray import decoding, serr
from sigmaos_ray.sigmap import NAMED, path

if TYPE_CHECKING:
    from pathlib import Path

_SIZE: Final = re.compile(r"(\d+)\s*([KMG]i?)?B?", re.IGNORECASE)
_UNITS: Final = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}
_SIZES: Final = ("binsz", "linesz", "wordsz")
_RECORD_BYTES_MAX: Final = 64 << 20
"""Of a record that a job can ask for: a mapper has some of that size in memory."""

Bytes = Annotated[int, msgspec.Meta(ge=1)]


# Unknown fields are refused: a field that is misspelt would silently have its default.
class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be done, with what, and where the output goes. Sizes are in bytes. Inval, naming the field, for what
    no job can be."""

    app: str = "wc"
    nreduce: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 2
    binsz: Bytes = 32 << 20
    input: str
    output: str
    intermediate: str = "name/ux/~local/mr"
    linesz: Annotated[int, msgspec.Meta(ge=1, le=_RECORD_BYTES_MAX)] = 64 << 10
    wordsz: Annotated[int, msgspec.Meta(ge=1, le=_RECORD_BYTES_MAX)] = 64 << 10
    local: str = ""
    coordinators: Annotated[int, msgspec.Meta(ge=1, le=9)] = 3
    """Of which one leads, and the others stand by."""

    def __post_init__(self) -> None:
        for field in ("input", "output", "intermediate"):
            if path.split(getattr(self, field))[:1] != [NAMED]:
                raise serr.Inval(field, f"a pathname below {NAMED}/ is wanted, not {getattr(self, field)!r}")
        if not self.app:
            raise serr.Inval("app", "which one?")

    @classmethod
    def of(cls, fields: object, where: str = "job") -> Self:
        """A job of the fields of a file, where sizes may have units (``64KiB``, ``10MB``). Inval, naming ``where``, for
        fields of no job."""
        if not isinstance(fields, dict):
            raise serr.Inval(where, "not a list of fields, each a name and a value")
        try:
            return decoding.converted({name: _value(name, value) for name, value in fields.items()}, cls)
        except msgspec.ValidationError as error:
            raise serr.Inval(where, f"not a job: {error}") from error

    @classmethod
    def read(cls, file: Path) -> Self:
        """The job of a YAML file. NotFound, Perm or Inval name the file."""
        try:
            fields = yaml.safe_load(file.read_text())
        except FileNotFoundError as error:
            raise serr.NotFound(str(file), "no such job file") from error
        except OSError as error:
            raise serr.Perm(str(file), error.strerror) from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise serr.Inval(str(file), f"not YAML: {' '.join(str(error).split())}") from error
        return cls.of(fields, str(file))


def _value(name: object, value: Any) -> Any:
    if name not in _SIZES or not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise serr.Inval(str(name), f"a size such as 64KiB is wanted, not {value!r}")
    return int(match[1]) * _UNITS[(match[2] or "").lower()]
