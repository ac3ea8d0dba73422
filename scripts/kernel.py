#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""
Prepares the kernel tree, configures it and builds it, each time with the overlay up to date.

  kernel.py tree                    unpack the tree, install the overlay and print the path of the tree
  kernel.py config [OPTION...]      configure
  kernel.py build [OPTION...] [TARGET...]
                                    configure and build; TARGETs (also NAME=VALUE) go to the kernel's make
  kernel.py path [OPTION...]        print the directory of the objects

Of the kernel's own targets, `headers` puts the headers for user space into usr/include of that directory. The variables
IMPL, ARCH, LLVM, KCOV_BINDGEN, KERNEL, J and O give the values of options that are missing.
"""

import argparse
from pathlib import Path
from typing import List

from harness.arch import ARCHITECTURES, DEFAULT
from harness.hostlib import die, locked, main, say, shown
from harness.kernel import IMPLEMENTATIONS, Kernel, build, configure, prepare_tree


def run(arguments: List[str]) -> int:
    parser = argparse.ArgumentParser(
        description="Prepares, configures and builds the kernel with the overlay.",
        epilog="Defaults come from the variables IMPL, ARCH, LLVM, KCOV_BINDGEN, KERNEL, J and O.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("tree", help="unpack the tree, install the overlay and print its path")
    texts = {"config": "configure", "build": "configure and build", "path": "print the directory of the objects"}
    for name, text in texts.items():
        command = commands.add_parser(name, help=text)
        command.add_argument("--impl", choices=sorted(IMPLEMENTATIONS), help="the implementation (rust)")
        command.add_argument("--arch", help=f"one of {' '.join(ARCHITECTURES)} ({DEFAULT})")
        command.add_argument("--small", action="store_true", help="without what only the tests need")
        command.add_argument("--fragment", action="append", default=[], metavar="NAME", help="more options")
        command.add_argument("--variant", default="", metavar="NAME", help="a suffix for the directory of the objects")
        command.add_argument("-j", dest="jobs", type=int, default=0, metavar="N", help="jobs (one per processor)")
        command.add_argument("--llvm", metavar="SUFFIX", help="the compiler: -22, 1, a path, or gcc")
        command.add_argument("--out", type=Path, metavar="DIR", help="the directory of the objects")
        if name == "build":
            command.add_argument("--warnings-as-errors", action="store_true", help="fail on warnings about our files")
            command.add_argument("targets", nargs="*", metavar="TARGET", help="targets and variables for make")
    options, rest = parser.parse_known_args(arguments)
    if rest:
        die(f"kernel.py does not know '{rest[0]}'; see kernel.py --help.")
    if options.command == "tree":
        say(str(prepare_tree()))
        return 0
    given = {name: value for name in ("impl", "arch", "llvm") if (value := getattr(options, name))}
    given.update(fragments=options.fragment, variant=options.variant, jobs=options.jobs, out=options.out)
    kernel = Kernel(small=options.small, **given)
    if options.command == "path":
        say(str(kernel.objects))
    elif options.command == "config":
        tree = prepare_tree()
        with locked(kernel.objects / ".kcov-lock", f"the kernel in {shown(kernel.objects)}"):
            configure(kernel, tree)
        say(f"The configuration is {shown(kernel.objects / '.config')}.")
    else:
        build(kernel, options.targets, strict=options.warnings_as_errors)
    return 0


if __name__ == "__main__":
    main(run)
