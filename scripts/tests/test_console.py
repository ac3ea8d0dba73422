# SPDX-License-Identifier: GPL-2.0
"""Tests of the search for reports in a console log."""

import unittest

from harness import console

QUIET = """\
[    0.000000] Linux version 7.3.4 (Debian clang version 22.1.8)
[    0.100000][    T1] Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on, data leaks possible
[    0.200000] RAS: Correctable Errors collector initialized.
[    1.000000] task_test[1277]: segfault at 0 ip 0000000000402b2f sp 00007ffd31b85dc0 error 6 in task_test
[    1.000001] kmemleak: 0 new suspected memory leaks
"""
WARNING = """\
[    2.000000] ------------[ cut here ]------------
[    2.000001] WARNING: mm/vmalloc.c:4037 at __vmalloc_node_range_noprof+0x88/0xc30, CPU#1: kworker/1:2/51
[    2.000002] Modules linked in:
[    2.000003] Call Trace:
[    2.000004]  <TASK>
[    2.000005] ---[ end trace 0000000000000000 ]---
"""
OOPS = """\
BUG: unable to handle page fault for address: ffffc90000000000
#PF: supervisor write access in kernel mode
#PF: error_code(0x0002) - not-present page
Oops: Oops: 0002 [#1] SMP
CPU: 0 UID: 0 PID: 1 Comm: init Not tainted
Call Trace:
 <TASK>
---[ end trace 0000000000000000 ]---
Kernel panic - not syncing: Fatal exception
---[ end Kernel panic - not syncing: Fatal exception ]---
"""


def find(text):
    return console.reports(console.lines_of(text.encode()))


class Reports(unittest.TestCase):
    def test_quiet_log(self):
        self.assertEqual(find(QUIET), [])

    def test_warning_is_one_report(self):
        found = find(QUIET + WARNING + QUIET)
        self.assertEqual(len(found), 1)
        self.assertTrue(found[0].title.startswith("WARNING: mm/vmalloc.c:4037"))
        self.assertEqual(found[0].line, len(QUIET.splitlines()) + 1)

    def test_two_warnings_are_two_reports(self):
        self.assertEqual(len(find(WARNING + WARNING)), 2)

    def test_oops_and_panic(self):
        self.assertEqual([report.title.split(":")[0] for report in find(OOPS)], ["BUG", "Kernel panic - not syncing"])

    def test_single_lines(self):
        for line in (
            "BUG: KASAN: slab-use-after-free in kcov_put+0x10/0x20",
            "BUG: sleeping function called from invalid context at mm/vmalloc.c:12",
            "UBSAN: shift-out-of-bounds in lib/x.c:3:4",
            "WARNING: possible circular locking dependency detected",
            "watchdog: BUG: soft lockup - CPU#0 stuck for 26s!",
            "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "INFO: task kcov:12 blocked for more than 120 seconds.",
            "refcount_t: underflow; use-after-free.",
            "list_del corruption. prev->next should be ffff, but was dead",
            "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
            "unreferenced object 0xffff888003d52000 (size 1024):",
            "rust_kernel: panicked at kernel/kcov/buffer.rs:10:5:",
            "kcov: __sanitizer_cov_trace_pc+0x0/0x130 is not as expected, so the hooks stay switched on",
            "Oops: general protection fault, probably for non-canonical address 0xdead: 0000 [#1] SMP",
            "Kernel panic - not syncing: Attempted to kill init!",
            "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000000",
            "Internal error: Oops: 0000000096000005 [#1] SMP",
            "traps: PANIC: double fault, error_code: 0x0",
            "ioctl_test: vmalloc error: size 4096, exceeds total pages, mode:0xdc0",
        ):
            with self.subTest(line):
                self.assertEqual(len(find(f"[    3.000000] {line}\n")), 1)

    def test_excuse(self):
        found = find(WARNING)
        self.assertEqual(console.unexpected(found, [console.Expected(r"WARNING: mm/vmalloc\.c", "a size of 0")]), [])
        self.assertEqual(console.unexpected(found, [console.Expected(r"WARNING: mm/slab\.c", "something else")]), found)

    def test_excuse_of_a_program(self):
        found = find(f"{WARNING}[    3.0] ### one_test\n{WARNING}[    4.0] ### two_test\n{QUIET}{WARNING}")
        self.assertEqual([report.program for report in found], ["", "one_test", "two_test"])
        entry = console.Expected(r"WARNING: mm/vmalloc\.c", "a size of 0", ("one_test", "other_test"))
        self.assertEqual(console.unexpected(found, [entry]), [found[0], found[2]])

    def test_report_ends_with_its_program(self):
        unfinished = WARNING[: WARNING.index("[    2.000005]")]
        found = find(f"[    1.0] ### one_test\n{unfinished}[    3.0] ### two_test\n{WARNING}")
        self.assertEqual([report.program for report in found], ["one_test", "two_test"])

    def test_excuse_does_not_cover_what_follows(self):
        found = find("w: vmalloc error: size 1, exceeds\nCPU: 1\nCall Trace:\n a\n b\n c\n d\n" + OOPS)
        self.assertEqual(len(console.unexpected(found, [console.Expected("vmalloc error", "expected")])), 2)


if __name__ == "__main__":
    unittest.main()
