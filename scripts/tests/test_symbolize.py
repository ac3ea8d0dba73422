# SPDX-License-Identifier: GPL-2.0
"""Tests of the naming of PCs: paths, input, and a look-up in a real program."""

import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from harness import symbolize
from harness.hostlib import Failure

SOURCE = """\
__attribute__((noinline)) void hook(void);
void hook(void) { __asm__ volatile(""); }
static inline __attribute__((always_inline)) int inner(int x)
{
	hook();
	return x + 1;
}
int outer(int x);
int outer(int x)
{
	return inner(x) * 2;
}
int main(void) { return outer(1); }
"""


class Directory(unittest.TestCase):
    def setUp(self):
        self.place = tempfile.TemporaryDirectory()
        self.root = Path(self.place.name)
        self.addCleanup(self.place.cleanup)

    def put(self, name, text=""):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


class Paths(Directory):
    def test_any_compilation_directory(self):
        self.put("fs/read_write.c")
        paths = symbolize.Paths([self.root])
        for folder in ("/tmp/build/linux-7.3/", "./", "../linux/", ""):
            recorded = f"{folder}fs/read_write.c"
            self.assertEqual(paths.relative(recorded), "fs/read_write.c")

    def test_longest_suffix(self):
        self.put("drivers/usb/core/hub.c")
        self.put("hub.c")
        self.assertEqual(symbolize.Paths([self.root]).relative("/a/drivers/usb/core/hub.c"), "drivers/usb/core/hub.c")

    def test_generated_file_in_the_object_directory(self):
        self.put("obj/include/generated/x.h")
        paths = symbolize.Paths([self.root, self.root / "obj"])
        self.assertEqual(paths.relative("./include/generated/x.h"), "include/generated/x.h")

    def test_rust_library(self):
        paths = symbolize.Paths([self.root])
        self.assertEqual(paths.relative("/usr/src/rustc-1.95.0/library/core/src/ptr/mod.rs"), "library/core/src/ptr/mod.rs")

    def test_unknown(self):
        self.assertEqual(symbolize.Paths([self.root]).relative("??"), "??")
        self.assertEqual(symbolize.Paths([self.root]).relative("/no/such.c"), "/no/such.c")


class Pcs(unittest.TestCase):
    def test_forms(self):
        self.assertEqual(symbolize.parse_pcs(["0xffffffff81000000", "", "# a comment", "  10 "]), [0xFFFFFFFF81000000, 0x10])

    def test_nonsense_is_refused(self):
        with self.assertRaisesRegex(Failure, "line 2"):
            symbolize.parse_pcs(["0x10", "pc: command not found"])


class Lookup(Directory):
    @unittest.skipUnless(shutil.which("gcc") and shutil.which("objdump"), "gcc and objdump are needed")
    def test_return_address_of_an_inlined_call(self):
        source = self.put("kernel/thing.c", SOURCE)
        command = ["gcc", "-O1", "-g", "-no-pie", "-o", str(self.root / "vmlinux"), str(source)]
        subprocess.run(command, check=True)
        listing = subprocess.run(
            ["objdump", "-d", "--no-show-raw-insn", str(self.root / "vmlinux")], stdout=subprocess.PIPE, check=True
        ).stdout.decode()
        match = re.search(r"(?:call|bl)\s.*<hook>\n\s*([0-9a-f]+):", listing)
        self.assertIsNotNone(match, listing)
        pc = int(match[1], 16)
        frames = symbolize.Symbolizer(self.root).frames(pc)
        expected = [("inner", "kernel/thing.c:5"), ("outer", "kernel/thing.c:11")]
        self.assertEqual([(frame.function, frame.place) for frame in frames], expected)

    def test_no_vmlinux(self):
        with self.assertRaisesRegex(Failure, "no vmlinux"):
            symbolize.Symbolizer(self.root)


if __name__ == "__main__":
    unittest.main()
