# SPDX-License-Identifier: GPL-2.0
"""
Symbolic execution of x86_64 code, for checks of the order of stores.

This is a forward data-flow analysis over the instructions, with one state per instruction, chain of callers and phase
of the check. A register's value is a sum of opaque values with factors, plus a constant. That is enough to recognise
"the word loaded from this address, plus one" and "this address plus 8 times the count". Where several paths meet, an
opaque value may stand for the different values of the paths, as for a loop's variable. For such a value a bound is
kept: the least of the values, and the step between the others.
"""

import re
from collections import namedtuple
from heapq import heappop, heappush
from itertools import count
from math import gcd
from typing import Any, Optional, Tuple

from .walk import Violation

REGS = {}
for _names in ("rax eax ax al ah", "rbx ebx bx bl bh", "rcx ecx cx cl ch", "rdx edx dx dl dh", "rsi esi si sil",
               "rdi edi di dil", "rbp ebp bp bpl", "rsp esp sp spl"):
    for _name in _names.split():
        REGS[_name] = _names.split()[0]
for _number in range(8, 16):
    for _suffix in ("", "d", "w", "b"):
        REGS[f"r{_number}{_suffix}"] = f"r{_number}"
WIDE = set(REGS.values())

_MEMORY = re.compile(r"^(?:%(\w+):)?(-?(?:0x)?[0-9a-f]+)?\(?(?:%(\w+))?(?:,%(\w+)(?:,(\d))?)?\)?$")
_HALF = re.compile(r"^%(e..|r\d+d)$")
_READ_ONLY = re.compile(r"^(cmp|test|bt$|nop|prefetch|call|j|loop|endbr|clflush|verw|ret)")
_STRING = {"movs", "stos", "lods"}
_TOUCH_NO_REGISTER = {"nop", "ret", "retq", "endbr64", "pause", "lfence", "mfence", "sfence", "clc", "cld", "cli",
                      "clac", "stc", "std", "sti", "stac", "lock", "rep", "repne", "ud2", "int3"}
_MASK = (1 << 64) - 1


def constant(const=0):
    return (frozenset(), const & _MASK)


def opaque(name):
    return (frozenset([(name, 1)]), 0)


def plus(left, right, factor=1):
    terms = dict(left[0])
    for atom, times in right[0]:
        terms[atom] = (terms.get(atom, 0) + times * factor) & _MASK
    return (frozenset((a, t) for a, t in terms.items() if t), (left[1] + right[1] * factor) & _MASK)


def sole(value):
    """Returns the single opaque value that a value consists of, or None if it is a sum."""
    terms = dict(value[0])
    return next(iter(terms)) if value[1] == 0 and list(terms.values()) == [1] else None


def scaled(value, factor):
    return plus(constant(), value, factor)


_STACK = "stack"


def on_stack(value):
    """Returns the offset of an address in the stack frame, "?" if it is at an unknown place there, None if it is elsewhere."""
    terms = dict(value[0])
    if terms == {_STACK: 1}:
        return value[1]
    return "?" if _STACK in terms else None


# An opaque value is base + k * stride for some k >= 0.
Bound = namedtuple("Bound", "base stride")


def signed(number):
    return number - (1 << 64) if number >> 63 else number


def lower_bound(value, bounds):
    """Returns the bound of a sum, computed from the bounds of its opaque values."""
    base, stride = value, 0
    for atom, times in value[0]:
        bound = bounds.get(atom)
        if bound and signed(times) > 0:
            base = plus(plus(base, opaque(atom), -times), bound.base, times)
            stride = gcd(stride, times * bound.stride)
    return Bound(base, stride)


def _both(mine, theirs):
    """Returns the bound of a value that differs between two paths, or None if the two cannot be compared."""
    apart = plus(theirs.base, mine.base, -1)
    if apart[0]:
        return None
    step = signed(apart[1])
    return Bound(mine.base if step >= 0 else theirs.base, gcd(gcd(mine.stride, theirs.stride), abs(step)))


def _weaken(mine, theirs):
    """
    Returns the bound that remains after a join. A bound that would decrease is given up instead, because step-by-step
    decreases might never end.
    """
    if mine is None or theirs is None or mine.base != theirs.base:
        return None
    return Bound(mine.base, gcd(mine.stride, theirs.stride))


class State:
    """
    The knowledge at an instruction: register values, stack slots, and for each value that was loaded from memory the
    address from which it came. A check may keep values of its own as further registers and slots. The phase belongs to
    the check; paths of different phases are kept apart. The bounds are those of opaque values, None for a value whose
    bound was given up. A check need not use bounds.
    """

    def __init__(self, regs, slots, loads, phase, bounds=()):
        self.regs, self.slots, self.loads, self.phase = regs, slots, loads, phase
        self.bounds: Any = None if bounds is None else dict(bounds)

    def copy(self):
        return State(dict(self.regs), dict(self.slots), dict(self.loads), self.phase, self.bounds)

    def tables(self):
        return self.regs, self.slots, self.loads

    def merge(self, other, where):
        """Merges another path's state into this one; returns True if this changed anything."""
        changed, joined, bounds = False, {}, {}

        def join(pair, key):
            # Values that were equal on both paths stay equal, so one pair gets one name.
            if pair[0] == pair[1]:
                return pair[0]
            if pair not in joined:
                name = ("join", where, key)
                joined[pair] = opaque(name)
                if self.bounds is not None:
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
        for name, bound in list((other.bounds or {}).items()) + list(bounds.items()):
            if name in self.bounds:
                bound = _weaken(self.bounds[name], bound)
            changed |= name not in self.bounds or self.bounds[name] != bound
            self.bounds[name] = bound
        return changed

    def _merge_loads(self, other, joined):
        """Returns the values that are words loaded from the same addresses on both paths."""
        loads = {atom: address for atom, address in self.loads.items() if other.loads.get(atom) == address}
        for pair, value in joined.items():
            addresses = tuple(state.loads.get(sole(side)) for state, side in zip((self, other), pair))
            if None in addresses:
                continue
            address = addresses[0] if addresses[0] == addresses[1] else joined.get(addresses)
            if address is not None:
                loads[sole(value)] = address
        return loads

    def _bound(self, pair, other, where):
        bound = _both(lower_bound(pair[0], self.bounds), lower_bound(pair[1], other.bounds))
        # A value that this join gives a new meaning cannot bound the new value.
        if bound and any(atom[:2] == ("join", where) for atom, _ in bound.base[0]):
            return None
        return bound


class Machine:
    """
    Runs all code that a walk has found; a subclass has the rules. The execution starts with the phase `first`, passes
    stores that are not to the stack to _store(), and calls _check_return() at the end of the walk's functions.
    """

    first: Any = None
    bounds: Optional[Tuple[Any, ...]] = ()
    max_steps = 20000

    def __init__(self, walk):
        self.walk, self.image = walk, walk.image
        self.found = {}
        self.made = set()

    @property
    def violations(self):
        return list(self.found.values())

    def _report(self, reason, insn):
        self.found.setdefault((insn.addr, reason), Violation(
            self.walk.hook, reason, insn.addr, self.image.elf.show(insn.addr), insn.text,
            self.walk.path(insn.addr)))

    def _store(self, address, value, insn, state, wide):
        raise NotImplementedError

    def _check_return(self, state, insn, callers):
        raise NotImplementedError

    def _follows(self, _target, _state):
        """Returns True if a call is followed; otherwise it is treated as an ordinary instruction."""
        return True

    def _run(self):
        regs = {name: opaque(("start", name)) for name in WIDE}
        regs["rsp"] = opaque(_STACK)
        start = (self.walk.entry, (), self.first)
        states = {start: State(regs, {}, {}, self.first, self.bounds)}
        # The predecessors of an instruction are processed before it, so that a loop is entered with all the knowledge
        # from before it: a bound that must change later is lost.
        ranks, steps = self._ranks(), 0
        numbers = count()
        todo = [(ranks[start[0]], next(numbers), start)]
        while todo:
            node = heappop(todo)[2]
            steps += 1
            if steps > self.max_steps:
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
        """Numbers the addresses of the walk so that only loops lead from a higher number to a lower one."""
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
        """Yields the successors of an instruction with the knowledge there: (address, callers, state)."""
        addr, callers, _ = node
        insn = self.image.insns[addr]
        edges = self.walk.successors[addr]
        called = [edge.target for edge in edges if edge.kind == "call" and self._follows(edge.target, state)]
        if called:
            if len(callers) > 6:
                self._report("makes calls that are nested too deeply or recursive", insn)
                return
            state.regs["rsp"] = plus(state.regs["rsp"], constant(-8))
            yield called[0], callers + (insn.end,), state
            return
        if any(edge.target is None for edge in edges):
            self._check_return(state, insn, callers)
            if callers:
                after = state.copy()
                after.regs["rsp"] = plus(after.regs["rsp"], constant(8))
                yield callers[-1], callers[:-1], after
        self._execute(insn, state)
        for edge in edges:
            if edge.target is not None and edge.kind != "call":
                yield edge.target, callers, state

    # Instructions.

    def _execute(self, insn, state):
        mnemonic, operands = self.image.arch.split(insn.mnemonic, insn.operands)
        args = split_operands(operands)
        base = strip_size(mnemonic)
        wide = mnemonic.endswith("q") or any(arg[1:] in WIDE for arg in args if arg[:1] == "%")
        if base == "leave":
            slot = on_stack(state.regs["rbp"])
            state.regs["rsp"] = plus(state.regs["rbp"], constant(8))
            state.regs["rbp"] = state.slots.get(slot) or self._fresh(insn, state, "rbp")
        elif base in ("pushf", "popf"):
            state.regs["rsp"] = plus(state.regs["rsp"], constant(-8 if base == "pushf" else 8))
        elif not args:
            if mnemonic not in _TOUCH_NO_REGISTER:
                for reg in ("rax", "rbx", "rcx", "rdx"):
                    state.regs[reg] = self._fresh(insn, state, reg)
        elif base in _STRING:
            self._write(args[-1], None, insn, state, False)
            for reg in ("rcx", "rdi", "rsi"):
                state.regs[reg] = self._fresh(insn, state, reg)
        elif base == "push":
            self._push(state, self._read(args[0], insn, state))
        elif base == "pop":
            slot = on_stack(state.regs["rsp"])
            state.regs["rsp"] = plus(state.regs["rsp"], constant(8))
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
        """Returns the value that an instruction writes to its last operand, or None if it is not a plain sum."""
        dest = args[-1]
        if base == "xor" and args[0] == dest and not dest.endswith("b"):
            return constant()
        if not wide and base == "mov" and (_HALF.match(dest) or not dest.startswith("%")):
            value = self._read(args[0], insn, state)
            return None if value[0] else constant(value[1] & 0xffffffff)
        if not wide:
            return None
        if base == "lea":
            return self._address(args[0], state) if dest[1:] in WIDE else None
        if base in ("mov", "movabs"):
            return self._read(args[0], insn, state)
        if base not in ("add", "sub", "inc", "dec", "neg", "shl", "sal"):
            return None
        old = self._read(dest, insn, state)
        if base in ("inc", "dec"):
            return plus(old, constant(1 if base == "inc" else -1))
        if base == "neg":
            return scaled(old, -1)
        if base in ("add", "sub"):
            return plus(old, self._read(args[0], insn, state), 1 if base == "add" else -1)
        if len(args) == 1 or args[0].startswith("$"):
            return scaled(old, 1 << (int(args[0][1:], 0) if len(args) == 2 else 1))
        return None

    def _address(self, operand, state):
        """Returns an operand's address as a value, or None if it is relative to a segment or unknown."""
        match = _MEMORY.match(operand)
        if not match or match.group(1):
            return None
        number, base, index, scale = match.group(2), match.group(3), match.group(4), match.group(5)
        value = constant(int(number, 0) if number else 0)
        if base == "rip":
            return None
        if base:
            value = plus(value, state.regs[REGS[base]])
        if index and index != "riz":
            value = plus(value, scaled(state.regs[REGS[index]], int(scale or 1)))
        return value

    def _read(self, operand, insn, state):
        if operand.startswith("$"):
            try:
                return constant(int(operand[1:], 0))
            except ValueError:
                return opaque((insn.addr, operand))
        if operand.startswith("%") and "(" not in operand and ":" not in operand:
            name = operand[1:]
            if _HALF.match(operand) and not state.regs[REGS[name]][0]:
                return constant(state.regs[REGS[name]][1] & 0xffffffff)
            return state.regs[name] if name in WIDE else self._fresh(insn, state, operand)
        address = self._address(operand, state)
        if address is None:
            return self._fresh(insn, state, operand)
        slot = on_stack(address)
        if slot is not None:
            return state.slots.get(slot) or self._fresh(insn, state, operand)
        value = self._fresh(insn, state, "load")
        state.loads[(insn.addr, "load")] = address
        return value

    def _fresh(self, insn, state, what):
        """Returns a new opaque value. A value of the same name from an earlier round of a loop is renamed."""
        name = (insn.addr, what)
        if name in self.made:
            self._rename(name, state)
        self.made.add(name)
        return opaque(name)

    @staticmethod
    def _rename(name, state):
        state.loads.pop(name, None)
        for table in state.tables():
            for key, value in table.items():
                if any(atom == name for atom, _ in value[0]):
                    table[key] = opaque(("earlier", name[0], key))
        for key, bound in (state.bounds or {}).items():
            if bound and any(atom == name for atom, _ in bound.base[0]):
                state.bounds[key] = None

    def _write(self, operand, value, insn, state, wide):
        if operand.startswith("%") and "(" not in operand and ":" not in operand:
            name = REGS.get(operand[1:])
            if name:
                state.regs[name] = self._fresh(insn, state, name) if value is None else value
            return
        if not _MEMORY.match(operand):
            return
        if operand.startswith(("%gs:", "%fs:")):
            return      # the CPU's own data, no part of the area
        address = self._address(operand, state)
        slot = None if address is None else on_stack(address)
        if slot == "?":
            state.slots.clear()
        elif slot is not None:
            for near in range(slot - 7, slot + 8):
                state.slots.pop(near & _MASK, None)
            state.slots[slot] = value if wide and value is not None else self._fresh(insn, state, "slot")
        else:
            self._store(address, value, insn, state, wide)

    def _push(self, state, value):
        state.regs["rsp"] = plus(state.regs["rsp"], constant(-8))
        slot = on_stack(state.regs["rsp"])
        if slot not in (None, "?"):
            state.slots[slot] = value


def strip_size(mnemonic):
    """Returns the mnemonic without the suffix for the operand size, which only some disassemblers print."""
    if mnemonic.startswith(("j", "call", "nop")) or mnemonic in ("sub", "sbb", "mul", "imul", "shl", "sal", "rol"):
        return mnemonic
    return mnemonic[:-1] if mnemonic[-1:] in "bwlq" else mnemonic


def split_operands(operands):
    """Splits AT&T operands, without spaces, but not inside parentheses."""
    parts, depth = [""], 0
    for char in operands.replace(" ", ""):
        depth += (char == "(") - (char == ")")
        if char == "," and not depth:
            parts.append("")
        else:
            parts[-1] += char
    return [part.split("<")[0] for part in parts if part]
