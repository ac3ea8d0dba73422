# SPDX-License-Identifier: GPL-2.0
"""
Draws the ratios of the two implementations as an SVG picture.
"""

import math
from typing import List, Optional, Sequence
from xml.etree import ElementTree

from .figures import Figure

ROW, LABEL, CHART, MARGIN = 18, 330, 520, 40
COLOURS = {True: "#2a7f3f", False: "#c0392b", None: "#5b7083"}
# The ends of the axis, at which longer bars are cut off.
LOWEST, HIGHEST = 1 / 32, 4


def shown(figures: Sequence[Figure]) -> List[Figure]:
    """
    Returns the figures to draw. Medians are left out: they show the same as the minima, plus the noise of the machine.
    The table has them.
    """
    return [figure for figure in figures if figure.ratio is not None and not figure.name.endswith(".median")]


def position(ratio: float) -> float:
    """Returns the position of a ratio on the logarithmic axis."""
    span = math.log2(HIGHEST / LOWEST)
    return LABEL + CHART * math.log2(min(max(ratio, LOWEST), HIGHEST) / LOWEST) / span


def draw(figures: Sequence[Figure], title: str) -> str:
    """Draws a bar for each figure from 1 to its ratio, and a mark at its target."""
    rows = shown(figures)
    height = MARGIN * 2 + ROW * len(rows) + ROW
    width = LABEL + CHART + 150
    svg = ElementTree.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {width} {height}",
            "width": str(width),
            "height": str(height),
            "font-family": "sans-serif",
            "font-size": "11",
            "role": "img",
        },
    )
    ElementTree.SubElement(svg, "title").text = title
    ElementTree.SubElement(svg, "rect", {"width": "100%", "height": "100%", "fill": "white"})
    _text(svg, 10, 18, title, size=14)
    top, bottom = MARGIN, height - MARGIN
    ratio = LOWEST
    while ratio <= HIGHEST:
        x = f"{position(ratio):.1f}"
        strong = "#444" if ratio == 1 else "#ddd"
        _line(svg, x, top, x, bottom, strong)
        _text(svg, position(ratio), bottom + 14, f"{ratio:.3g}", anchor="middle")
        ratio *= 2
    _text(svg, LABEL + CHART / 2, bottom + 30, "Rust / C, less is better (throughput: more)", anchor="middle")
    for index, figure in enumerate(rows):
        y = top + ROW * index
        _row(svg, figure, y)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(svg, encoding="unicode") + "\n"


def _row(svg: ElementTree.Element, figure: Figure, y: float) -> None:
    ratio = figure.ratio
    assert ratio is not None
    begin, end = sorted((position(1), position(ratio)))
    _text(svg, LABEL - 6, y + 13, figure.name, anchor="end")
    bar = {"x": f"{begin:.1f}", "y": f"{y + 4:.1f}", "width": f"{max(end - begin, 1.5):.1f}", "height": str(ROW - 7)}
    ElementTree.SubElement(svg, "rect", {**bar, "fill": COLOURS[figure.met]})
    note = f"{ratio:.2f}"
    if figure.target:
        note += f"  ({figure.target})"
        if figure.target.of == "ratio":
            x = f"{position(figure.target.limit):.1f}"
            _line(svg, x, y + 1, x, y + ROW - 1, "black", width="2")
    _text(svg, LABEL + CHART + 8, y + 13, note, fill=COLOURS[figure.met])


def _text(
    svg: ElementTree.Element, x: float, y: float, text: str, anchor: str = "start", size: Optional[int] = None, fill: str = "#222"
) -> None:
    attributes = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor, "fill": fill}
    if size:
        attributes["font-size"] = str(size)
    ElementTree.SubElement(svg, "text", attributes).text = text


def _line(svg: ElementTree.Element, x1: str, y1: float, x2: str, y2: float, colour: str, width: str = "1") -> None:
    ends = {"x1": x1, "y1": f"{y1:.1f}", "x2": x2, "y2": f"{y2:.1f}"}
    ElementTree.SubElement(svg, "line", {**ends, "stroke": colour, "stroke-width": width})
