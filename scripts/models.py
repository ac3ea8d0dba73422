#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""
`make models`: checks formal models of the kernel part, in tools/testing/kcov.

  models.py [--only litmus|gate|sections] [--deep] [--states] [NAME...]

  litmus     the claims of the ORDERING comments, by herd7 in the kernel's memory model, or Rust's. Each order is needed:
             without it, the test must have another result.
  gate       kcov/gate.c as it is compiled, by cbmc
  sections   descriptors, sections and softirqs, by spin. A broken model must be detected.

If a tool is missing, a message names it, its checks are skipped, and the status is 1. HERD7, CBMC and SPIN name a tool
that is not in PATH. NAME is a litmus test, or a configuration of the others. --deep adds configurations of `sections`
that take minutes and a gigabyte. --states prints rows of the table in the litmus tests' README.md.
"""

import argparse
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from harness import kernel
from harness.hostlib import TOP, die, main, say

HERE = TOP / "tools/testing/kcov"
LITMUS = HERE / "litmus"
MODELS = HERE / "models"
BASE = "as it is"

# A line of a litmus test may end with its replacement in a variant, after "// weak NAME:" or "// spare NAME:".
VARIANT = re.compile(r"//[ \t]*(weak|spare)[ \t]+([\w-]+):")
OBSERVATION = re.compile(r"^Observation \S+ (\w+)", re.M)
STATES = re.compile(r"^States (\d+)", re.M)

# Tools that were needed and were not found.
missing: List[str] = []

REMEDIES = {
    "herd7": "Install herdtools7 7.58 or later, by Debian's package or by opam, or name the program with HERD7=PATH.",
    "cbmc": "Install the Debian package cbmc, or name the program with CBMC=PATH.",
    "spin": "Install the Debian package spin, or name the program with SPIN=PATH.",
}


def tool(name: str) -> Optional[str]:
    """Returns the program's path. If it is missing, prints how to install it and returns None."""
    path = shutil.which(os.environ.get(name.upper()) or name)
    if not path:
        missing.append(name)
        say(f"{name} was not found, so its checks are left out. {REMEDIES[name]}")
    return path


def output_in(place: Path, command: Sequence[str]) -> Tuple[int, str]:
    """Runs a tool in a directory; returns its status and all that it printed."""
    done = subprocess.run(
        command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, check=False
    )
    return done.returncode, done.stdout


class Variant(NamedTuple):
    name: str
    text: str
    expected: str


class Test(NamedTuple):
    name: str
    text: str

    def header(self, key: str) -> str:
        """Returns a field of the comment at the top, on one line; "" if there is none."""
        found = re.search(rf"^ \* {key}: (.*(?:\n \*   +\S.*)*)", self.text, re.M)
        return re.sub(r"\s*\n \*\s+", " ", found[1]) if found else ""

    def variants(self) -> List[Variant]:
        """Returns the test as it is, and with each of its changes."""
        opposite = {"Never": "Sometimes"}
        expected = self.header("Result")
        kinds = {name: kind for kind, name in VARIANT.findall(self.text)}
        result = [Variant(BASE, changed(self.text, ""), expected)]
        for name, kind in kinds.items():
            wanted = opposite[expected] if kind == "weak" else expected
            result.append(Variant(f"{kind} {name}", changed(self.text, name), wanted))
        return result


def changed(text: str, name: str) -> str:
    """Returns the text of a test with the change NAME, or without a change if NAME is empty."""
    lines = []
    for line in text.splitlines():
        parts = VARIANT.split(line)
        line = parts[0].rstrip()
        for _, other, replacement in zip(parts[1::3], parts[2::3], parts[3::3]):
            if other == name:
                line = re.match(r"\s*", parts[0])[0] + replacement.strip()  # type: ignore[index]
        lines.append(line)
    return "\n".join(lines) + "\n"


def tests() -> List[Test]:
    return [Test(path.stem, path.read_text()) for path in sorted(LITMUS.glob("*.litmus"), key=lambda path: path.stem)]


def run_herd(herd: str, model: Path, test: Test, text: str) -> Tuple[str, str]:
    """Runs herd7; returns its observation and the number of states."""
    rust = test.header("Model")
    options = ["-model", rust] if rust else ["-conf", "linux-kernel.cfg"]
    with tempfile.NamedTemporaryFile("w", suffix=".litmus") as file:
        file.write(text)
        file.flush()
        status, output = output_in(model, [herd, *options, file.name])
    observed, states = OBSERVATION.search(output), STATES.search(output)
    if status or not observed or not states:
        die(f"herd7 could not run {test.name}:\n{output.strip()}")
    assert observed and states
    return observed[1], states[1]


def table_rows() -> Dict[str, str]:
    """Returns the rows of the tests in README.md, by test."""
    text = (LITMUS / "README.md").read_text()
    return {row[1]: row[0] for row in re.finditer(r"^\| ([\w-]+)\.litmus \|.*$", text, re.M)}


def row_of(test: Test, results: Sequence[Tuple[str, str, str]]) -> str:
    """Returns the row for README.md: the test, its purpose, the result, the states, and result and states of each variant."""
    (_, observed, states), *others = results
    changes = "; ".join(f"{name}: {result}, {number}" for name, result, number in others)
    return f"| {test.name}.litmus | {test.header('Stands for')} | {observed} | {states} | {changes} |"


def litmus(names: Sequence[str], show: bool) -> Iterator[str]:
    chosen = [test for test in tests() if not names or test.name in names]
    herd = tool("herd7") if chosen else None
    if not herd:
        return
    model = kernel.prepare_tree() / "tools/memory-model"
    known = table_rows()
    for test in chosen:
        results = []
        for variant in test.variants():
            observed, states = run_herd(herd, model, test, variant.text)
            results.append((variant.name, observed, states))
            if observed != variant.expected:
                yield f"{test.name}, {variant.name}: {observed}, not {variant.expected}"
        row = row_of(test, results)
        if show:
            say(row)
            continue
        say(f"{test.name}: " + "; ".join(f"{name}: {observed}" for name, observed, _ in results))
        if known.get(test.name) != row:
            yield f"{test.name}: litmus/README.md has another row for it; `scripts/models.py --states {test.name}` prints the row"


# Broken variants of gate.c, with the assertion of gate_check.c that fails for each.
GATE_BREAKS = (
    ("no second look at the users", "if (atomic_read(&users)) {", "if (false) {", "the hooks stay on until the gate is closed"),
    (
        "the flag before the hooks",
        "switch_hooks(true);\n",
        "smp_store_release(&gate_is_open, true);\n\tswitch_hooks(true);\n",
        "the hooks are on when the gate has been opened",
    ),
    ("an opening starts no work", "update_gate_in(0);\n\tret =", "ret =", "a task that waits is not forgotten"),
    ("a closing starts no work", "update_gate_in(CLOSE_DELAY);", ";", "the hooks are off at the end"),
    ("a killed opening does not close", "if (ret)\n\t\tkcov_gate_close();", "", "the count is 0 when all have closed the gate"),
    ("closed twice", "if (!atomic_dec", "atomic_dec_and_test(&users);\n\tif (!atomic_dec", "a count is never negative"),
)


def run_cbmc(cbmc: str, gate: str) -> List[str]:
    """Checks a text of gate.c; returns the assertions that fail."""
    with tempfile.TemporaryDirectory() as place:
        include = Path(place)
        header = (TOP / "kcov/gate.h").read_text()
        for name in re.findall(r"^#include <(.+)>", gate + header, re.M):
            path = include / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        (include / "gate.c").write_text(gate)
        (include / "gate.h").write_text(header)
        shutil.copy(MODELS / "gate_check.c", place)
        command = [cbmc, "gate_check.c", "-I", place, "-DCONFIG_JUMP_LABEL=1", "--unwind", "4", "--no-standard-checks"]
        _, output = output_in(include, command)
    if "** Results:" not in output:
        die(f"cbmc could not check gate.c:\n{output.strip()[-3000:]}")
    return re.findall(r"^\[\S+\] line \d+ (.*): FAILURE$", output, re.M)


def gate(names: Sequence[str]) -> Iterator[str]:
    source = (TOP / "kcov/gate.c").read_text()
    cases: List[Tuple[str, str, Optional[str]]] = [(BASE, source, None)]
    for name, old, new, assertion in GATE_BREAKS:
        if source.count(old) != 1:
            yield f"gate: gate.c has changed where {name!r} breaks it"
            continue
        cases.append((name, source.replace(old, new), assertion))
    cases = [case for case in cases if not names or case[0] in names]
    cbmc = tool("cbmc") if cases else None
    if not cbmc:
        return
    for name, text, wanted in cases:
        failing = run_cbmc(cbmc, text)
        say(f"gate, {name}: " + ("; ".join(f"not so: {assertion}" for assertion in failing) or "holds"))
        if wanted is None and failing:
            yield "gate.c: " + "; ".join(failing)
        elif wanted is not None and wanted not in failing:
            yield f"gate, {name}: not caught by {wanted!r}"


class Sections(NamedTuple):
    """A configuration of sections.pml: its definitions, and the assertion that fails, if it is broken."""

    name: str
    definitions: str
    caught_by: str = ""
    deep: bool = False


ONE_TASK = "PREPARED CALLS=4 DESCRIPTORS=2 SOFTIRQS=1"
BROKEN = "PREPARED CALLS=5 DESCRIPTORS=2 SOFTIRQS=1"
SECTIONS_ELSEWHERE = "TASKS=2 PREPARED CALLS=2 CALLS_OF_1=2 ONLY_SECTIONS_ON_1 SOFTIRQS=0"
TWO_TASKS = "TASKS=2 PREPARED CALLS=2 CALLS_OF_1=1 DESCRIPTORS=2 SOFTIRQS=0"
PROMISE = "fields[0].now.mode==0"
CONFIGURATIONS = (
    Sections("from-the-start", "CALLS=5 SOFTIRQS=1"),
    Sections("one-task", ONE_TASK),
    Sections("sections-elsewhere", SECTIONS_ELSEWHERE),
    Sections("softirq-elsewhere", "TASKS=2 PREPARED CALLS=2 CALLS_OF_1=0 ONLY_SECTIONS_ON_1 SOFTIRQS=0 SOFTIRQS_OF_1=1"),
    Sections("two-tasks", TWO_TASKS),
    Sections("one-task-longer", "PREPARED CALLS=6 DESCRIPTORS=2 SOFTIRQS=1", deep=True),
    Sections("two-softirqs", "CALLS=8 SOFTIRQS=2", deep=True),
    Sections("sections-elsewhere-longer", SECTIONS_ELSEWHERE.replace("CALLS=2", "CALLS=3"), deep=True),
    Sections("no-pause", f"BREAK_PAUSE {BROKEN}", PROMISE),
    Sections("mode-first", f"BREAK_ORDER {BROKEN}", PROMISE),
    Sections("freed-at-close", f"BREAK_CLOSE {BROKEN}", PROMISE),
    Sections("misses-not-counted", f"BREAK_MISS {BROKEN}", "taken==mark"),
    Sections("context-not-compared", f"BREAK_CONTEXT {BROKEN}", "taken==mark"),
    Sections("registration-not-compared", f"BREAK_REGISTRATION {BROKEN}", "id==area[taken].registration"),
    Sections("bottom-not-looked-for", f"BREAK_BOTTOM {BROKEN}", "area[a].state==0"),
    Sections("handles-not-removed", f"BREAK_REMOVAL {BROKEN}", "table==0"),
    Sections("softirq-does-not-stop", f"BREAK_SOFTIRQ {BROKEN}", "before.mode==fields[t].now.mode"),
    Sections("state-not-looked-at", f"BREAK_MERGE {SECTIONS_ELSEWHERE}", "!(disabled[id])"),
    Sections("handle-taken-twice", f"BREAK_TAKEN {TWO_TASKS}", "table==id"),
)


def run_spin(spin: str, configuration: Sections) -> Tuple[str, str]:
    """Explores a configuration; returns the error that was found, or "", and the number of states."""
    definitions = [f"-D{definition}" for definition in configuration.definitions.split()]
    steps = (
        [spin, *definitions, "-a", str(MODELS / "sections.pml")],
        # Without partial-order reduction, which ignores that processes can stop each other.
        [os.environ.get("CC") or "cc", "-O2", "-w", "-DSAFETY", "-DCOLLAPSE", "-DNOREDUCE", "-o", "pan", "pan.c"],
        ["./pan", "-m1000000", "-w24"],
    )
    output = ""
    with tempfile.TemporaryDirectory() as place:
        for command in steps:
            status, output = output_in(Path(place), command)
            if status:
                die(f"{command[0]} failed:\n{output.strip()[-3000:]}")
    errors = re.search(r", errors: (\d+)", output)
    states = re.search(r"^ *(\S+) states, stored", output, re.M)
    if not errors or not states or "max search depth too small" in output:
        die(f"spin did not explore all of {configuration.name}:\n{output.strip()[-3000:]}")
    assert errors and states
    error = re.search(r"^pan:1: (.*)", output, re.M)
    return (error[1] if error else "an error without a text") if int(errors[1]) else "", states[1]


def sections(names: Sequence[str], deep: bool) -> Iterator[str]:
    chosen = [one for one in CONFIGURATIONS if (one.name in names if names else deep or not one.deep)]
    spin = tool("spin") if chosen else None
    if not spin:
        return
    for one in chosen:
        error, states = run_spin(spin, one)
        if one.caught_by:
            say(f"sections, {one.name}: " + ("caught" if error else "not caught"))
            if one.caught_by.replace(" ", "") not in error.replace(" ", ""):
                yield f"sections, {one.name}: {error or 'no error'}, not {one.caught_by!r}"
        else:
            say(f"sections, {one.name}: {states} states")
            if error:
                yield f"sections, {one.name}: {error}"


def run(arguments: List[str]) -> int:
    parser = argparse.ArgumentParser(description="Checks formal models of the kernel part.")
    parser.add_argument("--only", choices=("litmus", "gate", "sections"))
    parser.add_argument("--deep", action="store_true", help="also run checks that take minutes and gigabytes")
    parser.add_argument("--states", action="store_true", help="print the table of the litmus tests")
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args(arguments)

    problems: List[str] = []
    if options.only in (None, "litmus"):
        problems += litmus(options.names, options.states)
    if options.only in (None, "gate") and not options.states:
        problems += gate(options.names)
    if options.only in (None, "sections") and not options.states:
        problems += sections(options.names, options.deep)
    for problem in problems:
        say(f"WRONG: {problem}")
    return bool(problems or missing)


if __name__ == "__main__":
    main(run)
