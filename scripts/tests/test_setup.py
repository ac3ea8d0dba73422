# SPDX-License-Identifier: GPL-2.0
"""Tests of setup.sh with stand-ins for the programs of a machine: its choices of clang and bindgen, and its refusals."""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path
from typing import Dict, List

SETUP = Path(__file__).resolve().parents[1] / "setup.sh"

REAL = (
    "awk bash cat chmod cut df dirname env find flock grep head id ln mkdir mv paste rm rmdir sed seq sort tail touch"
).split()

# Each stand-in reads its output from the environment. Stand-ins for programs that change a machine append a line to
# $CALLS.
STAND_INS = {
    "rustc": """case "$*" in
*sysroot*) echo "$HERE/sysroot" ;;
*verbose*) echo "LLVM version: ${RUSTC_LLVM-22}.1.0" ;;
*) echo "rustc ${RUSTC-1.95.0} (0 2026)" ;;
esac""",
    # Builds the version that --version names, or $NEWEST.
    "cargo": """echo "cargo $*" >>"$CALLS"
version=$NEWEST
while [ $# -gt 0 ]; do
	case $1 in --root) root=$2 ;; --version) version=$2 ;; esac
	shift
done
case $version in 9.*) echo 'error: could not find `bindgen-cli` in registry' >&2; exit 101 ;; esac
[ -n "$version" ] || exit 101
mkdir -p "$root/bin"
printf '#!/bin/sh\\necho bindgen %s\\n' "$version" >"$root/bin/bindgen"
chmod +x "$root/bin/bindgen\"""",
    "dpkg-query": "echo 'install ok installed'",
    "dpkg-deb": """case $1 in -x) mkdir -p "$3/usr/lib/rustlib/src/rust/library/core/src"
echo >"$3/usr/lib/rustlib/src/rust/library/core/src/lib.rs" ;; esac""",
    "apt-config": "echo lists=\"'$HERE/lists/'\"",
    # After the lists have been read, they offer $OFFERED_NOW.
    "apt-get": """echo "apt-get $*" >>"$CALLS"
case "$*" in
*download*) echo >a.deb ;;
update) mkdir -p "$HERE/lists/partial"; touch "$HERE/lists/partial"; echo "$OFFERED_NOW" >"$HERE/lists/main_Packages" ;;
esac""",
    "apt-cache": """case $1 in
show) case " $OFFERED $(cat "$HERE/lists/main_Packages") " in *" $2 "*) ;; *) exit 100 ;; esac ;;
madison) printf 'rust-src | %s | a suite\\n' $RUST_SRC ;;
policy) printf 'bindgen:\\n  Candidate: %s\\n' "${CANDIDATE-(none)}" ;;
esac""",
    "sudo": """[ "$1" != -n ] || shift
exec "$@\"""",
    # Makes a virtual environment, whose own Python is pip.
    "python3": """case $1 in
--version) echo "Python ${PYTHON-3.11.2}" ;;
-m) echo "python3 $*" >>"$CALLS"
	mkdir -p "$3/bin"
	printf '#!/bin/sh\\necho "pip $*" >>"$CALLS"\\nexit ${PIP-0}\\n' >"$3/bin/python"
	chmod +x "$3/bin/python" ;;
esac""",
}


class Setup(unittest.TestCase):
    def setUp(self) -> None:
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.here = Path(place.name)
        self.cache, self.bin = self.here / "cache", self.here / "bin"
        self.bin.mkdir()
        for name in REAL:
            (self.bin / name).symlink_to(str(shutil.which(name)))
        for name, text in STAND_INS.items():
            self.program(name, text)
        library = self.here / "sysroot/lib/rustlib/src/rust/library/core/src"
        library.mkdir(parents=True)
        (library / "lib.rs").touch()
        (self.here / "lists/partial").mkdir(parents=True)
        (self.here / "lists/main_Packages").touch()

    def program(self, name: str, text: str) -> Path:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    def run_setup(self, *parts: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        (self.here / "calls").write_text("")
        environment: Dict[str, str] = {
            "PATH": str(self.bin),
            "HOME": str(self.here),
            "HERE": str(self.here),
            "KCOV_CACHE": str(self.cache),
            "CALLS": str(self.here / "calls"),
            "OFFERED": "clang-22",
            "OFFERED_NOW": "",
            "NEWEST": "0.73.2",
            "RUST_SRC": "",
            **variables,
        }
        return subprocess.run(
            [str(self.bin / "bash"), str(SETUP), *(parts or ("base",))],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            check=False,
        )

    def calls(self, program: str) -> List[str]:
        return [line for line in (self.here / "calls").read_text().splitlines() if line.startswith(program)]

    def succeeds(self, *parts: str, **variables: str) -> None:
        result = self.run_setup(*parts, **variables)
        self.assertEqual(0, result.returncode, result.stdout + result.stderr)

    def refuses(self, sentence: str, **variables: str) -> None:
        result = self.run_setup(**variables)
        self.assertEqual(1, result.returncode, result.stdout + result.stderr)
        self.assertRegex(result.stderr, rf"\Aerror: .*{sentence}.*\.\n\Z")
        self.assertFalse((self.cache / "bin").exists())

    def suffix(self) -> str:
        return (self.cache / "llvm.suffix").read_text().strip()

    def bindgen(self) -> str:
        return os.readlink(self.cache / "bin/bindgen")


class Refusals(Setup):
    def test_rust(self) -> None:
        self.refuses("rustc is 1.84.1, but the kernel needs 1.85.0", RUSTC="1.84.1")
        (self.bin / "cargo").unlink()
        self.refuses("rustc and cargo were not found")

    def test_bindgen(self) -> None:
        self.refuses("0.70.1 is too old: the kernel needs bindgen 0.71.1", KCOV_BINDGEN="0.70.1")
        self.refuses("latest is not a version", KCOV_BINDGEN="latest")
        self.refuses("too old for clang 22, which needs bindgen 0.72.1", KCOV_BINDGEN="0.71.1")
        self.refuses("crates.io has no bindgen 9.9.9", KCOV_BINDGEN="9.9.9")

    def test_compiler(self) -> None:
        self.refuses("LLVM=-14: the kernel needs clang 17", LLVM="-14", OFFERED="clang-14 clang-22")
        self.refuses("there is no clang-99", LLVM="-99")
        self.refuses("LLVM=22 does not name a compiler", LLVM="22")
        self.refuses("there is no clang,", LLVM="1")
        self.program("clang", "echo Debian clang version 14.0.6")
        self.refuses("LLVM=1: the kernel needs clang 17", LLVM="1")
        self.refuses(f"LLVM={self.bin}/: the kernel needs clang 17", LLVM=f"{self.bin}/")
        self.refuses("no clang from 17 to 22", OFFERED="")

    def test_tree(self) -> None:
        (self.here / "Makefile").write_text("# SPDX\nVERSION = 7\nPATCHLEVEL = 1\nSUBLEVEL = 13\n")
        self.refuses("is Linux 7.1, but the overlay needs 7.2", KERNEL=str(self.here))
        self.refuses("not a Linux source tree", KERNEL=str(self.bin))
        (self.here / "Makefile").write_text("VERSION = 7\nPATCHLEVEL = 10\nSUBLEVEL = 0\n")
        self.succeeds(KERNEL=str(self.here))


class Compiler(Setup):
    def test_the_choice_is_kept(self) -> None:
        self.program("clang-21", "")
        self.succeeds(OFFERED="")
        self.assertEqual("-21", self.suffix())
        self.succeeds(OFFERED="clang-22")
        self.assertEqual("-21", self.suffix())
        self.assertEqual([], self.calls("apt-get"))

    def test_old_lists_are_read_before_the_choice(self) -> None:
        for lists in ("old", "missing"):
            with self.subTest(lists):
                shutil.rmtree(self.cache, ignore_errors=True)
                if lists == "old":
                    os.utime(self.here / "lists/partial", (0, 0))
                else:
                    (self.here / "lists/main_Packages").unlink()
                self.succeeds(OFFERED="clang-19", OFFERED_NOW="clang-22")
                self.assertEqual("-22", self.suffix())
                self.assertEqual(["apt-get update"], self.calls("apt-get"))
                self.succeeds()
                self.assertEqual([], self.calls("apt-get"))

    def test_new_lists_are_not_read_again(self) -> None:
        self.succeeds(OFFERED="clang-19", OFFERED_NOW="clang-22")
        self.assertEqual("-19", self.suffix())
        self.assertEqual([], self.calls("apt-get"))

    def test_the_choice_ends(self) -> None:
        for end in ("rustc has another LLVM", "the compiler is gone"):
            with self.subTest(end):
                self.program("clang-21", "")
                self.succeeds(OFFERED="", RUSTC_LLVM="21")
                self.assertEqual("-21", self.suffix())
                if end == "the compiler is gone":
                    (self.bin / "clang-21").unlink()
                    self.succeeds(OFFERED="clang-20", RUSTC_LLVM="21")
                    self.assertEqual("-20", self.suffix())
                else:
                    self.succeeds(RUSTC_LLVM="22")
                    self.assertEqual("-22", self.suffix())


class Bindgen(Setup):
    def test_the_one_in_path(self) -> None:
        mine = self.program("bindgen", "echo bindgen 0.72.1")
        self.succeeds()
        self.assertEqual(str(mine), self.bindgen())
        self.assertEqual([], self.calls("cargo"))

    def test_an_old_one_is_replaced(self) -> None:
        self.program("bindgen", "echo bindgen 0.71.1")
        result = self.run_setup()
        self.assertIn("bindgen 0.71.1", result.stdout)
        self.assertIn("0.72.1 or later is needed", result.stdout)
        self.assertEqual(str(self.cache / "bindgen/bin/bindgen"), self.bindgen())
        self.succeeds()
        self.assertEqual([], self.calls("cargo"))

    def test_the_package(self) -> None:
        self.succeeds(OFFERED="clang-19", RUSTC_LLVM="19", CANDIDATE="0.71.1-4+b1")
        self.assertEqual("/usr/bin/bindgen", self.bindgen())
        self.assertEqual([], self.calls("cargo"))

    def test_an_old_package(self) -> None:
        self.succeeds(OFFERED="clang-19", RUSTC_LLVM="19", CANDIDATE="0.60.1-2+b2")
        self.assertEqual(str(self.cache / "bindgen/bin/bindgen"), self.bindgen())

    def test_a_rustc_that_is_too_old_for_the_newest(self) -> None:
        result = self.run_setup(NEWEST="")
        self.assertIn("trying 0.72.1", result.stderr)
        self.assertEqual(2, len(self.calls("cargo")))
        self.assertEqual(str(self.cache / "bindgen/bin/bindgen"), self.bindgen())

    def test_versions_have_directories(self) -> None:
        self.program("bindgen", "echo bindgen 0.72.1")
        for _ in range(2):
            self.succeeds(KCOV_BINDGEN="0.73.1")
            self.succeeds("bindgen-newest", "bindgen-0.71.1")
        self.assertEqual(1, len(self.calls("cargo")), "only the newest is looked for again")
        said = {
            name: subprocess.check_output([str(self.cache / f"bindgen-{name}/bin/bindgen")], universal_newlines=True).strip()
            for name in ("0.71.1", "0.73.1", "newest")
        }
        self.assertEqual({"0.71.1": "bindgen 0.71.1", "0.73.1": "bindgen 0.73.1", "newest": "bindgen 0.73.2"}, said)

    def test_the_newest_stays_without_a_network(self) -> None:
        self.succeeds("bindgen-newest")
        result = self.run_setup("bindgen-newest", NEWEST="")
        self.assertEqual(0, result.returncode)
        self.assertIn("0.73.2 stays", result.stderr)


class Lint(Setup):
    def test_the_tools_are_installed_once(self) -> None:
        self.succeeds("lint")
        self.assertEqual([f"python3 -m venv {self.cache / 'lint'}"], self.calls("python3"))
        self.assertRegex(" ".join(self.calls("pip")), r" install ruff==\S+ mypy==\S+$")
        self.succeeds("lint")
        self.assertEqual([], self.calls("pip"))
        self.succeeds("lint", PYTHON="3.13.5")
        self.assertEqual(1, len(self.calls("pip")))

    def test_without_a_network(self) -> None:
        for _ in range(2):
            result = self.run_setup("lint", PIP="1")
            self.assertEqual(0, result.returncode)
            self.assertIn("the style check fails", result.stderr)
            self.assertEqual(1, len(self.calls("pip")))


class Library(Setup):
    def test_the_suites_of_the_machine(self) -> None:
        shutil.rmtree(self.here / "sysroot")
        self.program("bindgen", "echo bindgen 0.72.1")
        self.succeeds(RUSTC="1.85.1", RUST_SRC="1.85.10+dfsg1-1 1.85.1+dfsg1-1 1.63.0")
        self.assertIn("apt-get -q download rust-src=1.85.1+dfsg1-1", self.calls("apt-get"))
        library = (self.cache / "rust-lib-src-1.85.1.path").read_text().strip()
        self.assertEqual(str(self.cache / "rust-src-1.85.1/usr/lib/rustlib/src/rust/library"), library)


if __name__ == "__main__":
    unittest.main()
