# SPDX-License-Identifier: GPL-2.0
"""Tests of the figures about the sources."""

import contextlib
import io
import tempfile
import unittest
from pathlib import Path

import count
from harness.hostlib import Failure
from tests import slow

RUST = '''\
//! What the module has.
//! Which is the same comment.

/// Returns text.
///
/// What follows is no beginning.
fn text<'a>(a: &'a str) -> (&'static str, char) {
    // unsafe { } is a comment here, and so is fn none() { }.
    let quote = ('"', '\\'', '{', r#"unsafe { " } // "#);
    /* Two
       lines. */
    ("unsafe { /* no comment */", quote.0)
}

// SAFETY: Somebody, nobody.
unsafe impl Send for T {}
unsafe fn two() { unsafe { a() }; unsafe { b() } }
'''

C = '''\
// SPDX-License-Identifier: GPL-2.0
/* How it works. */
#define TEXT "/* no comment {"

/**
 * read_it() - which file is read
 */
static int read_it(struct file *file,
		   int number)
{
	if (number) {
		/* Inside. */
		return '{';
	}
	return 0;
}

struct operations calls = {
	.read = read_it,
};

/* Ends with an unbalanced brace. */
int broken(void)
{
#ifdef A
	if (a) {
#else
	if (b) {
#endif
	}
}

void last(void) { }
'''

PYTHON = '''\
"""Whether it is one."""

class A:
    """Is one."""

    def f(self):
        """
        Notes it.
        """
        # A comment.
        x = """Says nothing."""  # Behind code.
        return "# no comment"
'''


class Counts(unittest.TestCase):
    def test_openings(self):
        for word in ("What", "How", "Which", "Says", "Notes", "Whether", "That"):
            self.assertTrue(count.OPENING.match(f"{word} it is."), word)
        for text in ("Whatever it is.", "Returns what it is.", "Thatch.", "what it is"):
            self.assertIsNone(count.OPENING.match(text), text)

    def counted(self, name, text):
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / name
            path.write_text(text)
            return count.count(path)

    def test_rust(self):
        source = self.counted("a.rs", RUST)
        self.assertEqual(source.docs, ["What the module has.", "Returns text."])
        self.assertEqual((source.unsafe_blocks, source.unsafe_impls), (2, 1))
        self.assertEqual(source.lines, 17)
        self.assertEqual(source.filled, 15)
        self.assertEqual(source.commented, 9)
        self.assertEqual(source.longest, 7)
        self.assertEqual(source.vague, 2)

    def test_c(self):
        source = self.counted("a.c", C)
        self.assertEqual(
            source.docs, ["How it works.", "Which file is read", "Ends with an unbalanced brace."]
        )
        self.assertEqual(source.commented, 7)
        self.assertEqual(source.longest, 9)
        self.assertEqual(source.unsafe_blocks, 0)

    def test_python(self):
        source = self.counted("a.py", PYTHON)
        self.assertEqual(source.docs, ["Whether it is one.", "Is one.", "Notes it."])
        self.assertEqual(source.commented, 6)
        self.assertEqual(source.longest, 7)


class Table(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.top = Path(place.name)

    def write(self, path, text):
        (self.top / path).parent.mkdir(parents=True, exist_ok=True)
        (self.top / path).write_text(text)

    def cells(self, part):
        return dict(zip(count.COLUMNS, count.row(self.top, part)))

    def test_rows(self):
        self.write("kcov/a.rs", RUST)
        self.write("kcov/b.rs", "fn b() {}\n" * 501)
        self.write("rust/kernel/c.rs", RUST)
        self.write("kcov/tests.rs", "/// Says so.\nmod a;\n")
        self.write("kcov/tests/a.rs", "fn a() {\n    unsafe { b() }\n}\n")
        self.write("kcov/build/d.rs", RUST)
        self.write("tools/testing/selftests/kcov/t.c", C)
        cells = self.cells(count.OURS[0])
        self.assertEqual(cells["files / lines"], "3 / 535")
        self.assertEqual((cells["median"], cells["> 500"]), ("17", "1"))
        self.assertEqual(cells["no unsafe"], "1 of 3")
        self.assertEqual(cells["unsafe / kLOC"], f"{4000 / 535:.1f}")
        self.assertEqual(cells["outside"], "3")
        self.assertEqual(cells["tests / code"], f"{(2 + 3 + len(C.splitlines())) / 535:.2f}")
        self.assertEqual(cells["openings"], "60.0 % of 5")
        self.assertEqual(cells["nobody"], "4")
        cells = self.cells(count.OURS[3])
        self.assertEqual((cells["no unsafe"], cells["tests / code"]), (count.NOTHING, count.NOTHING))

    def test_missing_parts(self):
        self.assertIsNone(count.row(self.top, count.OURS[0]))
        with self.assertRaisesRegex(Failure, "has any of the files to count"):
            count.run(["--top", str(self.top), "--kernel", str(self.top)])
        self.write("kernel/kcov.c", C)
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            self.assertEqual(count.run(["--top", str(self.top), "--kernel", str(self.top)]), 0)
        lines = output.getvalue().splitlines()
        self.assertEqual(lines[3:], ["", "Files with more than 500 lines:"])
        self.assertEqual({line.count("|") for line in lines[:3]}, {len(count.COLUMNS) + 1})

    def test_large_files(self):
        self.write("kcov/a.rs", "fn b() {}\n" * 501)
        self.write("kcov/b.rs", "fn b() {}\n" * 500)
        self.write("kcov/c.md", "Long.\n" * 501)
        self.write("build/d.rs", "fn b() {}\n" * 501)
        self.assertEqual(count.large_files(self.top), {"kcov/a.rs": 501})

    def test_large_files_have_reasons(self):
        """A file with more than 500 lines is divided by subject, or has its reason in count.py."""
        self.assertEqual(set(count.large_files(count.TOP)), set(count.NOT_DIVIDED))

    @slow
    def test_anchors_have_rows(self):
        """Every part is found in this repository."""
        for part in count.OURS:
            self.assertIsNotNone(count.row(count.TOP, part), part.name)


if __name__ == "__main__":
    unittest.main()
