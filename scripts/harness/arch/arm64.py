# SPDX-License-Identifier: GPL-2.0
"""
arm64, as QEMU's virtual machine.
"""

import re
from typing import Optional, Tuple

from .base import Architecture
from .instructions import NEXT, Flow, Instructions, Stored, direct_target


class Arm64(Instructions):
    name = "arm64"
    machine = 183
    stack, frame = "sp", "x29"
    _place = re.compile(r"(\[[^\]]*\]!?)")

    def sets_frame(self, text: str) -> bool:
        return bool(re.match(r"(mov x29, sp|add x29, sp,.*)$", text))

    def stored(self, mnemonic: str, operands: str) -> Optional[Stored]:
        place = self._place.search(operands)
        if not place or not re.match(r"(st[pnru]|stl|stx|stz|st1|cas|swp|ldadd|ldset|ldclr)", mnemonic):
            return None
        base = re.split(r"[\s,\]]", place[1][1:])[0]
        whole = mnemonic in ("str", "stlr") and re.match(r"x(\d+|zr)\b", operands)
        plain = bool(whole) and re.sub(r",\s*#0(x0)?\]", "]", place[1]) == f"[{base}]" and operands.endswith("]")
        return Stored(base, plain, place[1])

    def loaded(self, mnemonic: str, operands: str) -> Optional[Tuple[str, str]]:
        place = self._place.search(operands)
        return (operands.split(",", maxsplit=1)[0], place[1]) if place and mnemonic in ("ldr", "ldar") else None

    def orders_stores(self, mnemonic: str, operands: str) -> bool:
        return mnemonic in ("dmb", "dsb") and re.match(r"(|sy|st|ish|ishst|osh|oshst)$", operands) is not None

    def releases(self, mnemonic: str) -> bool:
        return mnemonic == "stlr"

    _traps = {"brk", "svc", "hvc", "smc", "hlt", "udf", "eret", "eretaa", "eretab", "<unknown>", ".inst",
              ".word"}

    def flow(self, mnemonic: str, operands: str) -> Flow:
        if mnemonic in self._traps:
            return Flow("trap", None)
        if mnemonic in ("ret", "retaa", "retab"):
            return Flow("return", None)
        if mnemonic == "bl":
            return Flow("call", direct_target(operands))
        if mnemonic.startswith("blr"):
            return Flow("indirect-call", None)
        if re.match(r"br(aa|ab|aaz|abz)?$", mnemonic):
            return Flow("indirect-jump", None)
        if mnemonic == "b":
            return Flow("jump", direct_target(operands))
        if mnemonic.startswith(("b.", "bc.")) or mnemonic in ("cbz", "cbnz", "tbz", "tbnz"):
            return Flow("branch", direct_target(operands))
        return NEXT


ARCHITECTURE = Architecture(
    name="arm64",
    make="arm64",
    target="Image",
    image="arch/arm64/boot/Image",
    instructions=Arm64(),
    cross="aarch64-linux-gnu-",
    fragments=("remote", "samples"),
    compiler="aarch64-linux-gnu-gcc",
    headers="arm64",
    rust_target="aarch64-unknown-linux-gnu",
    setup_part="arm64",
    console="ttyAMA0",
    qemu="qemu-system-aarch64",
    qemu_options=("-machine", "virt", "-cpu", "max,pauth-impdef=on"),
    serial_bus="virtio-serial-device",
    kernel_args=("earlycon",),
    debian="arm64",
    native="aarch64",
    read_call="__arm64_sys_read",
)
