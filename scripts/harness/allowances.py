# SPDX-License-Identifier: GPL-2.0
"""Messages of checkpatch.pl that are wrong about this project, each with the reason."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Optional


@dataclass(frozen=True)
class Allowance:
    """A message that checkpatch is wrong about: the path, the kind of message, a pattern for the source line, and the reason."""

    path: str
    kind: str
    line: str
    reason: str


ALLOWANCES = (
    Allowance(
        "tools/testing/selftests/kcov/",
        "SPACING",
        r"FIXTURE_(?:DATA|VARIANT)\(\w+\) \*",
        "the harness's macros are types, and checkpatch reads a product",
    ),
    Allowance(
        "tools/testing/selftests/kcov/",
        "COMPLEX_MACRO",
        r"#define\s+\w+\(.*FIXTURE_VARIANT_ADD|FIXTURE_VARIANT_ADD|#define\s+ROW",
        "a row of a table defines a variable, which parentheses would break",
    ),
    Allowance(
        "tools/testing/selftests/kcov/",
        "VOLATILE",
        r"\bvolatile\b",
        "user space has no READ_ONCE(); the kernel writes the memory",
    ),
    Allowance(
        "tools/testing/selftests/kcov/",
        "BRACES",
        r"",
        "the harness's macros end in an optional block, so an if around them needs braces",
    ),
    Allowance("tools/testing/selftests/kcov/", "ENOSYS", r"\bENOSYS\b", "the test asks whether a system call exists"),
    Allowance(
        "tools/testing/selftests/kcov/",
        "PREFER_DEFINED_ATTRIBUTE_MACRO",
        r"__attribute__",
        "user space does not have the kernel's macros",
    ),
    Allowance(
        "tools/testing/selftests/kcov/",
        "EMBEDDED_FUNCTION_NAME",
        r"",
        "a test names functions and files of the kernel, and some of its own have the same names",
    ),
    *(
        Allowance("tools/testing/kcov/models/", kind, r"", "a stub of the kernel's function or macro of that name")
        for kind in (
            "AVOID_EXTERNS",
            "IS_ENABLED_CONFIG",
            "MACRO_ARG_UNUSED",
            "MACRO_WITH_FLOW_CONTROL",
            "MEMORY_BARRIER",
            "NEW_TYPEDEFS",
        )
    ),
    *(
        Allowance("tools/testing/selftests/kcov/stress/", kind, r"define (?:COUNTERS\(X\)|X\(name\))", "a list of counters")
        for kind in ("COMPLEX_MACRO", "TRAILING_SEMICOLON")
    ),
    Allowance(
        "tools/testing/selftests/kcov/bench/",
        "AVOID_EXTERNS",
        r"",
        "the programs are linked with objects of the kernel, which have no header for user space",
    ),
    Allowance(
        "tools/testing/selftests/kcov/bench/",
        "ARRAY_SIZE",
        r"sizeof",
        "user space does not have the kernel's macro",
    ),
    Allowance("kcov/exports.c", "EXPORT_SYMBOL", r"EXPORT_SYMBOL\(", "the functions are written in Rust"),
    Allowance("kcov/", "TRAILING_SEMICOLON", r"#define HOOK\(", "hooks.h is a list without separators"),
    Allowance("samples/kcov/", "ENOTSUPP", r"ENOTSUPP", "the interface answers so"),
    Allowance("samples/kcov/", "LONG_LINE_STRING", r'"', "a message stays on one line, so that it can be searched for"),
    Allowance(
        "include/linux/kcov.h",
        "SINGLE_STATEMENT_DO_WHILE_MACRO",
        r"",
        "the macros have the form of the macros next to them",
    ),
    Allowance("Kconfig", "EMBEDDED_FILENAME", r"", "in a kernel tree the file has another name"),
    Allowance(
        "tools/testing/selftests/kcov/",
        "ENOTSUPP",
        r"ENOTSUPP",
        "the interface answers so, and the tests check it",
    ),
)
MESSAGE = re.compile(r"(?P<path>[^:]+):(?P<line>\d+): (?:ERROR|WARNING|CHECK):(?P<kind>\w+): ")


def find(message: str, top: Path) -> Optional[Allowance]:
    """Returns the allowance for a message of checkpatch.pl --terse --show-types about a file below TOP, if there is one."""
    match = MESSAGE.match(message)
    if not match:
        return None
    path = top / match["path"]
    # A file of the kernel that an edit has changed is not a file of the project.
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    source = lines[int(match["line"]) - 1] if 0 < int(match["line"]) <= len(lines) else ""
    for entry in ALLOWANCES:
        if match["path"].startswith(entry.path) and match["kind"] == entry.kind and re.search(entry.line, source):
            return entry
    return None
