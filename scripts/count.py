#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""
Counts sizes, unsafe code, tests and comments of this repository, and of known parts of a kernel tree for comparison.

  count.py [--top DIRECTORY] [--kernel TREE]

The output is a table in Markdown with a row for each part, and a list of this repository's files with more than 500
lines, each with the reason why it is not divided. --top counts another checkout of the repository. The kernel
tree is the tree that --kernel or KERNEL names, or else build/linux; without a tree, its rows are missing.

Columns:
  files / lines   files without tests, and their lines
  median, > 500   lines of the median file, and the number of files with more than 500 lines
  no unsafe       Rust files without an unsafe block or implementation, of all Rust files
  unsafe / kLOC   unsafe blocks per 1,000 lines of Rust
  outside         unsafe blocks and implementations outside rust/kernel
  tests / code    lines of tests per line of other files; tests inside a file count as that file
  longest         lines of the longest function
  comments        share of comments in the lines that are not empty
  openings        share of doc comments that begin with What, How, Which, Says, Notes, Whether or That
  nobody          uses of nobody, somebody and whoever
Doc comments are `///` and `//!` in Rust, docstrings in Python, and comments at the left margin in C. The last three
columns count tests too.
"""

import argparse
import ast
import io
import os
import re
import statistics
import tokenize
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Set, Tuple

from harness.hostlib import BUILD, TOP, die, main, say

LARGE = 500
ONE_PROGRAM = "a program of the suite, which has one part of the interface as its subject"
# Files that may have more lines, each with the reason.
NOT_DIVIDED = {
    "samples/kcov/kcov_sample.c": "a module that is compiled and instrumented as one object",
    "scripts/bench/counts.c": "a program that is linked with KCOV's object, with the kernel functions that the object calls",
    "scripts/leaf/cases.py": "one list of programs, and the pieces that several of them have",
    "scripts/setup.sh": "runs before Python is installed, so Python cannot take over a part of it",
    "tools/testing/selftests/kcov/cmp_test.c": ONE_PROGRAM,
    "tools/testing/selftests/kcov/edge_test.c": ONE_PROGRAM,
    "tools/testing/selftests/kcov/history_test.c": ONE_PROGRAM,
    "tools/testing/selftests/kcov/pages_test.c": ONE_PROGRAM,
    "tools/testing/selftests/kcov/disable_any_test.c": ONE_PROGRAM,
    "tools/testing/selftests/kcov/remote_test.c": ONE_PROGRAM,
    "tools/testing/selftests/kcov/unique_test.c": ONE_PROGRAM,
    "tools/testing/selftests/kcov/lib/symbols.c": "one index of symbols; what decodes calls of each architecture searches it",
    "tools/testing/selftests/kcov/stress/actor.c": "one table of random calls, and the state that they share",
}
SOURCES = {".rs", ".c", ".h", ".py", ".sh"}
OPENING = re.compile(r"(?:What|How|Which|Says|Notes|Whether|That)\b")
VAGUE = re.compile(r"\b(?:nobody|somebody|whoever)\b", re.IGNORECASE)

# Strings and characters come first, so that they hide the start of a comment inside them.
RUST = re.compile(
    r"""(?P<text>b?r(?P<hashes>\#*)".*?"(?P=hashes)|b?"(?:\\.|[^"\\])*"|b?'(?:\\[^\n]+?|[^'\\\n])')"""
    r"""|(?P<comment>//[^\n]*|/\*.*?\*/)""",
    re.DOTALL,
)
C = re.compile(
    r"""(?P<text>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])+')|(?P<comment>//[^\n]*|/\*.*?\*/)""", re.DOTALL
)
UNSAFE_BLOCK = re.compile(r"\bunsafe\s*\{")
UNSAFE_IMPL = re.compile(r"\bunsafe\s+impl\b")
RUST_FUNCTION = re.compile(r"\bfn\s+\w+[^;{]*\{")
C_FUNCTION = re.compile(r"^(?!struct\b[^()]*\{|union\b[^()]*\{|enum\b)[A-Za-z_][^;{}]*\)[^;{}()=]*\{", re.MULTILINE)


@dataclass
class Source:
    """The figures of one file."""

    lines: int = 0
    filled: int = 0
    commented: int = 0
    docs: List[str] = field(default_factory=list)
    unsafe_blocks: int = 0
    unsafe_impls: int = 0
    longest: int = 0
    vague: int = 0


def line_of(text: str, offset: int) -> int:
    return text.count("\n", 0, offset)


def blanked(text: str) -> str:
    """Returns TEXT as spaces, with the same line breaks."""
    return re.sub(r"[^\n]", " ", text)


def split_code(text: str, language: "re.Pattern[str]") -> Tuple[str, List[Tuple[int, str]]]:
    """Returns the code of a C or Rust file with blanks in place of comments and strings, and the comments with their offsets."""
    comments: List[Tuple[int, str]] = []

    def replace(match: "re.Match[str]") -> str:
        if match.group("comment") is None:
            return '"' + blanked(match.group(0)[1:-1]) + '"'
        comments.append((match.start(), match.group(0)))
        return blanked(match.group(0))

    return language.sub(replace, text), comments


def body_end(code: str, brace: int) -> int:
    """Returns the offset after the brace that closes the one at BRACE, or after the next closing brace at the left margin."""
    depth = 0
    for match in re.finditer(r"[{}]", code[brace:]):
        depth += 1 if match.group(0) == "{" else -1
        if not depth or code[brace + match.start() - 1 : brace + match.end()] == "\n}":
            return brace + match.end()
    return len(code)


def longest_function(code: str, function: "re.Pattern[str]") -> int:
    lengths = [
        line_of(code, body_end(code, match.end() - 1)) - line_of(code, match.start()) + 1 for match in function.finditer(code)
    ]
    return max(lengths, default=0)


def rust_docs(comments: Sequence[Tuple[int, str]], text: str) -> Iterator[str]:
    """Yields the first line of each doc comment: a run of `///` or `//!` in consecutive lines."""
    last = (-1, "")
    for offset, comment in comments:
        marker, line = comment[:3], line_of(text, offset)
        if marker in ("///", "//!") and not comment.startswith("////"):
            if last != (line - 1, marker):
                yield comment[3:].strip()
            last = (line, marker)


def c_docs(comments: Sequence[Tuple[int, str]], text: str) -> Iterator[str]:
    """Yields the first sentence of each comment at the left margin; for kernel-doc, the sentence after the name."""
    for offset, comment in comments:
        if (offset == 0 or text[offset - 1] == "\n") and "SPDX-License-Identifier" not in comment:
            lines = re.sub(r"\s*\*+/$", "", comment).splitlines()
            sentence = " ".join(" ".join(re.sub(r"^\s*(?:/?\*+|//)", " ", line) for line in lines).split())
            if comment.startswith("/**"):
                sentence = re.sub(r"^(?:struct |enum |union )?\w+(?:\(\))? - ", "", sentence)
            yield sentence[:1].upper() + sentence[1:] if comment.startswith("/**") else sentence


def python_docs(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            docstring = ast.get_docstring(node)
            if docstring:
                yield docstring


def python_comment_lines(text: str, tree: ast.AST) -> Set[int]:
    """Returns the numbers, from 0, of the lines that consist of comments or docstrings."""
    result = set()
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and lines[token.start[0] - 1].lstrip().startswith("#"):
            result.add(token.start[0] - 1)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            first = body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
                result.update(range(first.lineno - 1, first.end_lineno or first.lineno))
    return result


def count_python(text: str, source: Source) -> None:
    tree = ast.parse(text)
    source.docs = list(python_docs(tree))
    lines = text.splitlines()
    source.commented = len([line for line in python_comment_lines(text, tree) if lines[line].strip()])
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    source.longest = max(((node.end_lineno or node.lineno) - node.lineno + 1 for node in functions), default=0)


def count_braces(text: str, source: Source, rust: bool) -> None:
    """Counts a file in C or Rust."""
    code, comments = split_code(text, RUST if rust else C)
    code_lines = code.splitlines()
    source.commented = len([line for line, full in zip(code_lines, text.splitlines()) if full.strip() and not line.strip()])
    if rust:
        source.docs = list(rust_docs(comments, text))
        source.unsafe_blocks = len(UNSAFE_BLOCK.findall(code))
        source.unsafe_impls = len(UNSAFE_IMPL.findall(code))
    else:
        source.docs = list(c_docs(comments, text))
    source.longest = longest_function(code, RUST_FUNCTION if rust else C_FUNCTION)


def count(path: Path) -> Source:
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = text.splitlines()
    source = Source(lines=len(lines), filled=sum(1 for line in lines if line.strip()), vague=len(VAGUE.findall(text)))
    if path.suffix == ".py":
        count_python(text, source)
    else:
        count_braces(text, source, path.suffix == ".rs")
    return source


@dataclass(frozen=True)
class Part:
    """A row of the table: the files below a directory that match one of the patterns, and the pattern of its tests."""

    name: str
    files: Sequence[str]
    tests: str = r"$^"
    also_tests: Sequence[str] = ()


OURS = (
    Part(
        "**kcov + rust/kernel**",
        ("kcov/**/*.rs", "kcov/**/*.[ch]", "rust/kernel/**/*.rs", "include/**/*.h"),
        r"kcov/tests(?:/.*)?\.rs$",
        ("tools/testing/selftests/kcov/**/*.[ch]",),
    ),
    Part("**tools/kcov**", ("tools/kcov/**/*.rs",), r"/(?:tests|benches)/|/tests\.rs$"),
    Part("**scripts** (Python)", ("scripts/**/*.py",), r"/tests/"),
    Part("**selftests**", ("tools/testing/selftests/kcov/**/*.[ch]",)),
)
ANCHORS = (
    Part("kernel/kcov.c", ("kernel/kcov.c",)),
    Part("kernel/kcsan", ("kernel/kcsan/*.[ch]",), r"(?:_test|selftest)\.c$"),
    Part("Rust Binder", ("drivers/android/binder/**/*.rs",)),
    Part("nova-core", ("drivers/gpu/nova-core/**/*.rs",)),
    Part("tools/testing/kunit (Python)", ("tools/testing/kunit/**/*.py",), r"_test\.py$"),
)
PRODUCTS = {"build", "target", "__pycache__"}


def files_of(top: Path, patterns: Sequence[str]) -> List[Path]:
    """Returns the files below TOP that match a pattern, without the products of builds."""
    found = {path for pattern in patterns for path in top.glob(pattern) if path.is_file()}
    return sorted(path for path in found if not PRODUCTS & set(path.relative_to(top).parts))


def large_files(top: Path) -> Dict[str, int]:
    """Returns the lines of each source file below TOP that has more than LARGE."""
    found = {}
    for directory, below, names in os.walk(top):
        below[:] = sorted(name for name in below if name not in PRODUCTS and not name.startswith("."))
        for path in (Path(directory) / name for name in sorted(names)):
            if path.suffix in SOURCES and path.is_file() and not path.is_symlink():
                lines = len(path.read_text(encoding="utf-8", errors="replace").splitlines())
                if lines > LARGE:
                    found[path.relative_to(top).as_posix()] = lines
    return found


# The text of a table cell without a figure.
NOTHING = "-"


def share(part: int, whole: int, digits: int = 0) -> str:
    return f"{100 * part / whole:.{digits}f} %" if whole else NOTHING


COLUMNS = (
    "", "files / lines", "median", "> 500", "no unsafe", "unsafe / kLOC", "outside", "tests / code", "longest", "comments",
    "openings", "nobody",
)  # fmt: skip


def row(top: Path, part: Part) -> Optional[List[str]]:
    """Returns the cells of a part, or None if TOP has no file of it."""
    files = files_of(top, part.files)
    is_test = re.compile(part.tests)
    tests = {path for path in files if is_test.search(path.relative_to(top).as_posix())}
    code = [path for path in files if path not in tests]
    if not code:
        return None
    counted: Dict[Path, Source] = {path: count(path) for path in {*files, *files_of(top, part.also_tests)}}
    lines = [counted[path].lines for path in code]
    rust = [path for path in code if path.suffix == ".rs"]
    safe = [path for path in rust if not counted[path].unsafe_blocks + counted[path].unsafe_impls]
    blocks = sum(counted[path].unsafe_blocks for path in rust)
    outside = [counted[path] for path in rust if path.relative_to(top).parts[:2] != ("rust", "kernel")]
    test_lines = sum(source.lines for path, source in counted.items() if path not in code)
    every = [counted[path] for path in files]
    docs = [doc for source in every for doc in source.docs]
    return [
        part.name,
        f"{len(code)} / {sum(lines):,}",
        f"{statistics.median(lines):.0f}",
        str(sum(1 for number in lines if number > LARGE)),
        f"{len(safe)} of {len(rust)}" if rust else NOTHING,
        f"{1000 * blocks / sum(counted[path].lines for path in rust):.1f}" if rust else NOTHING,
        str(sum(source.unsafe_blocks + source.unsafe_impls for source in outside)) if rust else NOTHING,
        f"{test_lines / sum(lines):.2f}" if test_lines else NOTHING,
        str(max(counted[path].longest for path in code)),
        share(sum(source.commented for source in every), sum(source.filled for source in every)),
        f"{share(sum(1 for doc in docs if OPENING.match(doc)), len(docs), 1)} of {len(docs)}",
        str(sum(source.vague for source in every)),
    ]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Formats ROWS as a table in Markdown; the first row has the titles."""
    lines = ["| " + " | ".join(cells) + " |" for cells in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


def run(arguments: List[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--top", type=Path, default=TOP, metavar="DIRECTORY", help="the checkout to count")
    tree = os.environ.get("KERNEL") or BUILD / "linux"
    parser.add_argument("--kernel", type=Path, default=Path(tree), metavar="TREE", help="the kernel tree to count")
    options = parser.parse_args(arguments)
    rows = [row(options.kernel, part) for part in ANCHORS] + [row(options.top, part) for part in OURS]
    found = [cells for cells in rows if cells]
    if not found:
        die(f"neither {options.top} nor {options.kernel} has any of the files to count.")
    say(table([COLUMNS, *found]))
    say(f"\nFiles with more than {LARGE} lines:")
    for path, lines in large_files(options.top).items():
        say(f"- {path}, {lines}: {NOT_DIVIDED.get(path, 'divide it by subject')}")
    return 0


if __name__ == "__main__":
    main(run)
