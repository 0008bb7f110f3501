"""Who imports whom, read from the sources with ``ast``; and the direction that imports must keep.

Every import counts: at the top of a file, deferred into a function, or under ``TYPE_CHECKING``. A type is knowledge
too, and a module that may not know another one must not name its types either.
"""

from __future__ import annotations

import ast
import functools
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

OURS: Final = ("sigmaos_ray", "kernel", "user")

FRONT: Final = "sigmaos_ray"
"""The package itself: ``from sigmaos_ray import SigmaClnt``. It gathers what clients and servers need."""

ORDER: Final = (
    *("sigmaos_ray.extras", "sigmaos_ray.localfile"),
    *("sigmaos_ray.decoding", "sigmaos_ray.pb", "sigmaos_ray.sigmap", "sigmaos_ray.serr"),
    *("sigmaos_ray.machine", "sigmaos_ray.auth", "sigmaos_ray.config"),
    "sigmaos_ray.tls",
    *(
        "sigmaos_ray.deadlines",
        "sigmaos_ray.instance",
        "sigmaos_ray.selectors",
        "sigmaos_ray.debug",
        "sigmaos_ray.perf",
    ),
    *("sigmaos_ray.perf", "sigmaos_ray.crash"),
    *("sigmaos_ray.sessp", "sigmaos_ray.loopthread"),
    *("sigmaos_ray.fslib", "sigmaos_ray.blocking"),
    *("sigmaos_ray.rpcclnt", "sigmaos_ray.leaseclnt", "sigmaos_ray.semclnt", "sigmaos_ray.electclnt"),
    *("sigmaos_ray.leaderclnt", "sigmaos_ray.lockclnt", "sigmaos_ray.barrierclnt", "sigmaos_ray.dbclnt"),
    *("sigmaos_ray.proc", "sigmaos_ray.procclnt"),
    *("sigmaos_ray.sigmaclnt", "sigmaos_ray.realmclnt", "sigmaos_ray.fsspec", "sigmaos_ray.mount"),
    *("sigmaos_ray.runner", "sigmaos_ray.ft"),
    *("sigmaos_ray.rpcsrv", "sigmaos_ray.protsrv", "sigmaos_ray.memfs", "sigmaos_ray.sigmasrv", "sigmaos_ray.electsrv"),
    FRONT,
    *("kernel.raylib", "kernel.service", "kernel.keeping", "kernel.shell", "kernel.fileservice"),
    "kernel.<service>",
    *("kernel.node", "kernel.boot"),
    *("sigmaos_ray.testing", "sigmaos_ray.cli"),
)
"""Each unit may import only what stands before it. ``kernel.<service>`` is every other package of the kernel, and
services never import each other."""

ROOF: Final = ("sigmaos_ray.testing", "sigmaos_ray.cli")
"""The parts of sigmaos_ray that know the kernel."""

KNOWS_PROGRAMS: Final = ("sigmaos_ray.cli",)
"""Has verbs for some of the programs."""

HEAVY: Final = ("ray", "boto3", "botocore", "moto", "aetcd")
"""What a client must do without."""


class Import(NamedTuple):
    """One import of one module, in one file."""

    module: str
    target: str
    file: str
    line: int
    type_only: bool = False

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.module} imports {self.target}"


def unit_of(module: str) -> str:
    """The unit of the direction that a module belongs to: ``sigmaos_ray.sessp.wire`` -> ``sigmaos_ray.sessp``."""
    return ".".join(module.split(".")[:2])


def rank_of(unit: str) -> int:
    """Where a unit stands. KeyError for a unit of sigmaos_ray that has no place yet."""
    if unit in ORDER:
        return ORDER.index(unit)
    if unit.startswith("kernel."):
        return ORDER.index("kernel.<service>")
    raise KeyError(f"{unit} has no place in the order of imports: give it one in {__name__}.ORDER")


def why_wrong(module: str, target: str) -> str | None:
    """What is wrong with an import of ``target`` in ``module``, both full names of modules of ours; None if nothing."""
    here, there = unit_of(module), unit_of(target)
    if here == there or there == "kernel":
        return None
    if here.split(".")[0] == "user":
        ok = there.split(".")[0] in ("sigmaos_ray", "user") and there not in ROOF
        return None if ok else "programs know sigmaos_ray only"
    if there.split(".")[0] == "user":
        return None if here in KNOWS_PROGRAMS else "nothing below the programs knows them"
    if rank_of(there) > rank_of(here):
        return f"{there} stands behind {here}"
    if rank_of(there) == rank_of(here):
        return "services meet in the namespace, not in imports"
    return None


def modules(root: Path) -> Iterator[tuple[str, Path]]:
    """Our modules below ``root``, with their files; generated code is left out."""
    for package in OURS:
        for file in sorted((root / package).rglob("*.py")):
            parts = list(file.relative_to(root).with_suffix("").parts)
            if parts[:2] == ["sigmaos_ray", "pb"] or file.stem.endswith(("_pb2", "_pb2_grpc")):
                continue
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), file


def imports_of(module: str, source: str, file: str, known: frozenset[str]) -> list[Import]:
    """Every import in a source. ``known``: names of modules, which tell ``from package import module`` from a name."""
    tree = ast.parse(source)
    type_only = {id(node) for block in _type_checking_blocks(tree) for node in ast.walk(block)}
    package = module if file.endswith("__init__.py") else module.rpartition(".")[0]
    return [
        Import(module, target, file, node.lineno, id(node) in type_only)
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Call)
        for target in _targets(node, package, known)
    ]


def _targets(node: ast.Import | ast.ImportFrom | ast.Call, package: str, known: frozenset[str]) -> Iterable[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = _base(node, package)
        full = (f"{base}.{alias.name}" for alias in node.names)
        return {name if name in known or _is_generated(name) else base for name in full}
    if _called(node).endswith(("import_module", "__import__")) and node.args:
        first = node.args[0]
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            return [first.value]
    return []


def _is_generated(name: str) -> bool:
    """Generated modules are not among those that are read, but an import of one is none of its package."""
    return name == f"{FRONT}.pb" or name.endswith("_pb2")


def _base(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parents = package.split(".")
    parents = parents[: len(parents) - node.level + 1]
    return ".".join([*parents, *([node.module] if node.module else [])])


def _called(node: ast.Call) -> str:
    return ast.unparse(node.func)


def _type_checking_blocks(tree: ast.AST) -> Iterator[ast.stmt]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from node.body


@functools.cache
def all_imports(root: Path) -> tuple[Import, ...]:
    """Every import of every module of ours below ``root``, as it was when it was first asked for."""
    files = list(modules(root))
    known = frozenset(name for name, _ in files)
    return tuple(
        each for name, file in files for each in imports_of(name, file.read_text(), str(file.relative_to(root)), known)
    )


class Circle(NamedTuple):
    """Modules of which each imports each other, by way of the others; and the imports that make it so."""

    modules: frozenset[str]
    imports: tuple[Import, ...]

    def __str__(self) -> str:
        return "\n".join(["  ".join(sorted(self.modules)), *(f"    {each}" for each in self.imports)])


def circles(imports: Iterable[Import]) -> list[Circle]:
    """The strongly connected components of more than one module."""
    arrows = sorted({each for each in imports if each.module != each.target})
    targets: dict[str, set[str]] = {}
    for arrow in arrows:
        targets.setdefault(arrow.module, set()).add(arrow.target)
    reach = {module: _reachable(module, targets) for module in targets}
    rings = {
        frozenset(other for other in reach[module] if module in reach.get(other, ()))
        for module in targets
        if module in reach[module]
    }
    return [
        Circle(ring, tuple(each for each in arrows if each.module in ring and each.target in ring))
        for ring in sorted(rings, key=min)
    ]


def _reachable(start: str, targets: dict[str, set[str]]) -> set[str]:
    """What is imported from ``start`` on, in any number of steps."""
    seen: set[str] = set()
    ahead = [start]
    while ahead:
        new = targets.get(ahead.pop(), set()) - seen
        seen |= new
        ahead += new
    return seen
