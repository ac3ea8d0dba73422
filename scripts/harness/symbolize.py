# SPDX-License-Identifier: GPL-2.0
"""
Names the source lines of recorded PCs for the checks: with LLVM's symbolizer, which shares no code with kcov-trace, and
with the column. A PC is the address after the call of the hook, so the address of the call is looked up. Addresses are
those of vmlinux, independent of KASLR.
"""

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, List, Sequence, Tuple

from . import llvm
from .hostlib import die

UNKNOWN = "??"
# Rust's library is not part of the kernel tree. Its files are named from this directory on.
RUST_LIBRARY = re.compile(r"(?:^|/)(library/(?:core|alloc|compiler-builtins|std)/.*)$")


@dataclass(frozen=True)
class Frame:
    function: str
    file: str
    line: int

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}" if self.file != UNKNOWN else UNKNOWN


class Paths:
    """Turns the name of a file in debug information into its path from the root of the kernel tree."""

    def __init__(self, roots: Sequence[Path]):
        self.roots = [root.resolve() for root in roots]
        self.known: Dict[str, str] = {}

    def relative(self, path: str) -> str:
        if path not in self.known:
            self.known[path] = self._find(path)
        return self.known[path]

    def _find(self, path: str) -> str:
        if path in ("", UNKNOWN):
            return UNKNOWN
        normal = os.path.normpath(path)
        parts = [part for part in normal.split("/") if part not in ("", "..")]
        for start in range(len(parts)):
            candidate = "/".join(parts[start:])
            if any((root / candidate).is_file() for root in self.roots):
                return candidate
        library = RUST_LIBRARY.search(normal)
        return library[1] if library else normal


class Symbolizer:
    """Looks up PCs in the vmlinux of one object directory, and remembers the results."""

    def __init__(self, obj: Path):
        self.vmlinux = obj / "vmlinux"
        if not self.vmlinux.exists():
            die(f"there is no vmlinux in {obj}; build the kernel first (`make kernel`).")
        tree = obj / "source"
        self.paths = Paths([tree if tree.exists() else obj, obj])
        self.known: Dict[int, Tuple[Frame, ...]] = {}

    def load(self, pcs: Iterable[int]) -> None:
        """Looks up many PCs at once, which is far quicker than one by one."""
        missing = sorted(set(pcs) - self.known.keys())
        if not missing:
            return
        program = llvm.find("llvm-symbolizer")
        if not program:
            die("llvm-symbolizer was not found; install LLVM's tools with `scripts/setup.sh base`.")
        result = subprocess.run(
            [program, "--output-style=JSON", f"--obj={self.vmlinux}"],
            input="".join(f"{pc - 1:#x}\n" for pc in missing).encode(),
            stdout=subprocess.PIPE,
            check=False,
        )
        answers = result.stdout.decode(errors="replace").splitlines()
        if result.returncode or len(answers) != len(missing):
            die(f"llvm-symbolizer answered {len(answers)} of {len(missing)} addresses; is {self.vmlinux} intact?")
        for pc, answer in zip(missing, answers):
            self.known[pc] = tuple(self._frame(symbol) for symbol in json.loads(answer).get("Symbol", []))

    def _frame(self, symbol: Dict[str, object]) -> Frame:
        file = self.paths.relative(str(symbol.get("FileName") or UNKNOWN))
        return Frame(str(symbol.get("FunctionName") or UNKNOWN), file, int(str(symbol.get("Line") or 0)))

    def frames(self, pc: int) -> Tuple[Frame, ...]:
        """Returns the innermost function first, then the functions into which it was inlined."""
        self.load([pc])
        return self.known[pc] or (Frame(UNKNOWN, UNKNOWN, 0),)

    def function(self, pc: int) -> str:
        """Returns the function that a disassembly shows around the PC."""
        return self.frames(pc)[-1].function


def parse_pcs(lines: Iterable[str]) -> List[int]:
    """Reads one PC per line; skips empty lines and comments, and refuses anything else."""
    pcs = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            pcs.append(int(text, 16))
        except ValueError:
            die(f"line {number} is not a hexadecimal PC: '{text[:80]}'.")
    return pcs
