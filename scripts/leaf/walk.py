# SPDX-License-Identifier: GPL-2.0
"""
The walk over all code that can run from a hook, and the scan of the whole object. Each finding is a violation with its
place and the path to it.
"""

import re
import struct
from collections import namedtuple
from typing import Dict, List, Optional, Tuple

Violation = namedtuple("Violation", "hook reason addr place text path")
Edge = namedtuple("Edge", "target kind")

HOOK_PC = "__sanitizer_cov_trace_pc"
HOOKS_CMP = [f"__sanitizer_cov_trace_{const}cmp{size}" for const in ("", "const_") for size in (1, 2, 4, 8)]
HOOK_SWITCH = "__sanitizer_cov_trace_switch"
HOOKS_CMP.append(HOOK_SWITCH)

# Functions to which compilers insert calls. The implementation's object must not call any of them.
INSTRUMENTATION = re.compile(
    r"^(__sanitizer_cov_|__asan_|__hwasan_|__tsan_|__msan_|__ubsan_handle|__fentry__|_?_?mcount|ftrace_caller|"
    r"__cyg_profile_func_|__gcov_|__llvm_profile|llvm_gcov|kasan_report)")
PANIC = re.compile(r"panic|^BUG|__rust_start|unwrap_failed|expect_failed|slice_((start|end)_)?index|"
                    r"__warn_printk|handle_bug|unwind_resume")
_STACK_PROTECTOR = re.compile(r"^__stack_chk_(fail|guard_fail)")


class Walk:
    """All code that can be reached from one hook."""

    def __init__(self, image, hook, entry, hook_entries):
        self.image, self.hook, self.entry = image, hook, entry
        self.hook_entries = hook_entries
        self.violations = []
        self.came_from: Dict[int, Optional[Tuple[int, str]]] = {entry: None}
        self.successors = {}
        todo = [entry]
        while todo:
            addr = todo.pop()
            insn = image.insns.get(addr)
            if insn is None:
                previous = self.came_from[addr]
                self._report(f"goes to {image.elf.show(addr)}, which is not an instruction of the object",
                             image.insns[previous[0]] if previous else None)
                continue
            edges = self._edges(insn)
            self.successors[addr] = edges
            for edge in edges:
                if edge.target is not None and edge.target not in self.came_from:
                    self.came_from[edge.target] = (addr, edge.kind)
                    todo.append(edge.target)

    @property
    def size(self):
        return sum(self.image.insns[addr].end - addr for addr in self.successors)

    @property
    def functions(self):
        return sorted({self.image.elf.name_of(addr)[0] for addr in self.successors})

    def path(self, addr):
        """Returns the path from the hook to an instruction: the steps at which the function changes."""
        steps: List[str] = []
        came_from = self.came_from.get(addr)
        while came_from:
            previous, kind = came_from
            if kind in ("call", "static branch", "alternative", "exception fix-up") or (
                    self.image.elf.name_of(previous)[0] != self.image.elf.name_of(addr)[0]):
                steps.append(f"{self.image.elf.show(previous)} -({kind})-> {self.image.elf.show(addr)}")
            addr, came_from = previous, self.came_from.get(previous)
        return [self.hook] + steps[::-1]

    def _report(self, reason, insn):
        addr = insn.addr if insn else self.entry
        self.violations.append(Violation(self.hook, reason, addr, self.image.elf.show(addr),
                                         insn.text if insn else "", self.path(addr)))

    def _edges(self, insn):
        flow = self.image.arch.flow(insn.mnemonic, insn.operands)
        edges = []
        if flow.kind in ("next", "call", "branch", "indirect-call"):
            edges.append(Edge(insn.end, "next"))
        if flow.kind in ("jump", "branch", "call"):
            edges += self._direct(insn, flow)
        elif flow.kind == "return":
            edges.append(Edge(None, "return"))
        elif flow.kind == "indirect-call":
            self._report("makes an indirect call, whose target is not known", insn)
        elif flow.kind == "indirect-jump":
            edges += self._jump_table(insn)
        elif flow.kind == "trap":
            self._report("can raise an exception on purpose (BUG, WARN or a panic)", insn)
        for target, kind in self.image.edges.get(insn.addr, ()):
            if kind == "end of alternative":
                edges = [Edge(target, kind) if edge.kind == "next" else edge for edge in edges]
            elif self._inside(insn, target, kind):
                edges.append(Edge(target, kind))
        return edges

    def _direct(self, insn, flow):
        if flow.target is None:
            self._report("jumps to a place that the disassembly does not show", insn)
            return []
        name, _ = self.image.elf.name_of(flow.target)
        if self.returns(flow):
            return [Edge(None, "return")]
        if not self._inside(insn, flow.target, flow.kind):
            return []
        if flow.kind == "call" and flow.target in self.hook_entries:
            self._report(f"calls the hook {name}: the implementation is instrumented", insn)
            return []
        return [Edge(flow.target, flow.kind)]

    def returns(self, flow):
        """Returns True for a return, also by a jump to a function that only returns."""
        if flow.target is None:
            return flow.kind == "return"
        name, offset = self.image.elf.name_of(flow.target)
        # A function that runs before addresses are final has a second name with this prefix.
        return offset == 0 and name.removeprefix("__pi_") in self.image.arch.allowed and flow.kind != "call"

    def _inside(self, insn, target, kind):
        if self.image.owns(target):
            return True
        place = self.image.elf.show(target)
        name = self.image.elf.name_of(target)[0]
        article = "an" if kind[0] in "ae" else "a"
        verb = {"call": "calls", "jump": "jumps to", "branch": "jumps to"}.get(
            kind, f"leads by {article} {kind} to")
        if "indirect_thunk" in name:
            reason = f"{verb} {place}: an indirect call or jump, whose target is not known"
        elif _STACK_PROTECTOR.match(name):
            reason = f"{verb} {place}: it is compiled with the stack protector"
        elif INSTRUMENTATION.match(name):
            reason = f"{verb} {place}: it is instrumented"
        elif PANIC.search(name):
            reason = f"{verb} {place}: it can panic"
        else:
            reason = f"{verb} {place}, which is not in the implementation's object"
        self._report(reason, insn)
        return False

    def _jump_table(self, insn):
        """Yields the edges of a switch statement's jump table; any other computed jump is a violation."""
        table = self.image.arch.jump_table(insn.mnemonic, insn.operands)
        name = self.image.elf.name_of(insn.addr)[0]
        targets: List[int] = []
        while table is not None:
            data = self.image.elf.read(table + 8 * len(targets), 8)
            target = struct.unpack("<Q", data)[0] if data else 0
            # The compiler fills a table with labels of the function only, so the first other word is the end of the
            # table.
            if target not in self.image.insns or self.image.elf.name_of(target)[0] != name:
                break
            targets.append(target)
        if not targets:
            self._report("makes an indirect jump, whose target is not known", insn)
        return [Edge(target, "jump table") for target in dict.fromkeys(targets)]


def scan_object(image, hook_entries, calls=True):
    """
    Returns violations in the whole object, including code that no hook reaches. The object must not be instrumented.
    Without CALLS, it may contain the calls that instrumentation inserts.
    """
    found = []

    def report(reason, insn):
        found.append(Violation("the whole object", reason, insn.addr, image.elf.show(insn.addr), insn.text, []))

    for insn in image.insns.values() if calls else ():
        flow = image.arch.flow(insn.mnemonic, insn.operands)
        if flow.kind not in ("call", "jump", "branch") or flow.target is None:
            continue
        name, offset = image.elf.name_of(flow.target)
        if offset or not INSTRUMENTATION.match(name):
            continue
        # One hook may end by jumping to another; the walk follows that jump.
        if flow.kind != "call" and flow.target in hook_entries and (
                name == image.elf.name_of(insn.addr)[0] or image.elf.name_of(insn.addr)[0] in HOOKS):
            continue
        report(f"is instrumented: it calls {name}", insn)
    for addr in image.traced_places():
        insn = image.insns.get(addr)
        if insn:
            report("can be patched by the function tracer", insn)
    return found


HOOKS = [HOOK_PC] + HOOKS_CMP
