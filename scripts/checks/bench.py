# SPDX-License-Identifier: GPL-2.0
"""
The benchmark runs to its end, and its counts, which unlike its times do not vary, obey the rules below.
"""

import sys
from typing import Iterator, List, Tuple

from harness.bench import figures, native_sections
from harness.checklib import Context, Result, failed, output_of, passed, skipped, verdict
from harness.hostlib import BUILD, SCRIPTS

ORDER = 75

# Numbers of instructions that show the advantages of the implementation in Rust. They do not depend on the machine.
RULES: Tuple[Tuple[str, str], ...] = (
    # The entry is a return instruction.
    ("hooks.trace_pc.idle.instructions", "rust == 1"),
    ("hooks.trace_cmp4.idle.instructions", "rust == 1"),
    ("hooks.switch16.idle.instructions", "rust == 1"),
    ("hooks.trace_pc.off.instructions", "rust < c"),
    ("hooks.trace_pc.collecting.instructions", "rust <= c"),
    ("hooks.trace_cmp4.collecting.instructions", "rust < c"),
    ("hooks.switch16.collecting.instructions", "rust < c / 2"),
    # In a booted kernel the entry is patched too.
    ("calls.getppid.idle.instructions", "rust < c"),
    ("calls.udp_round_trip.idle.instructions", "rust < c"),
    ("remote.zero.64.1cpu.instructions", "rust < c"),
    ("remote.hit.64.1cpu.instructions", "rust < c"),
)


def broken_rules(found: List[figures.Figure]) -> Iterator[Result]:
    by_name = {figure.name: figure for figure in found}
    for name, rule in RULES:
        figure = by_name.get(name)
        if figure is None:
            yield failed(name, "was not measured")
            continue
        # RULES above has all the rules, so eval() is safe.
        holds = eval(rule, {"__builtins__": {}}, {"c": figure.c, "rust": figure.rust})
        problem = f"{rule} does not hold: C has {figures.number(figure.c)}, Rust {figures.number(figure.rust)}"
        yield verdict(f"{name}: {rule}", [] if holds else [problem])


def run(context: Context) -> Iterator[Result]:
    objects = [f"--obj={impl}={context.kernel(impl)}" for impl in figures.IMPLS]
    results = BUILD / "bench/smoke.json"
    results.unlink(missing_ok=True)
    status, output = output_of([sys.executable, SCRIPTS / "bench.py", "--smoke", *objects])
    if status:
        yield failed("the benchmark runs", output[-4000:])
        return
    yield passed("the benchmark runs")
    # Figures that a short run leaves out.
    missing = native_sections.cpus_missing()
    if missing:
        yield skipped("sections at native speed", missing)
    yield from broken_rules(figures.from_json(results.read_text(encoding="utf-8")))
