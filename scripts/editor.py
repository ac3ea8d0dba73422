#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""
`make editor`: writes rust-project.json for rust-analyzer, and compile_commands.json for clangd, to the top of this repository.

  editor.py [--arch ARCH]

Both have the paths of this repository where the kernel's tree has links and copies of its files. They describe a
configuration of their own, to which nearly all sources belong. Of its kernel only what editors need is built.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import List, Optional

from harness import arch, editor, programs
from harness.hostlib import BUILD, TOP, die, main, say, shown, write_if_changed
from harness.kernel import Kernel, build

# The objects of these come with what all objects need: the bindings, the macros, the generated headers.
DIRECTORIES = ("kernel/kcov/", "samples/kcov/")
# The script by which the kernel's `make` writes its own description of Rust.
DESCRIBE = "rust-analyzer"


def c_entries(tree: Path, objects: Path) -> List[dict]:
    """The commands that compiled the objects, as the tree's script finds them."""
    target = objects / editor.COMPILE_COMMANDS
    script = tree / "scripts/clang-tools/gen_compile_commands.py"
    if subprocess.call([sys.executable, str(script), "-d", str(objects), "-o", str(target)]) != 0:
        die(f"{shown(script)} failed; see its message above.")
    return list(json.loads(target.read_text(encoding="utf-8")))


def write(path: Path, content: object) -> None:
    write_if_changed(path, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())


def command_interface(arguments: List[str]) -> Optional[int]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", choices=sorted(arch.ARCHITECTURES), default=arch.chosen())
    options = parser.parse_args(arguments)
    kernel = Kernel(impl="rust", arch=options.arch, small=True, fragments=["editor"])
    objects = build(kernel, [*DIRECTORIES, DESCRIBE])
    tree = programs.tree_of(objects)
    places = editor.Places(tree)

    root = editor.kernel_crate(places, BUILD / "editor/kernel")
    project = json.loads((objects / editor.RUST_PROJECT).read_text(encoding="utf-8"))
    write(TOP / editor.RUST_PROJECT, editor.rust_project(project, places, objects, root))

    commands = editor.compile_commands(c_entries(tree, objects), places)
    samples, headers = TOP / "samples/kcov", programs.headers(tree, options.arch)
    commands += editor.user_commands(samples, [], headers)
    # As the Makefile of the suite has them, and those of all selftests.
    include = [programs.SUITE / "lib", samples, tree / "tools/testing/selftests"]
    commands += editor.user_commands(programs.SUITE, include, headers)
    write(TOP / editor.COMPILE_COMMANDS, commands)
    say(f"rust-analyzer and clangd know the sources now, as {kernel.arch} compiles them; restart them in the editor.")
    return 0


if __name__ == "__main__":
    main(command_interface)
