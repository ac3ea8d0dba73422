# SPDX-License-Identifier: GPL-2.0
"""
The list of calls of hooks in a linked kernel for x86-64, compared with the calls that its code has.

Fuzzers find their coverage points by the same search: they look for the bytes of a call at every address.
"""

import re
import struct
from typing import Dict, List, Set, Tuple

from .elf import SHF_ALLOC, SHF_EXECINSTR, SHT_NOBITS, Elf

HOOK = "__sanitizer_cov_trace_"
CALL, CALL_SIZE, ENTRY_SIZE = 0xE8, 5, 8
_CALL_BYTE = re.compile(b"\xe8")


def hooks_of(elf: Elf) -> Dict[int, str]:
    return {symbols[0].value: name for name, symbols in elf.by_name.items() if name.startswith(HOOK)}


def calls_in(data: bytes, base: int, hooks: Dict[int, str]) -> Set[int]:
    """Returns the addresses of calls of hooks in code that begins at an address."""
    found = set()
    for match in _CALL_BYTE.finditer(data, 0, max(0, len(data) - CALL_SIZE + 1)):
        (distance,) = struct.unpack_from("<i", data, match.start() + 1)
        if base + match.start() + CALL_SIZE + distance in hooks:
            found.add(base + match.start())
    return found


def listed(elf: Elf) -> List[int]:
    """Returns the addresses in the list."""
    start, data = elf.table("__start_kcov_sites", "__stop_kcov_sites", "__kcov_sites")
    return [start + place + struct.unpack_from("<i", data, place)[0] for place in range(0, len(data), ENTRY_SIZE)]


def leads_to_hook(elf: Elf, address: int, hooks: Dict[int, str]) -> bool:
    """Returns whether the instruction is a jump to a hook, with or without a condition."""
    code = elf.read(address, 6) or bytes(6)
    size = 6 if code[0] == 0x0F and code[1] & 0xF0 == 0x80 else CALL_SIZE if code[0] == 0xE9 else 0
    return bool(size) and address + size + struct.unpack_from("<i", code, size - 4)[0] in hooks


def check_sites(elf: Elf) -> Tuple[int, int, List[str]]:
    """Returns the numbers of calls and of jumps that are listed, and what is wrong."""
    hooks = hooks_of(elf)
    problems: List[str] = []
    calls: Set[int] = set()
    for section in elf.sections:
        if section.flags & SHF_ALLOC and section.flags & SHF_EXECINSTR and section.type != SHT_NOBITS:
            calls |= calls_in(elf.read(section.addr, section.size) or b"", section.addr, hooks)
    entries = listed(elf)
    if len(entries) != len(set(entries)):
        problems.append(f"{len(entries) - len(set(entries))} addresses are listed twice")
    problems += [f"the call at {elf.show(address)} is not listed" for address in sorted(calls - set(entries))[:20]]
    others = sorted(set(entries) - calls)
    jumps = [address for address in others if leads_to_hook(elf, address, hooks)]
    strays = sorted(set(others) - set(jumps))
    problems += [f"{elf.show(address)} is listed and does not lead to a hook" for address in strays[:20]]
    if not calls:
        problems.append("the kernel has no call of a hook; look at its options and at CFLAGS_KCOV")
    return len(calls), len(jumps), problems
