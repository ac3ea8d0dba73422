# SPDX-License-Identifier: GPL-2.0
"""
The implementation's own code in the linked kernel: its position, its instructions, and the kernel's tables that change
the code at run time (static branches, alternatives, exception fix-ups).
"""

import os
import re
import shutil
import struct
import subprocess
from collections import Counter, defaultdict, namedtuple
from typing import List

from harness import llvm
from harness.arch import ARCHITECTURES

from . import Misuse
from .elf import ET_REL, SHF_ALLOC, SHF_EXECINSTR, STB_GLOBAL, STT_FUNC, STT_NOTYPE, Elf

Insn = namedtuple("Insn", "addr end mnemonic operands text")
Region = namedtuple("Region", "start end name")
_LINE = re.compile(r"^\s*([0-9a-f]+):\s+(.*)$")


def find_objdump():
    """Returns the disassembler of the project's compiler, or else any that is installed."""
    found = llvm.find("llvm-objdump") or shutil.which("objdump")
    if not found:
        raise Misuse("no objdump was found; install llvm or binutils.")
    return found


class Image:
    def __init__(self, vmlinux, objects, objdump=None):
        self.elf = Elf(vmlinux)
        known = [arch.instructions for arch in ARCHITECTURES.values() if arch.instructions.machine == self.elf.machine]
        if not known:
            raise Misuse(f"{vmlinux} is for a machine (ELF number {self.elf.machine}) that this check does not "
                         "know; add a file to scripts/harness/arch.")
        self.arch = known[0]
        self.objdump = objdump or find_objdump()
        self.objects = objects
        self.regions: List[Region] = []
        for path in objects:
            self._locate(path)
        self.regions.sort()
        self.insns = {}
        self.edges = defaultdict(list)
        for region in self.regions:
            self._disassemble(region)
        self._static_branches()
        self._fixups()
        self._alternatives()

    # The positions of the object's sections in the kernel.

    def _locate(self, path):
        obj = Elf(path)
        if obj.type != ET_REL or obj.machine != self.elf.machine:
            raise Misuse(f"{path} is not an object file for the machine of {self.elf.path}; name the KCOV "
                         "object of the same build with --object.")
        for section in obj.sections:
            if section.flags & (SHF_ALLOC | SHF_EXECINSTR) != SHF_ALLOC | SHF_EXECINSTR or not section.size:
                continue
            if section.name in (".altinstr_replacement", ".altinstr_aux"):
                continue    # reached only through .altinstructions, which knows the sites
            symbols = [s for s in obj.symbols if s.shndx == section.index and s.name
                       and s.type in (STT_FUNC, STT_NOTYPE) and not s.name.startswith((".L", "$"))]
            if self.arch.relaxes:
                self._locate_one_by_one(path, symbols)
            else:
                self._locate_section(path, section, symbols)

    def _same(self, symbol):
        # If there is padding before functions, objtool extends the symbol of the CFI type id up to its function.
        grows = self.arch.relaxes or symbol.name.startswith("__cfi_")
        return [s for s in self.elf.by_name.get(symbol.name, ())
                if self.elf.executable(s.shndx) and (s.size == symbol.size or grows)]

    def _locate_section(self, path, section, symbols):
        # Every function implies where its section begins. Other parts of the kernel may have static functions with the
        # same names, so the address on which most functions agree is taken.
        votes: Counter[int] = Counter()
        for symbol in symbols:
            votes.update({s.value - symbol.value for s in self._same(symbol)})
        if not votes:
            raise Misuse(f"{path} is not part of {self.elf.path}: nothing of its section {section.name} is "
                         "in there; name the KCOV object of the same build with --object.")
        base, count = votes.most_common(1)[0]
        lost = [s.name for s in symbols if s.bind == STB_GLOBAL and s.type == STT_FUNC
                and base + s.value not in (f.value for f in self._same(s))]
        if lost or list(votes.values()).count(count) > 1:
            raise Misuse(f"{path} and {self.elf.path} are not of the same build (section {section.name}"
                         + (f", function {lost[0]}" if lost else "") + "); build the kernel again.")
        self.regions.append(Region(base, base + section.size, f"{os.path.basename(path)}:{section.name}"))

    def _locate_one_by_one(self, path, symbols):
        for symbol in symbols:
            same = self._same(symbol)
            if symbol.type == STT_FUNC and len(same) != 1:
                raise Misuse(f"{path}: the function {symbol.name} occurs {len(same)} times in "
                             f"{self.elf.path}, where one was expected; build the kernel again.")
            if len(same) == 1 and same[0].size:
                region = Region(same[0].value, same[0].value + same[0].size, symbol.name)
                if region not in self.regions:
                    self.regions.append(region)

    def owns(self, addr):
        return any(region.start <= addr < region.end for region in self.regions)

    # The instructions of the code.

    def _disassemble(self, region):
        command = [self.objdump, "-d", "-z", "--no-show-raw-insn", f"--start-address={region.start:#x}",
                   f"--stop-address={region.end:#x}", self.elf.path]
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True,
                             env=dict(os.environ, LC_ALL="C"), check=False)
        if run.returncode:
            raise Misuse(f"{self.objdump} cannot disassemble {self.elf.path}: {run.stderr.strip()[:200]}; "
                         "name another disassembler with --objdump.")
        lines = []
        for line in run.stdout.splitlines():
            match = _LINE.match(line)
            if match and region.start <= int(match.group(1), 16) < region.end:
                lines.append((int(match.group(1), 16), match.group(2)))
        if not lines or lines[0][0] != region.start:
            raise Misuse(f"{self.objdump} shows no code at {region.start:#x} of {self.elf.path}; name another "
                         "disassembler with --objdump.")
        for index, (addr, text) in enumerate(lines):
            end = lines[index + 1][0] if index + 1 < len(lines) else region.end
            text = " ".join(text.split())
            plain = re.split(r"\s+(?:#|//|;)\s", text)[0]
            parts = plain.split(None, 1)
            self.insns[addr] = Insn(addr, end, parts[0] if parts else "",
                                    parts[1] if len(parts) > 1 else "", text)

    # The changes that the kernel makes to the code at run time.

    def _static_branches(self):
        start, data = self.elf.table("__start___jump_table", "__stop___jump_table", "__jump_table")
        for offset in range(0, len(data) - 15, 16):
            code, target = struct.unpack_from("<ii", data, offset)
            code += start + offset
            if self.owns(code):
                self.edges[code].append((start + offset + 4 + target, "static branch"))

    def _fixups(self):
        start, data = self.elf.table("__start___ex_table", "__stop___ex_table", "__ex_table")
        for offset in range(0, len(data) - 11, 12):
            insn, fixup = struct.unpack_from("<ii", data, offset)
            insn += start + offset
            if self.owns(insn):
                self.edges[insn].append((start + offset + 4 + fixup, "exception fix-up"))

    def _alternatives(self):
        first, last, section, size, lengths, where = self.arch.alternatives
        start, data = self.elf.table(first, last, section)
        for offset in range(0, len(data) - size + 1, size):
            site, repl = struct.unpack_from("<ii", data, offset)
            # An architecture whose two lengths are always equal stores one length.
            length, *rest = struct.unpack_from(lengths, data, offset + where)
            repl_length = rest[0] if rest else length
            site += start + offset
            if not self.owns(site):
                continue
            repl += start + offset + 4
            if not repl_length:
                self.edges[site].append((site + length, "alternative"))
                continue
            region = Region(repl, repl + repl_length, f"replacement of {self.elf.show(site)}")
            if region not in self.regions:
                self.regions.append(region)
                self._disassemble(region)
            self.edges[site].append((repl, "alternative"))
            last = max(addr for addr in self.insns if region.start <= addr < region.end)
            self.edges[last].append((site + length, "end of alternative"))

    def traced_places(self):
        """Returns the addresses in the object that the function tracer patches."""
        _, data = self.elf.table("__start_mcount_loc", "__stop_mcount_loc", "__mcount_loc")
        places = struct.unpack(f"<{len(data) // 8}Q", data[:len(data) // 8 * 8])
        return [place for place in places if self.owns(place)]
