# SPDX-License-Identifier: GPL-2.0
"""Tests of the benchmark without a kernel: its harness on small hooks, and the parsing of results."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from harness.bench import boots, calls, executor, figures, hooks, layout, native_sections, remote, size
from harness.bench.figures import IMPLS, Figure
from harness.hostlib import BUILD, Failure
from harness.programs import SUITE

# A container or cpuset need not have the first CPU.
CPU = min(os.sched_getaffinity(0))


def place_for_programs():
    """Provides a temporary directory from which programs may be run; TMPDIR need not allow that."""
    BUILD.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="test-bench.", dir=BUILD)


PAHOLE = """\
struct task_struct {
	struct thread_info         thread_info;          /*     0    24 */

	/* XXX 8 bytes hole, try to pack */

	unsigned int               __state;              /*    24     4 */
	unsigned int               sched_reset_on_fork:1; /*    28: 0  4 */
	unsigned int               kcov_mode;            /*  2128     4 */
	unsigned int               kcov_softirq;         /*  2132     4 */
	/* --- cacheline 33 boundary (2112 bytes) was 24 bytes ago --- */
	unsigned int               kcov_capacity;        /*  2136     4 */

	/* XXX 4 bytes hole, try to pack */

	void *                     kcov_area;            /*  2144     8 */
	u64                        kcov_handle;          /*  2176     8 */
	struct kmap_ctrl           kmap_ctrl;            /*  2184     0 */
	struct callback_head *     task_works;           /*  2192     8 */

	/* size: 2496, cachelines: 39, members: 176 */
};
"""

# The smallest possible hooks. RECORD is the work of a call; the entry is one that the gate patches.
HOOKS = """
#include <stdint.h>
extern unsigned char *current_task;
extern unsigned long __preempt_count;
#define FIELD(type, offset) (*(type *)(current_task + (offset)))
static void record(uint32_t mode, uint64_t number)
{
	uint64_t *area = FIELD(uint64_t *, OFFSET_AREA);

	if (FIELD(uint32_t, OFFSET_MODE) != mode || (__preempt_count && !FIELD(uint32_t, OFFSET_SOFTIRQ)))
		return;
	if (area[0] + number <= FIELD(uint32_t, OFFSET_CAPACITY))
		area[0] += number * RECORD;
}
#define ENTRY(name)							\\
	__asm__(".globl __sanitizer_cov_trace_" #name "\\n"		\\
		"__sanitizer_cov_trace_" #name ":\\n"			\\
		"\\t.byte 0x0f, 0x1f, 0x44, 0x00, 0x08\\n\\tjmp " #name "\\n")
ENTRY(pc);
ENTRY(cmp4);
ENTRY(const_cmp8);
ENTRY(switch);
void pc(void) { record(2, 1); }
void cmp4(uint32_t a, uint32_t b) { (void)a; (void)b; record(3, 1); }
void const_cmp8(uint64_t a, uint64_t b) { (void)a; (void)b; record(3, 1); }
void switch_(uint64_t val, uint64_t *cases) __asm__("switch");
void switch_(uint64_t val, uint64_t *cases) { (void)val; record(3, cases[0]); }
"""


@unittest.skipUnless(shutil.which("gcc") and sys.maxsize > 1 << 32, "gcc is needed")
class Harness(unittest.TestCase):
    def setUp(self):
        place = place_for_programs()
        self.root = Path(place.name)
        self.addCleanup(place.cleanup)

    def build(self, *flags, place=0):
        source, target = self.root / "hooks.c", self.root / "object.o"
        source.write_text(HOOKS)
        common = hooks.defines(layout.parse(PAHOLE))
        subprocess.run(["gcc", "-O2", "-c", "-fno-pie", *common, *flags, "-o", target, source], check=True)
        with mock.patch.object(hooks, "OUT", self.root), mock.patch.object(
            hooks, "objects", lambda impl, obj: [target]
        ), mock.patch.object(layout.Task, "of", lambda obj: layout.parse(PAHOLE)):
            return hooks.link("rust", self.root, place)

    def test_measures(self):
        program = self.build("-DRECORD=1")
        counted = {name: value for kind, name, value in hooks.run(program, CPU, 0) if kind == "instructions"}
        self.assertEqual(counted["empty"], 1)
        # The entry is a return instruction until a buffer exists.
        self.assertEqual(counted["trace_pc.idle"], 1)
        self.assertGreater(counted["trace_pc.off"], counted["trace_pc.idle"] + 2)
        self.assertGreater(counted["trace_pc.collecting"], counted["trace_pc.off"])
        samples = hooks.run(program, CPU, 2)
        self.assertEqual(len(samples), 2 * len(counted))
        self.assertTrue(all(kind == "ticks" and value > 0 for kind, _, value in samples))

    def test_code_is_where_it_was_asked_for(self):
        places = []
        for place in (16, 48):
            program = self.build("-DRECORD=1", place=place)
            listing = subprocess.run(["nm", program], stdout=subprocess.PIPE, check=True).stdout.decode()
            places.append(int(re.search(r"^([0-9a-f]+) . __sanitizer_cov_trace_pc$", listing, re.MULTILINE)[1], 16))
        self.assertEqual((places[1] - places[0]) % hooks.LINE, 32)

    def test_hooks_that_do_not_record_are_no_measurement(self):
        program = self.build("-DRECORD=0")
        with self.assertRaisesRegex(Failure, "did not record what it should"):
            hooks.run(program, CPU, 1)

    def test_hooks_that_record_too_much_are_no_measurement(self):
        program = self.build("-DRECORD=2")
        with self.assertRaisesRegex(Failure, "records instead of"):
            hooks.run(program, CPU, 0)


SECTIONS = """
#include <stdint.h>
void _raw_spin_lock(uint32_t *lock);
void _raw_spin_unlock(uint32_t *lock);
static uint32_t lock;
/* In user space, these instructions are a fault. */
void kcov_remote_start(uint64_t handle)
{
	unsigned char *task;

	__asm__ volatile("cli");
	__asm__("movq %%gs:current_task(%%rip), %0" : "=r"(task));
	_raw_spin_lock(&lock);
	if (handle)
		*(volatile unsigned char *)task = STARTED;
	_raw_spin_unlock(&lock);
	__asm__ volatile("sti");
}
void kcov_remote_stop(void)
{
}
"""


@unittest.skipUnless(shutil.which("gcc") and sys.maxsize > 1 << 32, "gcc is needed")
class NativeSections(unittest.TestCase):
    def build(self, started):
        place = place_for_programs()
        self.addCleanup(place.cleanup)
        root = Path(place.name)
        source, target = root / "sections.c", root / "kcov.o"
        source.write_text(SECTIONS)
        command = ["gcc", "-O2", "-c", "-fno-pie", "-fcf-protection=none", f"-DSTARTED={started}", "-o", target, source]
        subprocess.run(command, check=True)
        with mock.patch.object(native_sections, "OUT", root / "out"), mock.patch.object(
            hooks, "objects", lambda impl, obj: [target]
        ), mock.patch.object(layout.Task, "of", lambda obj: layout.parse(PAHOLE)):
            self.patched = native_sections.without_interrupt_flag(target, root / "copy.o")
            return native_sections.link("c", root)

    def test_measures(self):
        found = hooks.run(self.build(0), 2, CPU)
        self.assertEqual(self.patched, 2)
        self.assertEqual([name for _, name, _ in found], ["zero.1", "unknown.1"] * 2)
        self.assertTrue(all(value > 0 for _, _, value in found))

    def test_a_section_that_starts_is_no_measurement(self):
        with self.assertRaisesRegex(Failure, "has changed the task"):
            hooks.run(self.build(1), 1, CPU)


class Reading(unittest.TestCase):
    def test_layout(self):
        task = layout.parse(PAHOLE)
        self.assertEqual(task.size, 2496)
        self.assertEqual(task.fields["kcov_area"], layout.Field(2144, 8))
        self.assertEqual(task.used, 2184 - 2128)

    def test_layout_of_a_structure_of_its_own(self):
        lines = [line for line in PAHOLE.splitlines() if "kcov_" not in line]
        place = lines.index("\tstruct kmap_ctrl           kmap_ctrl;            /*  2184     0 */")
        lines.insert(place, "\tstruct kcov_ctx            kcov_ctx;             /*  2120    64 */")
        inner = (
            "struct kcov_ctx {\n"
            "\tunsigned int               mode;                 /*     0     4 */\n"
            "\tvoid *                     area;                 /*    16     8 */\n};"
        )
        task = layout.parse("\n".join(lines), inner)
        self.assertEqual(task.fields, {"kcov_mode": layout.Field(2120, 4), "kcov_area": layout.Field(2136, 8)})
        self.assertEqual(task.used, 64)
        with self.assertRaises(Failure):
            layout.parse("\n".join(lines))

    def test_layout_without_kcov(self):
        with self.assertRaises(Failure):
            layout.parse("\n".join(line for line in PAHOLE.splitlines() if "kcov" not in line))

    def test_defines_follow_the_layout(self):
        with_records = hooks.defines(layout.parse(PAHOLE))
        self.assertIn("-DCAPACITY_IN_RECORDS", with_records)
        with_words = hooks.defines(layout.parse(PAHOLE.replace("kcov_capacity", "kcov_size")))
        self.assertNotIn("-DCAPACITY_IN_RECORDS", with_words)
        self.assertIn("-DOFFSET_CAPACITY=2136", with_words)

    def test_hooks_output(self):
        self.assertEqual(hooks.parse("ticks trace_pc.off 3.5\n"), [("ticks", "trace_pc.off", 3.5)])
        with self.assertRaises(Failure):
            hooks.parse("Segmentation fault\n")

    def test_objdump(self):
        headers = (
            "  0 .text   00000100  0000  0000  00000040  2**4  CONTENTS, ALLOC, LOAD, RELOC, READONLY, CODE\n"
            "  1 .init.text 00000092  0000  0000  00000340  2**4  CONTENTS, ALLOC, LOAD, READONLY, CODE\n"
            "  2 .bss    00000088  0000  0000  00000440  2**3  ALLOC\n"
            "  3 .debug_info 00004088  0000  0000  00000440  2**0  CONTENTS, READONLY, DEBUGGING\n"
        )
        table = (
            "0000000000000000 g     F .text\t000000000000007c __sanitizer_cov_trace_pc\n"
            "0000000000000080 g     F .text\t0000000000000010 __sanitizer_cov_trace_cmp4\n"
            "0000000000000090 l     F .text\t0000000000000020 kcov::tests::merged_count\n"
            "0000000000000090 l     F .text\t0000000000000020 .hidden kcov::tests::merged_count\n"
            "0000000000000000 l     F .init.text\t0000000000000092 init\n"
            "0000000000000000         *UND*\t0000000000000000 memcpy\n"
        )
        outputs = {"-h": headers, "-t": table}
        with mock.patch.object(size, "command_output", lambda tool, option, *rest: outputs[option]):
            found = size.sizes([Path("kcov.o")])
        self.assertEqual(found["text"], 0x100 - 0x20)
        self.assertEqual(found["data"], 0x88)
        self.assertEqual(found["hooks.all"], 0x8C)
        self.assertEqual(found["hooks.trace_pc"], 0x7C)


def synthetic_outcomes(root):
    """Returns guests that have results; the values of C are twice those of Rust."""
    outcomes = {}
    for factor, impl in ((2, "c"), (1, "rust")):
        results = root / impl
        results.mkdir()
        log = results / "console.log"
        log.write_text(f"[    0.{factor}00000] Run /init as init process\r\n")
        for mode in calls.MODES:
            names = re.findall(r'\{ "(\w+)", call_', (SUITE / "bench/calls.c").read_text())
            lines = [f"{mode} {name} {number * factor}\n" for number, name in enumerate(names, 100)]
            (results / f"calls.{mode}").write_text("".join(lines))
        names = re.findall(r'measure\("(\w+)"', (SUITE / "bench/executor.c").read_text())
        names += [f"fork_{number}.{reader}" for number in executor.BUFFERS for reader in ("child", "parent")]
        lines = [f"{name} {number * factor}\n" for number, name in enumerate(names, 100)]
        (results / "executor").write_text("".join(lines))
        for case in {*remote.COUNTED, *remote.TIMED}:
            (results / f"remote.{case.name}").write_text(f"10 {1000 * factor},{1010 * factor},{5000 * factor}\n")
        (results / "size.memory").write_text(f"descriptor {40 * factor}.5\nhandle {50 * factor}.0\n")
        (results / "size.boot").write_text("4202496\n")
        (results / "size.before").write_text("VmallocUsed:        2048 kB\n")
        (results / "size.after").write_text(f"VmallocUsed:        {2048 + 100 * (factor - 1)} kB\n")
        outcomes[impl] = SimpleNamespace(results=results, log=log, guest=SimpleNamespace(run=root))
    return outcomes


class Results(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.outcomes = synthetic_outcomes(Path(place.name))

    def guest_figures(self):
        return [
            *calls.figures(self.outcomes),
            *executor.figures(self.outcomes),
            *remote.counted_figures(self.outcomes),
            *remote.timed_figures({impl: [self.outcomes[impl]] for impl in IMPLS}),
            *size.guest_figures(self.outcomes),
        ]

    def test_values(self):
        found = {figure.name: figure for figure in self.guest_figures()}
        self.assertEqual(len(found), len(self.guest_figures()))
        name = "calls.getppid.idle.instructions"
        self.assertEqual(found[name], Figure(name, "instr.", 200, 100))
        self.assertEqual(found["executor.map_4m"].ratio, 0.5)
        self.assertGreater(found["executor.fork_6.against_none"].rust, 1)
        self.assertEqual(found["remote.zero.64.2cpus.time"].c, 202)
        self.assertEqual(found["remote.hit.64.throughput_of_2cpus"].rust, 2)
        self.assertEqual(found["size.kept_after_last_user"].c, 100)
        self.assertEqual(found["size.kept_after_last_user"].rust, 0)
        self.assertEqual(found["calls.boot_to_init"].c, 200)

    def test_every_target_has_a_figure(self):
        names = [figure.name for figure in self.guest_figures()]
        hook_names = re.findall(r'^\t\{ "([\w.]+)", loop_', (SUITE / "bench/hooks.c").read_text(), re.MULTILINE)
        samples = {impl: {name: [1.0, 2.0] for name in hook_names} for impl in IMPLS}
        counted = {impl: dict.fromkeys(hook_names, 1.0) for impl in IMPLS}
        names += [figure.name for figure in hooks.figures(counted, samples)]
        source = (SUITE / "bench/native_sections.c").read_text()
        for what in re.findall(r'\{ "(\w+)", ', source):
            names += [f"remote.{what}.native.{cpus}" for cpus in ("1cpu", "2cpus")]
        names += ["size.text", "size.hooks.all", "size.hooks.trace_pc.hot"]
        for pattern, target in figures.TARGETS:
            with self.subTest(pattern=pattern):
                self.assertTrue([name for name in names if figures.target_of(name) is target])

    def test_a_guest_without_results(self):
        (self.outcomes["c"].results / "calls.pc").unlink()
        with self.assertRaisesRegex(Failure, "sent no calls.pc"):
            calls.figures(self.outcomes)

    def test_results_that_are_cut_off(self):
        (self.outcomes["c"].results / "remote.zero.0.1cpu").write_text("10\n")
        with self.assertRaises(Failure):
            remote.counted_figures(self.outcomes)

    def test_other_names_on_one_side(self):
        (self.outcomes["c"].results / "calls.pc").write_text("pc other 3\n")
        with self.assertRaises(Failure):
            calls.figures(self.outcomes)

    def test_commands_of_a_guest(self):
        with mock.patch.object(remote, "module", lambda impl, obj: Path("m.ko")), mock.patch.object(
            remote.programs, "of_suite", lambda name, obj: name
        ):
            boot = remote.boot("c", {impl: Path() for impl in IMPLS}, (remote.Case("hit", 64, 2),), True)
        self.assertIsInstance(boot, boots.Boot)
        self.assertIn("handles 64 4096 sections hit.64.2cpus 200 what=hit registered=64 cpus=2", boot.command)
        self.assertLessEqual({"/bin/sections", "/bin/handles", "/lib/kcov_bench.ko"}, set(boot.files))


class Boots(unittest.TestCase):
    def boot(self, counting, deaths):
        """Boots a guest that dies as often as DEATHS has entries; returns the booted guests."""
        left, booted = list(deaths), []

        def fake(machine, _on_output):
            booted.append(machine)
            death = left.pop() if left else None
            problems = [death] if death else []
            return SimpleNamespace(death=death, status=None if death else 0, output="", failures=lambda: problems)

        with mock.patch.object(boots.guest, "boot", fake), mock.patch.object(boots, "warn"):
            try:
                boots.run("name", Path(), [boots.Boot("true\n")], counting, lambda text: None)
            except Failure:
                booted.append("failed")
        return booted

    def test_counting(self):
        (machine,) = self.boot(True, [])
        self.assertEqual((machine.smp, machine.emulation), (1, "tcg,thread=single"))
        self.assertIn("-icount", machine.qemu_args)
        self.assertEqual(self.boot(True, ["panicked"])[1:], ["failed"])

    def test_two_cpus(self):
        (machine,) = self.boot(False, [])
        self.assertEqual((machine.smp, machine.emulation, machine.qemu_args), (2, "tcg,thread=multi", ()))
        self.assertEqual(len(self.boot(False, ["was reset"])), 2)
        self.assertEqual(self.boot(False, ["was reset"] * 3)[-1], "failed")


if __name__ == "__main__":
    unittest.main()
