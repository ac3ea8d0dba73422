# SPDX-License-Identifier: GPL-2.0
"""
The order of the stores that append a section's records to a descriptor's buffer, on every path through the Rust object:

  - Between the last store of a record and the store of the count there is a barrier that orders stores. A reader on
    another CPU that sees the count sees the records.
  - Only the count is stored after the barrier.

The function is found by its name and by the barrier. The count in it is the whole word that is stored to the exact
place to which a pointer from memory leads, if the word was not loaded from there just before. Every other store that is
not to the stack is taken for a part of a record, and so is a call of memcpy(). The count of edges is another word of
the header, the third; a store of 0 to it belongs to a reset. If the barrier compiles to no instruction, only the order
of the stores is checked. This is so with one CPU, and on x86_64 if the helpers in C are inlined.
"""

import os
import re
from typing import Any, Dict

from .publish import Paths
from .walk import PANIC, Violation

_APPEND = re.compile(r"^_R.*layout.*(?:6append|12append_edges)")
_APPEND_EDGES = re.compile(r"^_R.*layout.*12append_edges")
_COUNT_OF_EDGES = re.compile(r"^(?:\[\w+,\s*#)?(?:0x10|16)(?:\(%?\w+\)|\])$")
_ZERO = re.compile(r"^(?:\$(?:0x)?0|xzr|zero)\b")
_COPY = re.compile(r"^_*(pi_)?mem(cpy|move)(_orig|_erms)?$")
_BARRIER = re.compile(r"^rust_helper_smp_w?mb$")
_NAMED = re.compile(r"<([^>+]+)>")
_NOTHING, _RECORDS, _ORDERED, _COUNTED = "nothing stored", "records stored", "barrier", "count stored"
# The maximum number of instructions between a load of a word and the store that changes it.
_NEAR = 4


def _called(image, insn):
    """Returns the name of the called function, if it is known. Some disassemblers also print the name for a computed call."""
    target = image.arch.flow(insn.mnemonic, insn.operands).target
    if target is not None:
        name, offset = image.elf.name_of(target)
        return "" if offset else name
    named = _NAMED.search(insn.text)
    return named[1] if named else ""


class _Paths(Paths):
    def _edges(self, insn):
        if self.image.arch.flow(insn.mnemonic, insn.operands).kind == "indirect-call" and PANIC.search(
                _called(self.image, insn)):
            return []
        return super()._edges(insn)


class Merge:
    """The check of one function and of its callees in the object."""

    def __init__(self, image, start, visible):
        self.image, self.visible = image, visible
        name = image.elf.name_of(start)[0]
        self.edges = _APPEND_EDGES.match(name)
        self.walk = _Paths(image, name, start, set())
        self.frame = image.arch.frame if any(
            image.arch.sets_frame(image.insns[addr].text) for addr in self.walk.successors) else None
        self.found, self.counts, self.copies = {}, set(), set()
        seen, todo = set(), [(start, (), _NOTHING)]
        while todo:
            node = todo.pop()
            if node not in seen:
                seen.add(node)
                todo += self._step(*node)

    @property
    def violations(self):
        return list(self.found.values())

    def _report(self, reason, insn):
        self.found.setdefault((insn.addr, reason), Violation(
            self.walk.hook, reason, insn.addr, self.image.elf.show(insn.addr), insn.text, self.walk.path(insn.addr)))

    def _step(self, addr, callers, phase):
        """Yields the successors of an instruction: (address, callers, phase)."""
        insn, edges = self.image.insns[addr], self.walk.successors[addr]
        called = [edge.target for edge in edges if edge.kind == "call"]
        if called and len(callers) < 6:
            yield called[0], callers + (insn.end,), phase
            return
        phase = self._after(insn, phase)
        for edge in edges:
            if edge.target is not None and edge.kind != "call":
                yield edge.target, callers, phase
            elif edge.target is None and callers:
                yield callers[-1], callers[:-1], phase

    def _after(self, insn, phase):
        arch = self.image.arch
        if arch.flow(insn.mnemonic, insn.operands).kind in ("call", "jump", "indirect-call"):
            return self._called(insn, phase)
        if arch.orders_stores(insn.mnemonic, insn.operands):
            return phase if phase == _COUNTED else _ORDERED
        place = arch.stored(insn.mnemonic, insn.operands)
        if place is None or place.base in (arch.stack, self.frame):
            return phase
        if self._is_count(insn, place):
            if arch.releases(insn.mnemonic):
                phase = _ORDERED
            return self._count(insn, phase)
        return self._record(insn, phase)

    def _is_count(self, insn, place):
        if self.edges:
            return _COUNT_OF_EDGES.match(place.text) and not _ZERO.match(insn.operands.strip())
        return place.plain and self._is_loaded(insn, place) and not self._updates(insn, place)

    def _called(self, insn, phase):
        """Returns the phase after a call of, or a jump to, a function that is not followed."""
        name = _called(self.image, insn)
        if _BARRIER.match(name):
            return phase if phase == _COUNTED else _ORDERED
        if _COPY.match(name):
            self.copies.add(insn.addr)
            return self._record(insn, phase)
        # The code after a lock may be another piece.
        left = self.image.arch.flow(insn.mnemonic, insn.operands).kind != "jump"
        return _NOTHING if phase == _COUNTED and left else phase

    def _before(self, insn):
        """Yields the instructions before an instruction, the last one first."""
        return [self.image.insns[addr] for addr in sorted(self.walk.successors, reverse=True) if addr < insn.addr]

    def _is_loaded(self, insn, place):
        """Returns True if the register that holds the address was loaded from memory, not computed."""
        arch = self.image.arch
        for before in self._before(insn):
            load = arch.loaded(before.mnemonic, before.operands)
            if load is not None and load[0] == place.base:
                return True
            if arch.writes(before.mnemonic, before.operands, place.base):
                return False
        return False

    def _updates(self, insn, place):
        """Returns True if a store changes a word that was loaded just before, such as the word with a bit of a set."""
        loads = [self.image.arch.loaded(before.mnemonic, before.operands) for before in self._before(insn)[:_NEAR]]
        return any(load is not None and load[1] == place.text and load[0] != place.base for load in loads)

    def _count(self, insn, phase):
        self.counts.add(insn.addr)
        if phase == _COUNTED:
            self._report("can store to the buffer after the count", insn)
        elif phase != _ORDERED and self.visible:
            self._report("can store the count without a barrier after the records", insn)
        return _COUNTED

    def _record(self, insn, phase):
        if phase == _COUNTED:
            self._report("can store a record after the count", insn)
        elif phase == _ORDERED:
            self._report("can store a record between the barrier and the count", insn)
        return phase if phase == _COUNTED else _RECORDS


def _visible(image):
    """Returns True if the barrier is an instruction or a call in this object."""
    try:
        with open(os.path.join(os.path.dirname(os.path.abspath(image.elf.path)), ".config"), encoding="utf-8") as file:
            config = file.read()
    except FileNotFoundError:
        return True
    inlined = "CONFIG_RUST_INLINE_HELPERS=y\n" in config
    return "CONFIG_SMP=y\n" in config and not (inlined and not image.arch.weak_stores)


def _starts(image):
    """
    Returns the entries of the functions that append records: functions with the name of the barrier or a call of it,
    otherwise functions with the barrier inside.
    """
    called, others = set(), set()
    for insn in image.insns.values():
        name, offset = image.elf.name_of(insn.addr)
        calls = image.arch.flow(insn.mnemonic, insn.operands).kind in ("call", "jump", "indirect-call")
        if _APPEND.match(name) or (calls and _BARRIER.match(_called(image, insn))):
            called.add(insn.addr - offset)
        elif image.arch.orders_stores(insn.mnemonic, insn.operands):
            others.add(insn.addr - offset)
    return (called or others) & set(image.insns)


def check_merge(image):
    """Checks every function of the Rust object that appends records; returns (one dictionary per place, violations)."""
    if not any(image.elf.name_of(addr)[0].startswith("_R") for addr in image.insns):
        return [], []
    visible, places, copies = _visible(image), {}, set()
    violations: Dict[Any, Violation] = {}
    for start in sorted(_starts(image)):
        merge = Merge(image, start, visible)
        copies |= merge.copies
        for addr in merge.counts:
            places[addr] = {"place": image.elf.show(addr), "function": image.elf.name_of(start)[0],
                            "does": "counts merged records, " + ("after a barrier" if visible else "after them")}
        for violation in merge.violations:
            violations.setdefault((violation.addr, violation.reason), violation)
    # A check that finds nothing proves nothing.
    if not places or not copies:
        reason = "appends no records, or not where this check recognises it"
        violations[0, reason] = Violation("the whole object", reason, 0, "the whole object", "", [])
    return [places[addr] for addr in sorted(places)], list(violations.values())
