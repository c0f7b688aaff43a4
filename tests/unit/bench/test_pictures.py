# SPDX-License-Identifier: Apache-2.0
"""Pictures say in words what they show, and are the same each time."""

from __future__ import annotations

import pathlib
import xml.etree.ElementTree as ElementTree

from tests.bench.peers import pictures

SVG = "{http://www.w3.org/2000/svg}"
X = ("domains", [10, 100, 300])
Y = ("milliseconds", {"audit": [310.0, 520.0, 1400.0], "bare call": [20.0, 210.0, 700.0]})


def draw(path: pathlib.Path) -> bytes:
    return pictures.lines(path, title="Time by domains", x=X, y=Y).read_bytes()


def test_the_same_numbers_make_the_same_bytes(tmp_path: pathlib.Path) -> None:
    first = draw(tmp_path / "a.svg")
    assert first == draw(tmp_path / "b.svg")
    assert b"<dc:date>" not in first


def test_it_is_told_in_words(tmp_path: pathlib.Path) -> None:
    draw(tmp_path / "a.svg")
    root = ElementTree.parse(tmp_path / "a.svg").getroot()
    names = root.get("aria-labelledby", "").split()
    told = {element.get("id"): element.text for element in root}
    assert root.get("role") == "img"
    assert names == ["title", "desc"] and told["title"] == "Time by domains"
    words = told["desc"] or ""
    assert "audit: 310 at 10" in words and "bare call: 20 at 10, 210 at 100, 700 at 300" in words


def test_a_line_is_known_by_more_than_its_colour(tmp_path: pathlib.Path) -> None:
    draw(tmp_path / "a.svg")
    root = ElementTree.parse(tmp_path / "a.svg").getroot()
    texts = {"".join(element.itertext()) for element in root.iter(f"{SVG}text")}
    assert {"audit", "bare call", "domains", "milliseconds", "10", "100", "300"} <= texts
    dashes = {
        style
        for element in root.iter(f"{SVG}path")
        if "stroke-width: 1.5" in (style := element.get("style", ""))
    }
    assert len({"dasharray" in style for style in dashes}) == 2
