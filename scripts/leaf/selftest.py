# SPDX-License-Identifier: GPL-2.0
"""
The test of the check itself, with the programs in cases.py. A check that has never failed proves nothing.
"""

import os
import re
import shutil
import subprocess
import tempfile
from typing import Any, Dict

from . import Misuse
from .cases import CASES, OFFSET_CONSTANTS, REST
from .check import check
from .image import Image
from .publish import OFFSETS

_FLAGS = ("-O2 -ffreestanding -fno-pic -fno-pie -fcf-protection=none -fno-asynchronous-unwind-tables "
          "-mgeneral-regs-only -mno-red-zone -fno-stack-protector -w").split()


def compilers():
    """Returns every installed C compiler that makes x86_64 programs."""
    names = ["gcc", "x86_64-linux-gnu-gcc", "clang"] + [f"clang-{version}" for version in range(30, 13, -1)]
    kinds: Dict[Any, Any] = {}
    for name in names:
        path = shutil.which(name)
        if not path:
            continue
        command = [path] + (["--target=x86_64-linux-gnu"] if "clang" in name else [])
        test = subprocess.run(command + ["-dumpmachine"], stdout=subprocess.PIPE, universal_newlines=True,
                              stderr=subprocess.DEVNULL, check=False)
        if test.returncode == 0 and test.stdout.startswith("x86_64"):
            kinds.setdefault("clang" if "clang" in name else "gcc", command)
    if not kinds:
        raise Misuse("the self-test needs a C compiler for x86_64; install gcc or clang.")
    return kinds


def _run(command):
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True,
                         check=False)
    if run.returncode:
        raise Misuse(f"the self-test's program cannot be built ({' '.join(command)}):\n{run.stdout}")


def build(compiler, directory, case):
    """Builds the program of one case; returns the paths of the program and of the object."""
    paths = {}
    for name, text in (("kcov", case.source), ("rest", REST)):
        source = os.path.join(directory, name + ".c")
        with open(source, "w", encoding="ascii") as file:
            file.write(text)
        paths[name] = os.path.join(directory, name + ".o")
        flags = _FLAGS + (case.flags.split() if name == "kcov" else [])
        _run(compiler + flags + ["-c", source, "-o", paths[name]])
    if "kcov_remote_start" in case.source:
        with open(os.path.join(directory, OFFSETS), "w", encoding="ascii") as file:
            file.write(OFFSET_CONSTANTS)
    program = os.path.join(directory, "vmlinux")
    _run(compiler + ["-nostdlib", "-static", "-no-pie", "-Wl,-e,_start", "-Wl,--build-id=none",
                     paths["rest"], paths["kcov"], "-o", program])
    return program, paths["kcov"]


def run_case(compiler, case, objdump=None):
    """Builds and checks one case; returns (as expected?, findings)."""
    with tempfile.TemporaryDirectory() as directory:
        program, kcov = build(compiler, directory, case)
        return judge(program, kcov, case, objdump)


def judge(program, kcov, case, objdump=None):
    """Checks the program of one case; returns (as expected?, findings)."""
    _, _, violations = check(Image(program, [kcov], objdump))
    reasons = [f"{v.place}: {v.reason}" for v in violations]
    if case.expect is None:
        return not violations, "; ".join(reasons) or "passes"
    hit = [reason for reason in reasons if re.search(case.expect, reason)]
    return bool(hit), hit[0] if hit else "NOT CAUGHT " + "; ".join(reasons)


def self_test(objdump=None):
    failed = total = 0
    for kind, compiler in compilers().items():
        for case in CASES:
            good, found = run_case(compiler, case, objdump)
            total += 1
            failed += not good
            print(f"{'ok    ' if good else 'FAILED'} {kind:5} {'good' if case.expect is None else 'bad '} "
                  f"{case.name}: {found}")
    print(f"\n{total} programs, {failed} with a wrong result")
    return 1 if failed else 0
