# SPDX-License-Identifier: Apache-2.0
"""Lines as SVG by matplotlib: the same numbers make the same bytes, and no colour has to be seen.

Each line has its own marker and dashes, and its name at its end; ``title`` and ``desc`` of the
SVG tell the same in words for whoever does not see it.
"""

from __future__ import annotations

import pathlib
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence

_SVG = "http://www.w3.org/2000/svg"
_MARKERS = ("o", "s", "^", "D", "v")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
# After Okabe and Ito: told apart by those who do not see all colours, and dark on white.
_COLOURS = ("#000000", "#0072b2", "#d55e00", "#007a5a", "#8a4a76")


def lines(
    path: pathlib.Path,
    *,
    title: str,
    x: tuple[str, Sequence[float]],
    y: tuple[str, dict[str, list[float]]],
    logarithmic: bool = True,
) -> pathlib.Path:
    """One picture of some lines over the same sizes; logarithmic axes show powers as slopes."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    label, sizes = x
    unit, series = y
    settings = {"svg.hashsalt": "nova-diskaudit", "svg.fonttype": "none", "font.size": 10}
    with matplotlib.rc_context({**settings, "font.family": "sans-serif"}):
        figure, axes = pyplot.subplots(figsize=(7.2, 4.2), layout="constrained")
        styles = zip(_MARKERS, _DASHES, _COLOURS, strict=True)
        for (name, values), (marker, dashes, colour) in zip(series.items(), styles, strict=False):
            axes.plot(sizes, values, marker=marker, linestyle=dashes, color=colour, label=name)
        if logarithmic:
            axes.set_xscale("log")
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.set_xticks(sizes, [f"{size:g}" for size in sizes], minor=False)
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
        axes.set_xlabel(label)
        axes.set_ylabel(unit)
        axes.set_title(title)
        axes.grid(visible=True, color="#dddddd")
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None, "Title": title})
        pyplot.close(figure)
    _tell(path, title, f"{unit} over {label}. {in_words(sizes, series)}")
    return path


def in_words(sizes: Sequence[float], series: dict[str, list[float]]) -> str:
    """Every number of the picture."""
    return " ".join(
        f"{name}: "
        + ", ".join(f"{v:.3g} at {s:g}" for s, v in zip(sizes, values, strict=True))
        + "."
        for name, values in series.items()
    )


def _tell(path: pathlib.Path, title: str, description: str) -> None:
    """Name the picture, and describe it, for programs that read it aloud."""
    for prefix, uri in (
        ("", _SVG),
        ("xlink", "http://www.w3.org/1999/xlink"),
        ("rdf", "http://www.w3.org/1999/02/22-rdf-syntax-ns#"),
        ("cc", "http://creativecommons.org/ns#"),
        ("dc", "http://purl.org/dc/elements/1.1/"),
    ):
        ElementTree.register_namespace(prefix, uri)
    tree = ElementTree.parse(path)
    root = tree.getroot()
    root.set("role", "img")
    root.set("aria-labelledby", "title desc")
    for number, (name, text) in enumerate((("title", title), ("desc", description))):
        element = ElementTree.Element(f"{{{_SVG}}}{name}", {"id": name})
        element.text = text
        root.insert(number, element)
    tree.write(path, encoding="utf-8", xml_declaration=True)
