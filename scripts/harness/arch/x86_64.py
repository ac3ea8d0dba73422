# SPDX-License-Identifier: GPL-2.0
"""
x86-64, as QEMU's PC.
"""

import re
from typing import Optional, Tuple

from .. import tsc
from .base import Architecture
from .instructions import NEXT, Flow, Instructions, Stored, direct_target


class X86(Instructions):
    name = "x86_64"
    machine = 62
    has_store_order = True
    alternatives = ("__alt_instructions", "__alt_instructions_end", ".altinstructions", 14, "<BB", 12)
    allowed = dict.fromkeys(
        (
            "__x86_return_thunk",
            "retbleed_return_thunk",
            "srso_return_thunk",
            "srso_alias_return_thunk",
            "its_return_thunk",
            "call_depth_return_thunk",
        ),
        "return thunk: does what a return instruction does",
    )
    _prefixes = {"notrack", "bnd", "rep", "repz", "repe", "repne", "repnz", "lock", "data16", "cs", "ds",
                 "addr32", "rex64", "rex.W"}
    _traps = re.compile(r"^(ud[012].*|int[13o]?|int|into|hlt|syscall|sysenter|sysexit.*|sysret.*|iret.*|"
                        r"vmcall|vmmcall|lret.*|retf.*|ljmp.*|lcall.*|\(bad\)|<unknown>|\.byte|\.word)$")

    stack, frame, weak_stores = "rsp", "rbp", False
    _memory = re.compile(r"^(?:%[gd]s:)?(-?(?:0x)?[0-9a-f]*)\(%(\w+)(,[^)]*)?\)$")
    _reads = re.compile(r"^(cmp|test|bt[bwlq]?$|nop|prefetch|call|j|loop|endbr|clflush|verw|ret|lea|push|mul|div|"
                        r"imul|idiv|ud)")

    def sets_frame(self, text: str) -> bool:
        return bool(re.match(r"movq? %rsp, ?%rbp$", text))

    def stored(self, mnemonic: str, operands: str) -> Optional[Stored]:
        mnemonic, operands = self.split(mnemonic, operands)
        parts = re.split(r",(?![^(]*\))", operands.replace(" ", ""))
        if re.match(r"(movs[bwlq]?|stos[bwlq]?)$", mnemonic) and "%rdi" in operands:
            return Stored("rdi", False, operands)
        match = self._memory.match(parts[-1])
        if not match or self._reads.match(mnemonic):
            return None
        whole = mnemonic == "movq" or (mnemonic == "mov" and re.match(r"%r([a-ds]x|[sd]i|[sb]p|[89]|1[0-5])$", parts[0]))
        plain = bool(whole) and match[1] in ("", "0", "0x0") and not match[3]
        return Stored(match[2], plain, parts[-1])

    def loaded(self, mnemonic: str, operands: str) -> Optional[Tuple[str, str]]:
        parts = re.split(r",(?![^(]*\))", operands.replace(" ", ""))
        known = mnemonic in ("mov", "movq") and len(parts) == 2 and self._memory.match(parts[0])
        return (parts[1][1:], parts[0]) if known else None

    def writes(self, mnemonic: str, operands: str, register: str) -> bool:
        if self._reads.match(mnemonic) and not mnemonic.startswith("lea"):
            return False
        names = {register, "e" + register[1:]} if register[1].isalpha() else {register, register + "d"}
        return operands.replace(" ", "").rpartition(",")[2] in {f"%{name}" for name in names}

    def orders_stores(self, mnemonic: str, operands: str) -> bool:
        return mnemonic in ("mfence", "sfence")

    def split(self, mnemonic: str, operands: str) -> Tuple[str, str]:
        """Removes prefixes from the mnemonic."""
        while mnemonic in self._prefixes and operands:
            parts = operands.split(None, 1)
            mnemonic, operands = parts[0], parts[1] if len(parts) > 1 else ""
        return mnemonic, operands

    def flow(self, mnemonic: str, operands: str) -> Flow:
        mnemonic, operands = self.split(mnemonic, operands)
        mnemonic = mnemonic.split(",")[0]
        if self._traps.match(mnemonic):
            return Flow("trap", None)
        if mnemonic in ("ret", "retq"):
            return Flow("return", None)
        if mnemonic in ("call", "callq"):
            if "*" in operands:
                return Flow("indirect-call", None)
            return Flow("call", direct_target(operands))
        if mnemonic in ("jmp", "jmpq"):
            if "*" in operands:
                return Flow("indirect-jump", None)
            return Flow("jump", direct_target(operands))
        if mnemonic.startswith(("j", "loop")) or mnemonic == "xbegin":
            return Flow("branch", direct_target(operands))
        return NEXT

    def jump_table(self, mnemonic: str, operands: str) -> Optional[int]:
        mnemonic, operands = self.split(mnemonic, operands)
        match = re.match(r"\*(-?)(0x[0-9a-f]+|[0-9]+)\(,%r\w+,8\)$", operands.replace(" ", ""))
        if not match:
            return None
        value = int(match.group(2), 0)
        return (-value if match.group(1) else value) & (1 << 64) - 1


_TRUSTED_CLOCK = ("tsc=reliable",)


def _known_clock() -> Tuple[str, ...]:
    frequency = tsc.kilohertz()
    return (f"tsc_early_khz={frequency}", *_TRUSTED_CLOCK, "no_timer_check") if frequency else ()


ARCHITECTURE = Architecture(
    name="x86_64",
    make="x86_64",
    target="bzImage",
    image="arch/x86/boot/bzImage",
    instructions=X86(),
    cross="x86_64-linux-gnu-",
    fragments=("remote", "samples", "modules"),
    runs_host_programs=True,
    aliases=("x86",),
    qemu="qemu-system-x86_64",
    qemu_options=("-machine", "pc", "-cpu", "max"),
    # This machine has neither ACPI nor a keyboard controller that could restart it. A triple fault restarts it.
    qemu_options_without_pci=("-machine", "microvm,acpi=off,isa-serial=on,rtc=on", "-cpu", "max"),
    args_without_pci=("reboot=triple",),
    # On QEMU's older machine, ACPI code with a loop lists the interrupts of devices. Such kernels take longer for it than
    # the kernel's limit for a loop, so devices have no interrupts.
    large_options=("-machine", "q35"),
    kernel_args=("earlycon=uart8250,io,0x3f8",),
    # KASAN computes where memory begins from whether the CPU has page tables of five levels, which QEMU's CPU has. At
    # boot the kernel clears the features of the CPU for a moment before it detects them again (identify_cpu()). During
    # that moment KASAN would report every address that an interrupt uses.
    option_args={"CONFIG_KASAN": ("no5lvl",)},
    trusted_clock=_TRUSTED_CLOCK,
    known_clock=_known_clock,
    native="x86_64",
    patches_by_breakpoint=True,
    read_call="__x64_sys_read",
)
