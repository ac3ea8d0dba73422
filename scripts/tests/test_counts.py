#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of counted instructions without a kernel: the list, the bounds, and paths through small hooks."""

import json
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from checks import counts as check
from harness.bench import counts, paths
from harness.checklib import FAILED, PASSED, SKIPPED
from harness.hostlib import Failure

KERNEL = counts.Kernel("x86_64", "rustc 1.95.0", "clang 22", ("KCOV_PATCHED_ENTRY", "SMP"))
SEEN = {
    "path.trace_pc.on": 5,
    "path.trace_pc.collecting": 18,
    "trace_pc.off": 1,
    "trace_pc.on": 5,
    "trace_pc.collecting": 18,
    **{f"{call}.{state}.calls": 0 for call in ("start", "stop") for state in ("zero", "unknown")},
}
HOOKS = [f"trace_{const}cmp{size}" for const in ("", "const_") for size in (1, 2, 4, 8)] + ["trace_pc", "trace_switch"]


def entry(kernel, figures):
    key = {"arch": kernel.arch, "rustc": kernel.rustc, "compiler": kernel.compiler}
    return {**key, "options": " ".join(kernel.options), "counts": figures}


@mock.patch.object(counts, "runs_here", lambda kernel: kernel.arch == "x86_64")
class List(unittest.TestCase):
    def test_nothing_is_different(self):
        self.assertEqual(list(counts.differences(KERNEL, SEEN, dict(SEEN))), [])

    def test_a_difference_has_both_numbers(self):
        found = list(counts.differences(KERNEL, {**SEEN, "trace_pc.on": 6}, SEEN))
        self.assertEqual(found, ["trace_pc.on: 6; the list has 5"])

    def test_figures_come_and_go(self):
        found = list(counts.differences(KERNEL, {"trace_pc.on": 5}, {"trace_pc.off": 1}))
        self.assertEqual(
            found, ["trace_pc.off: was not counted; the list has 1", "trace_pc.on: 5, and the list has no such figure"]
        )

    def test_another_machine_has_the_paths_only(self):
        kernel = counts.Kernel("arm64", "rustc 1.95.0", "clang 22", ())
        seen = {name: number for name, number in SEEN.items() if name.startswith("path.")}
        self.assertEqual(list(counts.differences(kernel, seen, SEEN)), [])
        del seen["path.trace_pc.on"]
        self.assertEqual(len(list(counts.differences(kernel, seen, SEEN))), 1)

    def test_every_part_of_the_key_counts(self):
        entries = [entry(KERNEL, SEEN)]
        self.assertEqual(counts.listed(KERNEL, entries), SEEN)
        for other in (
            counts.Kernel("um", KERNEL.rustc, KERNEL.compiler, KERNEL.options),
            counts.Kernel(KERNEL.arch, "rustc 1.95.1", KERNEL.compiler, KERNEL.options),
            counts.Kernel(KERNEL.arch, KERNEL.rustc, "clang 21", KERNEL.options),
            counts.Kernel(KERNEL.arch, KERNEL.rustc, KERNEL.compiler, ("SMP",)),
        ):
            self.assertIsNone(counts.listed(other, entries), other)

    def test_the_list_is_in_order_and_within_the_bounds(self):
        entries = counts.read_list()
        self.assertTrue(entries)
        keys = [[str(each[name]) for name in ("arch", "rustc", "compiler", "options")] for each in entries]
        self.assertEqual(keys, sorted(keys))
        self.assertEqual(len({tuple(key) for key in keys}), len(keys))
        for each, key in zip(entries, keys):
            kernel = counts.Kernel(*key[:3], tuple(key[3].split()))
            # Counts of machines other than x86-64 may have only paths.
            native = any(not name.startswith("path.") for name in each["counts"])
            with mock.patch.object(counts, "runs_here", lambda kernel, native=native: native):
                self.assertEqual(list(counts.broken_bounds(kernel, each["counts"])), [], key)
            self.assertEqual(sorted(counts.hooks_of(each["counts"])), sorted(HOOKS))

    def test_renewing_replaces_one_entry(self):
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "counts.json"
            other = counts.Kernel("arm64", "rustc 1.95.0", "clang 22", ())
            file.write_text(json.dumps([entry(other, {"trace_pc.on": 9}), entry(KERNEL, {"trace_pc.on": 4})]))
            with mock.patch.object(counts, "LIST", file), mock.patch.object(
                counts, "count", lambda obj: SEEN
            ), mock.patch.object(counts.Kernel, "of", lambda obj: KERNEL):
                counts.update(Path(directory))
                self.assertEqual(counts.listed(KERNEL, counts.read_list()), SEEN)
                self.assertEqual(counts.listed(other, counts.read_list()), {"trace_pc.on": 9})
                self.assertEqual(len(counts.read_list()), 2)


@mock.patch.object(counts, "runs_here", lambda kernel: True)
class Bounds(unittest.TestCase):
    def broken(self, **changes):
        changed = {name.replace("__", "."): number for name, number in changes.items()}
        return list(counts.broken_bounds(KERNEL, {**SEEN, **changed}))

    def test_they_hold(self):
        self.assertEqual(self.broken(), [])

    def test_a_patched_entry_is_a_return(self):
        self.assertEqual(self.broken(trace_pc__off=2), ["trace_pc.off: 2; a hook with a patched entry runs 1"])

    def test_what_is_run_is_the_shortest_path(self):
        found = self.broken(trace_pc__on=6)
        self.assertEqual(found, ["trace_pc.on: 6 ran, but the shortest path in the kernel has 5"])

    def test_recording_costs_something(self):
        self.assertEqual(len(self.broken(path__trace_pc__collecting=5, trace_pc__collecting=5)), 1)

    def test_uncollected_sections_call_nothing(self):
        found = self.broken(stop__zero__calls=1)
        self.assertEqual(found, ["stop.zero.calls: 1; a section that is not collected calls no function"])

    def test_no_hook_at_all(self):
        seen = {name: number for name, number in SEEN.items() if "trace_" not in name}
        self.assertEqual(list(counts.broken_bounds(KERNEL, seen)), ["no hook was counted"])


@mock.patch.object(counts, "runs_here", lambda kernel: True)
class Check(unittest.TestCase):
    def results(self, expected, impls=("rust", "c")):
        context = SimpleNamespace(impls=impls, kernel=lambda impl: Path("/nowhere"))
        with mock.patch.object(counts, "count", lambda obj: SEEN), mock.patch.object(
            counts.Kernel, "of", lambda obj: KERNEL
        ), mock.patch.object(counts, "read_list", lambda: [entry(KERNEL, expected)] if expected else []):
            return {result.name: result for result in check.run(context)}

    def test_as_the_list_has_it(self):
        self.assertEqual(self.results(SEEN)[check.NAME].outcome, PASSED)

    def test_the_failure_names_the_hook_and_the_list(self):
        result = self.results({**SEEN, "trace_pc.on": 4})[check.NAME]
        self.assertEqual(result.outcome, FAILED)
        self.assertIn("trace_pc.on: 5; the list has 4", result.detail)
        self.assertIn("in the commit that changes the code", result.detail)

    def test_a_kernel_that_is_not_listed_is_shown(self):
        result = self.results(None)[check.NAME]
        self.assertEqual(result.outcome, SKIPPED)
        self.assertIn("trace_pc: off 1, on 5, collecting 18", result.detail)

    def test_only_c(self):
        self.assertEqual([result.outcome for result in self.results(SEEN, ("c",)).values()], [SKIPPED])


# A gate with a jump label, the test of a mode, a path without space, which stores one word, and a path that stores two.
LABEL = """
	.pushsection __jump_table, "aw"
	.balign 8
	.long 1b - ., 2f - .
	.quad 0
	.popsection
"""
PROGRAMS = {
    "x86_64": f"""
__sanitizer_cov_trace_pc:
1:	.byte 0x0f, 0x1f, 0x44, 0, 0
{LABEL}	ret
2:	testl $1, (%rdi)
	je 3f
	cmpq %rsi, (%rdi)
	jae 4f
	movq %rcx, (%rdx)
	movq %rax, 8(%rdx)
3:	ret
4:	movq %rcx, 16(%rdx)
	ret
""",
    "aarch64": f"""
__sanitizer_cov_trace_pc:
1:	nop
{LABEL}	ret
2:	ldr w8, [x0]
	cbz w8, 3f
	cmp x1, x8
	b.hs 4f
	str x2, [x3]
	str x4, [x3, #8]
3:	ret
4:	str x2, [x3, #16]
	ret
""",
    "riscv64": f"""
__sanitizer_cov_trace_pc:
	.option norvc
1:	nop
{LABEL}	ret
2:	lw a5, 0(a0)
	beqz a5, 3f
	mv a6, a6
	bgeu a1, a5, 4f
	sd a2, 0(a3)
	sd a4, 8(a3)
3:	ret
4:	sd a2, 16(a3)
	ret
""",
}
EXPECTED = {"path.trace_pc.off": 2, "path.trace_pc.on": 4, "path.trace_pc.collecting": 8}
HEAD = ".text\n.globl __sanitizer_cov_trace_pc, _start\n.type __sanitizer_cov_trace_pc, %function\n_start:\n"
TAIL = "\n.size __sanitizer_cov_trace_pc, . - __sanitizer_cov_trace_pc\n"


class Paths(unittest.TestCase):
    def count(self, machine, source):
        names = [f"-{version}" for version in range(40, 13, -1)] + [""]
        found = [name for name in names if shutil.which(f"clang{name}") and shutil.which(f"ld.lld{name}")]
        if not found:
            self.skipTest("no clang with ld.lld")
        with tempfile.TemporaryDirectory() as directory:
            root = Path(directory)
            (root / "kernel/kcov").mkdir(parents=True)
            (root / "hook.s").write_text(HEAD + source + TAIL)
            target = root / "kernel/kcov/kcov.o"
            command = [f"clang{found[0]}", f"--target={machine}-linux-gnu", "-c", str(root / "hook.s")]
            subprocess.run([*command, "-o", str(target)], check=True)
            link = [f"ld.lld{found[0]}", "-static", "--no-relax", str(target), "-o", str(root / "vmlinux")]
            subprocess.run(link, check=True)
            return paths.count(root / "vmlinux")

    def test_every_machine(self):
        for machine, source in PROGRAMS.items():
            with self.subTest(machine):
                self.assertEqual(self.count(machine, source), EXPECTED)

    def test_one_more_instruction(self):
        for machine, source in PROGRAMS.items():
            with self.subTest(machine):
                longer = self.count(machine, source.replace("2:", "2:\tnop\n"))
                self.assertEqual(longer, {**EXPECTED, "path.trace_pc.on": 5, "path.trace_pc.collecting": 9})

    def test_a_hook_that_does_not_record(self):
        source = "__sanitizer_cov_trace_pc:\n\tret\n"
        with self.assertRaisesRegex(Failure, "no path for the state 'collecting'"):
            self.count("x86_64", source)


if __name__ == "__main__":
    unittest.main()
