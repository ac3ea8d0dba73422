# SPDX-License-Identifier: GPL-2.0
"""
Counts the instructions on the shortest paths through a hook in the disassembly of a linked kernel. This works for
architectures whose code this machine cannot run, and gives a comparison for the counts of those that it can.
"""

from collections import deque
from pathlib import Path
from typing import Deque, Dict, Iterator, Tuple

from leaf import Misuse
from leaf.check import open_image
from leaf.walk import HOOKS, Walk

from ..hostlib import die

PREFIX = "__sanitizer_cov_"
# A hook that records stores the count and the record. A hook that finds the trace full stores the number of dropped
# records.
RECORDED = 2
# The state of a path: the next instruction, whether the gate's jump label was taken, the number of stores up to RECORDED.
State = Tuple[int, bool, int]


class Paths:
    """The paths from the entry of one hook."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.arch = walk.image.arch
        self.has_label = any(edge.kind == "static branch" for edges in walk.successors.values() for edge in edges)

    def stores(self, addr: int) -> bool:
        """Returns True if an instruction stores to memory other than the stack."""
        insn = self.walk.image.insns[addr]
        stored = self.arch.stored(insn.mnemonic, insn.operands)
        return stored is not None and stored.base not in (self.arch.stack, self.arch.frame)

    def after(self, state: State) -> Iterator[State]:
        """Yields the states that can follow. A return is the address -1."""
        addr, is_open, stores = state
        stores = min(stores + self.stores(addr), RECORDED)
        for edge in self.walk.successors[addr]:
            if edge.kind == "return":
                yield -1, is_open, stores
            elif edge.kind in ("next", "jump", "branch", "jump table"):
                yield edge.target, is_open, stores
            elif edge.kind == "static branch":
                yield edge.target, True, stores

    def shortest(self) -> Dict[Tuple[bool, int], int]:
        """
        Returns the minimum number of instructions to a return, keyed by whether the label was taken and the number of
        stores.
        """
        start: State = (self.walk.entry, False, 0)
        steps: Dict[State, int] = {start: 0}
        todo: Deque[State] = deque([start])
        while todo:
            state = todo.popleft()
            if state[0] == -1:
                continue
            for following in self.after(state):
                if following not in steps:
                    steps[following] = steps[state] + 1
                    todo.append(following)
        return {(is_open, stores): number for (addr, is_open, stores), number in steps.items() if addr == -1}

    def figures(self) -> Dict[str, int]:
        found = self.shortest()
        label = self.has_label
        # The file contains a patched entry in its unpatched form only.
        states = {"on": (label, 0), "collecting": (label, RECORDED), **({"off": (False, 0)} if label else {})}
        missing = [state for state, key in states.items() if key not in found]
        if missing:
            die(f"{self.walk.hook} has no path for the state '{missing[0]}'.")
        return {state: found[key] for state, key in states.items()}


def count(vmlinux: Path) -> Dict[str, int]:
    """Returns the figures of all hooks of a kernel."""
    try:
        image = open_image(str(vmlinux), None, "rust", None)
    except Misuse as misuse:
        die(str(misuse))
    entries = {hook: image.elf.value(hook) for hook in HOOKS if image.elf.value(hook) is not None}
    result: Dict[str, int] = {}
    for hook, entry in entries.items():
        walk = Walk(image, hook, entry, set(entries.values()))
        for state, number in Paths(walk).figures().items():
            result[f"path.{hook[len(PREFIX):]}.{state}"] = number
    return result
