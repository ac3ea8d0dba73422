# SPDX-License-Identifier: GPL-2.0
"""
Installs the overlay (the patches and the files of this repository) into a Linux tree, and removes it again.

Everything is checked before anything is written. A record keeps the originals: in the git directory of a tree that has
one, otherwise in a hidden file of the tree.
"""

import base64
import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Sequence, Set, Tuple

from .hostlib import TOP, die, git_output, replacing, say, shown, warn, write_if_changed
from .patches import LINK, PRODUCT, File, Patch, apply_all, is_executable, read_patches, repository_files, scratch_of

# The first release whose interfaces are known to fit.
OLDEST = (7, 2)
RECORD = "kcov-overlay.json"


@dataclass(frozen=True)
class Interface:
    """A text in PATH that proves that the tree offers WHAT."""

    path: str
    text: str
    what: str


INTERFACES = (
    Interface("kernel/fork.c", "\tkcov_task_init(tsk);", "the call of kcov_task_init() for a new task"),
    Interface("kernel/exit.c", "\tkcov_task_exit(tsk);", "the call of kcov_task_exit() for a task that ends"),
    Interface("include/linux/kcov.h", "void __sanitizer_cov_trace_pc(void);", "the prototypes of the hooks"),
    Interface("include/linux/kcov.h", "void kcov_remote_start(u64 handle);", "kcov_remote_start()"),
    Interface("include/linux/kcov.h", "kcov_common_handle_id", "the typed common handle"),
    Interface("include/linux/kcov.h", "#define KCOV_IN_CTXSW", "the mark of a context switch in the mode"),
    Interface("include/linux/sched.h", "kcov_mode;", "the task's mode"),
    Interface("include/linux/sched.h", "*kcov_area;", "the task's area"),
    Interface("include/uapi/linux/kcov.h", "struct kcov_remote_arg", "the interface to user space"),
    Interface("scripts/Makefile.kcov", "kcov-rflags-y", "the instrumentation of Rust code"),
)

# Where this is missing, the patches of the folder below patches/ come before the others.
SPIN_LOCK_IRQ = Interface("rust/kernel/sync/lock/spinlock.rs", "pub type SpinLockIrq<", "SpinLockIrq")
WITHOUT_SPIN_LOCK_IRQ = "compat-7.2"


def digest(data: Optional[bytes]) -> str:
    return hashlib.sha256(data).hexdigest() if data is not None else ""


def read(path: Path) -> Optional[bytes]:
    """Returns the content of a file, or LINK and the target of a link, or None if neither exists."""
    try:
        return LINK + os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def place(target: Path, data: bytes) -> bool:
    """Changes TARGET so that read() would return DATA. Returns False, and does nothing, if that is the case already."""
    if read(target) == data:
        return False
    with replacing(target) as partial:
        if data.startswith(LINK):
            partial.symlink_to(os.fsdecode(data[len(LINK) :]))
        else:
            partial.write_bytes(data)
            if target.exists() and not target.is_symlink():
                shutil.copymode(target, partial)
    return True


class Tree:
    """A kernel tree, and the record of the overlay's changes to it."""

    def __init__(self, root: Path):
        self.root = root.absolute()
        if not (self.root / "Makefile").is_file() or not (self.root / "Kbuild").is_file():
            die(f"{shown(root)} is not a Linux source tree; name one, with KERNEL=/path/to/linux for example.")
        makefile = (self.root / "Makefile").read_text(errors="replace")
        parts = re.findall(r"^(?:VERSION|PATCHLEVEL|SUBLEVEL) = *(\d+)$", makefile, re.M)[:3]
        if len(parts) != 3:
            die(f"{shown(root)}/Makefile names no kernel version; name a Linux source tree with KERNEL=/path/to/linux.")
        self.version = ".".join(parts)
        if (int(parts[0]), int(parts[1])) < OLDEST:
            die(
                f"{shown(root)} is Linux {self.version}, but the overlay needs {OLDEST[0]}.{OLDEST[1]} or later; "
                "name a newer tree."
            )
        self.git = False
        self.record_path = self.root / f".{RECORD}"
        if (self.root / ".git").exists():
            inside = git_output("rev-parse", "--git-path", RECORD, cwd=self.root)
            if inside is None:
                die(
                    f"git cannot read {shown(root)}, so local changes cannot be detected; "
                    f"`git -C {shown(root)} status` shows why."
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

    def __str__(self) -> str:
        return f"{shown(self.root)} (Linux {self.version})"

    def read(self, path: str) -> Optional[bytes]:
        return read(self.root / path)

    def differing(self, paths: Iterable[str]) -> Set[str]:
        """Returns the paths whose file differs from HEAD, including untracked ones."""
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

    def original(self, path: str) -> Optional[bytes]:
        """Returns the file without the overlay."""
        # Where it is as committed, the tree may have moved to another commit since the overlay was installed.
        if path in self.record and not (self.git and path not in self.differing([path])):
            return self.recorded_original(path)
        return self.read(path)

    def offers(self, interface: Interface) -> bool:
        return interface.text.encode() in (self.original(interface.path) or b"")

    def ours(self, path: str, current: Optional[bytes]) -> bool:
        """Returns True if the file is as the overlay left it, in the last run or in an interrupted one."""
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
    """The planned content of the overlay in a tree. All checks have passed."""

    files: Dict[str, File]
    originals: Dict[str, Optional[bytes]]
    leaving: List[str]
    # Remarks for the person at the terminal.
    remarks: List[str]


def patches_for(tree: Tree, top: Path = TOP) -> List[Patch]:
    """Returns the patches that the tree needs, in order."""
    return ([] if tree.offers(SPIN_LOCK_IRQ) else read_patches(top, WITHOUT_SPIN_LOCK_IRQ)) + read_patches(top)


def plan(tree: Tree, *, top: Path = TOP, force: bool = False, link: bool = False) -> Plan:
    """Checks for everything that may prevent an installation; raises a Failure that names the obstacle."""
    patches = patches_for(tree, top)
    files = repository_files(top)
    edits = sorted({path for patch in patches for path in patch.edits})
    leaving = sorted(set(tree.record) - set(files) - set(edits))
    paths = sorted({*files, *edits, *leaving})
    differing = tree.differing(paths)

    originals: Dict[str, Optional[bytes]] = {}
    local: List[str] = []
    changed: List[str] = []
    for path in paths:
        originals[path] = current = tree.read(path)
        if tree.git and path not in differing:
            # The original as committed. The tree may have moved to another commit since the overlay was installed.
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
    check_interfaces(tree, originals)
    remarks = check_replaced(tree, patches, files, originals, force)
    with scratch_of(tree.root, str(tree)) as scratch:
        for _ in apply_all(scratch, patches, originals):
            pass
        for path in edits:
            executable = originals[path] is not None and is_executable(tree.root / path)
            files[path] = File((scratch.root / path).read_bytes(), executable)
    changed = [path for path in changed if path in leaving or tree.read(path) != files[path].content(link)]
    if changed and not force:
        die(
            f"these files of the overlay were changed in {shown(tree.root)} since they were installed: "
            f"{some(changed)}; bring the changes into this repository (`scripts/tree.py refresh` does that for files "
            "which the kernel has), or give them up with --force (FORCE=1)."
        )
    return Plan(files, originals, leaving, remarks)


def some(names: List[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def check_interfaces(tree: Tree, originals: Dict[str, Optional[bytes]]) -> None:
    def holds(interface: Interface) -> bool:
        path = interface.path
        data = originals[path] if path in originals else tree.read(path)
        return data is not None and interface.text.encode() in data

    missing = [f"{i.what} ({i.path})" for i in INTERFACES if not holds(i)]
    if missing:
        die(f"{tree} lacks interfaces that the overlay needs: {'; '.join(missing)}; name another tree.")


def check_replaced(
    tree: Tree, patches: Sequence[Patch], files: Dict[str, File], originals: Dict[str, Optional[bytes]], force: bool
) -> List[str]:
    """Refuses to overwrite files of the tree, except those that a patch names; returns a remark if one of those has changed."""
    replaced: Dict[str, str] = {}
    for patch in patches:
        words = patch.named("Replaces")
        replaced.update(zip(words[::2], words[1::2]))
    foreign, remarks = [], []
    for path, file in files.items():
        original = originals[path]
        if original in (None, file.data, file.content(True)):
            continue
        if path not in replaced:
            foreign.append(path)
        elif hashlib.sha1(b"blob %d\0" % len(original) + original).hexdigest() != replaced[path]:
            remarks.append(f"the overlay replaces {path}, but is based on another version of it than {tree} has.")
    if foreign and not force:
        die(
            f"{tree} has files of its own where the overlay adds some: {some(foreign)}; take an earlier version of the "
            "overlay out of the tree, or overwrite them with --force (FORCE=1)."
        )
    return remarks


def install(root: Path, *, top: Path = TOP, force: bool = False, link: bool = False) -> Tuple[Plan, Dict[str, List[str]]]:
    """Installs the overlay into the tree, with LINK its new files as links. Unchanged files keep their time stamps."""
    tree = Tree(root)
    todo = plan(tree, top=top, force=force, link=link)
    for remark in todo.remarks:
        warn(remark)
    record: Dict[str, dict] = {}
    for path, file in todo.files.items():
        original = todo.originals[path]
        record[path] = {
            "installed": digest(file.content(link)),
            "before": digest(tree.read(path)),
            "original": None if original is None else base64.b64encode(original).decode(),
        }
    # The record also holds the files to remove until the last file is written, so that an interrupted run can be
    # repeated.
    done: Dict[str, List[str]] = {"added": [], "edited": [], "updated": [], "removed": []}
    if todo.leaving or any(tree.read(path) != file.content(link) for path, file in todo.files.items()):
        tree.save({**{path: tree.record[path] for path in todo.leaving}, **record})
    for path, file in todo.files.items():
        known, target = tree.read(path), tree.root / path
        if place(target, file.content(link)):
            kind = "added" if known is None else "edited" if known == todo.originals[path] else "updated"
            done[kind].append(path)
        if not target.is_symlink() and todo.originals[path] is None and is_executable(target) != file.executable:
            target.chmod(0o755 if file.executable else 0o644)
    for path in todo.leaving:
        put_back(tree, path, todo.originals[path])
        done["removed"].append(path)
    for entry in record.values():
        entry["before"] = entry["installed"]
    tree.save(record)
    return todo, done


def uninstall(root: Path, *, force: bool = False) -> int:
    """Removes the overlay; returns the number of files."""
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
    """Restores the original, or removes the file and the directories that contained only the overlay's files."""
    target = tree.root / path
    if original is not None:
        place(target, original)
        return
    target.unlink(missing_ok=True)
    directory = target.parent
    while directory != tree.root and directory.is_dir():
        entries = list(os.scandir(directory))
        if any(entry.is_dir(follow_symlinks=False) or not PRODUCT.fullmatch(entry.name) for entry in entries):
            break
        # A kernel that was built in the tree left products that no build would clean up any more.
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
        say(f"The overlay is not installed in {tree}.")
        return 0
    say(f"The overlay is installed in {tree}: {len(tree.record)} files.")
    for path in sorted(tree.record):
        data = tree.read(path)
        kind = "edited" if tree.record[path]["original"] is not None else "added"
        kind = "linked" if data and data.startswith(LINK) else kind
        say(f"  {kind:8}{path}{'' if digest(data) == tree.record[path]['installed'] else '  (changed since)'}")
    return 0
