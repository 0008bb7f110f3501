"""The program behind ``sigmaos spawn FILE.py``: a file of Python's, found in the folder that was shipped with it.

A file with a ``main(argv)`` of its own is a program as any module is; any other one runs as ``python FILE.py`` does.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import runpy
import sys
from typing import Final

PROGRAM: Final = "sigmaos_ray.runner.script"


def main(argv: list[str]) -> object:
    """``argv``: the file, as its folder names it, and its arguments."""
    name, *arguments = argv
    file = next((path for place in sys.path if os.path.isfile(path := os.path.join(place or ".", name))), None)
    if file is None:
        raise FileNotFoundError(f"{name} is not in the folder of this proc's programs")
    # As Python has it: what lies beside the file can be imported.
    sys.path.insert(0, os.path.dirname(os.path.abspath(file)))
    sys.argv = [file, *arguments]
    if not has_main(file):
        runpy.run_path(file, run_name="__main__")
        return None
    stem = os.path.splitext(os.path.basename(file))[0]
    spec = importlib.util.spec_from_file_location(stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[stem] = module
    spec.loader.exec_module(module)
    result: object = module.main(arguments)
    return result


def has_main(file: str) -> bool:
    """Whether a file defines a ``main`` that takes arguments. SyntaxError for what is no Python."""
    with open(file, "rb") as opened:
        tree = ast.parse(opened.read(), file)
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return any(node.name == "main" and (node.args.args or node.args.posonlyargs) for node in functions)
