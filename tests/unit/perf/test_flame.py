"""Profiles as text, and as flame graphs."""

from __future__ import annotations

import json
import random
import re
from xml.etree import ElementTree

from sigmaos_ray.perf import flame, profile
from sigmaos_ray.perf.profile import BYTES, MICROSECONDS, Profile

STACKS = {("main", "parse"): 300, ("main", "write <all>"): 600, ("main",): 100}
SVG = "{http://www.w3.org/2000/svg}"


def test_text_and_back() -> None:
    text = Profile(stacks=dict(STACKS)).to_text()
    assert text == "main;write <all> 600\nmain;parse 300\nmain 100\n"
    assert Profile.from_text(text).stacks == STACKS
    assert Profile.from_text("a;b 3\n", weight_of_one=10_000).stacks == {("a", "b"): 30_000}


def test_functions() -> None:
    again = Profile(stacks={("f", "g", "f"): 5, ("f",): 1})
    assert again.functions() == [("f", 6, 6), ("g", 0, 5)]


def test_a_profile_travels() -> None:
    packed = Profile(BYTES, dict(STACKS)).pack()
    assert Profile.unpack(packed, BYTES).stacks == STACKS


def test_of_what_is_too_large_the_heaviest_travel() -> None:
    chance = random.Random(1)
    stacks = {tuple(f"{chance.random()}" for _ in range(30)): weight for weight in range(1, 20_000)}
    packed = Profile(stacks=stacks).pack()
    unpacked = Profile.unpack(packed, MICROSECONDS).stacks
    assert len(packed) <= profile._PACKED_BYTES_MAX
    assert 0 < len(unpacked) < len(stacks)
    assert min(unpacked.values()) > max(weight for stack, weight in stacks.items() if stack not in unpacked)


def test_frame_labels() -> None:
    assert profile.frame_label("f", "/x/lib/site-packages/ray/util/a.py", 3) == "f (ray/util/a.py:3)"
    assert profile.frame_label("f;g", "/x/y/z.py", 3) == "f,g (y/z.py:3)"


def test_svg_has_a_box_for_each_frame_as_wide_as_its_weight() -> None:
    root = ElementTree.fromstring(flame.svg(Profile(stacks=dict(STACKS)), "a & b"))
    boxes = {group.get("data-n"): group for group in root.iter(f"{SVG}g")}
    widths = {name: float(group.get("data-w", "0")) for name, group in boxes.items()}
    assert widths == {"all": 1200, "main": 1200, "parse": 360, "write <all>": 720}
    assert boxes["parse"].findtext(f"{SVG}title") == "parse: 0.000 s, 30.0 %"
    assert "a & b" in "".join(root.itertext())


def test_svg_leaves_out_what_cannot_be_seen() -> None:
    picture = flame.svg(Profile(stacks={("big",): 10**9, ("tiny",): 1}), "t")
    assert "big" in picture
    assert "tiny" not in picture


def test_an_empty_profile_can_be_drawn() -> None:
    assert "all" in flame.svg(Profile(), "nothing")
    assert json.loads(flame.speedscope(Profile(), "nothing"))["profiles"][0]["samples"] == []


def test_speedscope() -> None:
    document = json.loads(flame.speedscope(Profile(BYTES, dict(STACKS)), "t"))
    shown = document["profiles"][0]
    frames = [frame["name"] for frame in document["shared"]["frames"]]
    samples = [tuple(frames[at] for at in sample) for sample in shown["samples"]]
    stacks = dict(zip(samples, shown["weights"], strict=True))
    assert stacks == STACKS
    assert (shown["type"], shown["unit"], shown["endValue"]) == ("sampled", "bytes", 1000)
    assert re.fullmatch(r"https://www\.speedscope\.app/file-format-schema\.json", document["$schema"])
