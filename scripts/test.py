#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""
`make test`: runs all checks of this project, except those that run only on demand.

  test.py [--only NAME[:PART]]... [--impl rust|c]... [--list]
  test.py --quick

A PART is a program of the conformance suite: `--only conformance:pc_test` runs that program. ONLY=NAME[:PART],... in
the environment names checks too.

--quick (`make check-quick`) takes less than a minute: style, the quick tests of scripts, and the leaf check of the kernel
that was built last. It builds nothing.

The last line is `N passed, N failed, N skipped`; the status is 0 if at least one result passed and none failed. A check
that ends early, or finds nothing to check, has failed. On the default kernels, a skip that scripts/harness/skips.py
does not expect is a failure too.
"""

import argparse
import importlib
import os
import sys
import time
import traceback
from pathlib import Path
from types import ModuleType
from typing import Dict, List, Optional

from harness import arch, skips
from harness.checklib import FAILED, PASSED, SKIPPED, Context, Result, failed
from harness.hostlib import BUILD, SCRIPTS, Failure, Progress, die, duration, main, say, setup

CHECKS = SCRIPTS / "checks"


def load_checks() -> Dict[str, ModuleType]:
    """Returns the modules in scripts/checks by name, in the order in which they run: quick ones first."""
    modules = {}
    for path in sorted(CHECKS.glob("[!_]*.py")):
        try:
            modules[path.stem] = importlib.import_module(f"checks.{path.stem}")
        except Exception as error:  # one broken check must not hide the others
            modules[path.stem] = broken_check(path.stem, f"{type(error).__name__}: {error}")
    return dict(sorted(modules.items(), key=lambda item: (item[1].ORDER, item[0])))


def broken_check(name: str, error: str) -> ModuleType:
    """Returns a module that fails in place of a check that cannot be loaded."""
    module = ModuleType(name, f"Cannot be loaded: {error}.")
    vars(module).update(ORDER=0, run=lambda context: iter([failed("cannot be loaded", error)]))
    return module


def title(module: ModuleType) -> str:
    return (module.__doc__ or "has no description").strip().splitlines()[0].rstrip(".")


def on_demand(module: ModuleType) -> bool:
    return bool(getattr(module, "ON_DEMAND", False))


def run_check(name: str, module: ModuleType, context: Context) -> List[Result]:
    """Returns all results of one check. An error in the check itself is a failure too, and so is an unexpected skip."""
    results: List[Result] = []
    try:
        for result in module.run(context):
            results.append(result)
            context.progress(f"{result.name}")
    except Failure as failure:
        results.append(failed("could not go on", str(failure)))
    except KeyboardInterrupt:
        raise
    except Exception:  # any error: the other checks must still run
        results.append(failed("the check itself broke", traceback.format_exc()))
    if not results:
        results.append(failed("found nothing to check", f"scripts/checks/{name}.py gave no result; repair or remove it."))
    return list(skips.judge(name, results, context.impls)) if context.usual else results


def count(results: List[Result], outcome: str) -> int:
    return sum(result.outcome == outcome for result in results)


def totals(results: List[Result]) -> str:
    return ", ".join(f"{count(results, outcome)} {outcome}" for outcome in (PASSED, FAILED, SKIPPED))


def indented(text: str, depth: int) -> str:
    return "\n".join(" " * depth + line for line in text.splitlines())


def report(name: str, results: List[Result], seconds: float, verbose: bool) -> None:
    say(f"    {name:14} {totals(results)}, {duration(seconds)}")
    for result in results:
        if result.outcome == FAILED:
            say(f"      FAILED  {result.name}\n{indented(result.detail, 14)}")
        elif verbose and result.outcome == SKIPPED:
            say(f"      skipped {result.name}: {result.detail}")
        elif verbose:
            say(f"      passed  {result.name}" + (f" ({result.detail})" if result.detail else ""))
    if not verbose:
        for line in skips.summary(results):
            say(f"      skipped {line}")


def chosen_checks(words: List[str], checks: Dict[str, ModuleType]) -> Dict[str, List[str]]:
    """Returns the checks that the words name, each with its parts, or with an empty list for the whole check."""
    chosen: Dict[str, List[str]] = {}
    for word in words:
        name, _, part = word.partition(":")
        if name not in checks:
            die(f"there is no check '{name}'; the checks are: {' '.join(checks)}.")
        if part and not getattr(checks[name], "HAS_PARTS", False):
            having = [name for name, module in checks.items() if getattr(module, "HAS_PARTS", False)]
            die(f"the check '{name}' has no parts to choose; those that have: {' '.join(having)}.")
        chosen.setdefault(name, []).extend([part] if part else [])
    return chosen


def is_quick(module: ModuleType) -> bool:
    return bool(getattr(module, "QUICK", False))


def last_built(base: Path) -> Dict[str, Path]:
    """The object directory of the kernel in Rust that was linked last, by its implementation."""
    linked = sorted(base.glob("*-rust*/vmlinux"), key=lambda path: path.stat().st_mtime)
    return {"rust": linked[-1].parent} if linked else {}


def not_run(checks: Dict[str, ModuleType]) -> str:
    """Describes in one line the checks that a run of everything leaves out."""
    names = [name for name, module in checks.items() if on_demand(module)]
    kernels = "kernels with KASAN, lockdep and more (make matrix, make stress)"
    return f"Not run, but on demand: {', '.join(names)} (--only NAME); {kernels}"


def command_interface(arguments: List[str]) -> Optional[int]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME[:PART]", help="run this check, or this part of it, only (repeatable)"
    )
    parser.add_argument("--quick", action="store_true", help="less than a minute: what is quick, without building anything")
    parser.add_argument("--list", action="store_true", help="list the checks")
    parser.add_argument("--impl", action="append", choices=("rust", "c"), help="only this implementation (repeatable)")
    parser.add_argument("--arch", choices=sorted(arch.ARCHITECTURES), default=arch.chosen())
    parser.add_argument(
        "--obj", action="append", default=[], metavar="IMPL=DIR", help="a kernel that is built already (repeatable)"
    )
    parser.add_argument("--no-setup", action="store_true", help="install nothing")
    parser.add_argument("-v", "--verbose", action="store_true", help="name every result")
    options = parser.parse_args(arguments)

    checks = load_checks()
    if options.list:
        for name, module in checks.items():
            say(f"{name:14} {title(module)}{' (on demand)' if on_demand(module) else ''}")
        return 0
    only = chosen_checks(options.only or (os.environ.get("ONLY") or "").replace(",", " ").split(), checks)
    objects = dict(pair.split("=", 1) for pair in options.obj if "=" in pair)
    if len(objects) != len(options.obj):
        die("--obj takes IMPL=DIR, such as c=build/obj/x86_64-c.")
    if options.quick:
        options.no_setup, options.impl = True, ["rust"]
        only = only or {name: [] for name, module in checks.items() if is_quick(module)}
        objects = objects or {impl: str(place) for impl, place in last_built(Path(os.environ.get("O") or BUILD / "obj")).items()}
    if not options.no_setup:
        setup("base", "linux", "lint")
    context = Context(
        arch=options.arch,
        impls=tuple(options.impl or ("rust", "c")),
        objects={impl: Path(place).absolute() for impl, place in objects.items()},
        quick=options.quick,
    )

    everything: List[Result] = []
    broken: List[str] = []
    started = time.monotonic()
    for name, module in checks.items():
        # With --only, the named checks run; otherwise all except those on demand.
        if name not in only and (only or on_demand(module)):
            continue
        progress = Progress(f"Checking {name}: {title(module)}")
        context.progress, context.parts = progress.show, tuple(only.get(name, ()))
        results = run_check(name, module, context)
        if progress.live:
            sys.stdout.write("\r\033[K")
        report(name, results, progress.elapsed(), options.verbose)
        everything += results
        broken += [f"{name}: {result.name}" for result in results if result.outcome == FAILED]

    say()
    if broken:
        say("Failed:")
        for line in broken:
            say(f"    {line}")
    if not only:
        say(not_run(checks))
    say(f"Time: {duration(time.monotonic() - started)}")
    say(totals(everything))
    return 0 if count(everything, PASSED) and not broken else 1


if __name__ == "__main__":
    main(command_interface)
