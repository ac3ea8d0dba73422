#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""
Puts the files of this repository into a Linux tree and takes them out again.

  overlay.py install TREE [--force]   put the overlay in, or bring it up to date
  overlay.py uninstall TREE [--force] take it out; the tree is as it was before
  overlay.py check TREE               say whether it would go in; writes nothing
  overlay.py status TREE              say what of it is in the tree
  overlay.py series TREE [--out DIR]  write it as patches for `git am`

Everything is looked at before anything is written. What the overlay changed, and the originals, stand in a
record: in the git directory of a tree that has one, else in a hidden file of the tree.
"""

import argparse
import base64
import hashlib
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Optional, Sequence, Set, Tuple

import tree_edits
from hostlib import TOP, Failure, die, git_output, main, say, shown, write_if_changed
from tree_edits import Edit, Interface

RECORD = "kcov-overlay.json"

# Where the parts of the repository go. What stands below the others is at home at the same path.
PLACES = (
    ("Kconfig", "lib/Kconfig.kcov"),
    ("kcov", "kernel/kcov"),
    ("include", "include"),
    ("rust", "rust"),
    ("samples", "samples"),
    ("tools", "tools"),
    ("Documentation/dev-tools", "Documentation/dev-tools"),
)
NEEDED = ("Kconfig", "kcov/Makefile")

# What builds leave behind; none of it belongs to the overlay.
PRODUCT_DIRECTORIES = {"target", "__pycache__"}
PRODUCT = re.compile(
    r"\.(?!gitignore$|kunitconfig$).*|.*~|#.*#|.*\.(o|a|ko|so|d|mod|mod\.c|cmd|pyc|rmeta|rlib|orig|rej|swp|tmp)"
    r"|modules\.order|Module\.symvers|built-in\.a"
)
PRODUCT_CONTENT = (b"\x7fELF", b"!<arch>\n")


def digest(data: Optional[bytes]) -> str:
    return hashlib.sha256(data).hexdigest() if data is not None else ""


@dataclass
class File:
    """A file of the overlay as it shall be in the tree."""

    data: bytes
    executable: bool = False
    edits: List[Edit] = field(default_factory=list)


def repository_files(top: Path = TOP) -> Dict[str, File]:
    """The files which the overlay brings along, by their path in the tree."""
    missing = [name for name in NEEDED if not (top / name).exists()]
    if missing:
        die(f"this repository is incomplete: {' and '.join(missing)} not found in {shown(top)}; get a full clone.")
    files: Dict[str, File] = {}
    for source, target in PLACES:
        start = top / source
        for path in sorted(walk(start) if start.is_dir() else [start] if start.exists() else []):
            data = path.read_bytes()
            if not data.startswith(PRODUCT_CONTENT):
                inside = path.relative_to(start).as_posix()
                name = target if inside == "." else f"{target}/{inside}"
                files[name] = File(data, is_executable(path))
    return files


def is_executable(path: Path) -> bool:
    """Going by its mode: where nothing may be run, as on many a /tmp, access() says no of every file."""
    return bool(path.stat().st_mode & 0o111)


def walk(directory: Path) -> Iterator[Path]:
    for entry in os.scandir(directory):
        if entry.is_dir():
            if entry.name not in PRODUCT_DIRECTORIES and not PRODUCT.fullmatch(entry.name):
                yield from walk(Path(entry.path))
        elif not PRODUCT.fullmatch(entry.name):
            yield Path(entry.path)


def active_edits(edits: Sequence[Edit], top: Path = TOP) -> List[Edit]:
    """The edits that this state of the repository asks for, in the order of the series."""
    order = [patch.name for patch in tree_edits.PATCHES]
    wanted = [edit for edit in edits if not edit.needs or (top / edit.needs).exists()]
    return sorted(wanted, key=lambda edit: order.index(patch_of(edit.path, edit.patch)))


def patch_of(path: str, named: str = "") -> str:
    """The name of the patch that a path belongs to."""
    if named:
        return named
    prefixes = [(prefix, patch.name) for patch in tree_edits.PATCHES for prefix in patch.prefixes]
    return max((len(prefix), name) for prefix, name in prefixes if path.startswith(prefix))[1]


def apply_edit(text: str, edit: Edit) -> str:
    """The text with the edit, the same where the tree already has it; a LookupError where its place is not found."""
    if (edit.sign or edit.replace) in text:
        return text
    if text.count(edit.find) != 1:
        raise LookupError(edit.path)
    return text.replace(edit.find, edit.replace)


class Tree:
    """A kernel tree, and the record of what the overlay did to it."""

    def __init__(self, root: Path):
        self.root = root.absolute()
        if not (self.root / "Makefile").is_file() or not (self.root / "Kbuild").is_file():
            die(f"{shown(root)} is no Linux source tree; name one, with KERNEL=/path/to/linux for example.")
        makefile = (self.root / "Makefile").read_text(errors="replace")
        parts = re.findall(r"^(?:VERSION|PATCHLEVEL|SUBLEVEL) = *(\d+)$", makefile, re.M)[:3]
        if len(parts) != 3:
            die(f"{shown(root)}/Makefile names no kernel version; name a Linux source tree with KERNEL=/path/to/linux.")
        self.version = ".".join(parts)
        oldest = tree_edits.OLDEST
        if (int(parts[0]), int(parts[1])) < oldest:
            die(
                f"{shown(root)} is Linux {self.version}, but the overlay needs {oldest[0]}.{oldest[1]} or later; "
                "name a newer tree."
            )
        self.git = False
        self.record_path = self.root / f".{RECORD}"
        if (self.root / ".git").exists():
            inside = git_output("rev-parse", "--git-path", RECORD, cwd=self.root)
            if inside is None:
                die(
                    f"git does not read {shown(root)}, so local changes cannot be seen; "
                    f"`git -C {shown(root)} status` says why."
                )
            self.record_path = self.root / inside
            self.git = git_output("rev-parse", "--verify", "HEAD", cwd=self.root) is not None
        self.record: Dict[str, dict] = {}
        if self.record_path.exists():
            try:
                self.record = json.loads(self.record_path.read_text())["files"]
            except (ValueError, KeyError):
                die(
                    f"{shown(self.record_path)}, the overlay's record of what it changed, is damaged; "
                    "restore the tree's files and remove it."
                )

    def read(self, path: str) -> Optional[bytes]:
        try:
            return (self.root / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def differing(self, paths: Iterable[str]) -> Set[str]:
        """Those paths whose file is not what HEAD holds, untracked ones among them."""
        paths = sorted(paths)
        if not self.git or not paths:
            return set()
        tracked = self.git_lines("ls-tree", "-r", "--name-only", "HEAD", "--", *paths)
        changed = self.git_lines("diff", "--no-ext-diff", "--no-renames", "--name-only", "HEAD", "--", *paths)
        return changed | {path for path in paths if path not in tracked and self.read(path) is not None}

    def git_lines(self, *arguments: str) -> Set[str]:
        return set((git_output(*arguments, cwd=self.root) or "").splitlines())

    def recorded_original(self, path: str) -> Optional[bytes]:
        original = self.record[path]["original"]
        return None if original is None else base64.b64decode(original)

    def ours(self, path: str, current: Optional[bytes]) -> bool:
        """Whether the file is as the overlay left it, now or before an interrupted run."""
        entry = self.record.get(path)
        if entry is None:
            return False
        return digest(current) in (entry["installed"], entry["before"], digest(self.recorded_original(path)))

    def save(self, record: Dict[str, dict]) -> None:
        self.record = record
        if record:
            text = json.dumps({"files": record}, indent=1, sort_keys=True)
            write_if_changed(self.record_path, text.encode() + b"\n")
        elif self.record_path.exists():
            self.record_path.unlink()


@dataclass
class Plan:
    """What the overlay is to look like in a tree, all checks passed."""

    files: Dict[str, File]
    originals: Dict[str, Optional[bytes]]
    leaving: List[str]
    # The files of the repository before edits, where there are any.
    brought: Dict[str, bytes] = field(default_factory=dict)


def plan(tree: Tree, *, top: Path = TOP, force: bool = False) -> Plan:
    """Looks at everything that could stand in the way of the overlay; raises a Failure that names it."""
    files = repository_files(top)
    edits = active_edits(tree_edits.EDITS, top)
    paths = set(files) | {edit.path for edit in edits}
    leaving = sorted(set(tree.record) - paths)
    differing = tree.differing(paths | set(leaving))

    originals: Dict[str, Optional[bytes]] = {}
    local: List[str] = []
    changed: List[str] = []
    for path in sorted(paths | set(leaving)):
        originals[path] = current = tree.read(path)
        if tree.git and path not in differing:
            # As committed, be it that the tree moved to another commit underneath the overlay.
            continue
        if path in tree.record:
            originals[path] = tree.recorded_original(path)
            if not tree.ours(path, current):
                changed.append(path)
        elif tree.git:
            local.append(path)
    if local:
        die(
            f"{shown(tree.root)} has local changes in files that the overlay would overwrite: {some(local)}; "
            "commit, stash or remove them first."
        )
    if changed and not force:
        die(
            f"these files of the overlay were changed in {shown(tree.root)} since they were installed: "
            f"{some(changed)}; bring the changes into this repository, or give them up with --force (FORCE=1)."
        )
    check_interfaces(tree, originals)
    brought = {edit.path: files[edit.path].data for edit in edits if edit.path in files}
    for edit in edits:
        edited(edit, files, originals, tree)
    return Plan(files, originals, leaving, brought)


def some(names: List[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def check_interfaces(tree: Tree, originals: Dict[str, Optional[bytes]]) -> None:
    def holds(interface: Interface) -> bool:
        path = interface.path
        data = originals[path] if path in originals else tree.read(path)
        return data is not None and interface.text.encode() in data

    missing = [f"{i.what} ({i.path})" for i in tree_edits.INTERFACES if not holds(i)]
    if missing:
        die(
            f"{shown(tree.root)} (Linux {tree.version}) lacks what the overlay builds on: {'; '.join(missing)}; "
            "name another tree."
        )


def edited(edit: Edit, files: Dict[str, File], originals: Dict[str, Optional[bytes]], tree: Tree) -> None:
    """Applies one edit to the file as the overlay has it so far."""
    if edit.path not in files:
        original = originals[edit.path]
        if original is None:
            die(f"{shown(tree.root)} (Linux {tree.version}) has no {edit.path}, where {edit.why}; name another tree.")
        files[edit.path] = File(original, is_executable(tree.root / edit.path))
    file = files[edit.path]
    try:
        text = apply_edit(file.data.decode(), edit)
    except LookupError:
        looked_for = next(line for line in edit.find.splitlines() if line.strip())
        raise Failure(
            f"the overlay does not fit {shown(tree.root)} (Linux {tree.version}): in {edit.path} the text "
            f"'{looked_for.strip()}' is not found exactly once as expected, where {edit.why}; name another tree."
        ) from None
    file.data = text.encode()
    file.edits.append(edit)


def install(root: Path, *, top: Path = TOP, force: bool = False) -> Tuple[Plan, Dict[str, List[str]]]:
    """Puts the overlay into the tree. Files whose content stays keep their time stamps."""
    tree = Tree(root)
    todo = plan(tree, top=top, force=force)
    record: Dict[str, dict] = {}
    for path, file in todo.files.items():
        original = todo.originals[path]
        record[path] = {
            "installed": digest(file.data),
            "before": digest(tree.read(path)),
            "original": None if original is None else base64.b64encode(original).decode(),
        }
    # Until the last file is written the record holds the leaving files too: an interrupted run can be repeated.
    done: Dict[str, List[str]] = {"added": [], "edited": [], "updated": [], "removed": []}
    if todo.leaving or any(tree.read(path) != file.data for path, file in todo.files.items()):
        tree.save({**{path: tree.record[path] for path in todo.leaving}, **record})
    for path, file in todo.files.items():
        known, target = tree.read(path), tree.root / path
        if write_if_changed(target, file.data):
            kind = "added" if known is None else "edited" if known == todo.originals[path] else "updated"
            done[kind].append(path)
        if todo.originals[path] is None and is_executable(target) != file.executable:
            target.chmod(0o755 if file.executable else 0o644)
    for path in todo.leaving:
        put_back(tree, path, todo.originals[path])
        done["removed"].append(path)
    for entry in record.values():
        entry["before"] = entry["installed"]
    tree.save(record)
    return todo, done


def uninstall(root: Path, *, force: bool = False) -> int:
    """Takes the overlay out; returns the number of files."""
    tree = Tree(root)
    differing = tree.differing(tree.record) if tree.git else set(tree.record)
    changed = [path for path in sorted(differing) if not tree.ours(path, tree.read(path))]
    if changed and not force:
        die(
            f"these files of the overlay were changed in {shown(tree.root)} since they were installed: "
            f"{some(changed)}; save the changes elsewhere, then give them up with --force (FORCE=1)."
        )
    count = len(tree.record)
    for path in sorted(differing):
        put_back(tree, path, tree.recorded_original(path))
    tree.save({})
    return count


def put_back(tree: Tree, path: str, original: Optional[bytes]) -> None:
    """Restores the original, or removes the file and the directories that held nothing else."""
    target = tree.root / path
    if original is not None:
        write_if_changed(target, original)
        return
    target.unlink(missing_ok=True)
    directory = target.parent
    while directory != tree.root and directory.is_dir():
        entries = list(os.scandir(directory))
        if any(entry.is_dir(follow_symlinks=False) or not PRODUCT.fullmatch(entry.name) for entry in entries):
            break
        # A kernel that was built in the tree left its products where nothing would clean them up any more.
        for entry in entries:
            os.unlink(entry.path)
        directory.rmdir()
        directory = directory.parent


def report(done: Dict[str, List[str]], total: int) -> str:
    parts = [f"{len(paths)} {kind}" for kind, paths in done.items() if paths]
    return f"{', '.join(parts)}, {total} in all" if parts else f"all {total} files were up to date"


def status(root: Path) -> int:
    tree = Tree(root)
    if not tree.record:
        say(f"The overlay is not installed in {shown(root)} (Linux {tree.version}).")
        return 0
    changed = [path for path, entry in tree.record.items() if digest(tree.read(path)) != entry["installed"]]
    say(f"The overlay is installed in {shown(root)} (Linux {tree.version}): {len(tree.record)} files.")
    for path in sorted(tree.record):
        kind = "edited" if tree.record[path]["original"] is not None else "added"
        say(f"  {kind:8}{path}{'  (changed since)' if path in changed else ''}")
    return 0


def run(arguments: List[str]) -> int:
    parser = argparse.ArgumentParser(description="Puts the overlay into a Linux tree, and takes it out again.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("install", "uninstall", "check", "status", "series"):
        command = commands.add_parser(name)
        command.add_argument("tree", type=Path, metavar="TREE")
        if name in ("install", "uninstall"):
            command.add_argument("--force", action="store_true", help="give up changes made to its files in the tree")
        if name == "series":
            command.add_argument("--out", type=Path, metavar="DIR", help="where the mails go (default build/series)")
    options = parser.parse_args(arguments)
    root: Path = options.tree
    if options.command == "install":
        todo, done = install(root, force=options.force)
        say(f"Installed the overlay in {shown(root)}: {report(done, len(todo.files))}.")
    elif options.command == "uninstall":
        count = uninstall(root, force=options.force)
        say(f"Removed the overlay from {shown(root)}: {count} files." if count else f"No overlay is in {shown(root)}.")
    elif options.command == "check":
        tree = Tree(root)
        todo = plan(tree)
        say(f"The overlay fits {shown(root)} (Linux {tree.version}): {len(todo.files)} files. Nothing was written.")
    elif options.command == "series":
        import series

        return series.write(root, options.out)
    else:
        return status(root)
    return 0


if __name__ == "__main__":
    main(run)
