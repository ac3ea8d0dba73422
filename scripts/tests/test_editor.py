# SPDX-License-Identifier: GPL-2.0
"""Tests of the paths in the descriptions for editors: files of the overlay are the repository's."""

import os
import tempfile
import unittest
from pathlib import Path

from checks import editor as check
from harness import editor
from harness.hostlib import Failure

LIB = "mod first;\n#[cfg(CONFIG_X)]\npub mod second;\npub mod kcov;\npub mod kcov_other;\n"


class EditorTest(unittest.TestCase):
    def setUp(self) -> None:
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        # The tree's scripts resolve links, so the tree of this test is behind one.
        root = Path(os.path.realpath(place.name))
        self.real_tree, self.tree, self.top = root / "real", root / "tree", root / "top"
        self.sources = {}
        for name, text in {
            "kernel/kcov/kcov.rs": "",
            "kernel/kcov/gate.c": "",
            "rust/kernel/kcov.rs": "",
            "rust/kernel/sync/slot.rs": "",
            "samples/kcov/sample.rs": "",
        }.items():
            self.sources[name] = self.write(self.top / name.replace("kernel/kcov/", "kcov/"), text)
            (self.real_tree / name).parent.mkdir(parents=True, exist_ok=True)
            if name.endswith(".rs"):
                (self.real_tree / name).symlink_to(self.sources[name])
            else:
                self.write(self.real_tree / name, text)
        self.write(self.real_tree / "rust/kernel/lib.rs", LIB)
        self.write(self.real_tree / "rust/kernel/sync.rs", "pub mod rcu;\npub mod slot;\n")
        self.write(self.real_tree / "rust/kernel/first.rs", "")
        self.tree.symlink_to(self.real_tree)
        self.places = editor.Places(self.tree, self.sources)
        self.objects, self.root = root / "objects", root / "editor/lib.rs"

    def write(self, path: Path, text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def crate(self, name: str, root: Path, deps: str = "") -> dict:
        numbers = {"core": 0, "pin_init": 1, "zerocopy": 2, "zerocopy_derive": 3, "kernel": 4}
        return {
            "display_name": name,
            "root_module": str(root),
            "deps": [{"crate": numbers[dep], "name": dep} for dep in deps.split()],
            "cfg": ["CONFIG_KCOV"],
            "env": {"OBJTREE": str(self.objects)},
            "is_workspace_member": True,
        }

    def project(self) -> dict:
        tree = self.real_tree
        crates = [
            self.crate("core", Path("/library/core/src/lib.rs")),
            self.crate("pin_init", tree / "rust/pin-init/src/lib.rs", "core"),
            self.crate("zerocopy", tree / "rust/zerocopy/src/lib.rs", "core"),
            self.crate("zerocopy_derive", tree / "rust/zerocopy-derive/lib.rs"),
            self.crate("kernel", tree / "rust/kernel/lib.rs", "core pin_init"),
            self.crate("foreign", tree / "drivers/foreign.rs", "kernel"),
            self.crate("sample", tree / "samples/kcov/sample.rs", "core kernel"),
        ]
        return {"sysroot": "/sysroot", "crates": crates}

    def test_own(self) -> None:
        for tree in (self.tree, self.real_tree):
            self.assertEqual(str(self.top / "kcov/gate.c"), self.places.own(str(tree / "kernel/kcov/gate.c")))
        # The target of a link.
        self.assertEqual(str(self.top / "kcov/kcov.rs"), self.places.own(str(self.top / "kcov/kcov.rs")))
        self.assertIsNone(self.places.own(str(self.tree / "kernel/fork.c")))

    def test_rust_project(self) -> None:
        project = editor.rust_project(self.project(), self.places, self.objects, self.root)
        self.assertEqual(("/sysroot", "/library"), (project["sysroot"], project["sysroot_src"]))
        crates = {crate["display_name"]: crate for crate in project["crates"]}
        self.assertEqual(
            ["pin_init", "zerocopy", "zerocopy_derive", "kernel", "sample", "kcov"],
            [crate["display_name"] for crate in project["crates"]],
        )
        self.assertEqual(str(self.top / "kcov/kcov.rs"), crates["kcov"]["root_module"])
        self.assertEqual(str(self.top / "samples/kcov/sample.rs"), crates["sample"]["root_module"])
        self.assertEqual(str(self.root), crates["kernel"]["root_module"])
        self.assertEqual(["CONFIG_KCOV"], crates["kcov"]["cfg"])
        self.assertEqual({"OBJTREE": str(self.objects)}, crates["kcov"]["env"])
        self.assertEqual(
            [str(self.top / "kcov"), str(self.objects / "kernel/kcov"), str(self.objects / "rust")],
            crates["kcov"]["source"]["include_dirs"],
        )
        for crate in project["crates"]:
            for dep in crate["deps"]:
                self.assertEqual(dep["name"], project["crates"][dep["crate"]]["display_name"])
            name = crate["display_name"]
            self.assertEqual(name in ("kernel", "sample", "kcov"), crate["is_workspace_member"], name)

    def test_missing_crate(self) -> None:
        project = self.project()
        project["crates"][2]["display_name"] = "renamed"
        with self.assertRaisesRegex(Failure, "zerocopy"):
            editor.rust_project(project, self.places, self.objects, self.root)

    def test_kernel_crate(self) -> None:
        out = self.root.parent
        # Of an earlier run.
        self.write(out / "gone.rs", "")
        for _ in range(2):
            self.assertEqual(self.root, editor.kernel_crate(self.places, out))
            kcov, slot = self.top / "rust/kernel/kcov.rs", self.top / "rust/kernel/sync/slot.rs"
            self.assertEqual(LIB.replace("pub mod kcov;", f'#[path = "{kcov}"]\npub mod kcov;'), self.root.read_text())
            self.assertEqual(f'pub mod rcu;\n#[path = "{slot}"]\npub mod slot;\n', (out / "sync.rs").read_text())
            self.assertTrue((out / "first.rs").samefile(self.real_tree / "rust/kernel/first.rs"))
            self.assertEqual(["first.rs", "kcov.rs", "lib.rs", "sync", "sync.rs"], sorted(os.listdir(out)))
        self.assertEqual(LIB, (self.real_tree / "rust/kernel/lib.rs").read_text())

    def test_kernel_crate_without_declaration(self) -> None:
        self.write(self.real_tree / "rust/kernel/sync.rs", "pub mod rcu;\n")
        with self.assertRaisesRegex(Failure, "declares the module slot 0 times"):
            editor.kernel_crate(self.places, self.root.parent)

    def test_compile_commands(self) -> None:
        entries = [
            {"directory": "/o", "file": str(self.real_tree / name), "command": f"clang -I{self.tree} -c {self.tree / name}"}
            for name in ("kernel/kcov/gate.c", "kernel/fork.c")
        ]
        self.write(self.top / "kcov/offsets.c", "")
        self.sources["kernel/kcov/offsets.c"] = self.top / "kcov/offsets.c"
        ours, theirs, other = editor.compile_commands(entries, editor.Places(self.tree, self.sources))
        gate = str(self.top / "kcov/gate.c")
        self.assertEqual({"directory": "/o", "file": gate, "command": f"clang -I{self.tree} -c {gate}"}, ours)
        self.assertEqual(entries[1], theirs)
        # The build makes no object of it.
        offsets = str(self.top / "kcov/offsets.c")
        self.assertEqual({"directory": "/o", "file": offsets, "command": f"clang -I{self.tree} -c {offsets}"}, other)

    def test_user_commands(self) -> None:
        self.write(self.top / "s/module.c", "#include <linux/module.h>\n")
        program = self.write(self.top / "s/d/b.c", "#include <stdio.h>\n")
        (entry,) = editor.user_commands(self.top / "s", [Path("/lib")], Path("/headers"))
        self.assertEqual(str(program), entry["file"])
        self.assertTrue(entry["command"].endswith(f"-I/lib -isystem /headers -c {program}"), entry["command"])


class DiagnosticsTest(unittest.TestCase):
    def test_reading(self) -> None:
        first, second = "0/9 0% processing /top/kcov/kcov.rs", "1/9 1% processing /top/kcov/gate.rs"
        mistake = "at crate kcov, file /top/kcov/{}.rs: {}"
        unresolved = 'RustcHardError("E0433") from 1 to 2: unresolved'
        export = 'RustcHardError("E0308") from 1 to 2: expected fn {}(), found unsafe extern "C" fn hook()'
        output = (
            # Only what is different is written again.
            first + "\b" * len(first) + "1/9 1%" + first[6:] + "\b" * 7 + "gate.rs"
            # The line is cleared before a complaint, and comes again after it.
            + "\b" * len(second) + " " * len(second) + "\b" * len(second) + mistake.format("gate", f"Error {unresolved}\n")
            + mistake.format("gate", "Error " + export.format("hook") + "\n")
            + mistake.format("kcov", "Error " + export.format("other") + "\n")
            + mistake.format("kcov", 'WeakWarning Ra("inactive-code", WeakWarning) from 1 to 2: inactive\n')
            + second
        )
        seen, found = check.diagnostics(output)
        self.assertEqual({"/top/kcov/kcov.rs", "/top/kcov/gate.rs"}, seen)
        self.assertEqual({"/top/kcov/gate.rs": [unresolved], "/top/kcov/kcov.rs": [export.format("other")]}, found)
