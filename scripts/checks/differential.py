# SPDX-License-Identifier: GPL-2.0
"""
C and Rust record the same PCs and comparisons for the same system calls, by symbol.

The programs in tools/testing/selftests/kcov/traces run in a guest of each implementation. Addresses, process numbers
and times differ between any two boots. So the check compares places in the source, and those operands that do not vary
between the repetitions of a program. For that, each kernel is booted twice.
"""

import difflib
import fnmatch
import re
from array import array
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, Iterable, Iterator, List, Sequence, Set, Tuple, TypeVar

from harness import guest, kconfig, programs, symbolize
from harness.arch import ARCHITECTURES, DEFAULT
from harness.checklib import Context, Result, failed, passed, verdict
from harness.hostlib import Failure, shown

ORDER = 58
# Now and then two boots of one kernel still differ in a new place, which must be added to ignored.txt. Until that stops,
# this check runs only on demand: scripts/test.py --only differential.
ON_DEMAND = True

# A file for each architecture, ignored.ARCH.txt, has the entries that only this architecture needs.
IGNORED = programs.SUITE / "traces/ignored.txt"
COMMAND = """
for _ in $(seq {tasks}); do sleep 1000 & done
mkdir /results/traces && /differential /results/traces
"""
# Without a randomised base, values that depend on physical addresses are equal more often. The conformance suite tests
# that PCs are canonical with a randomised base.
KERNEL_ARGS = ("nokaslr",)
# Each kernel is booted with both, so that values that depend on the size of the memory or on the number of tasks are seen
# to vary.
BOOTS = (("2G", 0), ("1600M", 5))
# Options that may differ between the configurations: the choice of the implementation, and options that only one has.
CHOICE = re.compile(r"CONFIG_KCOV_(?:C|RUST|KUNIT_TEST|PATCHED_ENTRY|UNIQUE|GENERIC_ARCH)$")
# Traces that occur only once prove nothing, because an interrupt or an empty cache may have changed them.
OCCURRENCES = 2
IMPLS = ("c", "rust")
# The modes, and the number of words in a record.
MODES = {"pc": 1, "cmp": 4}
GUEST_SECONDS = 300
SHOWN_LINES = 40
# Records around the first difference: the number before it, and the number in which the traces may meet again.
CONTEXT, WINDOW = 3, 100

# A comparison with its operands, or any other item that is counted.
Record = Tuple[str, str, str]
Item = TypeVar("Item")

# Returns the name of a place: the function and its line, and the functions into which it was inlined.
Symbols = Callable[[int], str]


@dataclass
class Ignored:
    """A line of ignored.txt."""

    kind: str
    pattern: str
    reason: str
    # The line need not match in every run: it is not an error if nothing matches it.
    rare: bool = False
    expression: "re.Pattern[str]" = field(init=False)
    matched: bool = False

    def __post_init__(self) -> None:
        # A place is written `function file:line < function file:line`.
        self.expression = re.compile(rf"(?:^| < ){fnmatch.translate(self.pattern)[4:-3]} ")


class Ignorance:
    """The places and operands that are not compared, and whether each entry was ever used."""

    KINDS = ("place", "operands", "order")

    def __init__(self, entries: Sequence[Ignored], addresses: range = ARCHITECTURES[DEFAULT].addresses):
        self.entries = list(entries)
        self.addresses = addresses
        self.known: Dict[Tuple[str, str], bool] = {}

    @classmethod
    def read(cls, path: Path, addresses: range = ARCHITECTURES[DEFAULT].addresses) -> "Ignorance":
        entries = []
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            match = re.fullmatch(r"(\w+)(\??)\s+(\S+):\s+(\S.*)", line)
            if not match or match[1] not in cls.KINDS:
                raise Failure(f"{shown(path)}:{number}: write `KIND NAME: reason`; KIND is one of: {' '.join(cls.KINDS)}.")
            entries.append(Ignored(match[1], match[3], match[4], bool(match[2])))
        return cls(entries, addresses)

    def covers(self, kind: str, place: str) -> bool:
        """Returns True if an entry is for PLACE, which is the name of a program for the kind `order`."""
        if (kind, place) not in self.known:
            text = f"{place} " if kind == "order" else place
            hits = [entry for entry in self.entries if entry.kind == kind and entry.expression.search(text)]
            for entry in hits:
                entry.matched = True
            self.known[kind, place] = bool(hits)
        return self.known[kind, place]

    def unused(self) -> List[str]:
        return [f"{entry.kind} {entry.pattern}: {entry.reason}" for entry in self.entries if not entry.matched and not entry.rare]


class Places(symbolize.Symbolizer):
    """Names places with the column, because macros put several calls of a hook on one line."""

    def __init__(self, obj: Path):
        super().__init__(obj)
        self.names: Dict[int, str] = {}

    def _frame(self, symbol: Dict[str, object]) -> symbolize.Frame:
        frame = super()._frame(symbol)
        return symbolize.Frame(frame.function, f"{frame.file}:{frame.line}", int(str(symbol.get("Column") or 0)))

    def name(self, pc: int) -> str:
        if pc not in self.names:
            self.names[pc] = " < ".join(f"{frame.function} {frame.place}" for frame in self.frames(pc))
        return self.names[pc]


@dataclass(frozen=True)
class Shape:
    """The part of a trace that must be equal, record by record. The operands, if any, are kept separately."""

    lines: Tuple[str, ...]


@dataclass
class Group:
    """All repetitions that have the same shape."""

    count: int = 0
    # For each repetition the two operands of each record.
    operands: List[List[Tuple[int, int]]] = field(default_factory=list)


def read_traces(path: Path, words: int) -> List[array]:
    """Reads the traces in one file of the guest, without their counts."""
    data = array("Q")
    data.frombytes(path.read_bytes())
    traces, position = [], 0
    while position < len(data):
        end = position + 1 + data[position] * words
        if data[position] == 0 or end > len(data):
            raise Failure(f"{shown(path)} ends in the middle of a trace.")
        traces.append(data[position + 1 : end])
        position = end
    return traces


def pcs_of(mode: str, traces: Iterable[array]) -> Set[int]:
    found: Set[int] = set()
    for trace in traces:
        found.update(trace if mode == "pc" else trace[3::4])
    return found


def type_name(kind: int) -> str:
    """Returns the type word of a comparison in words; KCOV_CMP_CONST and the size, as in the header for user space."""
    size = 1 << ((kind >> 1) & 3)
    return f"{size} bytes{', const' if kind & 1 else ''}" if kind < 8 else f"type {kind:#x}"


def pc_groups(traces: Sequence[array], name: Symbols, ignored: Ignorance) -> Dict[Shape, Group]:
    groups: Dict[Shape, Group] = defaultdict(Group)
    for raw, count in Counter(trace.tobytes() for trace in traces).items():
        pcs = array("Q")
        pcs.frombytes(raw)
        lines = (name(pc) for pc in pcs)
        groups[Shape(tuple(line for line in lines if not ignored.covers("place", line)))].count += count
    return groups


def cmp_groups(traces: Sequence[array], name: Symbols, ignored: Ignorance) -> Dict[Shape, Group]:
    shapes: Dict[Tuple[bytes, bytes], Tuple[Shape, List[int]]] = {}
    groups: Dict[Shape, Group] = defaultdict(Group)
    for trace in traces:
        kinds, pcs = trace[0::4], trace[3::4]
        key = (kinds.tobytes(), pcs.tobytes())
        if key not in shapes:
            places = [name(pc) for pc in pcs]
            kept = [index for index, place in enumerate(places) if not ignored.covers("place", place)]
            shapes[key] = Shape(tuple(f"{type_name(kinds[index])}: {places[index]}" for index in kept)), kept
        shape, kept = shapes[key]
        ones, others = trace[1::4], trace[2::4]
        group = groups[shape]
        group.count += 1
        group.operands.append([(ones[index], others[index]) for index in kept])
    return groups


def operand(value: int, addresses: range) -> str:
    """Returns an operand in a form that can be compared, because objects have different addresses in every boot."""
    if value in addresses:
        return "kernel address"
    return f"{value:#x}"


@dataclass
class Comparison:
    """The result for one program in one mode."""

    records: int = 0
    # The number of operands that were compared exactly.
    operands: int = 0
    difference: List[str] = field(default_factory=list)


def stable(groups: Dict[Shape, Group]) -> Dict[Shape, Group]:
    return {shape: group for shape, group in groups.items() if group.count >= OCCURRENCES}


def best(groups: Dict[Shape, Group]) -> Shape:
    return max(groups, key=lambda shape: (groups[shape].count, len(shape.lines)))


def operand_counts(groups: Dict[Shape, Group], ignored: Ignorance) -> List["Counter[Record]"]:
    """Counts, for each repetition, how often each record occurs with its operands."""
    return [
        Counter(
            (line, operand(one, ignored.addresses), operand(other, ignored.addresses))
            for line, (one, other) in zip(shape.lines, run)
            if not ignored.covers("operands", line.partition(": ")[2])
        )
        for shape, group in groups.items()
        for run in group.operands
    ]


def operand_differences(
    names: Tuple[str, str], left: Dict[Shape, Group], right: Dict[Shape, Group], ignored: Ignorance
) -> Tuple[int, List[str]]:
    """
    Returns the comparisons that one kernel makes in every repetition, and the other does not. Operands that vary
    between repetitions, or between the two boots, are never in all repetitions, so they are not compared.
    """
    counts = [operand_counts(groups, ignored) for groups in (left, right)]
    sides = [extremes(side) for side in counts]
    problems = []
    for index, (least, _) in enumerate(sides):
        other, most = names[1 - index], sides[1 - index][1]
        for record in sorted(least - most):
            line, one, two = record
            instead = sorted({f"{first} and {second}" for text, first, second in counts[1 - index][0] if text == line})
            problems.append(
                f"{names[index]} compares {one} and {two} {least[record]} times or more, {other} {most[record]} times "
                f"at most ({other} has: {', '.join(instead[:4]) or 'nothing'})\n    {line}"
            )
    return 2 * min(sum(least.values()) for least, _ in sides), problems


def extremes(counts: Sequence["Counter[Item]"]) -> Tuple["Counter[Item]", "Counter[Item]"]:
    """Returns, for each item, the minimum and the maximum of its counts in a repetition."""
    least, most = counts[0].copy(), counts[0].copy()
    for count in counts[1:]:
        least &= count
        most |= count
    return least, most


def compare_counts(names: Tuple[str, str], left: Dict[Shape, Group], right: Dict[Shape, Group]) -> Comparison:
    """Compares programs whose traces never repeat: the other kernel must also record what one kernel records every time."""
    result = Comparison()
    for impl, groups in zip(names, (left, right)):
        if not groups:
            result.difference.append(f"{impl}: there is no trace")
    if result.difference:
        return result
    # One shape is enough for repetitions that are alike.
    sides = [extremes([Counter(shape.lines) for shape in groups]) for groups in (left, right)]
    result.records = min(sum(least.values()) for least, _ in sides)
    for one, another in ((0, 1), (1, 0)):
        least, most = sides[one][0], sides[another][1]
        impl, other = names[one], names[another]
        for line in least - most:
            result.difference.append(f"{impl} records it {least[line]} times or more, {other} {most[line]} times at most: {line}")
    result.difference = shortened(result.difference)
    return result


def compare_sequences(names: Tuple[str, str], left: Dict[Shape, Group], right: Dict[Shape, Group]) -> Comparison:
    """Compares traces in order: two kernels agree if they share a trace that each of them shows repeatedly."""
    result = Comparison()
    for impl, groups in zip(names, (left, right)):
        if not stable(groups):
            times = sum(group.count for group in groups.values())
            result.difference.append(f"{impl}: none of {times} repetitions has the same trace as another")
            result.difference += alternatives(groups)
    if result.difference:
        return result
    shared = stable(left).keys() & stable(right).keys()
    if not shared:
        result.difference = diff(names, best(left).lines, best(right).lines)
        return result
    shape = max(shared, key=lambda shape: min(left[shape].count, right[shape].count))
    result.records = len(shape.lines)
    return result


def compare(
    names: Tuple[str, str], left: Dict[Shape, Group], right: Dict[Shape, Group], ignored: Ignorance, ordered: bool = True
) -> Comparison:
    """Compares the places, in their order or by number, and then the operands of programs whose traces are not all noise."""
    result = (compare_sequences if ordered else compare_counts)(names, left, right)
    if ordered and not result.difference and any(group.operands for group in left.values()):
        result.operands, problems = operand_differences(names, left, right, ignored)
        result.difference = shortened(problems)
    return result


def alternatives(groups: Dict[Shape, Group]) -> List[str]:
    """Describes the differences between two repetitions."""
    if len(groups) < 2:
        return []
    one, other = list(groups)[:2]
    return diff(("one repetition", "another one"), one.lines, other.lines)


def shortened(lines: List[str]) -> List[str]:
    if len(lines) <= SHOWN_LINES:
        return lines
    return [*lines[:SHOWN_LINES], f"... and {len(lines) - SHOWN_LINES} lines more"]


def diff(names: Tuple[str, str], left: Sequence[str], right: Sequence[str]) -> List[str]:
    """Shows the first place where two traces differ, as a patch. Whole traces are far too long for difflib."""
    start = next((index for index, (one, other) in enumerate(zip(left, right)) if one != other), min(len(left), len(right)))
    first = max(start - CONTEXT, 0)
    window = slice(first, start + WINDOW)
    lines = difflib.unified_diff(left[window], right[window], names[0], names[1], lineterm="", n=CONTEXT)
    head = f"{names[0]} has {len(left)} records, {names[1]} has {len(right)}; they part at record {start + 1}:"
    return shortened([head, *lines])


def different_options(left: Dict[str, str], right: Dict[str, str]) -> List[str]:
    names = sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))
    return [f"{name}: {left.get(name, 'n')} and {right.get(name, 'n')}" for name in names if not CHOICE.match(name)]


def trace_files(results: Path) -> Dict[Tuple[str, str], List[Path]]:
    """Returns the files of each program and mode."""
    found: Dict[Tuple[str, str], List[Path]] = defaultdict(list)
    for path in sorted((results / "traces").glob("*.*.*")):
        name, mode, _ = path.name.rsplit(".", 2)
        found[name, mode].append(path)
    return found


class Side:
    """The traces of one implementation."""

    def __init__(self, obj: Path, boots: Sequence[Path]):
        self.traces: Dict[Tuple[str, str], List[array]] = defaultdict(list)
        for results in boots:
            for (name, mode), paths in trace_files(results).items():
                for path in paths:
                    self.traces[name, mode] += read_traces(path, MODES[mode])
        self.places = Places(obj)
        pcs: Set[int] = set()
        for (_, mode), traces in self.traces.items():
            pcs |= pcs_of(mode, traces)
        self.places.load(pcs)
        self.nameless = sorted(pc for pc in pcs if self.places.frames(pc)[0].function == symbolize.UNKNOWN)

    def groups(self, name: str, mode: str, ignored: Ignorance) -> Dict[Shape, Group]:
        group = pc_groups if mode == "pc" else cmp_groups
        return group(self.traces.get((name, mode), []), self.places.name, ignored)


def compare_all(
    names: Tuple[str, str], left: Side, right: Side, ignored: Ignorance, progress: Callable[[str], None]
) -> Iterator[Result]:
    """Yields one result for each program. The first difference is shown in detail, further ones by a few lines."""
    for name in sorted({name for name, _ in left.traces.keys() | right.traces.keys()}):
        progress(name)
        said, problems = [], []
        for mode in MODES:
            both = left.groups(name, mode, ignored), right.groups(name, mode, ignored)
            ordered = not ignored.covers("order", name)
            result = compare(names, *both, ignored, ordered)
            said.append(f"{result.records} {mode} records" + (f", {result.operands} operands" if result.operands else ""))
            if result.difference:
                problems += [f"in mode {mode}:", *result.difference]
            elif not result.records:
                problems.append(f"in mode {mode}: nothing is recorded in all repetitions, so nothing was compared")
            elif mode == "cmp" and ordered and not result.operands:
                problems.append("in mode cmp: no operand is the same in all repetitions, so nothing was compared")
        yield failed(name, "\n".join(problems)) if problems else passed(name, "; ".join(said))


def booted(context: Context, impl: str, obj: Path) -> Iterator[guest.Outcome]:
    program = programs.of_suite("traces/differential", obj, context.arch)
    for memory, tasks in BOOTS:
        yield context.boot(
            guest.Guest(
                obj=obj,
                name=f"differential-{impl}-{memory}",
                arch=context.arch,
                command=COMMAND.format(tasks=tasks),
                files={"/differential": program},
                kernel_args=KERNEL_ARGS + ARCHITECTURES[context.arch].trusted_clock,
                memory=memory,
                timeout=GUEST_SECONDS,
                kvm=False,
            )
        )


def run(context: Context) -> Iterator[Result]:
    ignored = Ignorance.read(IGNORED, ARCHITECTURES[context.arch].addresses)
    own = IGNORED.with_suffix(f".{context.arch}.txt")
    if own.exists():
        ignored.entries += Ignorance.read(own).entries
    sides: List[Side] = []
    configs: List[Dict[str, str]] = []
    # Both are needed even if only one was asked for, because a single implementation has nothing to be compared with.
    for impl in IMPLS:
        obj = context.kernel(impl)
        outcomes = list(booted(context, impl, obj))
        yield verdict(f"{impl}: the kernel stays sound", [line for outcome in outcomes for line in outcome.problems()])
        if any(outcome.death for outcome in outcomes):
            return
        complaints = [line for outcome in outcomes for line in outcome.output.splitlines()]
        complaints += [f"it ended with status {outcome.status}" for outcome in outcomes if outcome.status]
        yield verdict(f"{impl}: every program does what it is meant to", complaints)
        context.progress(f"naming the places of {impl}")
        sides.append(Side(obj, [outcome.results for outcome in outcomes]))
        nameless = [f"{pc:#x} is not in a function of {shown(obj / 'vmlinux')}" for pc in sides[-1].nameless]
        yield verdict(f"{impl}: every PC has a name", shortened(nameless))
        configs.append(kconfig.of_objects(obj))
    yield verdict("both kernels have one configuration", different_options(*configs))
    yield from compare_all(IMPLS, sides[0], sides[1], ignored, context.progress)
    # A line that another architecture does not need must not be removed.
    if context.arch == DEFAULT:
        yield verdict(f"{shown(IGNORED)}: every line is needed", [f"nothing matches: {line}" for line in ignored.unused()])
