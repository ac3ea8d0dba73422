# SPDX-License-Identifier: GPL-2.0
"""
An architecture as the leaf check sees it: where each instruction can go next, and what it stores.
"""

import re
from typing import Dict, NamedTuple, Optional, Tuple


class Flow(NamedTuple):
    """The place to which an instruction goes."""

    # next, jump, branch, call, return, return-if, indirect-jump, indirect-call, trap
    kind: str
    target: Optional[int]


NEXT = Flow("next", None)


class Stored(NamedTuple):
    """A store to memory."""

    # The register that holds the base of the address.
    base: str
    # True if the instruction stores a whole word at that address and does not modify it there.
    plain: bool
    # The address as the disassembler writes it.
    text: str


_HEX = re.compile(r"(?:^|[\s,])(?:0x)?([0-9a-f]+)(?:\s*<[^>]*>)?\s*$")


def direct_target(operands: str) -> Optional[int]:
    """Returns the address that a jump or call names, or None."""
    match = _HEX.search(operands)
    return int(match.group(1), 16) if match else None


class Instructions:
    """The code of one architecture as a disassembler shows it."""

    name = ""
    machine = 0
    # Functions outside the object to which a hook may jump, each with the reason why the jump is harmless.
    allowed: Dict[str, str] = {}
    # True if the linker relaxes code, which changes distances within a section of the object.
    relaxes = False
    has_store_order = False
    # The table of alternatives: first and last symbol, section, size of an entry, and the struct format and offset of the
    # pair (length of the original, length of the replacement) in an entry.
    alternatives = ("__alt_instructions", "__alt_instructions_end", ".altinstructions", 12, "<BB", 10)

    def flow(self, mnemonic: str, operands: str) -> Flow:
        raise NotImplementedError

    # The registers for the stack and, in functions that set one up, for the frame.
    stack = frame = ""
    # True if the processor may reorder stores.
    weak_stores = True

    def sets_frame(self, text: str) -> bool:
        """Returns True if an instruction sets the frame's register to a frame."""
        raise NotImplementedError

    def stored(self, mnemonic: str, operands: str) -> Optional[Stored]:
        """Returns the store that an instruction makes, or None."""
        raise NotImplementedError

    def loaded(self, mnemonic: str, operands: str) -> Optional[Tuple[str, str]]:
        """Returns the register and the address if an instruction loads a whole word, or None."""
        raise NotImplementedError

    def writes(self, mnemonic: str, operands: str, register: str) -> bool:
        """Returns True if an instruction changes a register of 64 bits, which is usually the first operand."""
        return self.stored(mnemonic, operands) is None and re.match(rf"{register}\b", operands) is not None

    def orders_stores(self, mnemonic: str, operands: str) -> bool:
        """Returns True if an instruction is a barrier between stores."""
        raise NotImplementedError

    def releases(self, mnemonic: str) -> bool:
        """Returns True if a store is itself ordered after the stores before it."""
        return False

    def jump_table(self, mnemonic: str, operands: str) -> Optional[int]:
        """Returns the address of the table of absolute targets that an indirect jump reads, if the jump has that simple form."""
        return None
