# SPDX-License-Identifier: GPL-2.0
"""
Counts the instructions that the implementation in Rust runs, and compares the counts with a list (counts.json).

A user program (counts.c), linked with the kernel's own object files, counts the instructions on machines that can run
the code. For every kernel, paths.py counts the shortest paths through the hooks in the disassembly.

The list has counts for each combination of an architecture, a rustc, a C compiler and the options that change the code.
A kernel that is not in the list is checked only against the bounds that hold for all kernels.
"""

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Tuple

from .. import kconfig, programs
from ..arch import ARCHITECTURES
from ..hostlib import BUILD, SCRIPTS, die, shown
from . import hooks, paths

SOURCE = SCRIPTS / "bench/counts.c"
LIST = SCRIPTS / "bench/counts.json"
OUT = BUILD / "bench/counts"
SECTION = "kcov_code"
# The names of the figures of paths.py begin with this.
PATH = "path."
RENEW = "scripts/bench.py --update-counts"
# The machine whose code counts.c can step through.
MACHINE = "x86_64"
# User-mode Linux also has the options of the processor that it runs on.
OPTION_OF = {"um": "UML", "x86_64": "X86_64", "arm64": "ARM64", "riscv64": "RISCV"}
# Options that change the code of the hooks, or the code that starts and stops sections.
OPTIONS = (
    "CALL_PADDING CC_OPTIMIZE_FOR_SIZE FRAME_POINTER JUMP_LABEL KASAN KCOV_ENABLE_COMPARISONS KCOV_GENERIC_ARCH "
    "KCOV_KUNIT_TEST KCOV_PATCHED_ENTRY KCOV_SELFTEST KCOV_UNIQUE MITIGATION_RETHUNK PREEMPT_RT RUST_DEBUG_ASSERTIONS "
    "RUST_INLINE_HELPERS RUST_OVERFLOW_CHECKS SMP X86_KERNEL_IBT"
).split()
OFFSET = re.compile(r"pub\(crate\) const (\w+): usize = (\d+);")

Counts = Dict[str, int]


@dataclass(frozen=True)
class Kernel:
    """The facts, apart from the code, that the counts depend on."""

    arch: str
    rustc: str
    compiler: str
    options: Tuple[str, ...]

    @staticmethod
    def of(obj: Path) -> "Kernel":
        config = kconfig.of_objects(obj)
        arch = next((name for name, option in OPTION_OF.items() if config.get(f"CONFIG_{option}") == "y"), "")
        rustc = re.search(r"rustc \d+\.\d+\.\d+", config.get("CONFIG_RUSTC_VERSION_TEXT", ""))
        if not arch or not rustc:
            die(f"the kernel in {shown(obj)} was built without Rust.")
            raise AssertionError
        clang = config.get("CONFIG_CC_IS_CLANG") == "y"
        version = int(config["CONFIG_CLANG_VERSION" if clang else "CONFIG_GCC_VERSION"])
        options = tuple(option for option in OPTIONS if config.get(f"CONFIG_{option}") == "y")
        return Kernel(arch, rustc[0], f"{'clang' if clang else 'gcc'} {version // 10000}", options)

    def __str__(self) -> str:
        return f"{self.arch}, {self.rustc}, {self.compiler}"


def runs_here(kernel: Kernel) -> bool:
    """Returns True if this machine can run the kernel's code in a user program."""
    return ARCHITECTURES[kernel.arch].instructions.name == MACHINE == os.uname().machine


def with_section(source: Path, target: Path) -> Path:
    """Copies an object file with all its code in one section, so that a program knows where the code begins and ends."""
    headers = subprocess.run(["objdump", "-h", "-w", str(source)], stdout=subprocess.PIPE, check=False).stdout.decode()
    code = [line.split()[1] for line in headers.splitlines() if " CODE" in line or line.endswith("CODE")]
    if not code:
        die(f"objdump finds no code in {shown(source)}.")
    command = ["objcopy", *(f"--rename-section={name}={SECTION}" for name in code), str(source), str(target)]
    subprocess.run(command, check=True)
    return target


def link(obj: Path) -> Path:
    """Links the counting program with the object files of a kernel."""
    kernel = Kernel.of(obj)
    out = OUT / kernel.arch
    out.mkdir(parents=True, exist_ok=True)
    offsets = obj / "kernel/kcov/generated_offsets.rs"
    if not offsets.exists():
        die(f"there is no {shown(offsets)}: the kernel was not built with KCOV in Rust.")
    options = [f"-DAT_{name}={value}" for name, value in OFFSET.findall(offsets.read_text(encoding="utf-8"))]
    options += [f"-DCONFIG_{option}" for option in kernel.options]
    options += ["-DUML"] if kernel.arch == "um" else []
    header = programs.tree_of(obj) / "include/uapi/linux/kcov.h"
    options.append(f'-DKCOV_H="{header}"')
    implementation = with_section(hooks.objects("rust", obj)[0], out / "kcov.o")
    crates = [obj / "rust/kernel.o", obj / "rust/core.o"]
    return hooks.link_program(out / "counts", options, [SOURCE, implementation, *crates])


def count(obj: Path) -> Counts:
    """Returns all figures of a kernel that this machine can measure."""
    return {**paths.count(obj / "vmlinux"), **(run(obj) if runs_here(Kernel.of(obj)) else {})}


def run(obj: Path) -> Counts:
    """Returns the figures that the program counts."""
    program = link(obj)
    result = subprocess.run([str(program)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if result.returncode:
        reason = result.stderr.decode(errors="replace").strip() or f"status {result.returncode}"
        die(f"counting with {shown(program)} failed: {reason}")
    return {name: int(number) for name, number in (line.split() for line in result.stdout.decode().splitlines())}


def listed(kernel: Kernel, entries: List[Dict[str, object]]) -> Optional[Counts]:
    """Returns the counts of a kernel from the list."""
    found = [entry for entry in entries if entry_is_for(kernel, entry)]
    return found[0]["counts"] if found else None  # type: ignore[return-value]


def entry_is_for(kernel: Kernel, entry: Dict[str, object]) -> bool:
    options = tuple(str(entry["options"]).split())
    return (entry["arch"], entry["rustc"], entry["compiler"], options) == (
        kernel.arch,
        kernel.rustc,
        kernel.compiler,
        kernel.options,
    )


def read_list() -> List[Dict[str, object]]:
    return list(json.loads(LIST.read_text(encoding="utf-8")))


def update(obj: Path) -> Kernel:
    """Counts, and writes the counts of a kernel to the list."""
    kernel, counts = Kernel.of(obj), count(obj)
    entries = [entry for entry in read_list() if not entry_is_for(kernel, entry)]
    entries.append(
        {
            "arch": kernel.arch,
            "rustc": kernel.rustc,
            "compiler": kernel.compiler,
            "options": " ".join(kernel.options),
            "counts": counts,
        }
    )
    entries.sort(key=lambda entry: [str(entry[name]) for name in ("arch", "rustc", "compiler", "options")])
    LIST.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    return kernel


def differences(kernel: Kernel, seen: Counts, expected: Counts) -> Iterator[str]:
    """Yields a sentence for each figure that differs from the list."""
    for name in sorted({*seen, *expected}):
        if name not in expected:
            yield f"{name}: {seen[name]}, and the list has no such figure"
        elif name in seen and seen[name] != expected[name]:
            yield f"{name}: {seen[name]}; the list has {expected[name]}"
        # A machine of another architecture can count only the paths.
        elif name not in seen and (runs_here(kernel) or name.startswith(PATH)):
            yield f"{name}: was not counted; the list has {expected[name]}"


def hooks_of(counts: Counts) -> Dict[str, Counts]:
    """Returns the counts of each hook by state."""
    states: Dict[str, Counts] = {}
    for name, number in counts.items():
        hook, _, state = name.removeprefix(PATH).partition(".")
        if hook.startswith("trace_"):
            key = f"{PATH}{state}" if name.startswith(PATH) else state
            states.setdefault(hook, {})[key] = number
    return states


def broken_bounds(kernel: Kernel, seen: Counts) -> Iterator[str]:
    """Yields a sentence for each figure that is out of bounds for every kernel."""
    if not hooks_of(seen):
        yield "no hook was counted"
    for hook, of in hooks_of(seen).items():
        if not of[f"{PATH}on"] < of[f"{PATH}collecting"]:
            yield f"{PATH}{hook}.on: {of[f'{PATH}on']}, which is not less than on the path that records"
        if runs_here(kernel):
            yield from broken_hook_bounds(kernel, hook, of)
    # Missing figures are not checked: the machine could not count them.
    for name in (f"{call}.{state}.calls" for call in ("start", "stop") for state in ("zero", "unknown")):
        if seen.get(name, 0 if not runs_here(kernel) else None) != 0:
            yield f"{name}: {seen.get(name)}; a section that is not collected calls no function"


def broken_hook_bounds(kernel: Kernel, hook: str, of: Counts) -> Iterator[str]:
    # With IBT, the instruction that marks the target of an indirect call precedes the return.
    return_only = 2 if "X86_KERNEL_IBT" in kernel.options else 1
    if "KCOV_PATCHED_ENTRY" in kernel.options and of["off"] != return_only:
        yield f"{hook}.off: {of['off']}; a hook with a patched entry runs {return_only}"
    if of["off"] > of["on"]:
        yield f"{hook}.off: {of['off']}, more than the {of['on']} while another task collects"
    # The disassembly does not contain the number of cases.
    for state in ("on",) if hook == "trace_switch" else ("on", "collecting"):
        if of[state] != of[PATH + state]:
            yield f"{hook}.{state}: {of[state]} ran, but the shortest path in the kernel has {of[PATH + state]}"


def lines(seen: Counts) -> str:
    """Formats all counts, one hook or function per line."""
    groups: Dict[str, List[str]] = {}
    for name, number in seen.items():
        group, _, state = name.removeprefix(PATH).partition(".")
        group = f"{PATH if name.startswith(PATH) else ''}{group}"
        groups.setdefault(group, []).append(f"{state} {number}")
    return "\n".join(f"{group}: {', '.join(states)}" for group, states in groups.items())
