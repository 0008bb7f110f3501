"""Flame graphs that people can open: an SVG for a browser, and a speedscope file."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape, quoteattr

import msgspec

from sigmaos_ray.perf.profile import BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmaos_ray.perf.profile import Profile

_WIDTH: Final = 1200.0
_ROW: Final = 17
_TOP: Final = 30
_CHAR_WIDTH: Final = 6.6
_WIDTH_MIN: Final = 0.15
"""Boxes that are narrower than so many pixels are left out."""
_DEPTH_MAX: Final = 200

# A click on a box makes it as wide as the picture; one on the lowest box shows all again.
_SCRIPT: Final = """
const boxes = [...document.querySelectorAll("g.f")];
function zoom(x, w, y) {
  for (const g of boxes) {
    const gx = +g.dataset.x, gw = +g.dataset.w, gy = +g.dataset.y;
    const holds = gx <= x + 1e-6 && gx + gw >= x + w - 1e-6;
    const inside = gx >= x - 1e-6 && gx + gw <= x + w + 1e-6 && gy <= y;
    g.style.display = inside || (holds && gy > y) ? "" : "none";
    const nx = inside ? (gx - x) / w * WIDTH : 0, nw = inside ? gw / w * WIDTH : WIDTH;
    const [rect, text] = [g.querySelector("rect"), g.querySelector("text")];
    rect.setAttribute("x", nx); rect.setAttribute("width", nw);
    text.setAttribute("x", nx + 3);
    const room = Math.floor((nw - 6) / CHAR), label = g.dataset.n;
    text.textContent = room < 3 ? "" : label.length <= room ? label : label.slice(0, room - 2) + "..";
  }
}
for (const g of boxes) g.addEventListener("click", () => zoom(+g.dataset.x, +g.dataset.w, +g.dataset.y));
"""


class _Box:
    """A frame at one place of the tree of calls."""

    __slots__ = ("children", "weight")

    def __init__(self) -> None:
        self.weight = 0
        self.children: dict[str, _Box] = {}


def _tree(profile: Profile) -> _Box:
    """The stacks laid over each other, below one box for all."""
    root = _Box()
    for stack, weight in profile.stacks.items():
        here = root
        here.weight += weight
        for frame in stack[:_DEPTH_MAX]:
            here = here.children.setdefault(frame, _Box())
            here.weight += weight
    return root


def _placed(root: _Box) -> Iterator[tuple[str, int, float, float, int]]:
    """Each box that can be seen: name, depth, left edge and width in pixels, weight. Widest subtree first."""
    scale = _WIDTH / root.weight if root.weight else 0.0
    waiting = [("all", root, 0, 0.0)]
    while waiting:
        name, box, depth, left = waiting.pop()
        yield name, depth, left, box.weight * scale, box.weight
        for child_name in sorted(box.children):
            child = box.children[child_name]
            if child.weight * scale >= _WIDTH_MIN:
                waiting.append((child_name, child, depth + 1, left))
            left += child.weight * scale


def svg(profile: Profile, title: str) -> str:
    """A flame graph for a browser: a click zooms, the pointer tells weights. One file, nothing is loaded from
    elsewhere."""
    boxes = list(_placed(_tree(profile)))
    depth = 1 + max(box[1] for box in boxes)
    height = _TOP + depth * _ROW + 10
    parts = _head_svg(height, f"{title}: {weight_text(profile.total, profile.unit)}")
    parts += [_box_svg(*box, height=height, profile=profile) for box in boxes]
    script = _SCRIPT.replace("WIDTH", f"{_WIDTH:g}").replace("CHAR", f"{_CHAR_WIDTH:g}")
    parts += [f"<script><![CDATA[{script}]]></script>", "</svg>"]
    return "\n".join(parts) + "\n"


def _head_svg(height: int, title: str) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH:g}" height="{height}" '
        f'viewBox="0 0 {_WIDTH:g} {height}" font-family="monospace" font-size="11">',
        '<rect width="100%" height="100%" fill="#fffdf6"/>',
        f'<text x="6" y="19" font-size="14">{escape(title)}</text>',
    ]


def _box_svg(name: str, depth: int, left: float, width: float, weight: int, *, height: int, profile: Profile) -> str:
    y = height - 10 - (depth + 1) * _ROW  # from the top: the outermost frame is the lowest row
    room = int((width - 6) / _CHAR_WIDTH)
    shown = "" if room < 3 else name if len(name) <= room else name[: room - 2] + ".."
    share = 100 * weight / profile.total if profile.total else 0.0
    tooltip = f"{name}: {weight_text(weight, profile.unit)}, {share:.1f} %"
    return (
        f'<g class="f" data-x="{left:.3f}" data-w="{width:.3f}" data-y="{y}" data-n={quoteattr(name)}>'
        f"<title>{escape(tooltip)}</title>"
        f'<rect x="{left:.3f}" y="{y}" width="{width:.3f}" height="{_ROW - 1}" rx="2" fill="{_colour(name)}"/>'
        f'<text x="{left + 3:.3f}" y="{y + 12}">{escape(shown)}</text></g>'
    )


def _colour(name: str) -> str:
    """The same for the same name, in each graph."""
    mixed = zlib.crc32(name.encode())
    return f"rgb({205 + mixed % 50},{90 + (mixed >> 8) % 130},{(mixed >> 16) % 60})"


def weight_text(weight: int, unit: str) -> str:
    """A weight for people, in MiB or seconds."""
    if unit == BYTES:
        return f"{weight / (1 << 20):.2f} MiB"
    return f"{weight / 1e6:.3f} s"


def speedscope(profile: Profile, title: str) -> bytes:
    """A file of speedscope's format, which its viewer and some editors open."""
    numbers: dict[str, int] = {}
    samples = [[numbers.setdefault(frame, len(numbers)) for frame in stack] for stack in profile.stacks]
    weights = list(profile.stacks.values())
    document = {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "shared": {"frames": [{"name": name} for name in numbers]},
        "profiles": [
            {
                "type": "sampled",
                "name": title,
                "unit": profile.unit,
                "startValue": 0,
                "endValue": sum(weights),
                "samples": samples,
                "weights": weights,
            }
        ],
        "name": title,
        "exporter": "sigmaos-ray",
    }
    return msgspec.json.encode(document)
