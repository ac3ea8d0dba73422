# SPDX-License-Identifier: GPL-2.0
"""Tests of the leaf check: it detects every deliberately bad program, and every good program passes."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from types import SimpleNamespace

from harness.arch.arm64 import Arm64
from harness.arch.instructions import Flow
from harness.arch.riscv64 import Riscv
from harness.arch.x86_64 import X86
from leaf import Misuse, cases, machine, order, publish, selftest
from leaf.check import check
from leaf.elf import STB_GLOBAL, STT_FUNC, Symbol
from leaf.helpers import instrumented_calls
from leaf.image import Image, Insn
from leaf.walk import HOOKS_CMP
from tests import slow

SCRIPTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def compilers():
    try:
        return selftest.compilers()
    except Misuse as misuse:
        raise unittest.SkipTest(str(misuse)) from misuse


def case(name):
    return next(c for c in cases.CASES if c.name == name)


class Helpers(unittest.TestCase):
    IR = """
define dso_local void @__sanitizer_cov_trace_pc() unnamed_addr #7 {
  call void @"weird name"()
  %3 = tail call i64 @rust_helper_get(ptr @__sanitizer_cov_trace_pc) #52
}
define internal i64 @rust_helper_get(ptr %0) {
  call void @__sanitizer_cov_trace_pc() #52
  %2 = musttail call i64 @__asan_load8(i64 %1)
}
declare void @__sanitizer_cov_trace_cmp4(i32, i32)
"""

    def test_inserted_calls_are_found(self):
        found = [(function, callee) for function, callee, _ in instrumented_calls(self.IR)]
        self.assertEqual(found, [("rust_helper_get", "__sanitizer_cov_trace_pc"), ("rust_helper_get", "__asan_load8")])


class Programs(unittest.TestCase):
    @slow
    def test_every_case_with_every_disassembler(self):
        tools = [None] + [tool for tool in ("objdump",) if shutil.which(tool)]
        for kind, compiler in compilers().items():
            for one in cases.CASES:
                with tempfile.TemporaryDirectory() as directory:
                    program, kcov = selftest.build(compiler, directory, one)
                    for tool in tools:
                        with self.subTest(compiler=kind, objdump=tool or "default", case=one.name):
                            good, found = selftest.judge(program, kcov, one, tool)
                            self.assertTrue(good, found)

    def test_self_test_fails_when_a_bad_program_is_not_caught(self):
        for wrong in (case("all hooks, inlined")._replace(expect="calls"), case("indirect call")._replace(expect=None)):
            saved, selftest.CASES = selftest.CASES, [wrong]
            try:
                compilers()
                output = io.StringIO()
                with contextlib.redirect_stdout(output):
                    self.assertEqual(selftest.self_test(), 1)
                self.assertIn("FAILED", output.getvalue())
            finally:
                selftest.CASES = saved

    def test_way_names_every_function(self):
        with tempfile.TemporaryDirectory() as directory:
            program, kcov = selftest.build(next(iter(compilers().values())), directory,
                                           case("panic in a helper function"))
            _, _, violations = check(Image(program, [kcov]))
        way = next(v for v in violations if "panic" in v.reason).path
        self.assertEqual(way[0], "__sanitizer_cov_trace_pc")
        self.assertRegex(way[1], r"^__sanitizer_cov_trace_pc\+0x\w+ -\(\w+\)-> helper")

    def test_all_hooks_are_checked(self):
        with tempfile.TemporaryDirectory() as directory:
            program, kcov = selftest.build(next(iter(compilers().values())), directory,
                                           case("all hooks, with a helper function"))
            hooks, _, _ = check(Image(program, [kcov]))
        self.assertEqual({hook["hook"] for hook in hooks}, {"__sanitizer_cov_trace_pc"} | set(HOOKS_CMP))
        self.assertEqual({hook["order"] for hook in hooks}, {"count first"})
        self.assertTrue(any(len(hook["functions"]) > 1 for hook in hooks))


class Bounds(unittest.TestCase):
    """The knowledge about a value that differs between the paths that meet."""

    @staticmethod
    def merged(first, *later):
        state = machine.State({"rax": first}, {}, {}, order._NONE)
        changes = []
        for value in later:
            bounds = dict(state.bounds)
            changes.append(state.merge(machine.State({"rax": value(state.regs["rax"])}, {}, {}, order._NONE, bounds),
                                       "head"))
        return machine.lower_bound(state.regs["rax"], state.bounds), state, changes

    def test_loop_upwards(self):
        start, step = machine.plus(machine.opaque("area"), machine.constant(8)), machine.constant(32)
        lowest, _, changes = self.merged(start, *[lambda old: machine.plus(old, step)] * 3)
        self.assertEqual(lowest, (start, 32))
        self.assertEqual(changes, [True, False, False])

    def test_steps_of_different_sizes(self):
        steps = [machine.constant(number) for number in (32, 64, 40)]
        lowest, _, _ = self.merged(machine.constant(),
                                   *[lambda old, step=step: machine.plus(old, step) for step in steps])
        self.assertEqual(lowest, (machine.constant(), 8))

    def test_no_bound(self):
        start = machine.opaque("area")
        for later in (lambda old: machine.plus(old, machine.constant(-32)), lambda old: machine.opaque("other")):
            lowest, state, changes = self.merged(start, *[later] * 4)
            self.assertEqual(lowest, (state.regs["rax"], 0))
            self.assertNotIn("area", dict(lowest.base[0]))
            self.assertFalse(changes[-1])

    def test_factor(self):
        _, state, _ = self.merged(machine.constant(), lambda old: machine.plus(old, machine.constant(16)))
        times = machine.scaled(state.regs["rax"], 4)
        self.assertEqual(machine.lower_bound(times, state.bounds), (machine.constant(), 64))
        minus = machine.scaled(state.regs["rax"], -1)
        self.assertEqual(machine.lower_bound(minus, state.bounds), (minus, 0))


class Values(unittest.TestCase):
    """The knowledge about registers and the stack after an instruction."""

    def after(self, *lines):
        names = [f"%{name}" for name in sorted(machine.WIDE)]
        state = machine.State({name[1:]: machine.opaque(name) for name in names}, {}, {}, None)
        state.regs["rsp"] = machine.opaque(machine._STACK)
        runner = machine.Machine(SimpleNamespace(image=SimpleNamespace(arch=X86())))
        for addr, line in enumerate(lines):
            mnemonic, _, operands = line.partition(" ")
            runner._execute(Insn(addr, addr + 1, mnemonic, operands, line), state)
        return state

    def test_half_of_a_register(self):
        for lines, value in ((("mov $0x5,%eax",), 5), (("xor %eax,%eax", "mov %eax,%ecx"), 0),
                             (("movabs $0x100000007,%rax", "mov %eax,%ecx"), 7)):
            with self.subTest(lines=lines):
                state = self.after(*lines)
                self.assertEqual(state.regs["rcx" if "%ecx" in lines[-1] else "rax"], machine.constant(value))
        self.assertNotEqual(self.after("xor %eax,%eax", "mov $0x1,%al").regs["rax"], machine.constant(1))

    def test_stores_to_a_part_of_a_word_on_the_stack(self):
        state = self.after("movq $0x1,0x8(%rsp)", "movl $0x0,0xc(%rsp)", "mov 0x8(%rsp),%rax")
        self.assertTrue(state.regs["rax"][0])
        state = self.after("movl $0x1,0x8(%rsp)", "mov 0x8(%rsp),%rax")
        self.assertTrue(state.regs["rax"][0])

    def test_instructions_with_hidden_operands(self):
        self.assertEqual(self.after("pushf").regs["rsp"], machine.plus(machine.opaque(machine._STACK),
                                                                       machine.constant(-8)))
        self.assertEqual(self.after("pushfq", "popfq").regs["rsp"], machine.opaque(machine._STACK))
        self.assertEqual(self.after("lock", "ud2").regs["rbx"], machine.opaque("%rbx"))


class Symbols(unittest.TestCase):
    def test_type_ids_of_another_size(self):
        image = Image.__new__(Image)
        sizes = {"__cfi_hook": 16, "hook": 16, "grown": 16}
        kernel = {name: [Symbol(name, 0, size, STT_FUNC, STB_GLOBAL, 1)] for name, size in sizes.items()}
        image.arch = X86
        image.elf = SimpleNamespace(by_name=kernel, executable=lambda index: True)
        found = [name for name, size in (("__cfi_hook", 5), ("hook", 16), ("grown", 5))
                 if image._same(Symbol(name, 0, size, STT_FUNC, STB_GLOBAL, 1))]
        self.assertEqual(found, ["__cfi_hook", "hook"])


class CommandLine(unittest.TestCase):
    def run_it(self, *arguments):
        return subprocess.run([sys.executable, os.path.join(SCRIPTS, "leafcheck.py"), *arguments], check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.dir = directory.name

    def build(self, name):
        return selftest.build(next(iter(compilers().values())), self.dir, case(name))

    def test_good(self):
        program, kcov = self.build("all hooks, inlined")
        run = self.run_it(program, "--object", kcov)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn("10 hooks and 0 places of sections checked, 0 violations", run.stdout)

    def test_violation(self):
        program, kcov = self.build("call to an outside function")
        run = self.run_it(program, "--object", kcov)
        self.assertEqual(run.returncode, 1, run.stderr)
        self.assertRegex(run.stdout, r"violation: __sanitizer_cov_trace_pc calls outside")
        self.assertRegex(run.stdout, r"at __sanitizer_cov_trace_pc\+0x\w+ \(0x\w+\): call")

    def test_json(self):
        program, kcov = self.build("ud2")
        run = self.run_it(program, "--object", kcov, "--json")
        self.assertEqual(run.returncode, 1)
        answer = json.loads(run.stdout)
        self.assertEqual(answer["hooks"][0]["hook"], "__sanitizer_cov_trace_pc")
        self.assertIn("ud2", answer["violations"][0]["text"])

    def test_sections(self):
        program, kcov = self.build("section")
        run = self.run_it(program, "--object", kcov)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertRegex(run.stdout, r"kcov_remote_start\+0x\w+ +publishes a section")
        self.assertRegex(run.stdout, r"and [3-9] places of sections checked, 0 violations")
        places = json.loads(self.run_it(program, "--object", kcov, "--json").stdout)["sections"]
        self.assertEqual({place["function"] for place in places}, {"kcov_remote_start", "kcov_remote_stop"})

    def test_merge_with_one_cpu(self):
        """The barrier is not an instruction with one CPU; the order of the stores is the same."""
        for name, config, status in (
                ("merge", "CONFIG_SMP=y\n", 0), ("merge: no barrier", "", 0), ("merge: no barrier", "CONFIG_SMP=y\n", 1),
                ("merge: no barrier", "CONFIG_SMP=y\nCONFIG_RUST_INLINE_HELPERS=y\n", 0),
                ("merge: records after the count", "", 1)):
            with self.subTest(name=name, config=config):
                program, kcov = self.build(name)
                with open(os.path.join(self.dir, ".config"), "w", encoding="ascii") as file:
                    file.write(config)
                run = self.run_it(program, "--object", kcov)
                self.assertEqual(run.returncode, status, run.stdout)
                does = "after a barrier" if config == "CONFIG_SMP=y\n" else "after them"
                self.assertIn(f"counts merged records, {does}", run.stdout)

    def test_offsets_of_another_build(self):
        program, kcov = self.build("section")
        offsets = os.path.join(self.dir, publish.OFFSETS)
        with open(offsets, encoding="ascii") as file:
            text = file.read()
        with open(offsets, "w", encoding="ascii") as file:
            file.write(text.replace("KCOV_CTX_SECTION", "KCOV_CTX_OTHER"))
        run = self.run_it(program, "--object", kcov)
        self.assertEqual(run.returncode, 2)
        self.assertIn("KCOV_CTX_SECTION", run.stderr)

    def test_rust_without_offsets(self):
        program, kcov = selftest.build(next(iter(compilers().values())), self.dir, case("all hooks, inlined")._replace(
            source=case("all hooks, inlined").source + "void _RNvC4kcov4some(void) { }"))
        run = self.run_it(program, "--object", kcov)
        self.assertEqual(run.returncode, 2)
        self.assertIn(publish.OFFSETS, run.stderr)

    def test_object_beside_the_kernel(self):
        program, kcov = self.build("all hooks, inlined")
        run = self.run_it(program)
        self.assertEqual(run.returncode, 2)
        self.assertIn("--object", run.stderr)
        os.makedirs(os.path.join(self.dir, "kernel", "kcov"))
        shutil.copy(kcov, os.path.join(self.dir, "kernel", "kcov", "kcov.o"))
        self.assertEqual(self.run_it(program).returncode, 0)
        self.assertEqual(self.run_it(program, "--impl", "c").returncode, 2)
        # An object of the other implementation, left from an earlier configuration, does not confuse the check.
        self.build("entry in assembly that jumps to a function")
        shutil.copy(kcov, os.path.join(self.dir, "kernel", "kcov.o"))
        program, _ = self.build("all hooks, inlined")
        run = self.run_it(program)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn("kernel/kcov/kcov.o", run.stdout)

    def test_object_of_another_build(self):
        _, kcov = self.build("call to an outside function")
        other = os.path.join(self.dir, "other.o")
        shutil.copy(kcov, other)
        program, _ = self.build("all hooks, inlined")
        run = self.run_it(program, "--object", other)
        self.assertEqual(run.returncode, 2, run.stdout)
        self.assertRegex(run.stderr, "^error: .*same build")

    def test_misuse(self):
        no_elf = os.path.join(self.dir, "text")
        with open(no_elf, "w", encoding="ascii") as file:
            file.write("no kernel")
        for arguments in ([], ["/nonexistent"], [no_elf, "--object", no_elf], ["--impl", "perl", no_elf]):
            with self.subTest(arguments=arguments):
                run = self.run_it(*arguments)
                self.assertEqual(run.returncode, 2)
                self.assertIn("error: ", run.stderr)
                self.assertNotIn("Traceback", run.stderr)


class Decoding(unittest.TestCase):
    def expect(self, arch, table):
        for text, kind, target in table:
            with self.subTest(arch=arch.name, text=text):
                parts = text.split(None, 1)
                self.assertEqual(arch.flow(parts[0], parts[1] if len(parts) > 1 else ""), Flow(kind, target))

    def test_x86(self):
        self.expect(X86(), [
            ("jmp ffffffff81000010 <f+0x10>", "jump", 0xffffffff81000010),
            ("jmp 0xffffffff81000010 <f+0x10>", "jump", 0xffffffff81000010),
            ("callq 0x10 <f>", "call", 0x10), ("jne 20", "branch", 0x20), ("notrack jmp *%rax", "indirect-jump", None),
            ("call *0x8(%rax)", "indirect-call", None), ("repz ret", "return", None), ("ud1 %eax,%edx", "trap", None),
            ("int3", "trap", None), ("bnd jmp 20", "jump", 0x20), ("mov %rax,(%rdx)", "next", None)])

    def test_arm64(self):
        self.expect(Arm64(), [
            ("bl ffff800080000010 <f>", "call", 0xffff800080000010), ("b 0x20 <f+0x4>", "jump", 0x20),
            ("b.ne 20 <f>", "branch", 0x20), ("cbz x0, 0x24 <f>", "branch", 0x24),
            ("tbnz w8, #3, 28 <f>", "branch", 0x28), ("blr x8", "indirect-call", None),
            ("br x8", "indirect-jump", None), ("ret", "return", None), ("brk #0x800", "trap", None),
            ("bic x0, x1, x2", "next", None), ("bfi x0, x1, #2, #3", "next", None)])

    def test_riscv(self):
        self.expect(Riscv(), [
            ("jal ra,ffffffff80000010 <f>", "call", 0xffffffff80000010), ("j 20 <f>", "jump", 0x20),
            ("beqz a0,20 <f>", "branch", 0x20), ("bltu a0,a1,0x24 <f>", "branch", 0x24),
            ("jalr a5", "indirect-call", None), ("jr a5", "indirect-jump", None), ("ret", "return", None),
            ("ebreak", "trap", None), ("ld a0,0(a1)", "next", None)])


class OtherArchitectures(unittest.TestCase):
    """Small programs for arm64 and riscv64, if clang and lld can make them."""

    SOURCE = """
	void outside(void);
	volatile unsigned long area[8];
	__attribute__((noinline)) static void helper(void) { area[0]++; %s; }
	void __sanitizer_cov_trace_pc(void) { if (area[1]) helper(); area[2] = 1; }
	"""
    REST = (
        "void outside(void) { __asm__ volatile(\"nop\"); } void __sanitizer_cov_trace_pc(void); "
        "void _start(void) { __sanitizer_cov_trace_pc(); }"
        "void rust_helper_smp_wmb(void) { __asm__ volatile(\"nop\"); }"
        "void *memcpy(void *a, const void *b, unsigned long n)"
        "{ while (n--) ((volatile char *)a)[n] = ((char *)b)[n]; return a; }"
    )

    def build(self, compiler, directory, triple, source):
        paths = []
        for name, text in (("kcov", source), ("rest", self.REST)):
            source = os.path.join(directory, name + ".c")
            with open(source, "w", encoding="ascii") as file:
                file.write(text)
            paths.append(source[:-1] + "o")
            command = compiler[:1] + [f"--target={triple}", "-O2", "-ffreestanding", "-fno-pic", "-c", source,
                                      "-o", paths[-1]]
            if subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode:
                raise unittest.SkipTest(f"this clang cannot compile for {triple}")
        program = os.path.join(directory, "vmlinux")
        lld = shutil.which("ld.lld" + compiler[0].rpartition("clang")[2]) or shutil.which("ld.lld")
        if not lld:
            raise unittest.SkipTest("there is no ld.lld")
        subprocess.run([lld, "-e", "_start", *paths, "-o", program], check=True)
        return program, paths[0]

    def test_calls(self):
        if "clang" not in compilers():
            raise unittest.SkipTest("there is no clang")
        for triple in ("aarch64-linux-gnu", "riscv64-linux-gnu"):
            for body, reason in (("", None), ("outside()", "outside"), ("__builtin_trap()", "exception on purpose"),
                                 ("((void (*)(void))area[3])()", "indirect")):
                with self.subTest(triple=triple, body=body), tempfile.TemporaryDirectory() as directory:
                    program, kcov = self.build(compilers()["clang"], directory, triple, self.SOURCE % body)
                    hooks, _, violations = check(Image(program, [kcov]))
                    self.assertEqual(hooks[0]["order"], "not checked")
                    if reason is None:
                        self.assertEqual(violations, [])
                    else:
                        self.assertTrue(any(reason in v.reason for v in violations), violations)

    @slow
    def test_merges(self):
        if "clang" not in compilers():
            raise unittest.SkipTest("there is no clang")
        wmb, count = cases.WMB, cases.COUNT
        release = "__atomic_store_n(t->start, count + added, __ATOMIC_RELEASE)"
        inlined = '__asm__ volatile("{}" ::: "memory"); ' + count
        arm64, riscv64 = "aarch64-linux-gnu", "riscv64-linux-gnu"
        missing = "the count without a barrier"
        for triple, stores, reason in [
                (triple, *one) for triple in (arm64, riscv64) for one in (
                    (f"{wmb}; {count}", None), (release, None), (count, missing), (f"{count}; {wmb}", missing),
                    (f"{wmb}; {cases.LATE}; {count}", "between the barrier and the count"),
                    (f"{wmb}; {count}; {cases.LATE}", "after the count"))] + [
                        (arm64, inlined.format("dmb ishst"), None), (arm64, inlined.format("dmb ishld"), missing),
                        (riscv64, inlined.format("fence w, w"), None), (riscv64, inlined.format("fence r, rw"), missing)]:
            with self.subTest(triple=triple, stores=stores), tempfile.TemporaryDirectory() as directory:
                source = "typedef unsigned long u64; void *memcpy(void *, const void *, u64);" + cases.merge(stores)
                program, kcov = self.build(compilers()["clang"], directory, triple, self.SOURCE % "" + source)
                _, places, violations = check(Image(program, [kcov]))
                if reason is None:
                    self.assertEqual(violations, [])
                    self.assertEqual([place["does"] for place in places], ["counts merged records, after a barrier"])
                else:
                    self.assertTrue(any(reason in v.reason for v in violations), violations)


if __name__ == "__main__":
    unittest.main()
