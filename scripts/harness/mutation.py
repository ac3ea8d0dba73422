# SPDX-License-Identifier: GPL-2.0
"""
Small wrong changes of the kernel part: a generator of them, a list of those that were written by hand, and the records
of what became of each.

The generator works on lines. Comments, strings, attributes and tests are left alone. A change replaces text inside one
line, so the numbers of all lines stay. The name of a generated change is FILE:LINE:OPERATOR:HASH, where HASH is of the
line's text; a second change by the same operator in a line has `.2` at the end. The name of one that was written by hand
begins with `own:`.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Pattern, Tuple, Union

from .hostlib import TOP, Failure, replacing, shown

# The kernel part without its tests and without the files of other architectures than user-mode Linux.
PATTERNS = (
    "kcov/*.rs",
    "kcov/descriptor/*.rs",
    "kcov/remote/*.rs",
    "kcov/task/*.rs",
    "kcov/hooks/*.rs",
    "kcov/arch/um.rs",
    "kcov/*.c",
)
FILES = (
    "rust/kernel/kcov.rs",
    "rust/kernel/sync/rcu_table.rs",
    "rust/kernel/sync/slot.rs",
    "rust/kernel/debugfs/device.rs",
    "rust/kernel/mm/fault.rs",
)
TESTS = ("kcov/selftest.rs", "kcov/tests.rs")

OWN = TOP / "scripts/mutants/own.txt"
SURVIVORS = TOP / "scripts/mutants/survivors.txt"


@dataclass(frozen=True)
class Mutant:
    name: str
    path: str
    # The text of the file after the change.
    text: str
    # The change in a few words: a sentence, or the line before and after.
    description: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]


def sources(top: Path = TOP) -> Dict[str, str]:
    """The text of every file that is changed, by its path."""
    paths = {path for pattern in PATTERNS for path in top.glob(pattern)} | {top / name for name in FILES}
    names = sorted(str(path.relative_to(top)) for path in paths)
    return {name: (top / name).read_text(encoding="utf-8") for name in names if name not in TESTS}


RUST_HIDDEN = re.compile(
    r"""b?r(?P<hashes>\#*)".*?"(?P=hashes)|[bc]?"(?:\\.|[^"\\])*"|b?'(?:\\[^\n]+?|[^'\\\n])'(?!\w)"""
    r"""|//[^\n]*|/\*.*?\*/|\#!?\[(?:[^\[\]]|\[[^\[\]]*\])*\]""",
    re.DOTALL,
)
C_HIDDEN = re.compile(
    r"""\#[ \t]*(?:include|define|undef|if|ifdef|ifndef|elif|else|endif)\b(?:\\\n|[^\n])*|"(?:\\.|[^"\\\n])*\""""
    r"""|'(?:\\.|[^'\\\n])+'|//[^\n]*|/\*.*?\*/""",
    re.DOTALL,
)
# From here on a file has only tests.
RUST_TESTS = re.compile(r"^#\[cfg\(CONFIG_KCOV_KUNIT_TEST\)\]\n(?:#\[[^\n]*\]\n)*mod \w+ \{.*", re.MULTILINE | re.DOTALL)
# Lines that are no code which runs.
LEFT_ALONE = re.compile(
    r"^\s*(?:pub(?:\(\w+\))? )?(?:use|mod|extern|type)\b|\b(?:static_)?assert\w*!?\(|^\s*(?:const _|kernel::warn_on)"
)


def blanked(match: "re.Match[str]") -> str:
    return re.sub(r"[^\n]", " ", match[0])


def code_of(path: str, text: str) -> str:
    """The text with blanks in place of all that is not changed."""
    if path.endswith(".rs"):
        text = RUST_TESTS.sub(blanked, text)
        return RUST_HIDDEN.sub(blanked, text)
    return C_HIDDEN.sub(blanked, text)


Replacement = Union[str, Callable[["re.Match[str]"], str]]


@dataclass(frozen=True)
class Operator:
    name: str
    pattern: Pattern[str]
    replacement: Replacement
    # The languages that have it, by the suffixes of the files.
    suffixes: Tuple[str, ...] = (".rs", ".c")


def swaps(name: str, pairs: Dict[str, str], form: str, suffixes: Tuple[str, ...] = (".rs", ".c")) -> Operator:
    """Replaces each word of PAIRS where it is in FORM, in which %s is the word in a group."""
    words = "|".join(map(re.escape, sorted(pairs, key=len, reverse=True)))

    def other(match: "re.Match[str]") -> str:
        return match[0].replace(match[1], pairs[match[1]], 1)

    return Operator(name, re.compile(form % f"({words})"), other, suffixes)


def both(*pairs: Tuple[str, str]) -> Dict[str, str]:
    return {**dict(pairs), **{second: first for first, second in pairs}}


RUST, C = (".rs",), (".c",)
# An expression statement on a line of its own whose result is not used: a call, or an assignment.
CALL = r"^(\s+)(?!(?:return|let|break|continue|else|goto|static|const|struct|DEFINE)\b)"
OPERATORS = (
    swaps("compare", {"==": "!=", "!=": "==", "<": "<=", "<=": "<", ">": ">=", ">=": ">"}, r"(?<= )%s(?= )"),
    swaps("plus", both(("+", "-")), r"(?<=[\w)\]] )%s(?= [a-z0-9(])"),
    swaps("wrapping", both(("wrapping_add", "wrapping_sub"), ("checked_add", "checked_sub")), r"\.%s\("),
    swaps("saturate", {"saturating_sub": "wrapping_sub", "saturating_add": "wrapping_add"}, r"\.%s\("),
    swaps("minimum", both(("min", "max")), r"\.%s\(", RUST),
    swaps("bits", both(("&", "|"), ("<<", ">>"), ("&=", "|="), ("+=", "-=")), r"(?<=[\w)\]] )%s(?= )"),
    swaps("and-or", both(("&&", "||")), r"(?<= )%s(?= )"),
    swaps("boolean", both(("true", "false")), r"\b%s\b"),
    swaps("some", both(("is_some", "is_none"), ("is_ok", "is_err"), ("any", "all")), r"\.%s\(", RUST),
    swaps("relaxed", dict.fromkeys(("Acquire", "Release", "AcqRel"), "Relaxed"), r"\b[oO]rdering::%s\b", RUST),
    swaps("relaxed", {"smp_store_release": "WRITE_ONCE", "smp_load_acquire": "READ_ONCE"}, r"\b%s\(", C),
    swaps(
        "errno",
        {
            "EINVAL": "EBUSY",
            "EBUSY": "EINVAL",
            "EEXIST": "EINVAL",
            "ENOMEM": "EINVAL",
            "ENOTSUPP": "EINVAL",
            "ENOTTY": "EINVAL",
            "ENODEV": "EINVAL",
            "EINTR": "EAGAIN",
        },
        r"\b%s\b",
    ),
    Operator("constant", re.compile(r"(?<![\w.#])(\d[\d_]*)(?![\w.]|x)"), lambda m: str(int(m[1].replace("_", "")) + 1)),
    Operator("negate", re.compile(r"\b(if|while) (?!let\b)([^{}]+)(?= \{$)"), r"\1 !(\2)", RUST),
    Operator("negate", re.compile(r"\b(if|while) (\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))"), r"\1 (!\2)", C),
    Operator("remove", re.compile(CALL + r"(?:[\w*&.:!<>\[\]]+\(.*\)|[\w*.]+ (?:[|&+-]?=) [^=].*|unsafe \{ .* \});$"), r"\1"),
    Operator("remove", re.compile(CALL + r"[\w.:<>*&\[\]]+(?:\(.*\))?\?;$"), r"\1", RUST),
    Operator("return", re.compile(r"^(\s+)return\b[^;]*;$"), r"\1"),
    Operator("continue", re.compile(r"^(\s+)continue;$"), r"\1"),
)
ARM = re.compile(r"^(\s+)(.+?) => ([^{]+),$")


def change_line(path: str, line: str, code: str) -> Iterator[Tuple[str, str]]:
    """The operators that fit a line, and what becomes of it. CODE is the line without what is not changed."""
    if LEFT_ALONE.search(code):
        return
    # Blank parts are not changed: positions are the same in both texts.
    code = code.rstrip()
    for operator in OPERATORS:
        if not path.endswith(operator.suffixes):
            continue
        for match in operator.pattern.finditer(code):
            # A text inside a call goes with it; elsewhere it would be lost.
            if operator.name != "remove" and line[match.start() : match.end()] != match[0]:
                continue
            new = match.expand(operator.replacement) if isinstance(operator.replacement, str) else operator.replacement(match)
            changed = line[: match.start()] + new + line[match.end() :]
            if changed.rstrip() != line.rstrip():
                yield operator.name, changed.rstrip()


def swapped_arms(lines: List[str], code: List[str]) -> Iterator[Tuple[int, str, str]]:
    """Pairs of neighbours among the arms of a match: the number of the first, and both lines with each other's body."""
    for number in range(len(lines) - 1):
        first, second = ARM.match(lines[number]), ARM.match(lines[number + 1])
        same = first and second and first[1] == second[1] and first[3] != second[3]
        if same and first and second and code[number].strip() and ARM.match(code[number].rstrip()):
            yield number, f"{first[1]}{first[2]} => {second[3]},", f"{second[1]}{second[2]} => {first[3]},"


def generated(path: str, text: str) -> List[Mutant]:
    """All changes of a file by the operators, in the order of its lines."""
    lines, code = text.split("\n"), code_of(path, text).split("\n")
    found: List[Mutant] = []
    seen: Dict[str, int] = {}

    def add(number: int, operator: str, new: List[str]) -> None:
        changed = [*lines[:number], *new, *lines[number + len(new) :]]
        label = hashlib.sha256(lines[number].strip().encode()).hexdigest()[:6]
        name = f"{path}:{number + 1}:{operator}:{label}"
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            name += f".{seen[name]}"
        before, after = lines[number].strip(), " / ".join(line.strip() or "(nothing)" for line in new)
        found.append(Mutant(name, path, "\n".join(changed), f"`{before}` becomes `{after}`"))

    for number, line in enumerate(lines):
        for operator, changed_line in change_line(path, line, code[number]):
            add(number, operator, [changed_line])
    if path.endswith(".rs"):
        for number, first, second in swapped_arms(lines, code):
            add(number, "arms", [first, second])
    return found


def read_own(listing: Path, texts: Dict[str, str]) -> List[Mutant]:
    """
    The changes that were written by hand. Each begins with `NAME: SENTENCE`, followed by the path, the lines before and
    the lines after; blank lines separate them. The lines before must be in the file exactly once.
    """
    found: List[Mutant] = []
    for block in re.split(r"\n{2,}", re.sub(r"^#.*\n", "", listing.read_text(encoding="utf-8"), flags=re.MULTILINE)):
        lines = block.strip("\n").split("\n")
        if lines == [""]:
            continue
        title = re.fullmatch(r"([\w-]+): (\S.*\.)", lines[0])
        path = lines[1] if len(lines) > 1 else ""
        before = [line[1:] for line in lines[2:] if line.startswith("-")]
        after = [line[1:] for line in lines[2:] if line.startswith("+")]
        if not title or not before or len(before) + len(after) != len(lines) - 2:
            raise Failure(f"{shown(listing)}: write `NAME: SENTENCE.`, a path, lines with `-` and lines with `+`: {lines[0]}")
        if path not in texts:
            raise Failure(f"{shown(listing)}: {title[1]}: there is no {path} in the kernel part.")
        old, text = "\n".join(before) + "\n", texts[path]
        times = f"\n{text}".count(f"\n{old}")
        if times != 1:
            raise Failure(f"{shown(listing)}: {title[1]}: {path} has the lines before {times} times; bring them up to date.")
        place = f"\n{text}".index(f"\n{old}")
        # A change keeps the numbers of the lines after it, if it has fewer lines.
        new = "".join(f"{line}\n" for line in after) + "\n" * max(0, len(before) - len(after))
        name = f"own:{title[1]}"
        if any(mutant.name == name for mutant in found):
            raise Failure(f"{shown(listing)}: {title[1]} is there twice.")
        found.append(Mutant(name, path, text[:place] + new + text[place + len(old) :], title[2]))
    return found


def without_line(name: str) -> str:
    """A name without the number of the line, which moves when a line is added above it."""
    parts = name.split(":")
    return ":".join([parts[0], *parts[2:]]) if len(parts) == 4 else name


def read_survivors(listing: Path, mutants: List[Mutant]) -> Dict[str, str]:
    """
    The reasons of those that no check has to find, by their present names: `NAME: SENTENCE.`, one a line. A name may have
    an old number of its line while only one change fits.
    """
    names = {mutant.name for mutant in mutants}
    moved: Dict[str, List[str]] = {}
    for name in sorted(names):
        moved.setdefault(without_line(name), []).append(name)
    found: Dict[str, str] = {}
    for number, line in enumerate(listing.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"(\S+): (\S.*\.)", line)
        if not match:
            raise Failure(f"{shown(listing)}:{number}: write `NAME: SENTENCE.`")
        name, candidates = match[1], moved.get(without_line(match[1]), [])
        if name not in names:
            if len(candidates) != 1:
                raise Failure(
                    f"{shown(listing)}:{number}: no change has the name {name}; remove the line or bring it up to date."
                )
            name = candidates[0]
        if name in found:
            raise Failure(f"{shown(listing)}:{number}: {name} is there twice.")
        found[name] = match[2]
    return found


KILLED, SURVIVED = "killed", "survived"
# Neither says anything about the tests.
NO_BUILD, SAME_CODE = "does not compile", "same machine code"


@dataclass(frozen=True)
class Record:
    """The result of a change in one stage."""

    digest: str
    outcome: str
    # The check that found it, and the first test there.
    check: str = ""
    test: str = ""
    seconds: int = 0


class Records:
    """The records of one stage, in a file that is written after each."""

    def __init__(self, path: Path):
        self.path = path
        content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        self.all = {name: Record(**fields) for name, fields in content.items()}

    def of(self, mutant: Mutant) -> Optional[Record]:
        """The record of a change, unless the file has changed since then."""
        record = self.all.get(mutant.name)
        return record if record and record.digest == mutant.digest else None

    def keep(self, mutant: Mutant, record: Record) -> None:
        self.all[mutant.name] = record
        content = {name: vars(self.all[name]) for name in sorted(self.all)}
        with replacing(self.path) as partial:
            partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def verdict(records: List[Optional[Record]]) -> Optional[Record]:
    """
    The record that counts of those of all stages, the cheapest first; None if no stage has one. A later stage that ran
    knows more, unless an earlier one has found the change.
    """
    known = [record for record in records if record]
    killed = [record for record in known if record.outcome == KILLED]
    counting = killed[:1] or known[-1:]
    return counting[0] if counting else None


def table(results: List[Tuple[Mutant, Record]], reasons: Dict[str, str]) -> str:
    """A table in Markdown: a row for each file, of the changes that compile and make a difference."""
    rows: Dict[str, List[int]] = {}
    checks = sorted({record.check for _, record in results if record.outcome == KILLED})
    for mutant, record in results:
        if record.outcome not in (KILLED, SURVIVED):
            continue
        row = rows.setdefault(mutant.path, [0] * (len(checks) + 3))
        row[0] += 1
        if record.outcome == KILLED:
            row[1 + checks.index(record.check)] += 1
        else:
            row[-2 if mutant.name in reasons else -1] += 1
    head = ["file", "changes", *(f"found by {check}" for check in checks), "cannot matter", "not found"]
    total = [sum(column) for column in zip(*rows.values())] or [0] * (len(checks) + 3)
    lines = [head, ["---"] * len(head)]
    lines += [[f"`{path}`", *map(str, row)] for path, row in sorted(rows.items())]
    lines.append(["all", *map(str, total)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
