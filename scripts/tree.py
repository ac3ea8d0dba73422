#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""
Installs the files of this repository, the overlay, in a Linux tree, and removes them again.

  tree.py install TREE [--force]    install the overlay, or bring it up to date
  tree.py uninstall TREE [--force]  remove it; the tree is then as it was before
  tree.py fits TREE                 check whether it could be installed; writes nothing
  tree.py status TREE               list the files of the overlay in the tree
  tree.py series TREE [--out DIR]   write the overlay as mails for `git am`
  tree.py refresh [PATCH] [TREE]    take changes of patched files in TREE (build/linux) over into PATCH, and rewrite all
                                    patches
"""

import argparse
from pathlib import Path
from typing import List

from harness import overlay, series
from harness.hostlib import BUILD, main, say, shown, warn


def run(arguments: List[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("install", "uninstall", "fits", "status", "series", "refresh"):
        command = commands.add_parser(name)
        if name == "refresh":
            command.add_argument("patch", nargs="?", default="", metavar="PATCH", help="its name or number")
        if name == "refresh":
            command.add_argument("tree", nargs="?", type=Path, default=BUILD / "linux", metavar="TREE")
        else:
            command.add_argument("tree", type=Path, metavar="TREE")
        if name in ("install", "uninstall"):
            command.add_argument("--force", action="store_true", help="discard changes to its files in the tree")
        if name == "series":
            command.add_argument("--out", type=Path, metavar="DIR", default=BUILD / "series", help="default: build/series")
    options = parser.parse_args(arguments)
    root: Path = options.tree
    if options.command == "install":
        todo, done = overlay.install(root, force=options.force)
        say(f"Installed the overlay in {shown(root)}: {overlay.report(done, len(todo.files))}.")
    elif options.command == "uninstall":
        count = overlay.uninstall(root, force=options.force)
        say(f"Removed the overlay from {shown(root)}: {count} files." if count else f"No overlay is in {shown(root)}.")
    elif options.command == "fits":
        tree = overlay.Tree(root)
        todo = overlay.plan(tree)
        for remark in todo.remarks:
            warn(remark)
        say(f"The overlay fits {tree}: {len(todo.files)} files. Nothing was written.")
    elif options.command == "series":
        return series.write(root, options.out)
    elif options.command == "refresh":
        for path in series.refresh(root, options.patch):
            say(f"Wrote {shown(path)}.")
    else:
        return overlay.status(root)
    return 0


if __name__ == "__main__":
    main(run)
