# SPDX-License-Identifier: GPL-2.0
"""Tests of the formal models that need none of their tools."""

import re
import unittest
from pathlib import Path
from typing import Dict, List

import models
from harness.hostlib import TOP

# The folders of the kernel part.
PLACES = ("include", "kcov", "rust")
FUNCTION = {
    ".rs": re.compile(r"^\s*(?:pub(?:\(\w+\))? )?(?:const )?(?:unsafe )?(?:extern \"C\" )?fn (\w+)", re.M),
    ".c": re.compile(r"^(?:static |extern |inline )*[\w ]+[ *](\w+)\([^;]*$", re.M),
    ".h": re.compile(r"^(?:static |extern |inline )*[\w ]+[ *](\w+)\([^;]*$", re.M),
}
COMMENT = re.compile(r"(?://|/?\*) ORDERING:")
ATOMIC = re.compile(r"\bAtomic(?:Bool|Ptr|[IU](?:\d+|size))\b|\bcompiler_fence\b|\bcore::sync::atomic\b")


def sources() -> Dict[str, str]:
    paths = [path for place in PLACES for path in (TOP / place).rglob("*") if path.suffix in FUNCTION]
    return {str(path.relative_to(TOP)): path.read_text() for path in sorted(paths)}


def places(name: str, text: str) -> List[str]:
    """Returns the functions that contain the ORDERING comments of a file, one for each comment."""
    functions = [(found.start(), found[1]) for found in FUNCTION[Path(name).suffix].finditer(text)]
    result = []
    for comment in COMMENT.finditer(text):
        before = [function for start, function in functions if start < comment.start()]
        result.append(f"{name}:{before[-1] if before else ''}")
    return result


def rows(heading: str) -> List[List[str]]:
    """Returns the rows of the table under a heading of the README.md of the litmus tests."""
    text = (models.LITMUS / "README.md").read_text()
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[2:]]


class Comments(unittest.TestCase):
    def test_each_has_a_row(self):
        found = [place for name, text in sources().items() for place in places(name, text)]
        self.assertGreater(len(found), 20)
        self.assertEqual(sorted(found), sorted(row[0] for row in rows("Comments")))

    def test_rows_name_tests_that_are_there(self):
        stands_for = {test.name: re.split(r",\s*", test.header("Stands for")) for test in models.tests()}
        named = {row[0]: [] if row[1].startswith("none needed: ") else row[1].split(", ") for row in rows("Comments")}
        for place, names in named.items():
            for name in names:
                self.assertIn(place, stands_for.get(name, []), f"{name}.litmus does not say that it stands for {place}")
        for name, claimed in stands_for.items():
            for place in claimed:
                if "/" in place:
                    self.assertIn(name, named.get(place, []), f"the row of {place} does not name {name}")

    def test_atomics_of_rust(self):
        using = [name for name, text in sources().items() if ATOMIC.search(text.split("mod tests {")[0])]
        listed = [row[0] for row in rows("Rust's atomics as the kernel's memory model sees them")]
        self.assertEqual([name for name in using if not name.endswith("/tests.rs")], listed)


class Tests(unittest.TestCase):
    def test_each_has_a_row_and_a_weakened_variant(self):
        known = models.table_rows()
        self.assertEqual(sorted(known), [test.name for test in models.tests()])
        for test in models.tests():
            self.assertRegex(test.text, rf"\AC {test.name}\n")
            base, *others = test.variants()
            self.assertEqual(base.expected, "Never")
            self.assertIn("Sometimes", [variant.expected for variant in others], test.name)
            for variant in others:
                self.assertNotEqual(variant.text, base.text)
                self.assertIn(f"{variant.name}: {variant.expected}, ", known[test.name])
            self.assertIn(f"| {test.header('Stands for')} | Never |", known[test.name])

    def test_changes(self):
        text = "a; // weak x: b; // spare y: c;\n\td; // weak x:\n// spare y: e;\nf;\n"
        self.assertEqual(models.changed(text, ""), "a;\n\td;\n\nf;\n")
        self.assertEqual(models.changed(text, "x"), "b;\n\t\n\nf;\n")
        self.assertEqual(models.changed(text, "y"), "c;\n\td;\ne;\nf;\n")

    def test_place_of_a_comment(self):
        rust = "impl A {\n    pub(crate) unsafe fn one(\n    ) {\n        // ORDERING: x\n}\nfn two() {\n    // ORDERING: y\n"
        self.assertEqual(places("a.rs", rust), ["a.rs:one", "a.rs:two"])
        c = "static int one(void)\n{\n\tcall(a);\n\t/* ORDERING: x */\n}\n\nvoid two(int b)\n{\n\t/*\n\t * ORDERING: y\n"
        self.assertEqual(places("a.c", c), ["a.c:one", "a.c:two"])


if __name__ == "__main__":
    unittest.main()
