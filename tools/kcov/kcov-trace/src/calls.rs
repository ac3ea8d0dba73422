// SPDX-License-Identifier: GPL-2.0
//! The system calls of a task: recorded, or inferred from the functions that they begin with.

use std::ops::Range;

use crate::recording::{Records, SystemCall, Task};
use crate::symbolised::Symbolised;

/// The beginnings of the names of functions that system calls begin with.
const ENTRIES: [&str; 7] = [
    "__x64_sys_",
    "__ia32_sys_",
    "__arm64_sys_",
    "__riscv_sys_",
    "__ia32_compat_sys_",
    "__arm64_compat_sys_",
    "sys_",
];
/// The same of functions that the ones above call, which may be inlined into them or not.
const INNER: [&str; 4] = ["__se_sys_", "__do_sys_", "__se_compat_sys_", "__do_compat_sys_"];

/// Records that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment<'t> {
    /// The numbers of the records.
    pub records: Range<usize>,
    /// The name of the system call; `None` if the records are of none that is known.
    pub name: Option<String>,
    /// The call, if it was recorded and not inferred.
    pub call: Option<&'t SystemCall>,
}

impl Segment<'_> {
    /// Returns the call in one line, as far as it is known.
    #[must_use]
    pub fn heading(&self) -> String {
        match (&self.name, self.call) {
            (Some(_), Some(call)) => described(call),
            (Some(name), None) => format!("{name} (inferred)"),
            (None, _) => "(no system call is known)".into(),
        }
    }
}

/// Returns a recorded call in one line: number, name, arguments and result.
#[must_use]
pub fn described(call: &SystemCall) -> String {
    let arguments: Vec<String> = call.arguments.iter().map(|value| format!("{value:#x}")).collect();
    let result = match call.result {
        Some(result) => format!("= {result}"),
        None => "did not return".into(),
    };
    format!(
        "{}: {}({}) {result}",
        call.number,
        name(call),
        arguments.join(", ")
    )
}

/// Returns the name of a recorded call, or its number if the name is not known.
#[must_use]
pub fn name(call: &SystemCall) -> String {
    let number = call.number as usize;
    let known = match call.interface {
        0xc000_003e => syscalls::x86_64::Sysno::new(number).map(|found| found.name()),
        0x4000_0003 => syscalls::x86::Sysno::new(number).map(|found| found.name()),
        0xc000_00b7 => syscalls::aarch64::Sysno::new(number).map(|found| found.name()),
        0x4000_0028 => syscalls::arm::Sysno::new(number).map(|found| found.name()),
        0xc000_00f3 => syscalls::riscv64::Sysno::new(number).map(|found| found.name()),
        _ => None,
    };
    known.map_or_else(|| format!("syscall_{number}"), str::to_owned)
}

/// Returns whether system calls begin with a function of this name.
#[must_use]
pub fn is_entry(function: &str) -> bool {
    ENTRIES
        .iter()
        .chain(&INNER)
        .any(|start| function.starts_with(start))
}

/// Divides the records of a task as [`segments`] does, with what is known of its PCs.
#[must_use]
pub fn named<'t>(task: &'t Task, symbols: Option<&Symbolised>) -> Vec<Segment<'t>> {
    segments(task, |number| match (&task.records, symbols) {
        (Records::Pcs(pcs), Some(symbols)) if !task.unique => symbols.entered(pcs[number]).map(str::to_owned),
        _ => None,
    })
}

/// Divides the records of a task into system calls and what is between them. `entered` returns the
/// function of a record if the record is the first of a call of that function.
pub fn segments<'t>(task: &'t Task, entered: impl FnMut(usize) -> Option<String>) -> Vec<Segment<'t>> {
    let mut all = if task.calls.is_empty() {
        inferred(task.records.len(), entered)
    } else {
        recorded(task)
    };
    all.retain(|segment| !segment.records.is_empty() || segment.call.is_some());
    all
}

fn recorded(task: &Task) -> Vec<Segment<'_>> {
    let mut all = Vec::new();
    let mut at = 0;
    let between = |records| Segment {
        records,
        name: None,
        call: None,
    };
    for call in &task.calls {
        all.push(between(at..call.start));
        all.push(Segment {
            records: call.start..call.end,
            name: Some(name(call)),
            call: Some(call),
        });
        at = call.end;
    }
    all.push(between(at..task.records.len()));
    all
}

fn inferred<'t>(records: usize, mut entered: impl FnMut(usize) -> Option<String>) -> Vec<Segment<'t>> {
    let mut all: Vec<Segment<'t>> = vec![Segment {
        records: 0..records,
        name: None,
        call: None,
    }];
    for number in 0..records {
        let Some(function) = entered(number) else { continue };
        let Some(last) = all.last_mut() else { continue };
        let strip = |all: &[&str]| {
            all.iter()
                .find_map(|start| function.strip_prefix(start))
                .map(str::to_owned)
        };
        let inner = strip(&INNER).filter(|name| last.name.as_ref() != Some(name));
        if let Some(name) = strip(&ENTRIES).or(inner) {
            last.records.end = number;
            all.push(Segment {
                records: number..records,
                name: Some(name),
                call: None,
            });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(task: &Task, functions: &[&str]) -> Vec<(Range<usize>, String)> {
        let entered = |number: usize| Some(functions[number].to_owned()).filter(|name| !name.is_empty());
        segments(task, entered)
            .into_iter()
            .map(|segment| (segment.records.clone(), segment.heading()))
            .collect()
    }

    #[test]
    fn calls_are_inferred_from_the_functions_they_begin_with() {
        let task = Task {
            records: Records::Pcs(vec![0; 6]),
            ..Task::default()
        };
        let functions = [
            "f",
            "__x64_sys_openat",
            "__do_sys_openat",
            "",
            "__se_sys_close",
            "g",
        ];
        assert_eq!(
            told(&task, &functions),
            [
                (0..1, "(no system call is known)".to_owned()),
                (1..4, "openat (inferred)".to_owned()),
                (4..6, "close (inferred)".to_owned())
            ]
        );
    }

    #[test]
    fn recorded_calls_are_described() {
        let call = |start, end, interface, number, result| SystemCall {
            start,
            end,
            interface,
            number,
            arguments: [1, 0x20, 0, 0, 0, u64::MAX],
            result,
        };
        let task = Task {
            records: Records::Pcs(vec![0; 4]),
            calls: vec![
                call(1, 2, 0xc000_003e, 257, Some(-2)),
                call(2, 4, 0xc000_00b7, 56, None),
            ],
            ..Task::default()
        };
        assert_eq!(
            told(&task, &["__x64_sys_close"; 4]),
            [
                (0..1, "(no system call is known)".to_owned()),
                (
                    1..2,
                    "257: openat(0x1, 0x20, 0x0, 0x0, 0x0, 0xffffffffffffffff) = -2".to_owned()
                ),
                (
                    2..4,
                    "56: openat(0x1, 0x20, 0x0, 0x0, 0x0, 0xffffffffffffffff) did not return".to_owned()
                )
            ]
        );
        assert_eq!(name(&call(0, 0, 1, 5, None)), "syscall_5");
    }
}
