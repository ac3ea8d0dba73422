# SPDX-License-Identifier: GPL-2.0
"""Tests that the build stops with one sentence if a C type differs from its description in Rust: kcov/offsets.rs."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from harness.hostlib import TOP
from tests import slow

OFFSETS = TOP / "kcov/offsets.rs"

# The bindings that offsets.rs reads, in the form that bindgen might give them. The offsets of the fields are not the true
# ones, which does not matter here.
BINDINGS = """
#[repr(C)] pub struct bounds { pub vm_start: u64, pub vm_end: u64 }
#[repr(C)] pub struct bounds_or_rcu { pub __bindgen_anon_1: bounds }
#[repr(C)] pub union flags { pub vm_flags: u64 }
#[repr(C)] pub struct vm_area_struct {
    pub __bindgen_anon_1: bounds_or_rcu, pub __bindgen_anon_2: flags, pub vm_pgoff: u64, pub vm_ops: u64, pub vm_file: u64
}
#[repr(C)] pub struct target { pub vma: u64, pub pgoff: u64 }
#[repr(C)] pub struct vm_fault { pub __bindgen_anon_1: target, pub flags: u64, pub page: u64 }
"""


def places(source: str):
    """Returns the facts that offsets.rs compares: (type, path of the field, constant) and (type, size, alignment)."""
    fields = re.findall(r"^field!\(\s*(\w+),\s*([\w.]+),\s*(\w+)\s*\);", source, re.M)
    sizes = re.findall(r"^size!\(\s*(\w+),\s*(\w+),\s*(\w+)\s*\);", source, re.M)
    return fields, sizes


@unittest.skipUnless(shutil.which("rustc"), "rustc is needed")
class Offsets(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.root = Path(place.name)
        self.addCleanup(place.cleanup)
        self.source = OFFSETS.read_text(encoding="utf-8")
        self.fields, self.sizes = places(self.source)
        members = {}
        for name, path, _ in self.fields:
            if name not in ("vm_area_struct", "vm_fault"):
                members.setdefault(name, []).append(path)
        for name, _, _ in self.sizes:
            members.setdefault(name, ["only"])
        structs = [
            f"#[repr(C)] pub struct {name} {{ {', '.join(f'pub {member}: u64' for member in names)} }}"
            for name, names in members.items()
        ]
        bindings = BINDINGS + "\n".join(structs)
        self.write("kernel.rs", f"#![allow(non_camel_case_types)]\npub mod bindings {{ {bindings} }}\n")
        self.rustc("kernel.rs", "--crate-type=lib", "--crate-name=kernel")
        self.constants = {"TASK_KCOV_CTX": 8}
        for name, path, constant in self.fields:
            self.constants[constant] = 8 * members[name].index(path) if name in members else 0
        self.constants.update(VMA_START=0, VMA_END=8, VMA_FLAGS=16, VMA_PGOFF=24, VMA_OPS=32, VMA_FILE=40)
        self.constants.update(VM_FAULT_VMA=0, VM_FAULT_PGOFF=8, VM_FAULT_FLAGS=16, VM_FAULT_PAGE=24)
        for name, size, alignment in self.sizes:
            self.constants[size], self.constants[alignment] = 8 * len(members[name]), 8

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def rustc(self, source, *arguments):
        command = ["rustc", "--edition=2021", "--out-dir", self.root, "-L", self.root, *arguments, self.root / source]
        env = {**os.environ, "OBJTREE": str(self.root)}
        result = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        return result.returncode, result.stdout.decode()

    def build(self, **changed):
        """Returns the status and the output of the compiler, with these values on C's side."""
        values = {**self.constants, **changed}
        lines = [f"pub(crate) const {name}: usize = {value};" for name, value in values.items()]
        lines.append('pub(crate) const BINDGEN: &str = "bindgen 0.0.1";')
        self.write("kernel/kcov/generated_offsets.rs", "\n".join(lines))
        self.write("main.rs", f'#![allow(unused)]\n#[path = "{OFFSETS}"]\nmod offsets;\n')
        options = ("--crate-type=lib", "--emit=metadata", "--extern=kernel", "--cfg=CONFIG_JUMP_LABEL")
        return self.rustc("main.rs", *options)

    def test_it_is_about_something(self):
        self.assertGreater(len(self.fields), 20)
        self.assertGreater(len(self.sizes), 8)

    def test_equal_layouts_pass(self):
        status, said = self.build()
        self.assertEqual(status, 0, said)

    @slow
    def test_every_field_counts(self):
        for name, path, constant in self.fields:
            rust = self.constants[constant]
            status, said = self.build(**{constant: rust + 48})
            self.assertNotEqual(status, 0, f"{name}.{path}")
            sentence = f"bindgen 0.0.1 puts {name}.{path} at byte {rust}, but C has {rust + 48}; use another version"
            self.assertIn(sentence, " ".join(said.split()))

    @slow
    def test_every_size_counts(self):
        for name, size, alignment in self.sizes:
            rust = self.constants[size]
            status, said = self.build(**{size: 1234567})
            self.assertNotEqual(status, 0, name)
            self.assertIn(f"ends struct {name} at byte {rust}, but C has 1234567;", " ".join(said.split()))
            self.assertNotEqual(self.build(**{alignment: 64})[0], 0, name)


if __name__ == "__main__":
    unittest.main()
