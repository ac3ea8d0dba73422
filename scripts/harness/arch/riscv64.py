# SPDX-License-Identifier: GPL-2.0
"""
64-bit RISC-V, as QEMU's virtual machine.
"""

import re
from typing import Optional, Tuple

from .base import Architecture
from .instructions import NEXT, Flow, Instructions, Stored, direct_target


class Riscv(Instructions):
    name = "riscv64"
    machine = 243
    relaxes = True
    alternatives = ("__alt_start", "__alt_end", ".alternative", 16, "<H", 10)
    stack, frame = "sp", "s0"
    _place = re.compile(r"(-?(?:0x)?[0-9a-f]*)\((\w+)\)$")

    def sets_frame(self, text: str) -> bool:
        return bool(re.match(r"(c\.)?addi(4spn)? s0, ?sp,", text))

    def stored(self, mnemonic: str, operands: str) -> Optional[Stored]:
        mnemonic = mnemonic.removeprefix("c.")
        place = self._place.search(operands)
        if mnemonic.startswith(("amo", "sc.")):
            return Stored(operands[operands.rfind("(") + 1:-1], False, operands)
        if not place or mnemonic not in ("sb", "sh", "sw", "sd", "sdsp", "swsp", "fsd", "fsw"):
            return None
        return Stored(place[2], mnemonic == "sd" and place[1] in ("", "0", "0x0"), place[0])

    def loaded(self, mnemonic: str, operands: str) -> Optional[Tuple[str, str]]:
        place = self._place.search(operands)
        return (operands.split(",", maxsplit=1)[0], place[0]) if place and mnemonic.removeprefix("c.") == "ld" else None

    def orders_stores(self, mnemonic: str, operands: str) -> bool:
        before, _, behind = operands.replace(" ", "").partition(",")
        return mnemonic == "fence" and (not operands or ("w" in before and "w" in behind))

    _traps = {"ebreak", "c.ebreak", "ecall", "unimp", "c.unimp", "mret", "sret", "<unknown>", ".word",
              ".short", ".2byte", ".4byte"}
    _branches = {"beq", "bne", "blt", "bge", "bltu", "bgeu", "beqz", "bnez", "bltz", "bgez", "blez", "bgtz",
                 "bgt", "ble", "bgtu", "bleu"}

    def flow(self, mnemonic: str, operands: str) -> Flow:
        if mnemonic in self._traps:
            return Flow("trap", None)
        if mnemonic.startswith("c."):
            mnemonic = mnemonic[2:]
        if mnemonic == "ret":
            return Flow("return", None)
        if mnemonic == "j":
            return Flow("jump", direct_target(operands))
        if mnemonic == "jal":
            link = operands.split(",", maxsplit=1)[0].strip() if "," in operands else "ra"
            return Flow("jump" if link == "zero" else "call", direct_target(operands))
        if mnemonic == "jr":
            return Flow("return" if operands.strip() == "ra" else "indirect-jump", None)
        if mnemonic == "jalr":
            link = operands.split(",", maxsplit=1)[0].strip() if "," in operands else "ra"
            return Flow("indirect-jump" if link == "zero" else "indirect-call", None)
        if mnemonic in self._branches:
            return Flow("branch", direct_target(operands))
        return NEXT


ARCHITECTURE = Architecture(
    name="riscv64",
    make="riscv",
    target="Image",
    image="arch/riscv/boot/Image",
    instructions=Riscv(),
    cross="riscv64-linux-gnu-",
    fragments=("remote", "samples"),
    compiler="riscv64-linux-gnu-gcc",
    headers="riscv",
    rust_target="riscv64gc-unknown-linux-gnu",
    aliases=("riscv",),
    setup_part="riscv64",
    qemu="qemu-system-riscv64",
    qemu_options=("-machine", "virt", "-cpu", "rv64"),
    serial_bus="virtio-serial-device",
    kernel_args=("earlycon",),
    debian="riscv64",
    native="riscv64",
    read_call="__riscv_sys_read",
)
