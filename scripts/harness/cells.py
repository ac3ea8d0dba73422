# SPDX-License-Identifier: GPL-2.0
"""
The cells of the matrix: compilers, architectures and options with which KCOV must work, and the combinations that the
kernel's tree itself forbids.
"""

from dataclasses import dataclass
from typing import Dict, Tuple


@dataclass(frozen=True)
class Cell:
    """A kernel that is built, booted and checked."""

    name: str
    title: str
    # `OPTION=value` for each option that differs from the default kernel of the architecture.
    options: str = ""
    arch: str = "x86_64"
    # The value of the variable LLVM; empty: the default clang.
    llvm: str = ""
    # The version of bindgen as in the variable KCOV_BINDGEN; empty: the default.
    bindgen: str = ""
    # An older series of Linux; empty: the default.
    series: str = ""
    # Names of modules in scripts/checks.
    checks: Tuple[str, ...] = ("leaf", "conformance")
    # Programs of the conformance suite for which the cell exists: none of their tests may be skipped.
    unskipped: Tuple[str, ...] = ()
    # Programs that the build needs in addition to those of the architecture; see setup.sh.
    needs: Tuple[str, ...] = ()


@dataclass(frozen=True)
class Forbidden(Cell):
    """A combination that Kconfig does not accept because of `line` in `file`."""

    file: str = ""
    line: str = ""
    # The option to which the line belongs.
    option: str = ""


def values(cell: Cell) -> Dict[str, str]:
    """Returns the options of a cell in the form of a fragment."""
    pairs = (word.split("=", 1) for word in cell.options.split())
    return {f"CONFIG_{name}": value for name, value in pairs}


# Options that protect kernels on real machines from attacks on the CPU. QEMU's CPU does not need them, so a parameter
# tells the kernel that it does. Functions then return through a thunk, including hooks while they are closed.
MITIGATIONS = (
    "CPU_MITIGATIONS=y MITIGATION_RETPOLINE=y MITIGATION_RETHUNK=y MITIGATION_UNRET_ENTRY=y "
    'X86_KERNEL_IBT=y CMDLINE_BOOL=y CMDLINE="retbleed=unret,force"'
)
# Without the first option KCSAN waits until it is switched on; the others are the usual ones.
KCSAN = (
    "KCSAN=y KCSAN_EARLY_ENABLE=y KCSAN_SELFTEST=y KCSAN_ASSUME_PLAIN_WRITES_ATOMIC=y KCSAN_REPORT_VALUE_CHANGE_ONLY=y"
)
OBJECTS = "DEBUG_OBJECTS=y DEBUG_OBJECTS_FREE=y DEBUG_OBJECTS_TIMERS=y DEBUG_OBJECTS_WORK=y DEBUG_OBJECTS_RCU_HEAD=y"
KMEMLEAK = (
    "DEBUG_KMEMLEAK=y DEBUG_KMEMLEAK_MEM_POOL_SIZE=40000 DEBUG_KMEMLEAK_AUTO_SCAN=n SAMPLE_KMEMLEAK=m"
)
LOCKS = f"PROVE_LOCKING=y DEBUG_ATOMIC_SLEEP=y {OBJECTS} {KMEMLEAK}"
# A radio needs an algorithm that chooses the rate of a transmission.
RADIOS = "WIRELESS=y CFG80211=y MAC80211=y MAC80211_RC_MINSTREL=y WLAN=y MAC80211_HWSIM=y"
# Every subsystem of the tree that has annotated sections and is not in the default kernels.
ANNOTATED = (
    f"BT=y BT_HCIVHCI=y NFC=y NFC_NCI=y NFC_VIRTUAL_NCI=y {RADIOS} USBIP_CORE=y USBIP_VHCI_HCD=y"
)
FAULTS = (
    "FAULT_INJECTION=y FAILSLAB=y FAIL_PAGE_ALLOC=y FAULT_INJECTION_USERCOPY=y FAULT_INJECTION_DEBUG_FS=y "
    f"DEBUG_ATOMIC_SLEEP=y {KMEMLEAK}"
)
MODULES = "SAMPLE_KCOV_MODULE=m SAMPLE_KCOV_RUST_MODULE=m"
# Cells that `make test` does not cover.
MORE = ("leaf", "conformance", "unique", "kunit", "samples")
KASAN = "KASAN=y KASAN_GENERIC=y KASAN_INLINE=y KASAN_VMALLOC=y FRAME_WARN=0"

CELLS: Tuple[Cell, ...] = (
    Cell("clang", "clang"),
    Cell("gcc", "GCC", llvm="gcc"),
    # bindgen before 0.72.1 does not work with libclang 22 and later.
    Cell("bindgen-0.71.1", "the oldest bindgen", llvm="-19", bindgen="0.71.1"),
    Cell("bindgen-0.72.1", "bindgen 0.72.1", bindgen="0.72.1"),
    Cell("bindgen-newest", "the newest bindgen", bindgen="newest"),
    Cell("linux-7.2", "Linux 7.2", series="7.2"),
    Cell("um", "user-mode Linux", arch="um", checks=MORE),
    # On this kernel a hook calls the part that talks to the host to get the number of its CPU.
    Cell("um-smp", "user-mode Linux with several CPUs", "SMP=y", arch="um", checks=MORE[1:]),
    Cell("arm64", "arm64", arch="arm64", checks=MORE),
    # The architecture decides where modules are loaded, and a set of PCs depends on that.
    Cell("arm64-modules", "arm64 with loadable modules", MODULES, arch="arm64", checks=("conformance",)),
    Cell("riscv64", "riscv64", arch="riscv64", checks=MORE),
    # The C functions are outside the object, so the hooks of this kernel are not leaves.
    Cell("generic", "no code for the architecture", "KCOV_GENERIC_ARCH=y", arch="um", checks=("conformance",)),
    Cell("rt", "PREEMPT_RT", "PREEMPT_RT=y PREEMPT_DYNAMIC=n"),
    Cell(
        "rt-kasan",
        "PREEMPT_RT with KASAN, lists, objects, all annotated subsystems",
        f"PREEMPT_RT=y PREEMPT_DYNAMIC=n {KASAN} DEBUG_LIST=y {OBJECTS} {ANNOTATED}",
        unskipped=("hwsim_test",),
    ),
    Cell(
        "faults",
        "failing allocations and user copies, kmemleak",
        FAULTS,
        checks=("conformance",),
        unskipped=("faults_test",),
    ),
    Cell(
        "hwsim",
        "simulated radios, lockdep",
        f"PROVE_LOCKING=y DEBUG_ATOMIC_SLEEP=y {RADIOS}",
        checks=("conformance",),
        unskipped=("hwsim_test",),
    ),
    Cell(
        "hotplug",
        "CPU hotplug with KASAN and lockdep",
        f"PROVE_LOCKING=y DEBUG_ATOMIC_SLEEP=y {OBJECTS} {KASAN}",
        unskipped=("hotplug_test",),
    ),
    Cell("full-lto", "full LTO", "LTO_CLANG_FULL=y"),
    Cell("gcc-mitigations", "mitigations with GCC", f"{MITIGATIONS} MITIGATION_CALL_DEPTH_TRACKING=y", llvm="gcc"),
    Cell("preempt", "full preemption", "PREEMPT=y PREEMPT_DYNAMIC=n"),
    Cell("kasan-stack", "KASAN, generic, of the stack too", f"{KASAN} KASAN_STACK=y"),
    Cell("kcsan", "KCSAN", KCSAN),
    Cell("kmsan", "KMSAN", "KMSAN=y FRAME_WARN=0"),
    Cell("ubsan", "UBSAN", "UBSAN=y UBSAN_BOUNDS=y UBSAN_SHIFT=y UBSAN_BOOL=y UBSAN_ENUM=y"),
    Cell("locks", "lockdep, atomic sleep, objects, kmemleak", LOCKS),
    Cell("cfi", "CFI and IBT", "CFI=y X86_KERNEL_IBT=y"),
    # Functions have 16 bytes in front of them, where calls are counted. The entry of a hook is still patched.
    Cell("mitigations", "mitigations", f"{MITIGATIONS} MITIGATION_CALL_DEPTH_TRACKING=y"),
    # There are 11 bytes in front of functions, and the entry is not patched. QEMU's CPU has no IBT, so the kernel uses
    # CFI as clang makes it.
    Cell("fineibt", "CFI with room for FineIBT", f"CFI=y {MITIGATIONS}"),
    Cell("lto", "ThinLTO", "LTO_CLANG_THIN=y"),
    Cell("inline-helpers", "RUST_INLINE_HELPERS", "RUST_INLINE_HELPERS=y"),
    Cell("modules", "loadable modules", MODULES, checks=("leaf", "conformance", "modules")),
    Cell(
        "modversions",
        "MODVERSIONS with GENDWARFKSYMS",
        f"MODVERSIONS=y GENDWARFKSYMS=y {MODULES}",
        checks=("leaf", "conformance", "modules"),
        needs=("symbols",),
    ),
    Cell("no-kaslr", "without KASLR", "RANDOMIZE_BASE=n"),
    Cell("one-cpu", "one CPU, without SMP", "SMP=n NR_CPUS=1"),
    # Without the tests, nothing uses the code that writes comparisons. The compiler must not warn about it.
    Cell("no-comparisons", "without comparisons", "KCOV_ENABLE_COMPARISONS=n KCOV_KUNIT_TEST=n"),
    Cell("no-unique", "without unique coverage", "KCOV_UNIQUE=n", checks=("leaf", "conformance", "kunit")),
    Cell("no-instrument-all", "without INSTRUMENT_ALL", "KCOV_INSTRUMENT_ALL=n"),
    Cell("frame-pointer", "frame pointers", "UNWINDER_FRAME_POINTER=y UNWINDER_ORC=n"),
    Cell(
        "tracing",
        "ftrace and kprobes",
        "FTRACE=y FUNCTION_TRACER=y DYNAMIC_FTRACE=y KPROBES=y KPROBE_EVENTS=y IRQSOFF_TRACER=y PREEMPT=y PREEMPT_TRACER=y",
        checks=("leaf", "conformance", "tracing"),
        unskipped=("preemptirq_test",),
    ),
    Forbidden(
        "preempt-none",
        "no preemption",
        "PREEMPT_NONE=y PREEMPT_DYNAMIC=n",
        file="kernel/Kconfig.preempt",
        line="depends on ARCH_NO_PREEMPT",
        option="PREEMPT_NONE",
    ),
    Forbidden(
        "gcc-kasan",
        "GCC with KASAN",
        KASAN,
        llvm="gcc",
        file="init/Kconfig",
        line="depends on !KASAN || CC_IS_CLANG",
        option="RUST",
    ),
    Forbidden(
        "gcc-lto",
        "GCC with ThinLTO",
        "LTO_CLANG_THIN=y",
        llvm="gcc",
        file="arch/Kconfig",
        line="depends on CC_IS_CLANG && LD_IS_LLD && AS_IS_LLVM",
        option="HAS_LTO_CLANG",
    ),
    Forbidden(
        "modversions-lto",
        "GENDWARFKSYMS with ThinLTO",
        "MODVERSIONS=y GENDWARFKSYMS=y LTO_CLANG_THIN=y",
        file="kernel/module/Kconfig",
        line="depends on !LTO",
        option="GENDWARFKSYMS",
    ),
    Forbidden(
        "um-inline-helpers",
        "RUST_INLINE_HELPERS in user-mode Linux",
        "RUST_INLINE_HELPERS=y",
        arch="um",
        file="lib/Kconfig.debug",
        line="depends on !UML",
        option="RUST_INLINE_HELPERS",
    ),
    Forbidden(
        "arm64-bti",
        "arm64 with BTI in the kernel, clang 21 and later",
        "ARM64_BTI_KERNEL=y",
        arch="arm64",
        file="arch/arm64/Kconfig",
        line="depends on !CC_IS_CLANG || CLANG_VERSION < 210000",
        option="ARM64_BTI_KERNEL",
    ),
    Forbidden(
        "riscv64-gcc",
        "riscv64 with GCC",
        arch="riscv64",
        llvm="gcc",
        file="arch/riscv/Kconfig",
        line="select HAVE_RUST if RUSTC_SUPPORTS_RISCV && CC_IS_CLANG",
        option="RISCV",
    ),
)
