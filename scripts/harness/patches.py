# SPDX-License-Identifier: GPL-2.0
"""
The patches of this repository, the new files that belong to them, and how both get into a kernel's files.

patches/ holds the edits of files that the kernel has, one patch for each mail of the series. The trailer `Adds:` of a
patch names the files of this repository that belong to it. `Replaces:` names a file of the kernel that one of these
files replaces, with the git object of the text from which the replacement was written.

A folder of patches/ holds patches for trees that lack something. They come before the others. `Instead:` names files that
such a patch changes and the others then do not.
"""

import os
import re
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Optional, Sequence, Set, Tuple

from .hostlib import TOP, die, git_output, shown

# Parts of the repository that have another place in a tree.
PLACES = {"Kconfig": "lib/Kconfig.kcov", "kcov": "kernel/kcov"}

# The products of builds are not part of the overlay.
PRODUCT_DIRECTORIES = {"target", "__pycache__"}
PRODUCT = re.compile(
    r"\.(?!gitignore$|kunitconfig$).*|.*~|#.*#|.*\.(o|a|ko|so|d|mod|mod\.c|cmd|pyc|rmeta|rlib|orig|rej|swp|tmp)"
    r"|modules\.order|Module\.symvers|built-in\.a"
)
PRODUCT_CONTENT = (b"\x7fELF", b"!<arch>\n")

# For a C file that is a link, ccache and the debug information use the name of the link's target if that is shorter. So
# these files are copied.
COPIED = re.compile(r"(kernel|samples)/.*\.c")

# A symbolic link counts as this and its target where the contents of files are compared.
LINK = b"\0link to "


@dataclass
class File:
    """A file as the overlay places it in the tree."""

    data: bytes
    executable: bool = False
    # The file of this repository, if it is one, and whether the tree always gets a copy of it.
    source: Optional[Path] = None
    copied: bool = False

    def content(self, link: bool) -> bytes:
        return LINK + os.fsencode(self.source) if link and self.source and not self.copied else self.data


def edited_files(diff: str) -> Set[str]:
    """Returns the files that a diff changes."""
    return set(re.findall(r"^\+\+\+ b/(\S+)", diff, re.M))


@dataclass(frozen=True)
class Patch:
    """A file in patches/: one step of the series."""

    path: Path
    # Subject and body.
    message: str
    trailers: Tuple[Tuple[str, str], ...]
    diff: str

    @property
    def edits(self) -> List[str]:
        """Returns the files that the patch changes or creates."""
        return sorted(edited_files(self.diff))

    @property
    def creates(self) -> Set[str]:
        """Returns the files that the patch creates."""
        return set(re.findall(r"^--- /dev/null\n\+\+\+ b/(\S+)", self.diff, re.M))

    def named(self, trailer: str) -> List[str]:
        return [word for name, text in self.trailers if name == trailer for word in text.split()]

    def before(self, path: str) -> Optional[str]:
        """Returns the git object of a file from which the diff was made."""
        match = re.search(rf"^diff --git a/{re.escape(path)} .*\nindex ([0-9a-f]+)\.\.", self.diff, re.M)
        return match[1] if match else None

    def lines(self, path: str, sign: str) -> List[Tuple[int, str]]:
        """Returns the lines of a file's diff that begin with one of SIGN, each with the old number of its hunk's start."""
        found, current, hunk = [], "", 0
        for line in self.diff.splitlines():
            if line.startswith("diff --git "):
                current, hunk = line.split(" b/")[-1], 0
            elif line.startswith("@@ "):
                hunk = int(re.split(r"[-,+ ]+", line)[1])
            elif hunk and current == path and line[:1] in sign:
                found.append((hunk, line[1:]))
        return found

    def text(self, diff: str) -> str:
        """Returns the whole patch file, with another diff."""
        subject, _, body = self.message.partition("\n\n")
        trailers = "".join(f"{name}: {text}\n" for name, text in self.trailers)
        return f"Subject: [PATCH] {subject}\n\n{body}\n" + (f"\n{trailers}" if trailers else "") + f"---\n{diff}"


def read_patches(top: Path = TOP, folder: str = "") -> List[Patch]:
    """Reads the patches in the order of the series, or those of a folder, which are not part of the series."""
    patches = []
    for path in sorted((top / "patches" / folder).glob("[0-9]*.patch")):
        head, dashes, diff = path.read_text(encoding="utf-8").partition("\n---\n")
        match = re.fullmatch(r"Subject: \[PATCH\] (.+?)\n\n(.+?)((?:\n+(?:Adds|Replaces|Instead): .+)*)\n*", head, re.S)
        if not dashes or not match:
            die(f"{shown(path)} is not a patch with a subject, a body, a line `---` and a diff; restore it.")
        trailers = tuple(re.findall(r"^(\w+): (.+)$", match[3], re.M))
        patches.append(Patch(path, f"{match[1]}\n\n{match[2]}", trailers, diff))
    if not patches:
        die(f"this repository is incomplete: {shown(top / 'patches')} has no patches; get a full clone.")
    return patches


def added_by(patch: Patch, top: Path = TOP) -> Dict[str, File]:
    """Returns the files of this repository that belong to a patch, by their path in a tree."""
    files: Dict[str, File] = {}
    for name in patch.named("Adds"):
        start = top / name
        if not start.exists():
            die(f"this repository is incomplete: {name} not found in {shown(top)}; get a full clone.")
        for path in sorted(walk(start)) if start.is_dir() else [start]:
            data = path.read_bytes()
            if not data.startswith(PRODUCT_CONTENT):
                first, *rest = path.relative_to(top).parts
                target = "/".join([PLACES.get(first, first), *rest])
                files[target] = File(data, is_executable(path), path, bool(COPIED.fullmatch(target)))
    return files


def repository_files(top: Path = TOP) -> Dict[str, File]:
    """Returns all new files of the overlay, by their path in a tree."""
    return {name: file for patch in read_patches(top) for name, file in added_by(patch, top).items()}


def is_executable(path: Path) -> bool:
    """Checks the mode bits: access() returns an error for every file on a file system that is mounted with noexec."""
    return bool(path.stat().st_mode & 0o111)


def walk(directory: Path) -> Iterator[Path]:
    for entry in os.scandir(directory):
        if entry.is_dir():
            if entry.name not in PRODUCT_DIRECTORIES and not PRODUCT.fullmatch(entry.name):
                yield from walk(Path(entry.path))
        elif not PRODUCT.fullmatch(entry.name):
            yield Path(entry.path)


class Scratch:
    """
    A temporary repository for patching files of a tree. It does not use the person's git configuration, but sees the
    objects of the tree's repository.
    """

    def __init__(self, root: Path, tree: Path, title: str, who: Optional[Dict[str, str]] = None):
        self.root, self.tree, self.title = root, tree, title
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        self.env.update(who or {}, HOME=str(root), GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_NOSYSTEM="1", LC_ALL="C")
        self.need("init", "-q", "--template=")
        (self.root / ".git/objects/info").mkdir(exist_ok=True)
        objects = git_output("rev-parse", "--git-path", "objects", cwd=tree) if (tree / ".git").exists() else None
        if objects:
            (self.root / ".git/objects/info/alternates").write_text(f"{tree / objects}\n")

    def git(self, *arguments: str, index: str = "") -> Tuple[bool, str]:
        """Returns whether git succeeded, and its output. INDEX names another index than the default."""
        result = subprocess.run(
            ["git", *arguments],
            cwd=self.root,
            env={**self.env, "GIT_INDEX_FILE": str(self.root / ".git" / index)} if index else self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        return result.returncode == 0, result.stdout.decode(errors="replace")

    def need(self, *arguments: str) -> str:
        done, output = self.git(*arguments)
        if not done:
            die(f"`git {arguments[0]}` failed in a temporary repository: {output.strip()}")
        return output

    def write(self, path: str, data: bytes, executable: bool) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        target.chmod(0o755 if executable else 0o644)

    def commit(self, message: str) -> None:
        self.need("add", "-A", "-f")
        self.need("commit", "-q", "--allow-empty", "-m", message)

    def apply(self, patch: Patch, paths: Iterable[str], *options: str, index: str = "") -> Tuple[bool, str]:
        include = [f"--include={path}" for path in paths]
        options = ("--recount", "--whitespace=nowarn", *options, *include, str(patch.path.absolute()))
        return self.git("apply", *options, index=index)


@contextmanager
def scratch_of(tree: Path, title: str, who: Optional[Dict[str, str]] = None) -> Iterator[Scratch]:
    """Yields a scratch repository for a tree; messages call the tree TITLE."""
    with tempfile.TemporaryDirectory(prefix="kcov-tree.") as temporary:
        yield Scratch(Path(temporary), tree, title, who)


def already_there(scratch: Scratch, patches: Sequence[Patch]) -> Set[Tuple[Path, str]]:
    """Returns the patches that the tree already has, each with the file. These can be reversed, beginning with the last."""
    found = set()
    shutil.copyfile(scratch.root / ".git/index", scratch.root / ".git/without")
    for patch in reversed(patches):
        for path in filter(lambda path: (scratch.root / path).exists(), patch.edits):
            text = (scratch.root / path).read_text(errors="replace")
            if all(line in text for _, line in patch.lines(path, "+")):
                if scratch.apply(patch, [path], "--cached", "--reverse", index="without")[0]:
                    found.add((patch.path, path))
    return found


def know_ancestors(scratch: Scratch, patches: Sequence[Patch]) -> None:
    """Makes the original files of the patches known to git for merges, if the tree's history has them."""
    for patch in patches:
        for path in patch.edits:
            before = patch.before(path)
            if before and not scratch.git("ls-files", "--error-unmatch", path, index="ancestors")[0]:
                scratch.git("update-index", "--add", "--cacheinfo", f"100644,{before},{path}", index="ancestors")
            scratch.apply(patch, [path], "--cached", index="ancestors")


def first_missing(expected: List[str], present: List[str]) -> str:
    """Returns, in words, the line that keeps EXPECTED from being found in PRESENT."""
    quoted = [f"'{line.strip()}'" if line.strip() else "an empty line" for line in expected]
    for line, name in zip(expected, quoted):
        if line not in present:
            return name
    # Each line is present, but they are not together.
    starts = [number for number, line in enumerate(present) if line == expected[0]]
    alike = ((have == line for have, line in zip(present[start:], expected)) for start in starts)
    found = max(len(list(takewhile(bool, pairs))) for pairs in alike)
    return f"{quoted[found]} after {quoted[found - 1]}" if found < len(expected) else f"{quoted[0]} there"


def refuse(scratch: Scratch, patch: Patch, paths: Sequence[str]) -> None:
    """Ends with a sentence that names the first place where a patch does not fit."""
    for path in paths:
        fits, output = scratch.apply(patch, [path], "--cached", "--check")
        if fits:
            continue
        failed = re.search(r"patch failed: .+:(\d+)$", output, re.M)
        if not failed:
            die(f"{shown(patch.path)} does not apply to {scratch.title}: {output.strip()}")
        present = (scratch.root / path).read_text(errors="replace").splitlines()
        expected = [line for hunk, line in patch.lines(path, " -") if hunk == int(failed[1])]
        die(
            f"the overlay does not fit {scratch.title}: near line {failed[1]} of {path}, {shown(patch.path)} expects "
            f"{first_missing(expected, present)}; name another tree, or adapt the patch."
        )
    die(f"{shown(patch.path)} does not apply to {scratch.title}.")


def apply_all(scratch: Scratch, patches: Sequence[Patch], originals: Dict[str, Optional[bytes]]) -> Iterator[Patch]:
    """
    Applies one patch after the other to the originals, and yields after each. Skips changes that the tree already has.
    Merges a patch that does not apply, if the history of the tree has the file from which the patch was made.
    """
    created = {path for patch in patches for path in patch.creates}
    for path in sorted({path for patch in patches for path in patch.edits}):
        original = originals[path]
        if original is None and path in created:
            continue
        if original is None:
            die(f"{scratch.title} has no {path}, which the overlay changes; name another tree.")
        scratch.write(path, original, is_executable(scratch.tree / path))
    scratch.need("add", "-A", "-f")
    known = already_there(scratch, patches)
    for first in patches:
        known |= {(patch.path, path) for patch in patches if patch != first for path in first.named("Instead")}
    merging = False
    for patch in patches:
        missing = [path for path in patch.edits if (patch.path, path) not in known]
        if missing and not scratch.apply(patch, missing, "--index")[0]:
            if not merging:
                know_ancestors(scratch, patches)
            merging = True
            before = scratch.need("write-tree").strip()
            if not scratch.apply(patch, missing, "--3way")[0]:
                unmerged = {line.split("\t")[1] for line in scratch.need("ls-files", "--unmerged").splitlines()}
                scratch.need("read-tree", "--reset", "-u", before)
                refuse(scratch, patch, sorted(unmerged) or missing)
        yield patch
