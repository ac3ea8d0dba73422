# SPDX-License-Identifier: GPL-2.0
"""Tests of the parts of harness/kernel.py that need no kernel: configurations, compilers, and the parsing of build logs."""

import os
import unittest
from pathlib import Path
from unittest import mock

from harness import buildlog, kconfig, kernel
from harness.hostlib import Failure

OURS = ["kernel/kcov/buffer.rs", "kernel/kcov/exports.c", "rust/kernel/kcov.rs", "lib/Kconfig.kcov"]

LOG = """\
  CC      kernel/fork.o
  RUSTC   kernel/kcov/kcov.o
warning: unused variable: `x`
  --> /src/linux/kernel/kcov/buffer.rs:12:9
   |
12 |     let x = 1;
   |         ^

warning: unused import: `y`
 --> /src/linux/rust/kernel/list.rs:1:5
   |
  CC      kernel/kcov/exports.o
/src/linux/kernel/kcov/exports.c:9:5: warning: unused variable 'z' [-Wunused-variable]
    9 |         int z;
      |             ^
/src/linux/kernel/fork.c:9:5: warning: unused variable 'z' [-Wunused-variable]
    9 |         kcov_task_init(z);
vmlinux.o: warning: objtool: __sanitizer_cov_trace_pc+0x1: call to foo() with UACCESS enabled
vmlinux.o: warning: objtool: other+0x1: unreachable instruction
WARNING: modpost: vmlinux: section mismatch in reference: kcov_init+0x1 (section: .text)
lib/Kconfig.kcov:12:warning: defaults for choice values not supported
""".splitlines()


class ConfigurationTest(unittest.TestCase):
    def test_parse(self) -> None:
        text = '# a comment\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C="x y"\n\nCONFIG_A=m\n'
        self.assertEqual({"CONFIG_A": "m", "CONFIG_B": "n", "CONFIG_C": '"x y"'}, kconfig.parse(text, "name"))
        with self.assertRaises(Failure) as raised:
            kconfig.parse("CONFIG_A=y\nCONFIG B=y\n", "some.config")
        self.assertIn("line 2 of some.config", str(raised.exception))

    def test_not_taken(self) -> None:
        wanted = kconfig.parse("CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=0x10\n# CONFIG_D is not set\nCONFIG_E=y\n")
        config = kconfig.parse("CONFIG_A=y\nCONFIG_B=y\nCONFIG_C=0x20\n")
        self.assertEqual(
            [("CONFIG_B", "n", "y"), ("CONFIG_C", "0x10", "0x20"), ("CONFIG_E", "y", "n")], kconfig.not_taken(wanted, config)
        )

    def test_text(self) -> None:
        options = {"CONFIG_A": "y", "CONFIG_B": "n"}
        self.assertEqual(options, kconfig.parse(kconfig.text_of(options)))

    def test_unknown_fragment(self) -> None:
        with self.assertRaises(Failure) as raised:
            kconfig.fragment("no-such-fragment")
        self.assertIn("base", str(raised.exception))


class LogTest(unittest.TestCase):
    def test_steps(self) -> None:
        self.assertEqual(3, sum(map(buildlog.is_step, LOG)))
        self.assertTrue(buildlog.is_step("  RUSTC [M] samples/kcov/x.o"))
        self.assertFalse(buildlog.is_step("   | warning"))

    def test_warnings(self) -> None:
        heads = [block.splitlines()[0] for block in buildlog.warnings(LOG, OURS)]
        self.assertEqual(
            [
                "warning: unused variable: `x`",
                "/src/linux/kernel/kcov/exports.c:9:5: warning: unused variable 'z' [-Wunused-variable]",
                "vmlinux.o: warning: objtool: __sanitizer_cov_trace_pc+0x1: call to foo() with UACCESS enabled",
                "WARNING: modpost: vmlinux: section mismatch in reference: kcov_init+0x1 (section: .text)",
                "lib/Kconfig.kcov:12:warning: defaults for choice values not supported",
            ],
            heads,
        )

    def test_excerpt(self) -> None:
        lines = ["  CC      a.o"] * 50 + ["a.c:1:1: error: no", "    1 | x", "  CC      b.o", "make: *** [Makefile:1: x] Error 2"]
        self.assertEqual(["a.c:1:1: error: no", "    1 | x", "make: *** [Makefile:1: x] Error 2"], buildlog.excerpt(lines))
        self.assertEqual(25, len(buildlog.excerpt([f"line {number}" for number in range(90)])))


class KernelTest(unittest.TestCase):
    def setUp(self) -> None:
        names = ("IMPL", "ARCH", "LLVM", "KCOV_BINDGEN", "O", "J", "KERNEL")
        patch = mock.patch.dict(os.environ, dict.fromkeys(names, ""))
        patch.start()
        self.addCleanup(patch.stop)

    def test_compilers(self) -> None:
        names = {"-22": "clang-22", "1": "clang", "/opt/bin/": "/opt/bin/clang", "gcc": "gcc", "0": "gcc"}
        for llvm, compiler in names.items():
            with self.subTest(llvm=llvm), mock.patch.object(kernel.shutil, "which", return_value="ccache"):
                one = kernel.Kernel(llvm=llvm)
                self.assertTrue(one.compiler.endswith(compiler))
                variables = one.variables()
                self.assertIn(f"CC=ccache {one.compiler}", variables)
                self.assertEqual(compiler != "gcc", f"LLVM={llvm}" in variables)

    def test_refusals(self) -> None:
        for wrong in ({"impl": "d"}, {"arch": "vax"}, {"llvm": "22"}, {"fragments": ["no-such-fragment"]}):
            with self.subTest(**wrong), self.assertRaises(Failure):
                kernel.Kernel(**wrong)
        with mock.patch.dict(os.environ, J="many"), self.assertRaises(Failure):
            kernel.Kernel()

    def test_directories(self) -> None:
        directories = {
            kernel.Kernel(impl=impl, fragments=fragments).objects for impl in ("c", "rust") for fragments in ([], ["base"])
        }
        self.assertEqual(4, len(directories))
        with mock.patch.dict(os.environ, O="/somewhere"):
            self.assertEqual(Path("/somewhere/x86_64-c"), kernel.Kernel(impl="c").objects)

    def test_small(self) -> None:
        for options in ({}, {"variant": "mine"}, {"fragments": ["selftest"]}):
            with self.subTest(**options):
                small, usual = kernel.Kernel(small=True, **options), kernel.Kernel(**options)
                self.assertNotEqual(small.objects, usual.objects)
                self.assertIn("CONFIG_KCOV_UNIQUE", small.wanted)
                self.assertLess(len(small.wanted), len(usual.wanted))
                self.assertNotIn("CONFIG_PCI", small.wanted)
                self.assertEqual("y", usual.wanted["CONFIG_PCI"])

    def test_bindgen(self) -> None:
        usual, chosen = kernel.Kernel(), kernel.Kernel(bindgen="0.73.0")
        self.assertFalse([variable for variable in usual.variables() if variable.startswith("BINDGEN=")])
        self.assertIn(f"BINDGEN={kernel.CACHE}/bindgen-0.73.0/bin/bindgen", chosen.variables())
        self.assertEqual(f"{usual.objects.name}-bindgen-0.73.0", chosen.objects.name)
        self.assertEqual("cell-bindgen-0.73.0", kernel.Kernel(variant="cell-bindgen-0.73.0", bindgen="0.73.0").variant)
        with mock.patch.dict(os.environ, KCOV_BINDGEN="newest"):
            self.assertEqual("clippy-bindgen-newest", kernel.Kernel(variant="clippy").variant)

    def test_private_variables(self) -> None:
        with mock.patch.dict(os.environ, MAKEFLAGS="O=/elsewhere", LLVM="1"):
            environment = kernel.Kernel(llvm="gcc").environment()
        self.assertNotIn("MAKEFLAGS", environment)
        self.assertNotIn("LLVM", environment)


class ToolsTest(unittest.TestCase):
    TOOLS = {"clang-22": "Debian clang version 22.1.8 (1)", "rustc": "rustc 1.95.0 (0 2026)", "bindgen": "bindgen 0.72.1"}
    OLDEST = {"llvm": "17.0.1", "gcc": "8.1.0", "rustc": "1.85.0", "bindgen": "0.71.1"}

    def check(self, bindings: str = "pub foo: u32", **tools: str) -> str:
        """Returns the message about these tools in place of the default ones, or "" if they are accepted."""
        texts = {**self.TOOLS, **tools}

        def output(*command: str, **_: object) -> str:
            if command[0] == "sh":
                return self.OLDEST[command[-1]]
            return texts[os.path.basename(command[0])] if command[-1] == "--version" else bindings

        with mock.patch.object(kernel, "command_output", output), mock.patch.object(kernel.shutil, "which", return_value=""):
            try:
                kernel.check_tools(kernel.Kernel(llvm="-22", bindgen=""), Path("/tree"))
            except Failure as failure:
                return str(failure)
        return ""

    def test_new_enough(self) -> None:
        self.assertEqual("", self.check())
        self.assertEqual("", self.check(bindgen="bindgen 0.71.1", rustc="rustc 1.85.0-nightly (0 2025)"))

    def test_too_old(self) -> None:
        for name, text in (("clang-22", "clang version 16.0.6"), ("rustc", "rustc 1.84.1"), ("bindgen", "bindgen 0.60.1")):
            with self.subTest(name):
                said = self.check(**{name: text})
                self.assertRegex(said, rf"^{name} is version {text.split()[-1]}, but the tree needs .* or later; ")

    def test_missing(self) -> None:
        for name in self.TOOLS:
            with self.subTest(name):
                self.assertIn(f"{name} was not found; run `make setup`", self.check(**{name: ""}))

    def test_a_bindgen_that_loses_fields(self) -> None:
        self.assertIn("too old for the libclang", self.check(bindings="pub _address: u8"))


if __name__ == "__main__":
    unittest.main()
