"""Makes ``notebook.ipynb`` beside each page of the tutorial: Python blocks become cells, all else is text.

The pages are what people edit. ``--check`` changes nothing, and fails if a notebook is not what its page says.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

TUTORIAL = Path(__file__).parents[1] / "docs" / "tutorial"
_BLOCK = re.compile(r"^```python\n(.*?)^```\n", re.DOTALL | re.MULTILINE)


def notebook_of(page: str) -> str:
    """A page as a notebook, in JSON."""
    cells: list[dict[str, Any]] = []

    def add(kind: str, text: str) -> None:
        if not (text := text.strip("\n")):
            return
        cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{len(cells)}", "metadata": {}}
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        cells.append(cell | {"source": text.splitlines(keepends=True)})

    end = 0
    for block in _BLOCK.finditer(page):
        add("markdown", page[end : block.start()])
        add("code", block[1])
        end = block.end()
    add("markdown", page[end:])
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


def main() -> int:
    stale = []
    for page in sorted(TUTORIAL.glob("*/*.md")):
        notebook, file = notebook_of(page.read_text()), page.with_name("notebook.ipynb")
        if "--check" not in sys.argv[1:]:
            file.write_text(notebook)
        elif not file.exists() or file.read_text() != notebook:
            stale.append(str(file.relative_to(TUTORIAL.parents[1])))
    if stale:
        print(f"run tools/make_notebooks.py: {', '.join(stale)}", file=sys.stderr)
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
