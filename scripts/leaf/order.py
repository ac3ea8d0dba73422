# SPDX-License-Identifier: GPL-2.0
"""
The order of the stores on x86_64: on every path through a hook the new count is stored into the first word of
the area before the words of the record, and each count is followed by all words of one record.

The hook of switch statements may also count a batch of records with one store of "the word loaded from this
address, plus a number" and then write them in a loop. None of them may be stored before that count or below the
place where the loaded count puts the first one, and none may be left half written. How often the loop runs is
not proved.

Beside the trace a hook may keep a counter, a bit for a record, or a number of 4 bytes; never between the count
and the words of a record.

An interrupt between the two stores may record too. If the count came second, that record and the interrupted
one would land on the same place.

This is a forward data flow over the instructions, one state per instruction, chain of callers
and phase of the record. A register's
value is a sum of opaque values with factors, plus a constant; that is enough to recognise "the word loaded from
this address, plus one" and "this address plus 8 times the count". Of the opaque value that stands for what
several paths bring along, a loop's variable say, a bound is kept: the least of them, and the steps above it.
"""

import re
from collections import namedtuple
from heapq import heappop, heappush
from itertools import count
from math import gcd

from .walk import HOOK_PC, HOOK_SWITCH, Violation

_REGS = {}
for _names in ("rax eax ax al ah", "rbx ebx bx bl bh", "rcx ecx cx cl ch", "rdx edx dx dl dh", "rsi esi si sil",
               "rdi edi di dil", "rbp ebp bp bpl", "rsp esp sp spl"):
    for _name in _names.split():
        _REGS[_name] = _names.split()[0]
for _number in range(8, 16):
    for _suffix in ("", "d", "w", "b"):
        _REGS[f"r{_number}{_suffix}"] = f"r{_number}"
_WIDE = set(_REGS.values())

_MEMORY = re.compile(r"^(?:%(\w+):)?(-?(?:0x)?[0-9a-f]+)?\(?(?:%(\w+))?(?:,%(\w+)(?:,(\d))?)?\)?$")
_READ_ONLY = re.compile(r"^(cmp|test|bt$|nop|prefetch|call|j|loop|endbr|clflush|verw|ret)")
_TOUCH_NO_REGISTER = {"nop", "ret", "retq", "endbr64", "pause", "lfence", "mfence", "sfence", "clc", "cld", "cli",
                      "clac", "stc", "std", "sti", "stac"}
_MAX_STEPS = 20000
_MASK = (1 << 64) - 1


def _value(const=0):
    return (frozenset(), const & _MASK)


def _atom(name):
    return (frozenset([(name, 1)]), 0)


def _add(left, right, factor=1):
    terms = dict(left[0])
    for atom, times in right[0]:
        terms[atom] = (terms.get(atom, 0) + times * factor) & _MASK
    return (frozenset((a, t) for a, t in terms.items() if t), (left[1] + right[1] * factor) & _MASK)


def _only(value):
    """The opaque value that a value is; None if it is a sum."""
    terms = dict(value[0])
    return next(iter(terms)) if value[1] == 0 and list(terms.values()) == [1] else None


def _scale(value, factor):
    return _add(_value(), value, factor)


_STACK = "stack"


def _on_stack(value):
    """The offset of an address in the stack frame, "?" if it is somewhere there, None if it is elsewhere."""
    terms = dict(value[0])
    if terms == {_STACK: 1}:
        return value[1]
    return "?" if _STACK in terms else None


# An opaque value is base + k * stride for some k >= 0.
_Bound = namedtuple("_Bound", "base stride")


def _signed(number):
    return number - (1 << 64) if number >> 63 else number


def _lowest(value, bounds):
    """The bound of a sum, from those of its opaque values."""
    base, stride = value, 0
    for atom, times in value[0]:
        bound = bounds.get(atom)
        if bound and _signed(times) > 0:
            base = _add(_add(base, _atom(atom), -times), bound.base, times)
            stride = gcd(stride, times * bound.stride)
    return _Bound(base, stride)


def _both(mine, theirs):
    """The bound of what is one value on one path and another on the other; None if they cannot be compared."""
    apart = _add(theirs.base, mine.base, -1)
    if apart[0]:
        return None
    step = _signed(apart[1])
    return _Bound(mine.base if step >= 0 else theirs.base, gcd(gcd(mine.stride, theirs.stride), abs(step)))


def _weaken(mine, theirs):
    """What remains of a bound. It does not sink step by step, as that might have no end, but is given up."""
    if mine is None or theirs is None or mine.base != theirs.base:
        return None
    return _Bound(mine.base, gcd(mine.stride, theirs.stride))


_NONE, _DONE = "no record yet", "record complete"
# Records are being written that one store has counted; words: which of the current one have been.
_Batch = namedtuple("_Batch", "words")


class _State:
    """
    What is known at an instruction: register values, stack slots, and for each value that was loaded from memory
    the address it came from. The registers include two that the processor does not have, the area and the old
    count of a record that is being stored. The phase says which places of that record have been stored to. The
    bounds are those of opaque values, None where there is none any more.
    """

    def __init__(self, regs, slots, loads, phase, bounds=()):
        self.regs, self.slots, self.loads, self.phase = regs, slots, loads, phase
        self.bounds = dict(bounds)

    def copy(self):
        return _State(dict(self.regs), dict(self.slots), dict(self.loads), self.phase, self.bounds)

    def tables(self):
        return self.regs, self.slots, self.loads

    def merge(self, other, where):
        """Takes in another path's state; True if that changed anything."""
        changed, joined, bounds = False, {}, {}

        def join(pair, key):
            # What was equal on both paths stays equal, so one pair gets one name.
            if pair[0] == pair[1]:
                return pair[0]
            if pair not in joined:
                name = ("join", where, key)
                joined[pair] = _atom(name)
                bounds[name] = self._bound(pair, other, where)
            return joined[pair]

        for mine, theirs in ((self.regs, other.regs), (self.slots, other.slots)):
            for key in list(mine):
                if key not in theirs:
                    del mine[key]
                    changed = True
                    continue
                value = join((mine[key], theirs[key]), key)
                changed |= mine[key] != value
                mine[key] = value
        loads = self._merge_loads(other, joined)
        changed |= loads != self.loads
        self.loads = loads
        for name, bound in list(other.bounds.items()) + list(bounds.items()):
            if name in self.bounds:
                bound = _weaken(self.bounds[name], bound)
            changed |= name not in self.bounds or self.bounds[name] != bound
            self.bounds[name] = bound
        return changed

    def _merge_loads(self, other, joined):
        """Which values are words loaded from which addresses, on both paths."""
        loads = {atom: address for atom, address in self.loads.items() if other.loads.get(atom) == address}
        for pair, value in joined.items():
            addresses = tuple(state.loads.get(_only(side)) for state, side in zip((self, other), pair))
            if None in addresses:
                continue
            address = addresses[0] if addresses[0] == addresses[1] else joined.get(addresses)
            if address is not None:
                loads[_only(value)] = address
        return loads

    def _bound(self, pair, other, where):
        bound = _both(_lowest(pair[0], self.bounds), _lowest(pair[1], other.bounds))
        # A value that this very place gives a new meaning cannot bound the new one.
        if bound and any(atom[:2] == ("join", where) for atom, _ in bound.base[0]):
            return None
        return bound


class Order:
    """The check of one hook; walk is its Walk, which must have found nothing."""

    def __init__(self, walk):
        self.walk, self.image = walk, walk.image
        self.words = 1 if walk.hook == HOOK_PC else 4
        self.batches = walk.hook == HOOK_SWITCH
        self.found = {}
        self.records = set()
        self._run()
        if not self.found and not self.records:
            self._report("stores no record, or none that this check recognises", self.image.insns[walk.entry])

    @property
    def violations(self):
        return list(self.found.values())

    def _report(self, reason, insn):
        self.found.setdefault((insn.addr, reason), Violation(
            self.walk.hook, reason, insn.addr, self.image.elf.show(insn.addr), insn.text,
            self.walk.path(insn.addr)))

    def _run(self):
        regs = {name: _atom(("start", name)) for name in _WIDE}
        regs["rsp"] = _atom(_STACK)
        start = (self.walk.entry, (), _NONE)
        states = {start: _State(regs, {}, {}, _NONE)}
        # What leads to a place comes before it, so that a loop is entered with all that is known: a bound that has to
        # change later is lost.
        ranks, steps = self._ranks(), 0
        numbers = count()
        todo = [(ranks[start[0]], next(numbers), start)]
        while todo:
            node = heappop(todo)[2]
            steps += 1
            if steps > _MAX_STEPS:
                self._report("is too big for the check of the order of its stores",
                             self.image.insns[self.walk.entry])
                return
            for addr, callers, after in self._step(node, states[node].copy()):
                target = (addr, callers, after.phase)
                if target not in states:
                    states[target] = after.copy()
                elif not states[target].merge(after, target):
                    continue
                heappush(todo, (ranks[addr], next(numbers), target))

    def _ranks(self):
        """The addresses of the walk, numbered so that only loops lead from a higher number to a lower one."""
        order, seen = [], set()
        stack = [(self.walk.entry, False)]
        while stack:
            addr, done = stack.pop()
            if done:
                order.append(addr)
            elif addr not in seen:
                seen.add(addr)
                stack.append((addr, True))
                stack += [(edge.target, False) for edge in self.walk.successors[addr] if edge.target is not None]
        return {addr: rank for rank, addr in enumerate(reversed(order))}

    def _step(self, node, state):
        """Where a path goes from one instruction and what is then known: (address, callers, state)."""
        addr, callers, _ = node
        insn = self.image.insns[addr]
        edges = self.walk.successors[addr]
        called = [edge.target for edge in edges if edge.kind == "call"]
        if called:
            if len(callers) > 6:
                self._report("calls too deep or itself", insn)
                return
            state.regs["rsp"] = _add(state.regs["rsp"], _value(-8))
            yield called[0], callers + (insn.end,), state
            return
        if any(edge.target is None for edge in edges):
            self._check_complete(state, insn)
            if callers:
                after = state.copy()
                after.regs["rsp"] = _add(after.regs["rsp"], _value(8))
                yield callers[-1], callers[:-1], after
        self._execute(insn, state)
        for edge in edges:
            if edge.target is not None:
                yield edge.target, callers, state

    def _check_complete(self, state, insn):
        if isinstance(state.phase, _Batch):
            if state.phase.words:
                self._report(f"can go on after storing {len(state.phase.words)} of {self.words} words of a record",
                             insn)
        elif state.phase not in (_NONE, _DONE):
            self._report(f"can go on after storing a count and {len(state.phase)} of {self.words} words of "
                         "the record", insn)

    # Instructions.

    def _execute(self, insn, state):
        mnemonic, operands = self.image.arch.split(insn.mnemonic, insn.operands)
        args = _split(operands)
        base = _strip_size(mnemonic)
        wide = mnemonic.endswith("q") or any(arg[1:] in _WIDE for arg in args if arg[:1] == "%")
        if base == "leave":
            slot = _on_stack(state.regs["rbp"])
            state.regs["rsp"] = _add(state.regs["rbp"], _value(8))
            state.regs["rbp"] = state.slots.get(slot) or self._fresh(insn, state, "rbp")
        elif not args:
            if mnemonic not in _TOUCH_NO_REGISTER:
                for reg in ("rax", "rbx", "rcx", "rdx"):
                    state.regs[reg] = self._fresh(insn, state, reg)
        elif base == "push":
            self._push(state, self._read(args[0], insn, state))
        elif base == "pop":
            slot = _on_stack(state.regs["rsp"])
            state.regs["rsp"] = _add(state.regs["rsp"], _value(8))
            self._write(args[0], state.slots.get(slot), insn, state, True)
        elif base in ("cmpxchg", "xchg", "xadd"):
            if args[0] == args[-1]:
                return
            for arg in args:
                self._write(arg, None, insn, state, wide)
            state.regs["rax"] = self._fresh(insn, state, "rax")
        elif base in ("mul", "div", "idiv", "imul") and len(args) == 1:
            for reg in ("rax", "rdx"):
                state.regs[reg] = self._fresh(insn, state, reg)
        elif not _READ_ONLY.match(base):
            self._write(args[-1], self._result(base, args, wide, insn, state), insn, state, wide)

    def _result(self, base, args, wide, insn, state):
        """What an instruction writes to its last operand; None if that is no plain sum."""
        dest = args[-1]
        if base == "xor" and args[0] == dest and not dest.endswith("b"):
            return _value()
        if base in ("mov", "movabs") and args[0].startswith("$") and re.match(r"%(e..|r\d+d)$", dest):
            return self._read(args[0], insn, state)
        if not wide:
            return None
        if base == "lea":
            return self._address(args[0], state) if dest[1:] in _WIDE else None
        if base in ("mov", "movabs"):
            return self._read(args[0], insn, state)
        if base not in ("add", "sub", "inc", "dec", "neg", "shl", "sal"):
            return None
        old = self._read(dest, insn, state)
        if base in ("inc", "dec"):
            return _add(old, _value(1 if base == "inc" else -1))
        if base == "neg":
            return _scale(old, -1)
        if base in ("add", "sub"):
            return _add(old, self._read(args[0], insn, state), 1 if base == "add" else -1)
        if len(args) == 1 or args[0].startswith("$"):
            return _scale(old, 1 << (int(args[0][1:], 0) if len(args) == 2 else 1))
        return None

    def _address(self, operand, state):
        """An operand's address as a value; None if it is relative to a segment or cannot be told."""
        match = _MEMORY.match(operand)
        if not match or match.group(1):
            return None
        number, base, index, scale = match.group(2), match.group(3), match.group(4), match.group(5)
        value = _value(int(number, 0) if number else 0)
        if base == "rip":
            return None
        if base:
            value = _add(value, state.regs[_REGS[base]])
        if index and index != "riz":
            value = _add(value, _scale(state.regs[_REGS[index]], int(scale or 1)))
        return value

    def _read(self, operand, insn, state):
        if operand.startswith("$"):
            try:
                return _value(int(operand[1:], 0))
            except ValueError:
                return _atom((insn.addr, operand))
        if operand.startswith("%") and "(" not in operand and ":" not in operand:
            name = operand[1:]
            return state.regs[name] if name in _WIDE else self._fresh(insn, state, operand)
        address = self._address(operand, state)
        if address is None:
            return self._fresh(insn, state, operand)
        slot = _on_stack(address)
        if slot is not None:
            return state.slots.get(slot) or self._fresh(insn, state, operand)
        value = self._fresh(insn, state, "load")
        state.loads[(insn.addr, "load")] = address
        return value

    @staticmethod
    def _fresh(insn, state, what):
        """A new opaque value; what an earlier round of a loop left under the same name becomes another."""
        name = (insn.addr, what)
        state.loads.pop(name, None)
        for table in state.tables():
            for key, value in table.items():
                if any(atom == name for atom, _ in value[0]):
                    table[key] = _atom(("earlier", insn.addr, key))
        for key, bound in state.bounds.items():
            if bound and any(atom == name for atom, _ in bound.base[0]):
                state.bounds[key] = None
        return _atom(name)

    def _write(self, operand, value, insn, state, wide):
        if operand.startswith("%") and "(" not in operand and ":" not in operand:
            name = _REGS.get(operand[1:])
            if name:
                state.regs[name] = self._fresh(insn, state, name) if value is None else value
            return
        if not _MEMORY.match(operand):
            return
        if operand.startswith(("%gs:", "%fs:")):
            return      # the CPU's own data, no part of the area
        address = self._address(operand, state)
        slot = None if address is None else _on_stack(address)
        if slot == "?":
            state.slots.clear()
        elif slot is not None:
            state.slots[slot] = self._fresh(insn, state, "slot") if value is None else value
        else:
            self._store(address, value, insn, state, wide)

    def _push(self, state, value):
        state.regs["rsp"] = _add(state.regs["rsp"], _value(-8))
        slot = _on_stack(state.regs["rsp"])
        if slot not in (None, "?"):
            state.slots[slot] = value

    # The rules.

    def _store(self, address, value, insn, state, wide):
        idle = state.phase in (_NONE, _DONE) or isinstance(state.phase, _Batch) and not state.phase.words
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
            place = self._place(_add(address, area, -1), count, insn)
            if place is None or place in state.phase:
                self._report("stores a word outside of the record that the count stands for, or twice", insn)
        state.phase |= {place or insn.addr}
        self.records.add(insn.addr)
        if len(state.phase) >= self.words:
            state.phase = _DONE
            del state.regs["area"], state.regs["count"]

    def _is_note(self, address, insn):
        """
        Whether a store is to what a hook keeps beside the trace: a counter or a bit, which is changed where it is
        and does not stand at the very place that a pointer leads to, as a count of records does, or a number of 4
        bytes. Never a whole word that is simply written, as those of records are.
        """
        mnemonic, _ = self.image.arch.split(insn.mnemonic, insn.operands)
        base = _strip_size(mnemonic)
        if base in ("inc", "add", "or"):
            return address is None or _only(address) is None
        return base == "mov" and mnemonic == "movl"

    def _counted(self, address, value, state):
        """The old count and the phase that follows, if this store is that of a new count; else None."""
        if address is None or value is None:
            return None
        loads = [atom for atom, times in value[0] if times == 1 and state.loads.get(atom) == address]
        if len(loads) != 1:
            return None
        rest = _add(value, _atom(loads[0]), -1)
        if rest == _value(1):
            return _atom(loads[0]), frozenset()
        if self.batches and rest[1] == 0 and [times for _, times in rest[0]] == [1]:
            return _atom(loads[0]), _Batch(frozenset())
        return None

    def _store_in_batch(self, address, insn, state, wide):
        self.records.add(insn.addr)
        size = 8 * self.words
        area, count = state.regs["area"], state.regs["count"]
        lowest = _lowest(_value() if address is None else address, state.bounds)
        rest = _add(_add(lowest.base, area, -1), count, -size)
        offset = _signed(rest[1]) - 8
        word = offset % size // 8
        if address is None or any(dict(lowest.base[0]).get(atom) != times for atom, times in area[0]):
            self._report("stores to a place that is not in the area", insn)
        elif not wide:
            self._report("stores a part of a word", insn)
        elif rest[0] or offset < 0 or offset % 8 or lowest.stride % size:
            self._report("can store a word outside of the records that the count stands for", insn)
        elif word in state.phase.words:
            self._report("stores a word of a record twice, or leaves a record incomplete", insn)
        words = state.phase.words | {word}
        state.phase = _Batch(frozenset() if len(words) == self.words else words)

    def _place(self, offset, count, insn):
        """Which word of the record is at an offset in the area; None if it is outside of the record."""
        rest = _add(offset, count, -8 * self.words)
        if any(atom not in dict(count[0]) for atom, _ in rest[0]):
            return insn.addr    # an operation that is no sum hides the place; the order is known all the same
        return rest if not rest[0] and rest[1] in range(8, 8 * self.words + 1, 8) else None


def _strip_size(mnemonic):
    """The mnemonic without the suffix for the operand size, which one disassembler prints and one does not."""
    if mnemonic.startswith(("j", "call", "nop")) or mnemonic in ("sub", "sbb", "mul", "imul", "shl", "sal", "rol"):
        return mnemonic
    return mnemonic[:-1] if mnemonic[-1:] in "bwlq" else mnemonic


def _split(operands):
    """AT&T operands without spaces, not split inside of parentheses."""
    parts, depth = [""], 0
    for char in operands.replace(" ", ""):
        depth += (char == "(") - (char == ")")
        if char == "," and not depth:
            parts.append("")
        else:
            parts[-1] += char
    return [part.split("<")[0] for part in parts if part]
