# SPDX-License-Identifier: GPL-2.0
"""
The leaf check's view of an architecture: where an instruction can go next, and what it stores.
"""

import re
from typing import Dict, NamedTuple, Optional, Tuple


class Flow(NamedTuple):
    """Where an instruction goes."""

    # next, jump, branch, call, return, return-if, indirect-jump, indirect-call, trap
    kind: str
    target: Optional[int]


NEXT = Flow("next", None)


class Stored(NamedTuple):
    """A store."""

    # The register that leads to the place.
    base: str
    # Whether a whole word is stored right there, and not changed there.
    plain: bool
    # The place, as the disassembler writes it.
    text: str


_HEX = re.compile(r"(?:^|[\s,])(?:0x)?([0-9a-f]+)(?:\s*<[^>]*>)?\s*$")


def direct_target(operands: str) -> Optional[int]:
    """The address that a jump or call names, or None."""
    match = _HEX.search(operands)
    return int(match.group(1), 16) if match else None


class Instructions:
    """The code of one architecture, as a disassembler shows it."""

    name = ""
    machine = 0
    # Functions outside of the object that may be jumped to, each with the reason why that leaves nothing.
    allowed: Dict[str, str] = {}
    # A linker that relaxes code changes the distances within an object's section.
    relaxes = False
    has_store_order = False
    # The table of alternatives: first and last symbol, section, size of an entry, struct format and place of
    # (length of the original, length of the replacement) in it.
    alternatives = ("__alt_instructions", "__alt_instructions_end", ".altinstructions", 12, "<BB", 10)

    def flow(self, mnemonic: str, operands: str) -> Flow:
        raise NotImplementedError

    # The registers for the stack and, in functions that set it up, for the frame.
    stack = frame = ""
    # Whether the processor may change the order of stores.
    weak_stores = True

    def sets_frame(self, text: str) -> bool:
        """Whether an instruction makes the frame's register one."""
        raise NotImplementedError

    def stored(self, mnemonic: str, operands: str) -> Optional[Stored]:
        """What an instruction stores to memory, if it does."""
        raise NotImplementedError

    def loaded(self, mnemonic: str, operands: str) -> Optional[Tuple[str, str]]:
        """The register and the place of a load of a whole word, if an instruction is one."""
        raise NotImplementedError

    def writes(self, mnemonic: str, operands: str, register: str) -> bool:
        """Whether an instruction changes a register of 64 bits: its first operand, mostly."""
        return self.stored(mnemonic, operands) is None and re.match(rf"{register}\b", operands) is not None

    def orders_stores(self, mnemonic: str, operands: str) -> bool:
        """Whether an instruction is a barrier between stores."""
        raise NotImplementedError

    def releases(self, mnemonic: str) -> bool:
        """Whether a store is itself ordered behind those before it."""
        return False

    def jump_table(self, mnemonic: str, operands: str) -> Optional[int]:
        """Address of the table of absolute targets that an indirect jump reads, if it is that plain."""
        return None
