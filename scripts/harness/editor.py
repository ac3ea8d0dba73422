# SPDX-License-Identifier: GPL-2.0
"""
Descriptions of the kernel's build for editors: of Rust for rust-analyzer, and of C for clangd.

The scripts of the kernel's tree describe the tree. There, files of this repository are links or copies, and editors do
not take a file and a link to it for one. So the descriptions get the paths of the repository.
"""

import os
import re
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

from .hostlib import command_output, die, shown, write_if_changed
from .patches import repository_files

RUST_PROJECT, COMPILE_COMMANDS = "rust-project.json", "compile_commands.json"
# Crates of Rust's library. rust-analyzer finds the methods of numbers and pointers only if it adds these itself.
LIBRARY = ("core", "alloc", "std", "proc_macro")
ROOT, C_FILE = "kernel/kcov/kcov.rs", "kernel/kcov/gate.c"
# Crates that the kernel's build gives to every crate outside rust/.
DEPENDENCIES = ("kernel", "pin_init", "zerocopy", "zerocopy_derive")

Crate = Dict[str, Any]


class Places:
    """Where files of the overlay are: in the tree, and in this repository."""

    def __init__(self, tree: Path, sources: Optional[Mapping[str, Path]] = None):
        """SOURCES: the files of the repository by their path in a tree."""
        if sources is None:
            sources = {name: file.source for name, file in repository_files().items() if file.source}
        self.tree, self.sources = tree, dict(sources)
        # The tree's scripts resolve links: of the tree itself, or of a single file.
        trees = dict.fromkeys((str(tree), os.path.realpath(tree)))
        self._own = {f"{top}/{name}": str(path) for top in trees for name, path in self.sources.items()}
        self._own.update({os.path.realpath(path): str(path) for path in self.sources.values()})

    def own(self, path: str) -> Optional[str]:
        """The path in the repository of a file of the tree, or None if the kernel has the file."""
        return self._own.get(path)


def kernel_crate(places: Places, out: Path) -> Path:
    """
    Makes a root of the crate `kernel` in which the modules of the overlay are the repository's files. All others are
    links to the tree. Files that declare such modules are copies, in which the declaration has the path.
    """
    source = places.tree / "rust/kernel"
    parents: Dict[str, Dict[str, Path]] = {}
    for name, path in sorted(places.sources.items()):
        if name.startswith("rust/kernel/") and name.endswith(".rs"):
            directory = os.path.relpath(os.path.dirname(name), "rust/kernel")
            parents.setdefault("lib.rs" if directory == "." else f"{directory}.rs", {})[Path(name).stem] = path
    out.mkdir(parents=True, exist_ok=True)
    for entry in out.iterdir():
        if entry.is_symlink() or entry.name not in parents:
            entry.unlink()
    for entry in sorted(source.iterdir()):
        if entry.name not in parents:
            (out / entry.name).symlink_to(entry)
    for parent, modules in parents.items():
        if "/" in parent or not (source / parent).exists():
            die(f"no file {parent} in {shown(source)} declares the modules {', '.join(sorted(modules))}.")
        text = (source / parent).read_text(encoding="utf-8")
        for module, path in modules.items():
            text, count = re.subn(rf"(?m)^((?:pub )?mod {module};)", rf'#[path = "{path}"]\n\1', text)
            if count != 1:
                die(f"{shown(source / parent)} declares the module {module} {count} times, not once.")
        write_if_changed(out / parent, text.encode())
    return out / "lib.rs"


def rust_project(project: Dict[str, Any], places: Places, objects: Path, kernel_root: Path) -> Dict[str, Any]:
    """The description for rust-analyzer, made from the tree's: of the crates here, and of those that they use."""
    crates: List[Crate] = [dict(crate) for crate in project["crates"]]
    numbers = {crate["display_name"]: number for number, crate in enumerate(crates)}
    missing = [name for name in ("core", *DEPENDENCIES) if name not in numbers]
    if missing:
        die(f"the tree's generate_rust_analyzer.py does not describe the crates {', '.join(missing)}.")
    kernel = crates[numbers["kernel"]]
    directories = sorted({str(path.parent) for name, path in places.sources.items() if name.startswith("rust/kernel/")})
    kernel["root_module"] = str(kernel_root)
    kernel["source"] = {"include_dirs": [str(kernel_root.parent), *directories, str(objects / "rust")], "exclude_dirs": []}
    crates.append(
        {
            **kernel,
            "display_name": "kcov",
            "root_module": str(places.sources[ROOT]),
            "deps": [{"crate": numbers[name], "name": name} for name in DEPENDENCIES],
            # rust-analyzer resolves include!() in these only.
            "source": {
                "include_dirs": [str(places.sources[ROOT].parent), str(objects / "kernel/kcov"), str(objects / "rust")],
                "exclude_dirs": [],
            },
        }
    )
    ours = [numbers["kernel"], len(crates) - 1]
    for number, crate in enumerate(crates[:-1]):
        path = places.own(crate["root_module"])
        if path:
            crate["root_module"] = path
            ours.append(number)
    kept: List[int] = []
    waiting = list(ours)
    while waiting:
        number = waiting.pop()
        if number not in kept:
            kept.append(number)
            waiting += [dep["crate"] for dep in crates[number]["deps"]]
    library = Path(crates[numbers["core"]]["root_module"]).parents[2]
    kept = sorted(number for number in kept if crates[number]["display_name"] not in LIBRARY)
    renumbered = {old: new for new, old in enumerate(kept)}
    result = []
    for number in kept:
        deps = [{**dep, "crate": renumbered[dep["crate"]]} for dep in crates[number]["deps"] if dep["crate"] in renumbered]
        # Of the others, rust-analyzer shows no mistakes.
        result.append({**crates[number], "deps": deps, "is_workspace_member": number in ours})
    return {**project, "sysroot_src": str(library), "crates": result}


def compile_commands(entries: List[Dict[str, str]], places: Places) -> List[Dict[str, str]]:
    """The description for clangd, made from the tree's: files of the overlay are the repository's."""
    result = []
    for entry in entries:
        path = places.own(entry["file"])
        result.append(of_file(entry, path) if path else entry)
    known = {entry["file"]: entry for entry in result}
    like = known.get(str(places.sources[C_FILE]))
    if not like:
        die(f"the objects have no command that compiles {C_FILE}.")
    # Of the others in the directory, the build makes no object, or not for this architecture.
    others = [str(path) for name, path in sorted(places.sources.items()) if re.match(r"kernel/kcov/.*\.c$", name)]
    return result + [of_file(like, path) for path in others if path not in known]


def of_file(entry: Dict[str, str], path: str) -> Dict[str, str]:
    """The command for another file. The tree's script puts the file last."""
    words = entry["command"].rstrip().split(" ")
    return {**entry, "file": path, "command": " ".join([*words[:-1], path])}


def user_commands(directory: Path, include: Sequence[Path], headers: Path) -> List[Dict[str, str]]:
    """Commands for the C programs of user space below DIRECTORY, which the kernel's build does not compile."""
    words = ["cc", "-O2", "-Wall", "-pthread", "-D_GNU_SOURCE=", *(f"-I{path}" for path in include)]
    words += ["-isystem", str(headers), "-c"]
    return [
        {"directory": str(directory), "file": str(path), "command": " ".join([*words, str(path)])}
        for path in sorted(directory.rglob("*.c"))
        if "#include <linux/module.h>" not in path.read_text(encoding="utf-8")
    ]


def sources(suffix: str) -> List[Path]:
    """The overlay's sources of the kernel with a suffix."""
    place = re.compile(r"(?:kernel/kcov/|rust/kernel/|samples/kcov/[^/]*$)")
    files = repository_files()
    found = [file.source for name, file in sorted(files.items()) if place.match(name) and name.endswith(suffix)]
    return [path for path in found if path]


def program() -> Optional[str]:
    """The rust-analyzer in PATH. rustup has a program of this name that only complains while the component is missing."""
    return "rust-analyzer" if command_output("rust-analyzer", "--version") else None
