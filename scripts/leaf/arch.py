# SPDX-License-Identifier: GPL-2.0
"""What the check must know of each architecture: where an instruction can go next."""

import re
from collections import namedtuple

# kind: next, jump, branch, call, return, return-if, indirect-jump, indirect-call, trap
Flow = namedtuple("Flow", "kind target")
NEXT = Flow("next", None)

_HEX = re.compile(r"(?:^|[\s,])(?:0x)?([0-9a-f]+)(?:\s*<[^>]*>)?\s*$")


def _target(operands):
    match = _HEX.search(operands)
    return int(match.group(1), 16) if match else None


class Arch:
    name = ""
    machine = 0
    # Functions outside of the object that may be jumped to, each with the reason why that leaves nothing.
    allowed = {}
    # A linker that relaxes code changes the distances within an object's section.
    relaxes = False
    has_store_order = False
    # The table of alternatives: first and last symbol, section, size of an entry, struct format and place of
    # (length of the original, length of the replacement) in it.
    alternatives = ("__alt_instructions", "__alt_instructions_end", ".altinstructions", 12, "<BB", 10)

    def flow(self, mnemonic, operands):
        raise NotImplementedError

    def jump_table(self, _mnemonic, _operands):
        """Address of the table of absolute targets that an indirect jump reads, if it is that plain."""
        return None


class X86(Arch):
    name = "x86_64"
    machine = 62
    has_store_order = True
    alternatives = ("__alt_instructions", "__alt_instructions_end", ".altinstructions", 14, "<BB", 12)
    allowed = {
        name: "return thunk: does what a return instruction does"
        for name in ("__x86_return_thunk", "retbleed_return_thunk", "srso_return_thunk",
                     "srso_alias_return_thunk", "its_return_thunk", "call_depth_return_thunk")}
    _prefixes = {"notrack", "bnd", "rep", "repz", "repe", "repne", "repnz", "lock", "data16", "cs", "ds",
                 "addr32", "rex64", "rex.W"}
    _traps = re.compile(r"^(ud[012].*|int[13o]?|int|into|hlt|syscall|sysenter|sysexit.*|sysret.*|iret.*|"
                        r"vmcall|vmmcall|lret.*|retf.*|ljmp.*|lcall.*|\(bad\)|<unknown>|\.byte|\.word)$")

    def split(self, mnemonic, operands):
        """Takes prefixes off the mnemonic."""
        while mnemonic in self._prefixes and operands:
            parts = operands.split(None, 1)
            mnemonic, operands = parts[0], parts[1] if len(parts) > 1 else ""
        return mnemonic, operands

    def flow(self, mnemonic, operands):
        mnemonic, operands = self.split(mnemonic, operands)
        mnemonic = mnemonic.split(",")[0]
        if self._traps.match(mnemonic):
            return Flow("trap", None)
        if mnemonic in ("ret", "retq"):
            return Flow("return", None)
        if mnemonic in ("call", "callq"):
            if "*" in operands:
                return Flow("indirect-call", None)
            return Flow("call", _target(operands))
        if mnemonic in ("jmp", "jmpq"):
            if "*" in operands:
                return Flow("indirect-jump", None)
            return Flow("jump", _target(operands))
        if mnemonic.startswith("j") or mnemonic.startswith("loop") or mnemonic == "xbegin":
            return Flow("branch", _target(operands))
        return NEXT

    def jump_table(self, mnemonic, operands):
        mnemonic, operands = self.split(mnemonic, operands)
        match = re.match(r"\*(-?)(0x[0-9a-f]+|[0-9]+)\(,%r\w+,8\)$", operands.replace(" ", ""))
        if not match:
            return None
        value = int(match.group(2), 0)
        return (-value if match.group(1) else value) & (1 << 64) - 1


class Arm64(Arch):
    name = "arm64"
    machine = 183
    _traps = {"brk", "svc", "hvc", "smc", "hlt", "udf", "eret", "eretaa", "eretab", "<unknown>", ".inst",
              ".word"}

    def flow(self, mnemonic, operands):
        if mnemonic in self._traps:
            return Flow("trap", None)
        if mnemonic in ("ret", "retaa", "retab"):
            return Flow("return", None)
        if mnemonic == "bl":
            return Flow("call", _target(operands))
        if mnemonic.startswith("blr"):
            return Flow("indirect-call", None)
        if re.match(r"br(aa|ab|aaz|abz)?$", mnemonic):
            return Flow("indirect-jump", None)
        if mnemonic == "b":
            return Flow("jump", _target(operands))
        if mnemonic.startswith(("b.", "bc.")) or mnemonic in ("cbz", "cbnz", "tbz", "tbnz"):
            return Flow("branch", _target(operands))
        return NEXT


class Riscv(Arch):
    name = "riscv64"
    machine = 243
    relaxes = True
    alternatives = ("__alt_start", "__alt_end", ".alternative", 16, "<H", 10)
    _traps = {"ebreak", "c.ebreak", "ecall", "unimp", "c.unimp", "mret", "sret", "<unknown>", ".word",
              ".short", ".2byte", ".4byte"}
    _branches = {"beq", "bne", "blt", "bge", "bltu", "bgeu", "beqz", "bnez", "bltz", "bgez", "blez", "bgtz",
                 "bgt", "ble", "bgtu", "bleu"}

    def flow(self, mnemonic, operands):
        if mnemonic in self._traps:
            return Flow("trap", None)
        if mnemonic.startswith("c."):
            mnemonic = mnemonic[2:]
        if mnemonic == "ret":
            return Flow("return", None)
        if mnemonic == "j":
            return Flow("jump", _target(operands))
        if mnemonic == "jal":
            link = operands.split(",")[0].strip() if "," in operands else "ra"
            return Flow("jump" if link == "zero" else "call", _target(operands))
        if mnemonic == "jr":
            return Flow("return" if operands.strip() == "ra" else "indirect-jump", None)
        if mnemonic == "jalr":
            link = operands.split(",")[0].strip() if "," in operands else "ra"
            return Flow("indirect-jump" if link == "zero" else "indirect-call", None)
        if mnemonic in self._branches:
            return Flow("branch", _target(operands))
        return NEXT


ARCHES = {arch.machine: arch for arch in (X86(), Arm64(), Riscv())}
