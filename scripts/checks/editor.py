# SPDX-License-Identifier: GPL-2.0
"""
What editors know: rust-analyzer and clang find every name in the sources as `make editor` describes them.
"""

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Dict, Iterator, List, Set, Tuple

from harness import editor, programs
from harness.checklib import LOGS, Context, Result, failed, output_of, passed, run_tool, skipped, verdict
from harness.hostlib import SCRIPTS, TOP, shown

ORDER = 90
ON_DEMAND = True

# rust-analyzer takes half a minute on an idle machine.
SECONDS = 1800
# The progress line, and a complaint.
FILE = re.compile(r"\d+/\d+ \d+% processing (\S+)")
MISTAKE = re.compile(r"at crate \S+, file (?P<path>\S+): Error (?P<text>.+)")
# rust-analyzer takes a function that `#[export]` compares with its prototype for a function of another kind.
EXPORT = re.compile(r'"E0308".*expected fn (\w+)\(.*found unsafe extern "C" fn \1\(')
# A configuration has one of these.
ARCHITECTURES = re.compile(r"kcov/arch/\w+\.rs$")


def lines_shown(output: str) -> Iterator[str]:
    """Returns the lines as a terminal shows them: rust-analyzer goes back to change parts of its progress line."""
    line, place = "", 0
    for piece in re.findall(r"\x08+|\n|[^\x08\n]+", output):
        if piece[0] in "\n\x08":
            yield line.rstrip()
            line, place = ("", 0) if piece == "\n" else (line, max(place - len(piece), 0))
        else:
            line, place = line[:place] + piece + line[place + len(piece) :], place + len(piece)
    yield line.rstrip()


def diagnostics(output: str) -> Tuple[Set[str], Dict[str, List[str]]]:
    """The files that rust-analyzer looked at, and its complaints by file."""
    seen: Set[str] = set()
    found: Dict[str, List[str]] = {}
    for line in lines_shown(output):
        file, mistake = FILE.fullmatch(line), MISTAKE.fullmatch(line)
        if file:
            seen.add(file[1])
        elif mistake and not EXPORT.search(mistake["text"]):
            found.setdefault(mistake["path"], []).append(mistake["text"])
    return seen, found


def rust(context: Context) -> Iterator[Result]:
    program = editor.program()
    if not program:
        yield skipped("rust-analyzer", "rust-analyzer was not found; `rustup component add rust-analyzer` installs it.")
        return
    context.progress("rust-analyzer")
    log = LOGS / "rust-analyzer.log"
    status, output = run_tool([program, "diagnostics", TOP / editor.RUST_PROJECT], SECONDS)
    LOGS.mkdir(parents=True, exist_ok=True)
    log.write_text(output, encoding="utf-8")
    seen, found = diagnostics(output)
    if status is None or not seen:
        yield failed("rust-analyzer", f"it looked at {len(seen)} files, status {status}; the log is {shown(log)}.")
        return
    for path in editor.sources(".rs"):
        name = f"rust-analyzer: {path.relative_to(TOP)}"
        if str(path) in seen:
            yield verdict(name, found.get(str(path), []))
        elif not ARCHITECTURES.search(str(path)):
            yield failed(name, f"no crate has this file; the log is {shown(log)}.")


def c(context: Context) -> Iterator[Result]:
    context.progress("clang")
    entries = json.loads((TOP / editor.COMPILE_COMMANDS).read_text(encoding="utf-8"))
    described = {entry["file"]: entry for entry in entries}
    paths = [*editor.sources(".c"), *sorted(programs.SUITE.glob("*.c"))]
    for path in paths:
        name = f"compile_commands.json: {path.relative_to(TOP)}"
        entry = described.get(str(path))
        if entry:
            # -c has nothing to do then, which clang takes for a mistake.
            options = ["-fsyntax-only", "-Wno-unused-command-line-argument"]
            status, output = run_tool([*shlex.split(entry["command"]), *options], 600, Path(entry["directory"]))
            yield failed(name, output[-2000:]) if status else passed(name)
        else:
            yield failed(name, "it has no command for this file.")


def run(context: Context) -> Iterator[Result]:
    context.progress("make editor")
    status, output = output_of([sys.executable, SCRIPTS / "editor.py", "--arch", context.arch], 3600)
    if status:
        yield failed("make editor", output[-4000:])
        return
    yield passed("make editor")
    yield from rust(context)
    yield from c(context)
