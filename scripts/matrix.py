#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""
`make matrix`: builds kernels with other compilers, architectures and options, boots each and runs the conformance suite
on it.

  matrix.py [--list] [--again] [--table] [--document FILE] [CELL...]

ONLY=CELL,CELL in the environment names cells too. The result of each cell is kept in build/matrix. A cell that passed
with the same sources, options and tools is not run again, so an interrupted run continues where it ended. The table at
the end has every cell; --table only prints it. --document also writes it into a document, in which the rows of cells
that have not run here stay as they are.
"""

import argparse
import datetime
import hashlib
import importlib
import json
import os
import re
import shutil
import time
import traceback
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional, Set, Tuple

from harness import kconfig, kernel, machine, overlay, skips
from harness.arch import ARCHITECTURES
from harness.cells import CELLS, Cell, Forbidden, values
from harness.checklib import FAILED, PASSED, SKIPPED, Context, Result, failed
from harness.hostlib import (
    BUILD,
    CACHE,
    SCRIPTS,
    Failure,
    Progress,
    command_output,
    die,
    duration,
    first_line,
    git_output,
    main,
    results_in,
    say,
    setup,
    shown,
    write_if_changed,
    write_results,
)
from harness.patches import read_patches, repository_files

STATE = BUILD / "matrix"
GREEN, RED, FORBIDDEN = "green", "red", "forbidden by the tree"


def kernel_of(cell: Cell) -> kernel.Kernel:
    """Returns the kernel of a cell, in a directory that belongs to the cell."""
    fragment = STATE / f"{cell.name}.config"
    write_if_changed(fragment, kconfig.text_of(values(cell)).encode())
    # LLVM and KCOV_BINDGEN of the environment are ignored, because the table must describe the kernel that was built.
    return kernel.Kernel(
        impl="rust",
        arch=cell.arch,
        fragments=[str(fragment)],
        variant=f"matrix-{cell.name}",
        llvm=cell.llvm or first_line(CACHE / "llvm.suffix") or "1",
        bindgen=cell.bindgen,
        series=cell.series,
    )


def logs_of(cell: Cell) -> Path:
    """Returns the directory with the logs of a cell's guests."""
    return BUILD / "guest" / f"matrix-{cell.name}"


def tools(built: kernel.Kernel) -> List[str]:
    """Returns the compilers of a kernel, in words."""
    rustc = (command_output("rustc", "--version") or "no rustc").split(" (")[0]
    bindgen = command_output(built.bindgen_program, "--version") or "no bindgen"
    return [(command_output(built.compiler, "--version") or "no compiler").splitlines()[0], rustc, bindgen]


def tree_label(series: str) -> List[str]:
    """Returns a label that changes with the source of the kernel."""
    tree = os.environ.get("KERNEL")
    if series or not tree:
        source = "-".join(filter(None, ("linux", series)))
        return [first_line(CACHE / f"{source}.version") or "", first_line(CACHE / f"{source}.path") or ""]
    head = git_output("rev-parse", "HEAD", cwd=Path(tree))
    changes = git_output("diff", "HEAD", cwd=Path(tree))
    # Changes in a tree without git cannot be detected, so the label differs each time.
    return [tree, head, changes or ""] if head else [tree, str(time.time())]


def label_of(cell: Cell, built: kernel.Kernel) -> str:
    """Returns a label that changes with everything that may change the result."""
    parts = [repr(cell), repr(sorted(built.wanted.items())), *tools(built), *tree_label(cell.series)]
    qemu = ARCHITECTURES[cell.arch].qemu
    if qemu:
        parts.append(command_output(qemu, "--version") or "")
    for name, file in sorted(repository_files().items()):
        parts += [name, overlay.digest(file.data)]
    parts += [patch.diff for patch in [*read_patches(), *read_patches(folder=overlay.WITHOUT_SPIN_LOCK_IRQ)]]
    for path in sorted(SCRIPTS.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            parts += [path.name, overlay.digest(path.read_bytes())]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def remembered(cell: Cell) -> Dict[str, Any]:
    try:
        return dict(json.loads((STATE / f"{cell.name}.json").read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return {}


def forbidding_line(cell: Forbidden, tree: Path) -> int:
    """Returns the number of the line in the tree that forbids the configuration."""
    option = ""
    for number, line in enumerate((tree / cell.file).read_text(encoding="utf-8").splitlines(), 1):
        words = line.split()
        if len(words) == 2 and words[0] in ("config", "menuconfig"):
            option = words[1]
        if option == cell.option and line.strip() == cell.line:
            return number
    die(
        f"{cell.file} has no line `{cell.line}` for {cell.option} any more; look at the tree, and correct "
        "scripts/harness/cells.py."
    )


def run_forbidden(cell: Forbidden, built: kernel.Kernel) -> Tuple[str, str]:
    """Checks that Kconfig refuses the options, so that the list is corrected when the tree accepts them."""
    tree = kernel.prepare_tree()
    number = forbidding_line(cell, tree)
    try:
        kernel.configure(built, tree)
    except Failure as failure:
        # Without Rust, many options are not accepted, so the message must be about one of these options.
        refused = [name for name in (*values(cell), "CONFIG_RUST") if f"{name}=" in str(failure)]
        if "Kconfig did not take" not in str(failure) or "Rust is not available" in str(failure) or not refused:
            raise
        return FORBIDDEN, f"{cell.file}:{number}: `{cell.line}`"
    die("the tree takes this configuration; make it a cell that is built (scripts/harness/cells.py).")


def judged(cell: Cell, result: Result) -> Result:
    """Returns the result, or a failure if a test was skipped that the cell exists for."""
    for program in cell.unskipped:
        if result.outcome == SKIPPED and result.name.startswith(f"rust: {program}"):
            return failed(result.name, f"this cell is there for it, but it was skipped: {result.detail}")
    return result


def run_checks(cell: Cell, built: kernel.Kernel) -> Tuple[str, str]:
    results: List[Result] = []
    objects = kernel.build(built)
    built_at = time.monotonic()
    progress = Progress(f"Testing {cell.name}")
    # The logs of a cell that failed are kept when the next cell runs.
    machine.RUNS = logs_of(cell)
    context = Context(arch=cell.arch, impls=("rust",), objects={"rust": objects}, progress=progress.show)
    for name in cell.checks:
        results += [judged(cell, result) for result in importlib.import_module(f"checks.{name}").run(context)]
    progress.end("done")
    failures = [result for result in results if result.outcome == FAILED]
    for result in failures:
        say(f"    FAILED  {result.name}\n" + "\n".join(f"            {line}" for line in result.detail.splitlines()))
    for line in skips.summary(results):
        say(f"    skipped {line}")
    passes = sum(result.outcome == PASSED for result in results)
    said = f"{passes} passed, {len(failures)} failed, {len(results) - passes - len(failures)} skipped"
    said += f"; tested in {duration(time.monotonic() - built_at)}"
    return (RED if failures or not passes else GREEN), said


def run_cell(cell: Cell, again: bool) -> Dict[str, object]:
    """Runs one cell, or takes its stored result; prints a line about it."""
    built = kernel_of(cell)
    label = label_of(cell, built)
    known = remembered(cell)
    if not again and known.get("label") == label and known.get("outcome") in (GREEN, FORBIDDEN):
        say(f"    {cell.name:18} {known['outcome']} already: {known['said']}")
        return known
    started = time.monotonic()
    try:
        if isinstance(cell, Forbidden):
            outcome, said = run_forbidden(cell, built)
        else:
            outcome, said = run_checks(cell, built)
    except Failure as failure:
        outcome, said = RED, str(failure)
    except Exception:  # any error: the other cells must still run
        outcome, said = RED, f"the check itself broke\n{traceback.format_exc()}"
    result = {
        "label": label,
        "outcome": outcome,
        "said": said,
        "seconds": time.monotonic() - started,
        "date": datetime.date.today().isoformat(),
        "tools": tools(built),
    }
    write_if_changed(STATE / f"{cell.name}.json", (json.dumps(result, indent=1) + "\n").encode())
    # The objects take two gigabytes per configuration and are not needed again.
    if outcome != RED:
        shutil.rmtree(built.objects, ignore_errors=True)
        shutil.rmtree(logs_of(cell), ignore_errors=True)
    say(f"    {cell.name:18} {outcome}, {duration(time.monotonic() - started)}: {said}")
    return result


COLUMNS = ("cell", "what", "outcome", "time", "date", "with", "details")


def versions(lines: List[str]) -> str:
    """Shortens the description of the compilers."""
    found = (re.search(r"(clang|gcc|rustc|bindgen).*?(\d+\.\d+\.\d+)", line) for line in lines)
    return ", ".join(f"{match[1]} {match[2]}" for match in found if match)


def row(cell: Cell) -> Tuple[str, ...]:
    """Returns the row with the last result of a cell on this machine."""
    known = remembered(cell)
    if not known:
        return (cell.name, cell.title, "not run yet", "", "", "", "")
    said = str(known["said"]).splitlines()[0].replace("|", "\\|")
    taken = duration(float(str(known["seconds"])))
    with_what = versions([str(line) for line in known.get("tools") or []])
    return (cell.name, cell.title, str(known["outcome"]), taken, str(known["date"]), with_what, said)


def as_table(rows: Iterable[Tuple[str, ...]]) -> List[str]:
    return ["| " + " | ".join(cells).rstrip() + " |" for cells in (COLUMNS, ("---",) * len(COLUMNS), *rows)]


def table() -> List[str]:
    """Returns the table of every cell with its last result."""
    return as_table(map(row, CELLS))


def document(path: Path) -> None:
    """Updates the rows of a document for cells that have results on this machine."""
    earlier: Dict[str, Tuple[str, ...]] = {}
    for line in results_in(path).splitlines():
        cells = tuple(cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
        if len(cells) == len(COLUMNS):
            earlier[cells[0]] = cells
    rows = [row(cell) if remembered(cell) else earlier.get(cell.name, row(cell)) for cell in CELLS]
    write_results(path, "\n".join(as_table(rows)))


def setup_parts(cells: Iterable[Cell]) -> List[str]:
    """Returns the parts of setup.sh that cells need in addition to the default ones."""
    parts: Set[str] = set()
    for cell in cells:
        parts.update(cell.needs, {ARCHITECTURES[cell.arch].setup_part} - {"base"})
        if cell.llvm.startswith("-"):
            parts.add(f"clang{cell.llvm}")
        if cell.series:
            parts.add(f"linux-{cell.series}")
        if cell.bindgen:
            parts.add(f"bindgen-{cell.bindgen}")
    return sorted(parts)


def chosen(names: List[str]) -> List[Cell]:
    known = {cell.name: cell for cell in CELLS}
    for name in names:
        if name not in known:
            die(f"the matrix has no cell '{name}'; the cells are: {' '.join(known)}.")
    return [known[name] for name in names] or list(CELLS)


def command_interface(arguments: List[str]) -> Optional[int]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="list the cells")
    parser.add_argument("--table", action="store_true", help="print the table of the last results")
    parser.add_argument("--document", type=Path, metavar="FILE", help="also put the table into this document")
    parser.add_argument("--again", action="store_true", help="also run cells that have passed")
    parser.add_argument("--no-setup", action="store_true", help="install nothing")
    parser.add_argument("cells", nargs="*", metavar="CELL", help="only these (default: ONLY=, or all)")
    options = parser.parse_args(arguments)
    if options.list:
        for cell in CELLS:
            say(f"{cell.name:18} {cell.title}" + (" (forbidden)" if isinstance(cell, Forbidden) else ""))
        return 0
    if options.table:
        say("\n".join(table()))
        if options.document:
            document(options.document)
        return 0
    if options.document:
        # A document without marks must fail now, not after an hour.
        results_in(options.document)
    cells = chosen(options.cells or (os.environ.get("ONLY") or "").replace(",", " ").split())
    if not options.no_setup:
        setup("base", "linux", *setup_parts(cells))
    results = [run_cell(cell, options.again) for cell in cells]
    say()
    say("\n".join(table()))
    if options.document:
        document(options.document)
    red = sum(result["outcome"] == RED for result in results)
    say(f"\n{len(results)} cells, {red} red; the results are kept in {shown(STATE)}.")
    return 1 if red else 0


if __name__ == "__main__":
    main(command_interface)
