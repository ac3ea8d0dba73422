# SPDX-License-Identifier: GPL-2.0
"""
The kernel tree, and kernels that are built from it, always with the overlay up to date.
"""

import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from . import buildlog, kconfig, overlay
from .arch import DEFAULT, Architecture, named
from .hostlib import (
    BUILD,
    CACHE,
    CONFIG_DIR,
    TOP,
    build_environment,
    command_output,
    die,
    first_line,
    locked,
    need_space,
    run_logged,
    setup,
    shown,
    step,
    warn,
    write_if_changed,
)
from .patches import repository_files

# The steps of a build of roughly this configuration, until one has been counted.
USUAL_STEPS = 2000
TREE_MEBIBYTES = 2600
OBJECT_MEBIBYTES = 2000

IMPLEMENTATIONS = {"rust": "CONFIG_KCOV_RUST", "c": "CONFIG_KCOV_C"}


@dataclass
class Kernel:
    """One kernel: its configuration, its compiler, and its directory."""

    impl: str = field(default_factory=lambda: os.environ.get("IMPL") or "rust")
    arch: str = field(default_factory=lambda: os.environ.get("ARCH") or DEFAULT)
    fragments: List[str] = field(default_factory=list)
    variant: str = ""
    jobs: int = 0
    llvm: str = field(default_factory=lambda: os.environ.get("LLVM") or "")
    # A version that setup.sh has put into the cache, or "newest"; empty: the default of setup.sh.
    bindgen: str = field(default_factory=lambda: os.environ.get("KCOV_BINDGEN") or "")
    out: Optional[Path] = None
    # An older series of Linux that setup.sh has put into the cache; empty: the tree that KERNEL= names, or the default.
    series: str = ""
    # True to leave out what only the tests need, for a kernel that boots and runs a program.
    small: bool = False

    def __post_init__(self) -> None:
        if self.impl not in IMPLEMENTATIONS:
            die(f"there is no implementation '{self.impl}'; IMPL is rust or c.")
        self.arch = self.architecture.name
        # Each configuration has a directory of its own.
        kind = ["small"] if self.small else []
        named = [self.variant] if self.variant else [Path(name).stem for name in self.fragments]
        self.variant = "-".join([*kind, *named])
        suffix = f"bindgen-{self.bindgen}" if self.bindgen else ""
        if suffix not in self.variant:
            self.variant = "-".join(filter(None, (self.variant, suffix)))
        choice = {option: "y" if impl == self.impl else "n" for impl, option in IMPLEMENTATIONS.items()}
        # Not every implementation or architecture has options of its own.
        size = "small" if self.small else "suite"
        optional = [self.impl, f"{self.arch}-{self.impl}", f"{self.arch}-{size}", f"suite-{self.impl}"]
        names = ["base", self.arch, *optional[:3]]
        if not self.small:
            names += ["suite", *optional[3:], *self.architecture.fragments]
        names = [name for name in names if name not in optional or (CONFIG_DIR / f"{name}.config").exists()]
        self.wanted = kconfig.merged([*names, *self.fragments], choice)
        self.llvm = self.llvm or first_line(CACHE / "llvm.suffix") or "1"
        if self.llvm in ("gcc", "0"):
            self.llvm = "gcc"
        elif self.llvm != "1" and not self.llvm.startswith("-") and not self.llvm.endswith("/"):
            die(
                f"LLVM={self.llvm} does not name a compiler; write LLVM=1, a suffix such as LLVM=-22, a path that ends in /, "
                "or LLVM=gcc."
            )
        if not self.jobs:
            text = os.environ.get("J") or ""
            if text and not (text.isdigit() and int(text)):
                die(f"J={text} is not a number of jobs; give one, such as J=4.")
            self.jobs = int(text or len(os.sched_getaffinity(0)))

    @property
    def architecture(self) -> Architecture:
        return named(self.arch)

    @property
    def objects(self) -> Path:
        """Returns the directory of the objects. O=, or build/obj, holds a directory for every kernel."""
        if self.out:
            return self.out.absolute()
        base = Path(os.environ.get("O") or BUILD / "obj").absolute()
        return base / "-".join(filter(None, (self.arch, self.impl, self.variant)))

    @property
    def image(self) -> Path:
        return self.objects / self.architecture.image

    @property
    def compiler(self) -> str:
        """Returns the C compiler, without ccache."""
        if self.llvm == "gcc":
            return self.cross + "gcc"
        if self.llvm.endswith("/"):
            return f"{self.llvm}clang"
        return "clang" + (self.llvm if self.llvm.startswith("-") else "")

    @property
    def search_path(self) -> str:
        """Returns PATH for the build."""
        return f"{CACHE / 'bin'}:{os.environ.get('PATH', '/usr/bin:/bin')}"

    @property
    def bindgen_program(self) -> str:
        """Returns the program that makes Rust's bindings."""
        if self.bindgen:
            return str(CACHE / f"bindgen-{self.bindgen}" / "bin/bindgen")
        return shutil.which("bindgen", path=self.search_path) or "bindgen"

    @property
    def cross(self) -> str:
        prefix = self.architecture.cross
        return "" if prefix.startswith(f"{os.uname().machine}-") else prefix

    def compiler_name(self) -> str:
        """Returns a name such as `clang 22` or `gcc 12` for the progress line."""
        text = command_output(self.compiler, "--version") or ""
        match = re.search(r"(\d+)\.\d+\.\d+", text)
        return f"{'gcc' if self.llvm == 'gcc' else 'clang'} {match[1] if match else ''}".strip()

    def title(self) -> str:
        return ", ".join(filter(None, (self.impl, self.arch, self.variant, self.compiler_name())))

    def variables(self) -> List[str]:
        """Returns the variables for the command line of the kernel's make."""
        result = [f"ARCH={self.architecture.make}", f"O={self.objects}"]
        cc = self.compiler
        if self.llvm != "gcc":
            result.append(f"LLVM={self.llvm}")
        elif self.cross:
            result.append(f"CROSS_COMPILE={self.cross}")
        if shutil.which("ccache"):
            result.append(f"CC=ccache {cc}")
        if self.bindgen:
            result.append(f"BINDGEN={self.bindgen_program}")
        return result

    def environment(self) -> Dict[str, str]:
        env = build_environment()
        env["PATH"] = self.search_path
        env["LC_ALL"] = "C"
        version = re.search(r"rustc (\S+)", command_output("rustc", "--version") or "")
        library = version and first_line(CACHE / f"rust-lib-src-{version[1]}.path")
        if library and "RUST_LIB_SRC" not in os.environ:
            env["RUST_LIB_SRC"] = library
        # With GCC, bindgen reads C with the libclang of the default clang.
        suffix = first_line(CACHE / "llvm.suffix") or "" if self.llvm == "gcc" else self.llvm
        libclang = Path(f"/usr/lib/llvm{suffix}/lib")
        if suffix.startswith("-") and libclang.is_dir():
            env.setdefault("LIBCLANG_PATH", str(libclang))
        # The same sources give the same image, wherever and whenever they are built.
        env.update(
            KBUILD_BUILD_TIMESTAMP="Thu Jan  1 00:00:00 UTC 2026",
            KBUILD_BUILD_USER="kcov",
            KBUILD_BUILD_HOST="kcov",
            KBUILD_BUILD_VERSION="1",
        )
        for name, value in (
            ("CCACHE_DIR", str(CACHE / "ccache")),
            ("CCACHE_BASEDIR", str(TOP)),
            ("CCACHE_NOHASHDIR", "1"),
            ("CCACHE_MAXSIZE", "15G"),
        ):
            env.setdefault(name, value)
        return env

    def make(self, tree: Path, *targets: str) -> List[str]:
        return ["make", "--no-print-directory", "-C", str(tree), f"-j{self.jobs}", *self.variables(), *targets]


def prepare_tree(series: str = "") -> Path:
    """
    Returns the tree to build from, with the overlay up to date: the tree that KERNEL= names, or a tree unpacked from
    the cached tarball, in which the files of this repository are links. SERIES is another series of Linux.
    """
    named = os.environ.get("KERNEL") if not series else None
    source = "-".join(filter(None, ("linux", series)))
    tree = Path(named).absolute() if named else BUILD / source
    with locked(BUILD / "tree.lock", "the kernel tree"):
        if not named:
            unpack(tree, source)
        elif tree.is_dir() and any((tree / name).exists() for name in (".config", "include/config")):
            die(
                f"{shown(tree)} was built in place, and the kernel builds elsewhere only from a clean tree; "
                f"run `make -C {shown(tree)} mrproper`, or name a `git worktree` of it."
            )
        todo, done = overlay.install(tree, link=not named)
        if any(done.values()):
            step(f"Installing the overlay in {shown(tree)}: {overlay.report(done, len(todo.files))}")
    return tree


def unpack(tree: Path, name: str) -> None:
    """Unpacks the tarball that is the part NAME of setup.sh, unless the tree was made from that tarball."""
    tarball = first_line(CACHE / f"{name}.path")
    if not tarball or not Path(tarball).is_file():
        setup(name)
        tarball = first_line(CACHE / f"{name}.path") or die("the set-up did not provide the Linux source; report this.")
    source = Path(str(tarball))
    label = f"{source.name} {source.stat().st_size}"
    if first_line(tree / ".kcov-source") == label:
        return
    need_space(tree.parent, TREE_MEBIBYTES, "unpacking the Linux source")
    for old in tree.parent.glob(f".{tree.name}.partial*"):
        shutil.rmtree(old)
    partial = tree.with_name(f".{tree.name}.partial{os.getpid()}")
    partial.mkdir()
    # -m: with the time stamps of the archive, make would consider objects of an older release up to date.
    run_logged(
        BUILD / "unpack.log",
        f"Unpacking the Linux {first_line(CACHE / f'{name}.version') or ''} source",
        ["tar", "-I", "xz -T0", "-xmf", str(source), "--strip-components=1", "-C", str(partial)],
    )
    (partial / ".kcov-source").write_text(label + "\n")
    if tree.exists():
        old = tree.with_name(f".{tree.name}.partial-old")
        tree.rename(old)
        partial.rename(tree)
        shutil.rmtree(old)
    else:
        partial.rename(tree)


def version_in(text: str) -> Tuple[int, ...]:
    """Returns the first version such as 0.72.1 in a text."""
    match = re.search(r"\d+\.\d+\.\d+", text)
    return tuple(map(int, match[0].split("."))) if match else ()


def check_tools(kernel: Kernel, tree: Path) -> None:
    """Refuses tools that are missing, or older than the tree needs."""
    script = str(tree / "scripts/min-tool-version.sh")
    bindgen = kernel.bindgen_program
    compiler = "choose another with LLVM= (LLVM=gcc for GCC)"
    other = "choose another with KCOV_BINDGEN="
    for tool, program, remedy in (
        ("gcc" if kernel.llvm == "gcc" else "llvm", kernel.compiler, compiler),
        ("rustc", "rustc", "install a newer one, with `rustup update` for example"),
        ("bindgen", bindgen, other),
    ):
        text = command_output(program, "--version")
        if not text:
            setup_with = f" KCOV_BINDGEN={kernel.bindgen}" if tool == "bindgen" and kernel.bindgen else ""
            die(f"{program} was not found; run `make setup{setup_with}`, or {remedy}.")
        oldest = version_in(command_output("sh", script, tool) or "")
        if version_in(text) < oldest:
            found = ".".join(map(str, version_in(text)))
            die(f"{program} is version {found}, but the tree needs {'.'.join(map(str, oldest))} or later; {remedy}.")
    # The tree only warns about this combination. rustc fails later, because structures have lost their fields.
    header = tree / "scripts/rust_is_available_bindgen_libclang_22.h"
    bindings = command_output(bindgen, str(header), env=kernel.environment())
    if bindings and "pub foo" not in bindings:
        die(f"{bindgen} is too old for the libclang that it uses; {other}, or an older clang with LLVM=.")


def configure(kernel: Kernel, tree: Path) -> None:
    """Makes .config from the fragments if anything that it depends on has changed."""
    wanted = kernel.wanted
    check_tools(kernel, tree)
    objects = kernel.objects
    stamp = objects / ".kcov-config"
    menus = [path for path in repository_files() if "Kconfig" in path] + ["lib/Kconfig.debug", "Makefile"]
    state = "\n".join(
        [
            kconfig.text_of(wanted),
            *kernel.variables(),
            str(tree),
            command_output(kernel.compiler, "--version") or "",
            command_output("rustc", "--version") or "",
            command_output(kernel.bindgen_program, "--version") or "",
            *(overlay.digest((tree / path).read_bytes()) for path in sorted(menus)),
        ]
    )
    label = hashlib.sha256(state.encode()).hexdigest()
    log = objects / "config.log"
    if first_line(stamp) == label and (objects / ".config").exists():
        if os.environ.get("KERNEL") and not kernel.series:
            # A tree of the user may have changed anywhere.
            title = f"Checking the configuration ({kernel.title()})"
            run_logged(log, title, kernel.make(tree, "olddefconfig"), env=kernel.environment())
        return
    objects.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    requested = objects / ".kcov-wanted.config"
    write_if_changed(requested, kconfig.text_of(kconfig.request(wanted)).encode())
    env = {**kernel.environment(), "KCONFIG_ALLCONFIG": str(requested)}
    run_logged(
        log,
        f"Configuring the kernel ({kernel.title()})",
        kernel.make(tree, "allnoconfig"),
        env=env,
        excerpt=buildlog.excerpt,
    )
    config = kconfig.of_objects(objects)
    missing = kconfig.not_taken(wanted, config)
    if missing:
        text = ", ".join(f"{name}={value} (is {got})" for name, value, got in missing)
        if "CONFIG_RUST" in (name for name, _, _ in missing):
            reason = rust_reason(kernel, tree)
            text += f"; Rust is not available: {reason}" if reason else ""
        die(f"the tree's Kconfig did not take {text}; correct the fragment or its dependencies ({shown(requested)}).")
    stamp.write_text(label + "\n")


def rust_reason(kernel: Kernel, tree: Path) -> str:
    """Returns the reason why the tree does not offer Rust, in the words of its own check."""
    result = subprocess.run(
        kernel.make(tree, "rustavailable"),
        env=kernel.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    lines = [line.strip("* ") for line in result.stdout.decode(errors="replace").splitlines() if line.startswith("***")]
    return " ".join(filter(None, lines)).rstrip(".") if result.returncode else ""


class Counter:
    """The progress of a build: the number of steps so far, and of the last full build of the same kind."""

    def __init__(self, kernel: Kernel, everything: bool):
        self.full = everything and not (kernel.objects / "vmlinux").exists()
        self.done = 0
        kind = "-".join(filter(None, (kernel.arch, kernel.variant, "gcc" if kernel.llvm == "gcc" else "")))
        self.memory = CACHE / "steps" / kind
        known = first_line(self.memory) or ""
        self.expected = int(known) if known.isdigit() else USUAL_STEPS

    def state(self, line: str) -> str:
        self.done += buildlog.is_step(line)
        return self.text()

    def text(self) -> str:
        return f"{self.done} of ~{max(self.expected, self.done)} objects" if self.full else f"{self.done} objects"

    def remember(self) -> None:
        if self.full:
            write_if_changed(self.memory, f"{self.done}\n".encode())


def build(kernel: Kernel, targets: Optional[List[str]] = None, *, strict: bool = False) -> Path:
    """Builds a kernel; returns the directory of its objects. With strict, warnings about our files are failures."""
    tree = prepare_tree(kernel.series)
    objects = kernel.objects
    with locked(objects / ".kcov-lock", f"the kernel in {shown(objects)}"):
        if not (objects / "vmlinux").exists():
            need_space(objects, OBJECT_MEBIBYTES, "building the kernel")
        configure(kernel, tree)
        forget_warned(objects)
        names = list(targets or [])
        if not [name for name in names if "=" not in name]:
            modules = kconfig.of_objects(objects).get("CONFIG_MODULES") == "y"
            names += [kernel.architecture.target] + (["modules"] if modules else [])
        counter = Counter(kernel, not targets)
        log = objects / "build.log"
        run_logged(
            log,
            f"Building the kernel ({kernel.title()})",
            kernel.make(tree, *names),
            env=kernel.environment(),
            state=counter.state,
            done=f"done (log: {shown(log)})",
            excerpt=buildlog.excerpt,
        )
        counter.remember()
        complain(objects, log, strict)
    return objects


def complain(objects: Path, log: Path, strict: bool) -> None:
    """Shows the warnings about our files, and records them for the next build."""
    ours = repository_files()
    found = buildlog.warnings(log.read_text(errors="replace").splitlines(), ours)
    kept = objects / ".kcov-warnings"
    if not found:
        kept.unlink(missing_ok=True)
        return
    kept.write_text("\n\n".join(found) + "\n")
    for block in found:
        warn(f"in the kernel's build:\n{block}\n")
    if strict:
        die(f"the build gave {len(found)} warnings about the overlay's files, see above; the log is in {shown(log)}.")


def forget_warned(objects: Path) -> None:
    """Removes the objects that had warnings, so that the compiler prints the warnings that still apply."""
    kept = objects / ".kcov-warnings"
    if not kept.exists():
        return
    stale = list((objects / "kernel/kcov").rglob("*.o")) + list((objects / "samples/kcov").rglob("*.o"))
    if "rust/" in kept.read_text():
        stale += [objects / "rust/kernel.o", objects / "rust/bindings.o"]
    for path in stale:
        path.unlink(missing_ok=True)
