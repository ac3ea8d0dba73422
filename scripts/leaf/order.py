# SPDX-License-Identifier: GPL-2.0
"""
The order of the stores on x86_64. On every path through a hook, the new count is stored to the first word of the area
before the words of the record, and each count is followed by all words of one record.

The hook of switch statements may instead count several records with one store of "the word loaded from this address,
plus a number", and then write them in a loop. None of these records may be stored before that count or below the place
where the loaded count puts the first one, and none may be only partly written. The number of iterations of the loop is
not proved.

In addition to the trace, a hook may update a counter, a bit for a record, or a number of 4 bytes, but never between the
count and the words of a record.

The hook of PCs may instead record an edge. It begins with a store of the PC, plus a number of the kernel's, to the first
word of the memory. All other stores of words follow between a store of 1 and a store of 0 to a number of 4 bytes, the
flag of the busy hook. An interrupt in between records no edge.

The reason: an interrupt between the two stores may record too. If the count came second, the interrupt's record and the
interrupted one would be written to the same place.
"""

from collections import namedtuple
from typing import Set

from .machine import Machine, constant, lower_bound, opaque, plus, signed, sole, strip_size
from .walk import HOOK_PC, HOOK_SWITCH

# The stores so far. While a record is being written, the phase is the set of its stored places. Two registers then hold
# the area and the old count.
_NONE, _DONE = "no record yet", "record complete"
# The phases of an edge: its PC is stored; the hook is busy; it is no longer busy.
_EDGE, _BUSY, _RECORDED = "edge", "edge while busy", "edge recorded"
# The phase while the records that one store has counted are written; words: the stored words of the current record.
_Batch = namedtuple("_Batch", "words")


class Order(Machine):
    """The check of one hook; walk is its Walk, which must not have found violations."""

    first = _NONE

    def __init__(self, walk):
        super().__init__(walk)
        self.words = 1 if walk.hook == HOOK_PC else 4
        self.batches = walk.hook == HOOK_SWITCH
        self.records: Set[int] = set()
        self._run()
        if not self.found and not self.records:
            self._report("stores no record, or none that this check recognises", self.image.insns[walk.entry])

    def _check_return(self, state, insn, _callers):
        self._check_complete(state, insn)

    def _check_complete(self, state, insn):
        if isinstance(state.phase, _Batch):
            if state.phase.words:
                self._report(f"can go on after storing {len(state.phase.words)} of {self.words} words of a record",
                             insn)
        elif state.phase == _BUSY:
            self._report("can return while it is busy with an edge", insn)
        elif state.phase not in (_NONE, _DONE, _EDGE, _RECORDED):
            self._report(f"can go on after storing a count and {len(state.phase)} of {self.words} words of "
                         "the record", insn)

    # The rules.

    def _store(self, address, value, insn, state, wide):
        if state.phase in (_EDGE, _BUSY, _RECORDED):
            self._store_of_edge(address, value, insn, state, wide)
            return
        if state.phase == _NONE and wide and self._is_last_pc(address, value, state):
            state.phase = _EDGE
            return
        idle = state.phase in (_NONE, _DONE) or (isinstance(state.phase, _Batch) and not state.phase.words)
        if idle and self._is_note(address, insn):
            return
        counted = self._counted(address, value, state) if wide else None
        if counted:
            self._check_complete(state, insn)
            loaded, phase = counted
            if isinstance(state.phase, _Batch) and loaded == state.regs["count"]:
                self._report("stores a count twice", insn)
            state.regs["area"], state.regs["count"], state.phase = address, loaded, phase
            return
        if state.phase in (_NONE, _DONE):
            self._report("can store a word before the count of the record it belongs to, or stores a count that "
                         f"is not the loaded one plus {'a number' if self.batches else 'one'}", insn)
            return
        if isinstance(state.phase, _Batch):
            self._store_in_batch(address, insn, state, wide)
            return
        area, count = state.regs["area"], state.regs["count"]
        place = None
        if address is None or any(dict(address[0]).get(atom) != times for atom, times in area[0]):
            self._report("stores to a place that is not in the area", insn)
        elif address == area:
            self._report("overwrites the count with something that is not the count plus one", insn)
        elif not wide:
            self._report("stores a part of a word", insn)
        else:
            place = self._place(plus(address, area, -1), count, insn)
            if place is None or place in state.phase:
                self._report("stores a word outside the record that the count stands for, or twice", insn)
        state.phase |= {place or insn.addr}
        self.records.add(insn.addr)
        if len(state.phase) >= self.words:
            state.phase = _DONE
            del state.regs["area"], state.regs["count"]

    def _is_last_pc(self, address, value, state):
        """
        Returns True if the return address plus a loaded number is stored to a place that was read before. A variable may be
        subtracted, the offset of the kernel's code.
        """
        if self.walk.hook != HOOK_PC or address is None or value is None or address not in state.loads.values():
            return False
        # The variable is the only atom that is not added once.
        added = {atom for atom, times in value[0] if times == 1}
        variables = [atom for atom, times in value[0] if atom not in added]
        numbers = {atom for atom in added if state.loads.get(atom, address) != address}
        return (value[1] == 0 and len(added) == 2 and len(numbers) == 1 and len(variables) <= 1
                and all("(%rsp)" in atom[1] for atom in added - numbers)
                and all("(%rip)" in str(atom[1]) for atom in variables))

    def _store_of_edge(self, address, value, insn, state, wide):
        if not wide and self._is_note(address, insn):
            now = {_EDGE: _BUSY, _BUSY: _RECORDED}.get(state.phase)
            if not now or value != constant(now == _BUSY):
                self._report("sets the flag of a busy hook out of order", insn)
                return
            if now == _RECORDED:
                self.records.add(insn.addr)
            state.phase = now
        elif state.phase == _BUSY or self._is_note(address, insn):
            return
        elif address not in state.loads.values():
            # Before and after that, only the last PC is stored, to the place that was read first.
            self._report("stores a word of an edge while it is not busy", insn)

    def _is_note(self, address, insn):
        """
        Returns True if a store updates the additional data of a hook: a counter or a bit, or a number of 4 bytes. A
        counter or bit is modified in memory, and is not at the exact place to which a pointer leads, as a count of
        records is. A whole word that is simply written is never such data, because the words of records are.
        """
        mnemonic, _ = self.image.arch.split(insn.mnemonic, insn.operands)
        base = strip_size(mnemonic)
        if base in ("inc", "add", "or"):
            return address is None or sole(address) is None
        return base == "mov" and mnemonic == "movl"

    def _counted(self, address, value, state):
        """Returns the old count and the next phase if this store is the store of a new count; otherwise None."""
        if address is None or value is None:
            return None
        loads = [atom for atom, times in value[0] if times == 1 and state.loads.get(atom) == address]
        if len(loads) != 1:
            return None
        rest = plus(value, opaque(loads[0]), -1)
        if rest == constant(1):
            return opaque(loads[0]), frozenset()
        if self.batches and rest[1] == 0 and [times for _, times in rest[0]] == [1]:
            return opaque(loads[0]), _Batch(frozenset())
        return None

    def _store_in_batch(self, address, insn, state, wide):
        self.records.add(insn.addr)
        size = 8 * self.words
        area, count = state.regs["area"], state.regs["count"]
        lowest = lower_bound(constant() if address is None else address, state.bounds)
        rest = plus(plus(lowest.base, area, -1), count, -size)
        offset = signed(rest[1]) - 8
        word = offset % size // 8
        if address is None or any(dict(lowest.base[0]).get(atom) != times for atom, times in area[0]):
            self._report("stores to a place that is not in the area", insn)
        elif not wide:
            self._report("stores a part of a word", insn)
        elif rest[0] or offset < 0 or offset % 8 or lowest.stride % size:
            self._report("can store a word outside the records that the count stands for", insn)
        elif word in state.phase.words:
            self._report("stores a word of a record twice, or leaves a record incomplete", insn)
        words = state.phase.words | {word}
        state.phase = _Batch(frozenset() if len(words) == self.words else words)

    def _place(self, offset, count, insn):
        """Returns the index of the record's word at an offset in the area, or None if the offset is outside the record."""
        rest = plus(offset, count, -8 * self.words)
        if any(atom not in dict(count[0]) for atom, _ in rest[0]):
            return insn.addr    # an operation that is no sum hides the place; the order is known all the same
        return rest if not rest[0] and rest[1] in range(8, 8 * self.words + 1, 8) else None
