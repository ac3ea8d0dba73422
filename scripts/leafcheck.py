#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""
The leaf check: proves on a linked kernel that KCOV's hooks are leaves.

Compiled code calls the hooks at every edge, in every context. If code that a hook runs were itself instrumented, it
would call the hook again without end. If it could panic, sleep or fault, so could every line of the kernel. The check
follows every path from each hook through calls, jumps, both sides of static branches, alternatives and exception
fix-ups, and demands that

  - all paths stay in the code of the implementation's object (except for return thunks),
  - no path has an indirect call or jump, except through a jump table of the compiler,
  - no path raises an exception on purpose (BUG, WARN, Rust's panics),
  - nothing in the whole object is instrumented or open to the function tracer (helpers in C that the kernel's build has
    inlined are instrumented; then the check reads the crate as it was before, and no hook may reach the helpers),
  - the count of the area is stored before the record that it counts (x86_64).

It also follows every path on which the implementation in Rust starts or stops a remote section (x86_64), and demands
that the section's header is complete before the task points to it, and that the task's mode is 0 while the other fields
of its recording change.

At the places where the implementation in Rust appends the records of a section to a buffer, it demands that the count
is stored last, after a barrier.
"""

import argparse
import json
import sys

from leaf import Misuse
from leaf.check import check, open_image


def show(image, hooks, sections, violations):
    print(f"{image.elf.path} ({image.arch.name}), object {', '.join(image.objects)}")
    print(f"{'hook':36} {'instructions':>12} {'bytes':>6}  {'stores':11}  functions reached")
    for hook in hooks:
        print(f"{hook['hook']:36} {hook['instructions']:12} {hook['bytes']:6}  {hook['order']:11}  "
              f"{' '.join(hook['functions'])}")
    for section in sections:
        print(f"{section['place']:36} {section['does']}")
    for violation in violations:
        print(f"\nviolation: {violation.hook} {violation.reason}")
        print(f"  at {violation.place} ({violation.addr:#x}): {violation.text}")
        for index, stage in enumerate(violation.path):
            print(f"  {'way:' if not index else '    '} {stage}")
    count = len(violations)
    print(f"\n{len(hooks)} hooks and {len(sections)} places of sections checked, {count} violation"
          f"{'' if count == 1 else 's'}")


def main(arguments):
    parser = argparse.ArgumentParser(
        description="Proves that no path out of KCOV's hooks leaves the implementation's own code.",
        epilog="Exit status: 0 all proved, 1 a violation, 2 the check could not be done.")
    parser.add_argument("vmlinux", nargs="?", metavar="VMLINUX", help="the linked kernel, with its symbols")
    parser.add_argument("--object", action="append", metavar="KCOV.O",
                        help="the implementation's object (default: found next to VMLINUX); may be repeated")
    parser.add_argument("--impl", choices=("rust", "c"), help="the implementation whose object to look for")
    parser.add_argument("--objdump", help="the disassembler (default: llvm-objdump, else objdump)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--self-test", action="store_true",
                        help="build small good and bad programs and show that each bad one is caught")
    options = parser.parse_args(arguments)
    if options.self_test:
        from leaf.selftest import self_test
        return self_test(options.objdump)
    if not options.vmlinux:
        parser.error("name a vmlinux, or use --self-test")
    image = open_image(options.vmlinux, options.object, options.impl, options.objdump)
    hooks, sections, violations = check(image)
    if options.json:
        print(json.dumps({"vmlinux": image.elf.path, "arch": image.arch.name, "objects": image.objects,
                          "hooks": hooks, "sections": sections,
                          "violations": [v._asdict() for v in violations]}, indent=1))
    else:
        show(image, hooks, sections, violations)
    return 1 if violations else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Misuse as misuse:
        print(f"error: {misuse}", file=sys.stderr)
        sys.exit(2)
