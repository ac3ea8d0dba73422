#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""
`make mutants`: makes small wrong changes of the kernel part, one at a time, and tells which of them no check finds.

  mutants.py [--own | --sample N [--seed S]] [--file PATH]... [--name NAME]... [--only host|um] [--again]
  mutants.py --list | --table

A change is made in a copy of this repository in build/mutants, never in the files here. The checks run from the cheapest
to the dearest, and the first that fails ends them:

  host   the properties, models and runs of tools/testing/kcov, for the files that they compile
  um     the kernel for user-mode Linux is built; its KUnit tests; the conformance suite, to the first program that fails

A change that does not compile, or that leaves the machine code as it is, says nothing about the checks. Records are kept
in build/mutants. A run goes on where an earlier one ended; a change is tried again if the text of its file differs, or,
with --again, if no check has found it. --only runs one of the two, so that both can run at the same time.

The changes are those in scripts/mutants/own.txt, written by hand, and those that scripts/harness/mutation.py generates:
other comparisons, constants that differ by one, negated conditions, calls and returns that are left out, and more. A name
is FILE:LINE:OPERATOR:HASH. For one that no check has to find, scripts/mutants/survivors.txt has the reason. The status is
1 if there is a change that no check has found and that has no reason.
"""

import argparse
import contextlib
import hashlib
import io
import os
import random
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Optional, Tuple

from checks import conformance, kunit
from harness import crates, guest, initramfs, kernel, kmemleak, mutation, programs
from harness.checklib import FAILED, PASSED, Context, Result, boot_result, output_of, project_files, run_tool
from harness.hostlib import BUILD, CACHE, TOP, Failure, Progress, die, locked, main, replacing, say, shown, step, write_if_changed
from harness.mutation import KILLED, NO_BUILD, SAME_CODE, SURVIVED, Mutant, Record, Records

STAGES = ("host", "um")
PLACE = BUILD / "mutants"

CRATE = TOP / "tools/testing/kcov"
STEPS = ("properties", "models", "runs")
# The files that the models are about, and those that the properties or the runs are not about.
MODELS = {"kcov/remote/pool.rs", "rust/kernel/sync/rcu_table.rs", "rust/kernel/sync/slot.rs"}
NO_PROPERTIES = {"rust/kernel/sync/slot.rs"}
NO_RUNS = {f"kcov/{name}.rs" for name in "filter mode recorder set remote/handle".split()}
NO_RUNS |= {"rust/kernel/sync/rcu_table.rs", "rust/kernel/sync/slot.rs"}
# These take a minute or two on a busy machine. A change may make a model, or a program of the suite, run for ever.
STEP_SECONDS = 600
PROGRAM_SECONDS = 400
BOOT_SECONDS = 300


@contextlib.contextmanager
def changed(mutant: Mutant) -> Iterator[None]:
    """Makes a change in this tree, which is a copy, and takes it back."""
    path = TOP / mutant.path
    text = path.read_text(encoding="utf-8")
    try:
        path.write_text(mutant.text, encoding="utf-8")
        yield
    finally:
        path.write_text(text, encoding="utf-8")


def steps_of(path: str) -> List[str]:
    """The checks of the crate on the host for a file, the cheapest first."""
    about = (path not in NO_PROPERTIES, path in MODELS, path not in NO_RUNS)
    return [name for name, wanted in zip(STEPS, about) if wanted]


class Host:
    """The crate that compiles the kernel part as an ordinary program."""

    COMPILER = re.compile(r"^error: could not compile", re.MULTILINE)
    FAILED = re.compile(r"^test (\S+) \.\.\. FAILED$", re.MULTILINE)
    # A program that ends early names no test.
    ENDED = re.compile(r"\((signal: .*)\)$", re.MULTILINE)

    def __init__(self) -> None:
        script = (CRATE / "build.rs").read_text(encoding="utf-8")
        lists = re.findall(r"^const (FILES|REMOTE): \[&str; \d+\] = \[(.*?)\];", script, re.MULTILINE | re.DOTALL)
        folder = {"FILES": "kcov", "REMOTE": "kcov/remote"}
        self.files = {f"{folder[kind]}/{name}.rs" for kind, names in lists for name in re.findall(r'"(\w+)"', names)}
        self.files |= {"rust/kernel/sync/rcu_table.rs", "rust/kernel/sync/slot.rs"}

    def fits(self, mutant: Mutant) -> bool:
        return mutant.path in self.files

    def prepare(self) -> None:
        for name in STEPS:
            status, output = self.make(name)
            if status != 0:
                die(f"the {name} of the unchanged files fail; run `make proof`. The end of the output:\n{output[-1500:]}")

    @staticmethod
    def make(name: str) -> Tuple[Optional[int], str]:
        return run_tool(["make", "-C", CRATE, name], STEP_SECONDS, env=crates.environment())

    def judge(self, mutant: Mutant) -> Record:
        compiled = False
        for name in steps_of(mutant.path):
            status, output = self.make(name)
            if status and self.COMPILER.search(output):
                # The seam has the operations that the sources use, no others.
                continue
            compiled = True
            if status is None:
                return Record(mutant.digest, KILLED, name, "did not end")
            if status:
                found = self.FAILED.search(output) or self.ENDED.search(output)
                return Record(mutant.digest, KILLED, name, found[1].replace("tests::", "") if found else f"status {status}")
        return Record(mutant.digest, SURVIVED if compiled else NO_BUILD)


class Limited(Context):
    """Boots guests that a change may keep from ending."""

    def boot(self, boot: guest.Guest) -> guest.Outcome:
        return guest.boot(replace(boot, timeout=BOOT_SECONDS))


class UserMode:
    """User-mode Linux."""

    LOOP = re.compile(r"done\n\Z")
    STOP = "\tcase $(cat /results/$name.status) in 0 | 4) ;; *) break ;; esac\ndone\n"

    def __init__(self) -> None:
        self.kernel = kernel.Kernel(impl="rust", arch="um")
        self.obj = self.kernel.objects
        self.suite: Dict[str, Path] = {}
        # The results of the unchanged files, and the time that the suite takes with them.
        self.usual: Dict[str, str] = {}
        self.suite_seconds = 0.0
        self.code = ""

    def fits(self, mutant: Mutant) -> bool:
        return True

    def build(self) -> Optional[str]:
        """Builds the kernel; returns the error if it does not compile."""
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                kernel.build(self.kernel)
        except Failure:
            return said.getvalue()
        return None

    def machine_code(self) -> str:
        """A hash of the objects of the kernel part without their debugging information."""
        objects = [*sorted((self.obj / "kernel/kcov").rglob("*.o")), self.obj / "rust/kernel.o"]
        digest = hashlib.sha256()
        stripped = PLACE / "stripped.o"
        PLACE.mkdir(parents=True, exist_ok=True)
        for path in objects:
            status, said = output_of(["strip", "-g", "-o", stripped, path])
            if status:
                die(f"the object {shown(path)} could not be read: {said.strip()}")
            digest.update(stripped.read_bytes())
        return digest.hexdigest()

    def prepare(self) -> None:
        error = self.build()
        if error:
            die(f"the unchanged kernel does not build:\n{error[-1500:]}")
        self.code = self.machine_code()
        self.suite = programs.selftests(self.obj, "um")
        results = [result for check in (self.kunit(), self.conformance()) for result in check]
        self.usual = {result.name: result.outcome for result in results}
        for name in sorted(name for name, outcome in self.usual.items() if outcome == FAILED):
            say(f"    the unchanged files fail in '{name}', which judges no change.")
            self.suite.pop(self.program(name), None)

    @staticmethod
    def program(name: str) -> str:
        """The program of the suite that a result of this name is of."""
        return [*name.split(": "), ""][1]

    def kunit(self) -> Iterator[Result]:
        yield from kunit.run(Limited(arch="um", impls=("rust",), objects={"rust": self.obj}))

    def time_for_suite(self) -> float:
        """The seconds after which a guest that runs the suite has hung."""
        if not self.suite_seconds:
            return BOOT_SECONDS + PROGRAM_SECONDS * len(self.suite)
        return BOOT_SECONDS + PROGRAM_SECONDS + 3 * self.suite_seconds

    def conformance(self) -> Iterator[Result]:
        """The results of the suite's programs up to the first that fails."""
        files: Dict[str, initramfs.Source] = {f"/kcov/{name}": path for name, path in self.suite.items()}
        files[conformance.CONFIG] = self.obj / ".config"
        files.update(conformance.kernel_text(self.obj, "um"))
        command = conformance.COMMAND.replace(f"KILL {conformance.PROGRAM_SECONDS} ", f"KILL {PROGRAM_SECONDS} ")
        boot = guest.Guest(
            obj=self.obj,
            name="mutants",
            arch="um",
            command=self.LOOP.sub(lambda _: self.STOP, command),
            files=files,
            timeout=self.time_for_suite(),
            expected=conformance.RUST_EXPECTED,
        )
        outcome = guest.boot(kmemleak.watched(boot))
        self.suite_seconds = self.suite_seconds or outcome.total_time
        for program in sorted(self.suite):
            if not (outcome.results / f"{program}.status").exists():
                if outcome.death:
                    yield Result(f"rust: {program}", FAILED, f"the guest {outcome.death}")
                break
            yield from conformance.program_results("rust", program, outcome.results, {})
        yield boot_result("rust: the kernel stays sound", outcome)

    def first_failure(self, results: Iterable[Result]) -> str:
        """The first test that failed, or was skipped, and passes with the unchanged files; "" if there is none."""
        for result in results:
            usual = self.usual.get(result.name)
            if (result.outcome == FAILED and usual != FAILED) or (result.outcome != PASSED and usual == PASSED):
                return result.name.partition(": ")[2] or result.name
        return ""

    def judge(self, mutant: Mutant) -> Record:
        if self.build():
            return Record(mutant.digest, NO_BUILD)
        if self.machine_code() == self.code:
            return Record(mutant.digest, SAME_CODE)
        for name, check in (("KUnit", self.kunit()), ("conformance", self.conformance())):
            test = self.first_failure(check)
            if test:
                return Record(mutant.digest, KILLED, name, test)
        return Record(mutant.digest, SURVIVED)


def copy_files(place: Path) -> None:
    """Brings a copy of this repository up to date."""
    names = project_files()
    for name in names:
        target = place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if write_if_changed(target, (TOP / name).read_bytes()):
            shutil.copymode(TOP / name, target)
    known = place / "build/mutants.files"
    former = known.read_text(encoding="utf-8").splitlines() if known.exists() else []
    for old in set(former) - {str(name) for name in names}:
        (place / old).unlink(missing_ok=True)
    with replacing(known) as partial:
        partial.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def all_mutants() -> Tuple[List[Mutant], Dict[str, str]]:
    """Every change, and the reasons of those that no check has to find."""
    texts = mutation.sources()
    mutants = mutation.read_own(mutation.OWN, texts)
    for path, text in texts.items():
        mutants += mutation.generated(path, text)
    return mutants, mutation.read_survivors(mutation.SURVIVORS, mutants)


def chosen(mutants: List[Mutant], options: argparse.Namespace) -> List[Mutant]:
    """The changes that the options ask for, those of one file after each other."""
    known = {mutant.path for mutant in mutants}
    for path in options.file:
        if path not in known:
            die(f"no file of the kernel part is called {path}; --list shows the names.")
    names = {mutant.name for mutant in mutants}
    for name in options.name:
        if name not in names:
            die(f"there is no change with the name {name}; --list shows the names.")
    mutants = [mutant for mutant in mutants if not options.file or mutant.path in options.file]
    mutants = [mutant for mutant in mutants if not options.name or mutant.name in options.name]
    own = [mutant for mutant in mutants if mutant.name.startswith("own:")]
    others = [mutant for mutant in mutants if not mutant.name.startswith("own:")]
    if options.own:
        others = []
    if options.sample is not None:
        own, others = [], random.Random(options.seed).sample(others, min(options.sample, len(others)))
    return own + sorted(others, key=lambda mutant: (mutant.path, mutant.name))


def run_stage(stage: str, mutants: List[Mutant], place: Path, again: bool) -> None:
    """Runs one stage here, in the copy, for the changes that have no record yet."""
    worker = Host() if stage == "host" else UserMode()
    records = Records(place / f"{stage}.json")
    others = [place / f"{other}.json" for other in STAGES if other != stage]

    def wanted(mutant: Mutant) -> bool:
        known = records.of(mutant)
        # The other stage may run at the same time.
        found = [record for record in (known, *(Records(path).of(mutant) for path in others)) if record]
        if any(record.outcome == KILLED for record in found):
            return False
        return worker.fits(mutant) and (not known or (again and known.outcome == SURVIVED))

    todo = [mutant for mutant in mutants if wanted(mutant)]
    if not todo:
        return
    progress = Progress(f"Preparing the copy for {stage}")
    worker.prepare()
    progress.end("done")
    for number, mutant in enumerate(todo, 1):
        if not wanted(mutant):
            continue
        started = time.monotonic()
        with changed(mutant):
            record = worker.judge(mutant)
        record = replace(record, seconds=int(time.monotonic() - started))
        records.keep(mutant, record)
        by = f" by {record.check}: {record.test}" if record.check else ""
        say(f"    {stage} {number}/{len(todo)} {mutant.name}: {record.outcome}{by} ({record.seconds} s)")


def in_copy(stage: str, arguments: List[str]) -> None:
    """Runs one stage in a copy of this repository."""
    place = PLACE / stage
    with locked(PLACE / f"{stage}.lock", f"the copy for {stage}"):
        step(f"Copying the files to {shown(place)}")
        copy_files(place)
        env = {name: value for name, value in os.environ.items() if name not in ("BUILD", "O", "KERNEL", "ARCH", "IMPL")}
        env.update(KCOV_CACHE=str(CACHE))
        script = place / "scripts" / Path(__file__).name
        command = [sys.executable, str(script), *arguments, "--inside", stage, "--records", str(PLACE)]
        if subprocess.run(command, cwd=place, env=env, check=False).returncode:
            die(f"the changes could not be tried on {stage}, see above.")


def summary(mutants: List[Mutant], records: Dict[str, Records], reasons: Dict[str, str]) -> int:
    """Names the changes that no check has found; returns the status."""
    counts: Dict[str, int] = {}
    bad = []
    for mutant in mutants:
        record = mutation.verdict([records[stage].of(mutant) for stage in STAGES])
        outcome = record.outcome if record else "not tried"
        if mutant.name in reasons and outcome == SURVIVED:
            outcome = "not found, with a reason"
        elif mutant.name in reasons and outcome == KILLED and record:
            bad.append(f"{mutant.name}: is in {shown(mutation.SURVIVORS)}, but {record.check} has found it")
        elif outcome == SURVIVED:
            bad.append(f"{mutant.name}: {mutant.description}")
        counts[outcome] = counts.get(outcome, 0) + 1
    if bad:
        say("Not found:")
        for line in bad:
            say(f"    {line}")
    say(", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items())))
    return 1 if bad else 0


def command_interface(arguments: List[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--own", action="store_true", help="only the changes that were written by hand")
    parser.add_argument("--sample", type=int, metavar="N", help="N of the generated changes, chosen at random")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="another choice (1)")
    parser.add_argument("--file", action="append", default=[], metavar="PATH", help="only changes of this file (repeatable)")
    parser.add_argument("--name", action="append", default=[], metavar="NAME", help="only this change (repeatable)")
    parser.add_argument("--only", choices=STAGES, help="only on the host, or only in user-mode Linux")
    parser.add_argument("--again", action="store_true", help="try those again that no check has found")
    parser.add_argument("--list", action="store_true", help="list the changes and what became of them; run nothing")
    parser.add_argument("--table", action="store_true", help="print the results by file, in Markdown; run nothing")
    parser.add_argument("--inside", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--records", type=Path, default=PLACE, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)

    everything, reasons = all_mutants()
    mutants = chosen(everything, options)
    if options.inside:
        run_stage(options.inside, mutants, options.records, options.again)
        return 0
    if not options.list and not options.table:
        for stage in STAGES if not options.only else (options.only,):
            in_copy(stage, arguments)
    records = {stage: Records(PLACE / f"{stage}.json") for stage in STAGES}
    if not options.list and not options.table:
        return summary(mutants, records, reasons)
    results = [(mutant, mutation.verdict([records[stage].of(mutant) for stage in STAGES])) for mutant in mutants]
    if options.list:
        for mutant, record in results:
            found = f" ({record.outcome}{f': {record.check}, {record.test}' if record.check else ''})" if record else ""
            say(f"{mutant.name}: {mutant.description}{found}")
    else:
        say(mutation.table([(mutant, record) for mutant, record in results if record], reasons))
    return 0


if __name__ == "__main__":
    main(command_interface)
