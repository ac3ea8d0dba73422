# SPDX-License-Identifier: GPL-2.0
"""
The order of the stores that start and stop a remote section on x86_64, on every path through the Rust object:

  - The header of the section's area is complete before the pointer to it is stored to the current task. No store to the
    header follows until the function returns, because a softirq may follow the pointer as soon as it is stored.
  - A task's mode is 0 while the other fields of its recording are written. After a write to one of them, all of them are
    written before the mode is set again, because a hook that sees a mode relies on the other fields.

A pointer that was itself loaded from the task, or through such a pointer, belongs to an outer section, which is
restored. The header of that section was complete earlier, so the first rule only requires that no store to it follows.

A call is followed into the object if the called function, or one of its callees, refers to the current task or gets
access to it by an argument. Any other call is assumed not to write the fields of the task, and to preserve registers
and stack as the calling convention requires.
"""

import os
import re
from collections import namedtuple
from typing import Any, Dict

from . import Misuse
from .machine import REGS, WIDE, Machine, constant, on_stack, opaque, plus, signed, sole, split_operands
from .walk import HOOKS, PANIC, Edge, Violation, Walk

START, STOP = "kcov_remote_start", "kcov_remote_stop"
OFFSETS = "generated_offsets.rs"
# The per-CPU word that points to the current task.
_CURRENT_WORD = "current_task"
# User-mode Linux has this instead. Its code has jump tables, which this check cannot follow.
_USER_MODE = "cpu_tasks"
_CURRENT = "current"
# The mangled names of KUnit test functions, also of generic functions that are instantiated for them. Tests record on
# their own task, and keep the recording that they replace in memory, where this check cannot follow it. Other code of the
# kernel does not call them.
_TESTS = re.compile(r"kcov5tests|(?<=_)5tests|4task5probe")
# The minimum number of stores for a header. A header has more words; fewer stores mean that the check does not see them.
_HEADER_STORES = 8

_ARGUMENTS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")
_KEPT_BY_CALLS = {"rbx", "rbp", "rsp", "r12", "r13", "r14", "r15"}
_SIZES = {"mode": 4, "softirq": 4, "capacity": 4, "area": 8, "layout": 8, "section": 8}
_OTHERS = frozenset(_SIZES) - {"mode"}
_WORD = re.compile(r"^(?:%[gd]s:)?(-?(?:0x[0-9a-f]+|[1-9][0-9]*))(\(%rip\))?$")
_NUMBER = re.compile(r"-?\b(?:0x[0-9a-f]+|[1-9][0-9]*)\b")

# task: the task whose fields were stored to; off: True if the mode is 0; fields: the fields stored since then; softirq:
# the value of that field; place: the place where the section was stored; new: True if that store published a new section.
_Phase = namedtuple("_Phase", "task off fields softirq place new")
Section = namedtuple("Section", "function place new softirq")


class Fields:
    """The offsets of the fields of a task's recording, and how code gets the current task."""

    def __init__(self, image, path):
        with open(path, encoding="ascii") as file:
            offsets = {name: int(value) for name, value in re.findall(r"const (\w+): usize = (\d+);", file.read())}
        try:
            self.start = offsets["TASK_KCOV_CTX"]
            self.names = {self.start + offsets[f"KCOV_CTX_{name.upper()}"]: name for name in _SIZES}
        except KeyError as error:
            raise Misuse(f"{path} has no {error.args[0]}; build the kernel again.") from None
        self.end = max(offset + _SIZES[name] for offset, name in self.names.items())
        self.offsets = {name: offset for offset, name in self.names.items()}
        self.current = {image.elf.value(_CURRENT_WORD)} - {None}
        if not self.current:
            raise Misuse(f"{image.elf.path} has no {_CURRENT_WORD}, so the check does not know the "
                         "current task; add the kernel's name for it to scripts/leaf/publish.py.")

    def place(self, task, name):
        """Returns the address of a field."""
        return plus(opaque(task), constant(self.offsets[name]))

    def is_current(self, operand, insn):
        """Returns True if an operand is the word that points to the current task."""
        match = _WORD.match(operand)
        return match is not None and (int(match[1], 0) + (insn.end if match[2] else 0)) % (1 << 64) in self.current

    def mentioned(self, insn):
        """Returns True if an instruction loads the current task, or contains the offset of a field."""
        return (any(self.start <= int(number, 0) < self.end for number in _NUMBER.findall(insn.operands))
                or any(self.is_current(operand, insn) for operand in split_operands(insn.operands)))


class Paths(Walk):
    """
    All code that can run from a function. Unlike a hook, it may leave the object: a call comes back, a jump returns to
    the caller, a panic ends the path, and execution continues after a trap, as it does after warnings.
    """

    def _report(self, reason, insn):
        pass

    def _edges(self, insn):
        flow = self.image.arch.flow(insn.mnemonic, insn.operands)
        if flow.kind == "call" and flow.target is not None and PANIC.search(self.image.elf.name_of(flow.target)[0]):
            return []
        edges = super()._edges(insn)
        if flow.kind == "trap":
            edges.append(Edge(insn.end, "next"))
        elif flow.kind in ("jump", "branch", "indirect-jump") and all(edge.kind == "next" for edge in edges):
            edges.append(Edge(None, "return"))
        return [edge for edge in edges if edge.target is None or edge.target in self.image.insns]


class Publish(Machine):
    """The check of one function and its callees."""

    first = _Phase(None, False, frozenset(), None, None, False)
    bounds = None
    max_steps = 100000

    def __init__(self, walk, fields, touching):
        super().__init__(walk)
        self.fields, self.touching = fields, touching
        self.sections = set()
        self._run()

    # Calls.

    def _follows(self, target, state):
        name, offset = self.image.elf.name_of(target)
        if state.phase.new or target - offset in self.touching:
            return name not in HOOKS
        arguments = [state.regs[reg] for reg in _ARGUMENTS]
        has_stack = any(on_stack(value) is not None for value in arguments)
        return any(_has_current(value) for value in arguments) or (
            has_stack and any(isinstance(slot, int) and _has_current(value) for slot, value in state.slots.items()))

    def _execute(self, insn, state):
        kind = self.image.arch.flow(insn.mnemonic, insn.operands).kind
        if kind in ("call", "indirect-call"):
            self._call(insn, state)
        elif kind != "trap":
            super()._execute(insn, state)

    def _call(self, insn, state):
        """Executes a call that is not followed."""
        if state.phase.new and any(self._in_header(state.regs[reg], state) for reg in _ARGUMENTS):
            self._report("can pass the header of a section to another function after the pointer to it is stored", insn)
        known = [value for reg, value in state.regs.items() if reg not in ("rsp", "rbp")]
        known += [value for slot, value in state.slots.items() if isinstance(slot, int)]
        given = {on_stack(value) for value in known} - {None}
        # The function may write to objects whose address it can know, each of which begins at its address. The slots in
        # which the caller has saved values are not among them, and nothing replaces a pointer to the current task.
        lowest = min((signed(slot) for slot in given if slot != "?"), default=None)
        for slot, value in list(state.slots.items()):
            if isinstance(slot, int) and ("?" in given or (lowest is not None and signed(slot) >= lowest)):
                if value != state.slots.get(("pushed", slot)) and not _has_current(value):
                    del state.slots[slot]
        for reg in WIDE - _KEPT_BY_CALLS:
            state.regs[reg] = self._fresh(insn, state, reg)

    def _push(self, state, value):
        super()._push(state, value)
        slot = on_stack(state.regs["rsp"])
        if slot not in (None, "?"):
            state.slots["pushed", slot] = value

    def _check_return(self, state, insn, callers):
        flow = self.image.arch.flow(insn.mnemonic, insn.operands)
        if flow.kind == "indirect-jump":
            self._report("makes an indirect jump, whose target is not known", insn)
        elif not self.walk.returns(flow):
            self._call(insn, state)
        if not callers and state.phase.off and state.phase.fields not in (frozenset(), _OTHERS):
            self._report(f"can return after storing only {_list(state.phase.fields)} of a recording", insn)

    # Values.

    def _read(self, operand, insn, state):
        if self.fields.is_current(operand, insn):
            return opaque(_CURRENT)
        if state.phase.off and "(" in operand and self._address(operand, state) == self.fields.place(
                state.phase.task, "mode"):
            return constant()
        return super()._read(operand, insn, state)

    @staticmethod
    def _rename(name, state):
        for place in [place for place in state.slots if isinstance(place, tuple)]:
            if place[0] != "pushed" and name in dict(place[0]):
                del state.slots[place]
        Machine._rename(name, state)

    @staticmethod
    def _in_header(value, state):
        """Returns True if a value is computed from the pointer to the section, or was loaded through it."""
        header = set(dict(state.regs["header"][0]))
        todo, seen = list(dict(value[0])), set()
        while todo:
            atom = todo.pop()
            if atom in header:
                return True
            if atom not in seen:
                seen.add(atom)
                todo += dict(state.loads.get(atom, constant())[0])
        return False

    def _is_outer(self, value, state):
        """
        Returns True if a pointer comes from the current task's section: the section's own pointer, or a pointer in its
        header.
        """
        atom, seen = sole(value), set()
        while atom in state.loads and atom not in seen:
            seen.add(atom)
            address = state.loads[atom]
            if address == self.fields.place(_CURRENT, "section"):
                return True
            terms = dict(address[0])
            atom = next(iter(terms)) if list(terms.values()) == [1] else None
        return False

    # The rules.

    def _store(self, address, value, insn, state, wide):
        terms = dict(address[0]) if address else {}
        if list(terms.values()) == [1] and self.fields.start <= address[1] < self.fields.end:
            self._store_field(next(iter(terms)), address[1], value, insn, state, wide)
        elif _CURRENT in terms and len(terms) > 1:
            self._report("stores to an unknown place of the current task", insn)
        elif not state.phase.place:
            if address:
                # The slot does not keep the stored value, only the fact that it was stored, because the stores to the
                # header are counted.
                state.slots[address] = constant()
        elif address and self._in_header(address, state):
            self._report("stores to the header of a section after the pointer to it", insn)
        elif state.phase.new and not (_CURRENT in terms or (address and not terms) or "(%rip)" in insn.operands):
            self._report("can store to the header of a section after the pointer to it: the place is unknown", insn)

    def _store_field(self, task, offset, value, insn, state, wide):
        phase, name = state.phase, self.fields.names.get(offset)
        if name is None or _size(insn, wide) != _SIZES[name]:
            self._report("stores to a part of a recording's field, or to several at once", insn)
        elif phase.task not in (None, task):
            self._report("stores to the recordings of two tasks, or of an unknown task", insn)
        elif name == "mode":
            state.phase = self._switch(phase._replace(task=task), value, insn)
        else:
            if not phase.off:
                self._report(f"stores the {name} of a recording while the mode may not be 0", insn)
            # A complete recording is begun anew.
            fields = (phase.fields - (_OTHERS if phase.fields == _OTHERS else frozenset())) | {name}
            state.phase = phase._replace(task=task, fields=fields)
            if name == "softirq":
                known = value is not None and not value[0]
                state.phase = state.phase._replace(softirq=value[1] if known else None)
            elif name == "section":
                self._store_section(value, insn, state)

    def _switch(self, phase, value, insn):
        """Returns the phase after a store to the mode."""
        if value == constant():
            return phase if phase.off else phase._replace(off=True, fields=frozenset())
        if not phase.off:
            self._report("stores a mode that may not be 0 without having stored 0 before", insn)
        elif phase.fields == _OTHERS:
            if phase.place:
                self.sections.add(Section(self.walk.hook, phase.place, phase.new, phase.softirq))
        elif phase.fields:
            self._report(f"sets the mode before {_list(_OTHERS - phase.fields)} of the recording", insn)
        return phase._replace(off=False, fields=frozenset())

    def _store_section(self, value, insn, state):
        if value == constant():
            state.regs.pop("header", None)
            state.phase = state.phase._replace(place=None, new=False)
            return
        if value is None:
            self._report("stores an unknown pointer to a section", insn)
            value = self._fresh(insn, state, "section")
        new = not self._is_outer(value, state)
        stores = sum(1 for place in state.slots if isinstance(place, tuple) and place[0] == value[0])
        if new and stores < _HEADER_STORES:
            self._report(f"publishes a section after {stores} stores to its header that this check recognises, where "
                         f"at least {_HEADER_STORES} were expected", insn)
        state.regs["header"] = value
        state.phase = state.phase._replace(place=insn.addr, new=new)


def _has_current(value):
    return _CURRENT in dict(value[0])


def _list(fields):
    return " and ".join(name for name in _SIZES if name in fields)


def _size(insn, wide):
    """Returns the number of bytes that an instruction with a field of a task stores."""
    registers = [arg[1:] for arg in split_operands(insn.operands) if arg[:1] == "%" and arg[1:] in REGS]
    if wide:
        return 8
    narrow = any(reg[0] == "e" or re.match(r"r\d+d$", reg) for reg in registers)
    return 4 if narrow or (not registers and insn.mnemonic.endswith("l")) else None


def touching(image, fields):
    """
    Returns the entries of the functions that refer to the current task, or call one that does, and the entries at which
    the check begins. A function that has a caller in the object is checked with its callers, unless code in C may call
    it too.
    """
    found = set()
    callers: Dict[int, Any] = {}
    for insn in image.insns.values():
        start = insn.addr - image.elf.name_of(insn.addr)[1]
        if fields.mentioned(insn):
            found.add(start)
        target = image.arch.flow(insn.mnemonic, insn.operands).target
        if target is not None and image.owns(target):
            callers.setdefault(target - image.elf.name_of(target)[1], set()).add(start)
    todo = list(found)
    while todo:
        new = callers.get(todo.pop(), set()) - found
        found |= new
        todo += new
    return found, {start for start in found if not callers.get(start, set()) - {start}
                   or (not image.elf.name_of(start)[0].startswith("_R") and image.elf.is_global(start))}


def _offsets(image):
    """Returns the file with the offsets next to the Rust object, or None if there is nothing to check."""
    paths = [os.path.join(os.path.dirname(path), OFFSETS) for path in image.objects]
    paths = [path for path in paths if os.path.exists(path)]
    if not image.arch.has_store_order or image.elf.value(_USER_MODE) is not None:
        return None
    if not paths and any(image.elf.name_of(addr)[0].startswith("_R") for addr in image.insns):
        raise Misuse(f"there is no {OFFSETS} next to {' or '.join(image.objects)}; name the object where it was built.")
    return paths[0] if paths else None


def check_sections(image):
    """Checks every function of the object that can change a recording; returns (one dictionary per place, violations)."""
    path = _offsets(image)
    if not path:
        return [], []
    fields = Fields(image, path)
    known, starts = touching(image, fields)
    sections = set()
    violations: Dict[Any, Violation] = {}
    for start in sorted(starts & set(image.insns)):
        name = image.elf.name_of(start)[0]
        if name not in HOOKS and not _TESTS.search(name):
            found = Publish(Paths(image, name, start, set()), fields, known)
            sections |= found.sections
            for violation in found.violations:
                violations.setdefault((violation.addr, violation.reason), violation)
    # A check that finds nothing proves nothing.
    for function, new, softirq in ((START, True, 0), (START, True, 1), (STOP, False, None)):
        known = {section.softirq for section in sections if (section.function, section.new) == (function, new)}
        # One place may serve both, with an unknown value.
        if not known & {softirq, None} and not (known and softirq is None):
            addr = image.elf.value(function) or 0
            reason = f"{_does(new, softirq)} nowhere, or where this check does not recognise it"
            violations[function, reason] = Violation(function, reason, addr, image.elf.show(addr), "", [function])
    places = [{"place": image.elf.show(section.place), "function": section.function,
               "does": _does(section.new, section.softirq)}
              for section in sorted(sections, key=lambda one: (one.place, one.function, one.softirq or 0))]
    return places, list(violations.values())


def _does(new, softirq):
    owner = {0: " of a task", 1: " of a softirq"}.get(softirq, "")
    return f"publishes a section{owner}" if new else "restores the recording from before a section"
