# SPDX-License-Identifier: GPL-2.0
"""What the check must know of each architecture: where an instruction can go next, and what it stores."""

import re
from collections import namedtuple

# kind: next, jump, branch, call, return, return-if, indirect-jump, indirect-call, trap
Flow = namedtuple("Flow", "kind target")
NEXT = Flow("next", None)
# base: the register that leads to the place; plain: whether a whole word is stored right there, and not changed there;
# text: the place, as the disassembler writes it.
Stored = namedtuple("Stored", "base plain text")

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

    # The registers for the stack and, in functions that set it up, for the frame.
    stack = frame = ""
    # Whether the processor may change the order of stores.
    weak_stores = True

    def sets_frame(self, text):
        """Whether an instruction makes the frame's register one."""
        raise NotImplementedError

    def stored(self, mnemonic, operands):
        """What an instruction stores to memory, if it does."""
        raise NotImplementedError

    def loaded(self, mnemonic, operands):
        """The register and the place of a load of a whole word, if an instruction is one."""
        raise NotImplementedError

    def writes(self, mnemonic, operands, register):
        """Whether an instruction changes a register of 64 bits: its first operand, mostly."""
        return self.stored(mnemonic, operands) is None and re.match(rf"{register}\b", operands) is not None

    def orders_stores(self, mnemonic, operands):
        """Whether an instruction is a barrier between stores."""
        raise NotImplementedError

    def releases(self, _mnemonic):
        """Whether a store is itself ordered behind those before it."""
        return False

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

    stack, frame, weak_stores = "rsp", "rbp", False
    _memory = re.compile(r"^(?:%[gd]s:)?(-?(?:0x)?[0-9a-f]*)\(%(\w+)(,[^)]*)?\)$")
    _reads = re.compile(r"^(cmp|test|bt[bwlq]?$|nop|prefetch|call|j|loop|endbr|clflush|verw|ret|lea|push|mul|div|"
                        r"imul|idiv|ud)")

    def sets_frame(self, text):
        return bool(re.match(r"movq? %rsp, ?%rbp$", text))

    def stored(self, mnemonic, operands):
        mnemonic, operands = self.split(mnemonic, operands)
        parts = re.split(r",(?![^(]*\))", operands.replace(" ", ""))
        if re.match(r"(movs[bwlq]?|stos[bwlq]?)$", mnemonic) and "%rdi" in operands:
            return Stored("rdi", False, operands)
        match = self._memory.match(parts[-1])
        if not match or self._reads.match(mnemonic):
            return None
        whole = mnemonic == "movq" or mnemonic == "mov" and re.match(r"%r([a-ds]x|[sd]i|[sb]p|[89]|1[0-5])$", parts[0])
        plain = bool(whole) and match[1] in ("", "0", "0x0") and not match[3]
        return Stored(match[2], plain, parts[-1])

    def loaded(self, mnemonic, operands):
        parts = re.split(r",(?![^(]*\))", operands.replace(" ", ""))
        known = mnemonic in ("mov", "movq") and len(parts) == 2 and self._memory.match(parts[0])
        return (parts[1][1:], parts[0]) if known else None

    def writes(self, mnemonic, operands, register):
        if self._reads.match(mnemonic) and not mnemonic.startswith("lea"):
            return False
        names = {register, "e" + register[1:]} if register[1].isalpha() else {register, register + "d"}
        return operands.replace(" ", "").rpartition(",")[2] in {f"%{name}" for name in names}

    def orders_stores(self, mnemonic, _operands):
        return mnemonic in ("mfence", "sfence")

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
    stack, frame = "sp", "x29"
    _place = re.compile(r"(\[[^\]]*\]!?)")

    def sets_frame(self, text):
        return bool(re.match(r"(mov x29, sp|add x29, sp,.*)$", text))

    def stored(self, mnemonic, operands):
        place = self._place.search(operands)
        if not place or not re.match(r"(st[pnru]|stl|stx|stz|st1|cas|swp|ldadd|ldset|ldclr)", mnemonic):
            return None
        base = re.split(r"[\s,\]]", place[1][1:])[0]
        whole = mnemonic in ("str", "stlr") and re.match(r"x(\d+|zr)\b", operands)
        plain = bool(whole) and re.sub(r",\s*#0(x0)?\]", "]", place[1]) == f"[{base}]" and operands.endswith("]")
        return Stored(base, plain, place[1])

    def loaded(self, mnemonic, operands):
        place = self._place.search(operands)
        return (operands.split(",")[0], place[1]) if place and mnemonic in ("ldr", "ldar") else None

    def orders_stores(self, mnemonic, operands):
        return mnemonic in ("dmb", "dsb") and re.match(r"(|sy|st|ish|ishst|osh|oshst)$", operands) is not None

    def releases(self, mnemonic):
        return mnemonic == "stlr"

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
    stack, frame = "sp", "s0"
    _place = re.compile(r"(-?(?:0x)?[0-9a-f]*)\((\w+)\)$")

    def sets_frame(self, text):
        return bool(re.match(r"(c\.)?addi(4spn)? s0, ?sp,", text))

    def stored(self, mnemonic, operands):
        mnemonic = mnemonic.removeprefix("c.")
        place = self._place.search(operands)
        if mnemonic.startswith(("amo", "sc.")):
            return Stored(operands[operands.rfind("(") + 1:-1], False, operands)
        if not place or mnemonic not in ("sb", "sh", "sw", "sd", "sdsp", "swsp", "fsd", "fsw"):
            return None
        return Stored(place[2], mnemonic == "sd" and place[1] in ("", "0", "0x0"), place[0])

    def loaded(self, mnemonic, operands):
        place = self._place.search(operands)
        return (operands.split(",")[0], place[0]) if place and mnemonic.removeprefix("c.") == "ld" else None

    def orders_stores(self, mnemonic, operands):
        before, _, behind = operands.replace(" ", "").partition(",")
        return mnemonic == "fence" and (not operands or "w" in before and "w" in behind)

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
