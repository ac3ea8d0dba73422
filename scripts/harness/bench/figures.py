# SPDX-License-Identifier: GPL-2.0
"""
Measured figures: a figure has a value for each implementation, a unit, and perhaps a target.
"""

import json
import math
import re
from dataclasses import dataclass
from typing import Dict, Iterable, List, Optional, Tuple

from ..hostlib import die

IMPLS = ("c", "rust")


@dataclass(frozen=True)
class Target:
    """A limit for the ratio of the two implementations, or for the value of the Rust implementation."""

    limit: float
    of: str = "ratio"
    at_least: bool = False

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        return f"{self.of} {sign} {self.limit:{'.2f' if self.limit < 100 else '.0f'}}"


def ratio(limit: float) -> Target:
    return Target(limit)


def rust(limit: float) -> Target:
    return Target(limit, of="rust")


# The targets of figures: a pattern for the whole name, and the target. The first pattern that matches counts.
TARGETS: Tuple[Tuple[str, Target], ...] = (
    (r"hooks\.\w+\.idle\.against_empty", rust(1.10)),
    (r"hooks\.trace_pc\.unique_repeated\.against_plain", rust(1.30)),
    (r"hooks\.trace_pc\.unique_new\.against_plain", rust(3.00)),
    (r"hooks\.trace_pc\.edge_repeated\.against_plain", rust(1.50)),
    (r"hooks\.trace_pc\.edge_new\.against_plain", rust(3.00)),
    (r"hooks\.trace_pc\.(?:full|interrupt)\.minimum", ratio(1.00)),
    (r"hooks\.switch16\.off\.minimum", ratio(0.15)),
    (r"hooks\.switch16\.collecting\.minimum", ratio(0.50)),
    (r"hooks\.\w+\.off\.minimum", ratio(0.80)),
    (r"hooks\.trace_pc\.collecting\.minimum", ratio(0.95)),
    (r"hooks\.trace_cmp4\.collecting\.minimum", ratio(0.75)),
    (r"calls\.\w+\.idle\.instructions", ratio(0.97)),
    (r"calls\.\w+\.(?:pc|cmp)\.instructions", ratio(0.99)),
    (r"executor\.map_4m", ratio(0.10)),
    (r"executor\.enable_4m", ratio(0.50)),
    (r"executor\.enable_64k", ratio(1.00)),
    (r"executor\.fork_\d\.parent", ratio(0.50)),
    (r"executor\.fork_\d\.child", ratio(0.70)),
    (r"executor\.fork_\d\.against_none", rust(1.15)),
    (r"executor\.round", ratio(0.80)),
    (r"remote\.(?:zero|unknown)\.native\.2cpus", ratio(0.05)),
    (r"remote\.hit\.64\.1cpu\.time", ratio(0.70)),
    (r"remote\.hit\.64\.throughput_of_2cpus", Target(1.9, of="rust", at_least=True)),
    (r"remote\.(?:hit|unknown)\.4096_against_1", rust(1.20)),
    (r"size\.text", ratio(1.50)),
    (r"size\.hooks\.trace_pc\.hot", ratio(1.00)),
    (r"size\.kept_after_last_user", rust(0)),
)


def target_of(name: str) -> Optional[Target]:
    return next((target for pattern, target in TARGETS if re.fullmatch(pattern, name)), None)


@dataclass(frozen=True)
class Figure:
    name: str
    unit: str
    c: float
    rust: float

    @property
    def target(self) -> Optional[Target]:
        return target_of(self.name)

    @property
    def ratio(self) -> Optional[float]:
        """Returns the value of Rust divided by that of C, or None if C has nothing to compare with."""
        if self.c:
            return self.rust / self.c
        return 1.0 if self.rust == 0 else None

    @property
    def met(self) -> Optional[bool]:
        """Returns True if the target is met, and None if there is no target."""
        target = self.target
        if target is None:
            return None
        value = self.rust if target.of == "rust" else self.ratio
        if value is None:
            return False
        # A target with two decimals is compared with two decimals. Otherwise the verdict could contradict the printed
        # table.
        value = round(value, 2)
        return value >= target.limit if target.at_least else value <= target.limit


def pair(name: str, unit: str, values: Dict[str, float]) -> Figure:
    """Returns the figure with one value for each implementation."""
    for impl in IMPLS:
        if not math.isfinite(values[impl]) or values[impl] < 0:
            raise ValueError(f"{name} is {values[impl]} for {impl}")
    return Figure(name, unit, values["c"], values["rust"])


def pairs(values: Dict[str, Dict[str, float]], unit: str, what: str) -> List[Figure]:
    """Returns a figure for each name. `values` has the values of each implementation; `what` names what was measured."""
    if list(values["c"]) != list(values["rust"]):
        die(f"the two guests did not measure the same {what}.")
    return [pair(name, unit, {impl: values[impl][name] for impl in IMPLS}) for name in values["c"]]


def number(value: Optional[float]) -> str:
    if value is None:
        return "-"
    if value == int(value) and abs(value) >= 100:
        return f"{int(value)}"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.2f}"


COLUMNS = ("figure", "unit", "C", "Rust", "ratio", "target", "")


def rows(figures: Iterable[Figure]) -> List[Tuple[str, ...]]:
    marks = {True: "met", False: "MISSED", None: ""}
    return [
        (
            figure.name,
            figure.unit,
            number(figure.c),
            number(figure.rust),
            "-" if figure.ratio is None else f"{figure.ratio:.2f}",
            str(figure.target or ""),
            marks[figure.met],
        )
        for figure in figures
    ]


def table(figures: Iterable[Figure]) -> List[str]:
    """Returns the lines of the table. A blank line precedes each group of figures; the group is the first word of the name."""
    body = rows(figures)
    widths = [max(len(row[column]) for row in [COLUMNS, *body]) for column in range(len(COLUMNS))]

    def line(row: Tuple[str, ...]) -> str:
        cells = (
            cell.ljust(width) if column in (0, 1, 5, 6) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        )
        return "  ".join(cells).rstrip()

    lines, group = [line(COLUMNS), line(tuple("-" * width for width in widths))], None
    for row in body:
        this = row[0].split(".")[0]
        if group not in (None, this):
            lines.append("")
        group = this
        lines.append(line(row))
    return lines


def from_rows(lines: Iterable[str]) -> List[Figure]:
    """Reads the figures of a table in a document, with the precision that it has there."""
    found = []
    for line in lines:
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == len(COLUMNS) and re.fullmatch(r"[\d.]+", cells[2]):
            found.append(Figure(cells[0], cells[1], float(cells[2]), float(cells[3])))
    return found


def as_json(figures: Iterable[Figure]) -> str:
    flat = {
        figure.name: {
            "c": figure.c,
            "rust": figure.rust,
            "ratio": figure.ratio,
            "target": str(figure.target) if figure.target else None,
            "unit": figure.unit,
        }
        for figure in figures
    }
    return json.dumps(flat, indent=1) + "\n"


def from_json(text: str) -> List[Figure]:
    return [Figure(name, entry["unit"], entry["c"], entry["rust"]) for name, entry in json.loads(text).items()]
