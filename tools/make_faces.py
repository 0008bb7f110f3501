"""Makes the blocking faces from the asynchronous classes: ``make faces``. A test compares what is checked in.

A face runs each coroutine of its class on the client's loop, and waits for it. What is different in threads (files as
Python's file objects, callbacks, the life of a client) is written by hand, and named here as ``by_hand``.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import copy
import dataclasses
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ROOT: Final = Path(__file__).parents[1]
FSLIB: Final = "sigmaos_ray.fslib"
FACE: Final = "sigmaos_ray.blocking.face"


@dataclasses.dataclass(frozen=True)
class Source:
    """An asynchronous class, and which of its public names have faces written by hand."""

    module: str
    name: str
    by_hand: frozenset[str] = frozenset()
    direct: frozenset[str] = frozenset()
    """Those of one message, mostly, which the calling thread may send itself."""


@dataclasses.dataclass(frozen=True)
class FaceOf:
    """A face that stands alone: made of a blocking client, as its class is of an asynchronous one."""

    source: Source
    wraps: bool = False
    """Made around an object that another face returns, not by users."""
    made_by: str = ""
    """The function of its module that makes the object, if it is not the class."""

    @property
    def name(self) -> str:
        return self.source.name.removeprefix("Async")


@dataclasses.dataclass(frozen=True)
class CallsOf:
    """The calls of a face whose other half, a subclass, is written by hand."""

    name: str
    sources: tuple[Source, ...]
    clnt: str
    """The type of ``_clnt``."""
    base: tuple[str, str] | None = None
    """Module and class, of what runs coroutines itself; others do so by their client."""


Face = FaceOf | CallsOf


def _part(module: str, name: str, *by_hand: str, direct: Sequence[str] = ()) -> Source:
    return Source(f"{FSLIB}.{module}", name, frozenset(by_hand), frozenset(direct))


FACES: Final[dict[str, tuple[Face, ...]]] = {
    "sigmaos_ray/blocking/calls.py": (
        CallsOf(
            "FsCalls",
            (
                _part("clnt", "AsyncFsLib", "stats"),
                _part(
                    "descriptors",
                    "DescriptorCalls",
                    direct=[
                        "seek",
                        "create",
                        "create_leased",
                        "open",
                        "close_fd",
                        "read",
                        "pread",
                        "write",
                        "write_fence",
                    ],
                ),
                _part("entries", "EntryCalls", direct=["stat", "remove", "rename"]),
                _part("files", "FileCalls", direct=["get_file", "put_file", "set_file", "put_leased_file", "symlink"]),
                _part("dirs", "DirCalls", "scan_dir", "scan_dir_pages", "process_dir", direct=["mkdir"]),
                _part("transactions", "TransactionCalls"),
                _part("watches", "WatchCalls", "watch_dir", "read_dir_watch", "wait_until"),
                _part(
                    "streams",
                    "StreamCalls",
                    *("open_reader", "open_wait_reader", "open_parallel_reader", "create_writer", "open_writer"),
                ),
                _part("jsonfiles", "JsonCalls"),
                _part("transfer", "CopyCalls"),
                _part("endpoints", "EndpointCalls"),
                _part("mounting", "MountCalls"),
                _part("reports", "ReportCalls"),
            ),
            clnt="AsyncFsLib",
            base=(FACE, "Face"),
        ),
        CallsOf(
            "DirCacheCalls",
            (_part("dircache", "AsyncDirCache", "get_entry", "lookup_entry", "invalidate_entry"),),
            clnt="AsyncDirCache[str]",
        ),
    ),
    "sigmaos_ray/sigmaclnt/calls.py": (
        CallsOf(
            "SigmaCalls",
            (
                Source(
                    "sigmaos_ray.sigmaclnt.asynchronous",
                    "AsyncSigmaClnt",
                    by_hand=frozenset({"close", "as_completed", "wait_exit_chan", "clnt_exit", "clnt_exit_ok"}),
                    direct=frozenset({"started", "exited", "wait_evict"}),
                ),
            ),
            clnt="AsyncSigmaClnt",
            base=("sigmaos_ray.blocking", "FsLib"),
        ),
    ),
    "sigmaos_ray/leaseclnt/blocking.py": (
        FaceOf(Source("sigmaos_ray.leaseclnt.asynchronous", "AsyncLease"), wraps=True),
        FaceOf(Source("sigmaos_ray.leaseclnt.asynchronous", "AsyncLeaseClnt"), made_by="leases_of"),
    ),
    "sigmaos_ray/rpcclnt/shardedface.py": (FaceOf(Source("sigmaos_ray.rpcclnt.sharded", "AsyncShardedRPCClnt")),),
    **{
        f"sigmaos_ray/{package}/blocking.py": (FaceOf(Source(f"sigmaos_ray.{package}.asynchronous", name)),)
        for package, name in (
            ("semclnt", "AsyncSemaphore"),
            ("lockclnt", "AsyncLock"),
            ("barrierclnt", "AsyncBarrier"),
            ("electclnt", "AsyncElectClnt"),
            ("leaderclnt", "AsyncLeaderClnt"),
            ("realmclnt", "AsyncRealmClnt"),
        )
    },
}
"""The generated files, and the faces in each."""

CLIENTS: Final = {
    "AsyncFsLib": ("sigmaos_ray.blocking.face", "BlockingClient"),
    "AsyncSigmaClnt": ("sigmaos_ray.sigmaclnt", "SigmaClnt"),
}
"""What a face takes where its class takes an asynchronous client."""


class Module:
    """The source of a module: its classes, and where the names that it uses come from."""

    def __init__(self, name: str) -> None:
        self.name = name
        file = ROOT / name.replace(".", "/")
        self._text = (file / "__init__.py" if file.is_dir() else file.with_suffix(".py")).read_text()
        self._tree = ast.parse(self._text)
        self.imports = dict(self._imports())

    def _imports(self) -> Iterator[tuple[str, str]]:
        """Names, and the statement that brings each: an import, or one of what the module itself defines."""
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield (alias.asname or alias.name.split(".")[0]), ast.unparse(ast.Import([alias]))
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    yield (alias.asname or alias.name), f"from {node.module} import {ast.unparse(alias)}"
        for node in self._tree.body:
            for name in _defined_by(node):
                yield name, f"from {self.name} import {name}"

    def parameters(self, arguments: ast.arguments) -> str:
        """As they stand in the source: 0o777 is not 511."""
        return ast.unparse(_Numbers(self._text).visit(copy.deepcopy(arguments)))

    def class_(self, name: str) -> ast.ClassDef:
        return next(node for node in self._tree.body if isinstance(node, ast.ClassDef) and node.name == name)


class _Numbers(ast.NodeTransformer):
    def __init__(self, text: str) -> None:
        self._text = text

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        spelt = ast.get_source_segment(self._text, node)
        return ast.Name(spelt) if type(node.value) is int and spelt is not None else node


def _defined_by(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


class Output:
    """One generated file on its way."""

    def __init__(self, faces: Sequence[Face]) -> None:
        self._faces = faces
        self._wraps = {face.source.name: face.name for face in faces if isinstance(face, FaceOf) and face.wraps}
        self._at_run_time: set[str] = set()
        self._for_types: set[str] = set()

    def text(self) -> str:
        """Imports are neither sorted nor merged, and long lines not broken: ruff does."""
        bodies = [self._face(face) for face in self._faces]
        names = ", ".join(f"``{_shown(face)}``" for face in self._faces)
        head = f'# Generated by tools/make_faces.py: do not edit, run `make faces`.\n"""In threads: {names}."""'
        types = "\n".join(f"    {line}" for line in sorted(self._for_types - self._at_run_time))
        imports = "\n".join(sorted({*self._at_run_time, "from typing import TYPE_CHECKING"}))
        return "\n\n".join(
            [head, "from __future__ import annotations", imports, f"if TYPE_CHECKING:\n{types}\n", *bodies]
        )

    def _face(self, face: Face) -> str:
        return self._standing_alone(face) if isinstance(face, FaceOf) else self._half(face)

    def _half(self, face: CallsOf) -> str:
        members = [f"_clnt: {face.clnt}"]
        if face.base is None:
            self._for_types.add(f"from {FACE} import BlockingClient")
            members.insert(0, "_sc: BlockingClient")
        else:
            self._at_run_time.add("from {} import {}".format(*face.base))
        for source in face.sources:
            module = Module(source.module)
            self._for_types |= {module.imports[name] for name in [_bare(face.clnt)] if name in module.imports}
            members += self._members(source, "self._sc" if face.base is None else "self")
        doc = f"The calls of ``{_bare(face.clnt)}`` that are the same in threads."
        return _class(face.name if face.base is None else f"{face.name}({face.base[1]})", doc, members)

    def _standing_alone(self, face: FaceOf) -> str:
        module = Module(face.source.module)
        name = face.source.name
        members = [
            self._constructor(face, module),
            f"@property\ndef asynchronous(self) -> {name}:\n"
            '    """What this is the face of, for coroutines on the client\'s loop."""\n    return self._clnt',
            *self._members(face.source, "self._sc"),
        ]
        body = {node.name for node in module.class_(name).body if isinstance(node, ast.AsyncFunctionDef)}
        is_context = "__aenter__" in body
        doc = f"The blocking face of ``{name}``; may be shared by threads."
        if is_context:
            doc += " A context manager."
            members += self._context()
        return _class(face.name, doc, members)

    def _constructor(self, face: FaceOf, module: Module) -> str:
        name = face.source.name
        self._for_types.add(module.imports[name])
        if face.wraps:
            self._for_types.add(f"from {FACE} import BlockingClient")
            return (
                f"def __init__(self, sc: BlockingClient, clnt: {name}) -> None:\n"
                f"    self._sc = sc\n    self._clnt = clnt"
            )
        self._at_run_time.add(module.imports[face.made_by or name])
        init = _function(module.class_(name), "__init__")
        for argument in init.args.args:
            known = CLIENTS.get(ast.unparse(argument.annotation)) if argument.annotation else None
            if known is not None:
                argument.annotation = ast.Name(known[1])
                module.imports[known[1]] = f"from {known[0]} import {known[1]}"
        arguments = _passed(init.args).replace("sc", "sc.asynchronous", 1)
        self._know(init, module)
        return (
            f"def __init__({module.parameters(init.args)}) -> None:\n"
            f"    self._sc = sc\n    self._clnt = {face.made_by or name}({arguments})"
        )

    def _context(self) -> list[str]:
        self._at_run_time.add("from typing import Self")
        self._for_types.add("from types import TracebackType")
        arguments = "kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None"
        return [
            "def __enter__(self) -> Self:\n    self._sc.run(self._clnt.__aenter__())\n    return self",
            f"def __exit__(self, {arguments}) -> None:\n    self._sc.run(self._clnt.__aexit__(kind, error, traceback))",
        ]

    # -- members

    def _members(self, source: Source, runner: str) -> Iterator[str]:
        module = Module(source.module)
        body = module.class_(source.name).body
        names = {name for node in body for name in _defined_by(node)}
        if unknown := source.by_hand - names:
            raise ValueError(f"{source.name} has no {', '.join(sorted(unknown))}")
        for node, after in zip(body, [*body[1:], None], strict=True):
            for name in _defined_by(node):
                # An event for threads is what the event for coroutines of the same name is here.
                if not name.startswith("_") and name not in source.by_hand and not name.endswith("_threaded"):
                    is_direct = name in source.direct
                    yield self._member(node, after, module, runner, is_direct=is_direct)

    def _member(self, node: ast.stmt, after: ast.stmt | None, module: Module, runner: str, *, is_direct: bool) -> str:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            doc = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else None
            return self._property(node.target.id, node.annotation, doc, module)
        if isinstance(node, ast.FunctionDef) and _is_property(node) and node.returns is not None:
            return self._property(node.name, node.returns, ast.get_docstring(node), module)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.decorator_list or _is_generator(node):
            raise ValueError(f"{module.name}:{node.lineno}: no face can be made of it, write it by hand")
        return self._call(node, module, runner, is_direct=is_direct)

    def _property(self, name: str, type_: ast.expr, doc: str | None, module: Module) -> str:
        value = f"self._clnt.{name}"
        if ast.unparse(type_) == "asyncio.Event":
            type_, value = ast.parse("threading.Event", mode="eval").body, f"{value}_threaded"
            module.imports["threading"] = "import threading"
        self._know(type_, module)
        return f"@property\ndef {name}(self) -> {ast.unparse(type_)}:\n{_docstring(doc)}    return {value}"

    def _call(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef, module: Module, runner: str, *, is_direct: bool
    ) -> str:
        for argument in (*node.args.args, *node.args.kwonlyargs):
            argument.annotation = argument.annotation and self._faced(argument.annotation)
        returns = ast.unparse(node.returns) if node.returns is not None else "None"
        call = f"self._clnt.{node.name}({_passed(node.args)})"
        if isinstance(node, ast.FunctionDef):
            self._at_run_time.add(f"from {FACE} import on_loop")
            arguments = _passed(node.args)
            call = f"on_loop(self._clnt.{node.name}{', ' if arguments else ''}{arguments})"
        run = f"{runner}.run({call})"
        if is_direct:
            arguments = _passed(node.args)
            run = f"{runner}.direct(self._clnt.{node.name}{', ' if arguments else ''}{arguments})"
        if returns in self._wraps:
            returns = self._wraps[returns]
            run = f"{returns}({runner}, {run})"
            node.returns = None
        self._know(node, module)
        result = run if returns == "None" else f"return {run}"
        return (
            f"def {node.name}({module.parameters(node.args)}) -> {returns}:\n"
            f"{_docstring(ast.get_docstring(node))}    {result}"
        )

    def _faced(self, annotation: ast.expr) -> ast.expr:
        face = self._wraps.get(ast.unparse(annotation))
        return annotation if face is None else ast.Name(face)

    def _know(self, node: ast.AST, module: Module) -> None:
        """Imports for the names in a signature: defaults when it runs, annotations for types alone."""
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            defaults = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
            self._at_run_time |= _statements(defaults, module)
            arguments = [each for each in ast.walk(node.args) if isinstance(each, ast.arg)]
            annotations = [*(each.annotation for each in arguments), node.returns]
            self._for_types |= _statements(filter(None, annotations), module)
        else:
            self._for_types |= _statements([node], module)


def _statements(nodes: Iterable[ast.AST], module: Module) -> set[str]:
    names = {each.id for node in nodes for each in ast.walk(node) if isinstance(each, ast.Name)}
    return {module.imports[name] for name in names if name in module.imports or not hasattr(builtins, name)}


def _function(cls: ast.ClassDef, name: str) -> ast.FunctionDef:
    return next(node for node in cls.body if isinstance(node, ast.FunctionDef) and node.name == name)


def _is_property(node: ast.FunctionDef) -> bool:
    return [ast.unparse(each) for each in node.decorator_list] == ["property"]


def _is_generator(node: ast.AST) -> bool:
    return any(isinstance(each, ast.Yield | ast.YieldFrom) for each in ast.walk(node))


def _passed(arguments: ast.arguments) -> str:
    """The arguments of a call, as they are handed on. What an iterable gives is gathered in the caller's thread: it may
    be a generator that blocks."""
    passed = [_value(each) for each in (*arguments.posonlyargs, *arguments.args) if each.arg != "self"]
    if arguments.vararg is not None:
        passed.append(f"*{arguments.vararg.arg}")
    passed += [f"{each.arg}={_value(each)}" for each in arguments.kwonlyargs]
    if arguments.kwarg is not None:
        passed.append(f"**{arguments.kwarg.arg}")
    return ", ".join(passed)


def _value(argument: ast.arg) -> str:
    is_iterable = argument.annotation is not None and ast.unparse(argument.annotation).startswith("Iterable[")
    return f"list({argument.arg})" if is_iterable else argument.arg


def _docstring(doc: str | None) -> str:
    """Of a function of a face: that of the coroutine, where faces have the names of their classes."""
    if not doc:
        return ""
    text = re.sub(r"``Async(?=[A-Z])", "``", doc)
    return '    """' + "\n".join(f"    {line}" if line else "" for line in text.splitlines()).lstrip() + '"""\n'


def _class(head: str, doc: str, members: Iterable[str]) -> str:
    indented = ("\n".join(f"    {line}" if line else "" for line in each.splitlines()) for each in members)
    return f'class {head}:\n    """{doc}"""\n\n' + "\n\n".join(indented) + "\n"


def _shown(face: Face) -> str:
    return face.source.name if isinstance(face, FaceOf) else _bare(face.clnt)


def _bare(type_: str) -> str:
    return type_.partition("[")[0]


def generated() -> dict[str, str]:
    """The files as they are to be, by their pathnames in the project."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        shutil.copy(ROOT / "pyproject.toml", root)
        for name, faces in FACES.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(Output(faces).text())
        ruff = str(Path(sys.executable).with_name("ruff"))
        ours = "lint.isort.known-first-party = ['kernel', 'sigmaos_ray', 'user']"  # which the directory does not show
        sort = [ruff, "check", "-q", "--select=I", "--config", ours, "--fix", "--no-cache", "."]
        subprocess.run(sort, cwd=root, check=True)
        subprocess.run([ruff, "format", "-q", "--no-cache", "."], cwd=root, check=True)
        return {name: (root / name).read_text() for name in FACES}


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    for name, text in generated().items():
        (ROOT / name).write_text(text)


if __name__ == "__main__":
    main()
