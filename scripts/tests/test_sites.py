# SPDX-License-Identifier: GPL-2.0
"""Tests of the comparison of the list of calls of hooks with the calls in a kernel's code."""

import struct
import unittest
from typing import Any, Dict, List, Optional, Sequence, Tuple

from leaf.elf import SHF_ALLOC, SHF_EXECINSTR, Section, Symbol
from leaf.sites import calls_in, check_sites

HOOK, TEXT, LIST = 0x1000, 0x2000, 0x9000
NAME = "__sanitizer_cov_trace_pc"


def leading(opcode: bytes, place: int, to: int = HOOK) -> bytes:
    """Returns an instruction at a place in the text that leads to an address."""
    return opcode + struct.pack("<i", to - (TEXT + place + len(opcode) + 4))


class Kernel:
    """The part of an ELF file that the comparison reads."""

    def __init__(self, code: bytes, places: Sequence[int]) -> None:
        self.code = code
        self.entries = b"".join(struct.pack("<ii", TEXT + place - (LIST + 8 * i), 0) for i, place in enumerate(places))
        self.by_name: Dict[str, List[Symbol]] = {NAME: [Symbol(NAME, HOOK, 1, 2, 1, 1)]}
        self.sections = [Section(1, ".text", 1, SHF_ALLOC | SHF_EXECINSTR, TEXT, 0, len(code), 0, 0)]

    def table(self, *_names: str) -> Tuple[int, bytes]:
        return LIST, self.entries

    def read(self, address: int, size: int) -> Optional[bytes]:
        return self.code[address - TEXT : address - TEXT + size] or None

    def show(self, address: int) -> str:
        return f"text+{address - TEXT:#x}"


class Sites(unittest.TestCase):
    def check(self, code: bytes, *places: int) -> Any:
        return check_sites(Kernel(code, places))  # type: ignore[arg-type]

    def test_calls_at_any_address(self) -> None:
        code = b"\x90\xe8" + leading(b"\xe8", 2) + b"\xe8\x00"
        self.assertEqual({TEXT + 2}, calls_in(code, TEXT, {HOOK: NAME}))

    def test_all_are_listed(self) -> None:
        code = leading(b"\xe8", 0) + b"\xc3" + leading(b"\xe8", 6) + leading(b"\xe9", 11) + leading(b"\x0f\x84", 16)
        self.assertEqual((2, 2, []), self.check(code, 0, 6, 11, 16))

    def test_a_call_is_missing(self) -> None:
        code = leading(b"\xe8", 0) + leading(b"\xe8", 5)
        self.assertEqual(["the call at text+0x5 is not listed"], self.check(code, 0)[2])

    def test_an_entry_that_leads_nowhere(self) -> None:
        code = leading(b"\xe8", 0) + leading(b"\xe8", 5, HOOK + 4)
        self.assertEqual(["text+0x5 is listed and does not lead to a hook"], self.check(code, 0, 5)[2])

    def test_an_entry_twice(self) -> None:
        self.assertEqual(["1 addresses are listed twice"], self.check(leading(b"\xe8", 0), 0, 0)[2])

    def test_no_call_at_all(self) -> None:
        self.assertIn("no call of a hook", self.check(b"\x90" * 8)[2][0])


if __name__ == "__main__":
    unittest.main()
