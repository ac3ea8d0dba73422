# SPDX-License-Identifier: GPL-2.0
"""
Builds the programs that run in a guest: static, because the initramfs has no libraries, and with the headers of the
kernel's tree.
"""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Dict, List, Sequence

from . import kconfig
from .arch import ARCHITECTURES
from .hostlib import BUILD, TOP, build_environment, die, first_line, locked, replacing, run_logged, shown, write_if_changed

LOGS = BUILD / "log"
# The conformance suite, and other programs for the kernel.
SUITE = TOP / "tools/testing/selftests/kcov"


def compiler(arch: str) -> str:
    """Returns the compiler for user programs of ARCH; CC_GUEST= names another one."""
    name = os.environ.get("CC_GUEST") or ARCHITECTURES[arch].compiler
    if not shutil.which(name):
        die(f"the compiler {name} was not found; install it with `scripts/setup.sh {ARCHITECTURES[arch].setup_part}`.")
    return name


def tree_of(obj: Path) -> Path:
    """Returns the tree from which an object directory was built."""
    source = obj / "source"
    return source.resolve() if source.exists() else obj


# The sample modules of KCOV, with their options.
SAMPLE_MODULES = {"kcov_sample": "CONFIG_SAMPLE_KCOV_MODULE", "rust_kcov_sample": "CONFIG_SAMPLE_KCOV_RUST_MODULE"}
# Commands that load the modules that a guest was given.
LOAD_MODULES = """
for module in /modules/*.ko; do
	[ ! -e "$module" ] || insmod "$module" || exit
done
"""


def sample_modules(obj: Path) -> Dict[str, Path]:
    """Returns the files of the sample modules that are loadable modules in a kernel, by their names in a guest."""
    # The configuration decides, because a file may be left from an earlier one.
    config = kconfig.of_objects(obj)
    loadable = [name for name, option in SAMPLE_MODULES.items() if config.get(option) == "m"]
    files = {f"/modules/{name}.ko": obj / "samples/kcov" / f"{name}.ko" for name in loadable}
    return {name: path for name, path in files.items() if path.exists()}


def headers(tree: Path, arch: str) -> Path:
    """Returns the directory of the kernel's headers for user space, up to date."""
    name = ARCHITECTURES[arch].headers
    out = BUILD / "headers" / name
    target, stamp = out / "usr/include", out / "stamp"
    # Installing takes a while. Within one release, only our header changes.
    parts = [str(tree).encode(), (tree / "Makefile").read_bytes(), (tree / "include/uapi/linux/kcov.h").read_bytes()]
    label = hashlib.sha256(b"\0".join(parts)).hexdigest()
    with locked(out.with_name(f".{out.name}.lock"), "the kernel's headers"):
        if first_line(stamp) == label:
            return target
        out.mkdir(parents=True, exist_ok=True)
        # An interruption must leave neither the new nor the old headers valid.
        stamp.unlink(missing_ok=True)
        log = LOGS / "headers.log"
        command = ["make", "-C", str(tree), f"O={out}", f"ARCH={name}", "headers"]
        run_logged(log, f"Installing the kernel's headers for programs ({name})", command, env=build_environment())
        if not (target / "linux/kcov.h").exists():
            die(f"`make headers` left no linux/kcov.h in {shown(target)}; the log is {shown(log)}.")
        write_if_changed(stamp, f"{label}\n".encode())
    return target


def compile_to(target: Path, command: Sequence[str], what: Path) -> Path:
    """Runs a compiler whose output is TARGET and whose source is WHAT."""
    with replacing(target) as partial:
        result = subprocess.run(
            [*command, "-o", str(partial)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=TOP, check=False
        )
        if result.returncode:
            die(f"{shown(what)} does not compile:\n{result.stdout.decode(errors='replace').rstrip()}")
    return target


def build(source: Path, obj: Path, arch: str = "x86_64", flags: Sequence[str] = ()) -> Path:
    """Compiles one C file into a static program; returns the program's path."""
    if not source.exists():
        die(f"{shown(source)} does not exist.")
    suffix = "".join(flags).replace("/", "_")
    target = BUILD / "programs" / arch / (source.stem + suffix)
    command: List[str] = [compiler(arch), "-O2", "-g", "-Wall", "-Wextra", "-static", "-pthread", *flags]
    command += ["-isystem", str(headers(tree_of(obj), arch)), str(source)]
    return compile_to(target, command, source)


def suite_of(obj: Path) -> Path:
    """Returns the selftests in the tree from which an object directory was built."""
    tree = tree_of(obj)
    suite = tree / SUITE.relative_to(TOP)
    if not suite.is_dir():
        die(f"there is no {suite.relative_to(tree)} in {shown(tree)}; the kernel was built without the overlay.")
    return suite


def selftests(obj: Path, arch: str = "x86_64") -> Dict[str, Path]:
    """Builds the conformance suite with its own Makefile, as `make -C tools/testing/selftests` does; returns programs by name."""
    suite, out = suite_of(obj), BUILD / "selftests" / arch
    with locked(out.with_name(f".{arch}.lock"), "the conformance suite"):
        made = make_selftests(suite, out.with_name(f"{arch}.new"), tree_of(obj), arch)
        # Another run may be packing the present programs.
        out.mkdir(exist_ok=True)
        for name, path in made.items():
            os.replace(path, out / name)
        # Programs that the suite no longer has must not run.
        for path in out.iterdir():
            if path.name not in made:
                path.unlink()
    return {name: out / name for name in made}


def of_suite(name: str, obj: Path, arch: str = "x86_64") -> Path:
    """Builds a program that is next to the conformance suite with its Makefile: `stress/stress`, for example."""
    # In a directory of its own: an older build has left a file named `stress` next to it.
    suite, target = suite_of(obj), BUILD / "programs" / arch / "suite" / name
    with locked(target.with_name(f".{target.name}.lock"), name):
        made = make_selftests(suite, target.with_name(f"{target.name}.new"), tree_of(obj), arch, name)
        # Another run may be packing the present program.
        os.replace(made[target.name], target)
    return target


def make_selftests(suite: Path, out: Path, tree: Path, arch: str, name: str = "") -> Dict[str, Path]:
    """Builds the tests, or the one program, with the suite's Makefile in an empty directory; returns them by name."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    cross = compiler(arch)[: -len("gcc")]
    command = ["make", f"-j{os.cpu_count() or 1}", "-C", str(suite), f"OUTPUT={out}"]
    command += [f"KHDR_INCLUDES=-isystem {headers(tree, arch)}", f"CROSS_COMPILE={cross}"]
    command.append(str(out / name) if name else "tests")
    log, what = (LOGS / f"{name.replace('/', '-')}.log", name) if name else (LOGS / "selftests.log", "the conformance suite")
    run_logged(log, f"Building {what}", command, env={**build_environment(), "MAKELEVEL": "0"})
    warnings = [line for line in log.read_text(errors="replace").splitlines() if "warning:" in line]
    if warnings:
        die(f"{what} does not compile cleanly ({shown(log)}): {warnings[0]}")
    built = [out / name] if name else sorted(out.iterdir())
    made = {path.name: path for path in built if os.access(path, os.X_OK) and path.is_file()}
    if not made:
        die(f"the Makefile of the conformance suite built no program; the log is {shown(log)}.")
    return made
