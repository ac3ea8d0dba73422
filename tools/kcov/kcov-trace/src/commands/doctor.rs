// SPDX-License-Identifier: GPL-2.0
//! Tells what is there for tracing and for reports on this machine, what is missing, and what to
//! type.

use std::fmt::Write as _;

use anyhow::Result;
use kcov::Device;

use crate::cli::DoctorArgs;
use crate::output::Target;
use crate::recording::Kernel;
use crate::search;
use crate::symbols::{Hook, ImageFile, sites};

/// The use of a part of the machine.
enum State {
    There(String),
    /// Reports lack something.
    Less(String),
    /// Tracing does not work.
    Nothing(String),
}

use State::{Less, Nothing, There};

pub(super) fn doctor(args: &DoctorArgs) -> Result<i32> {
    let kernel = Kernel::running();
    let checks = [
        ("kcov", device()),
        ("build id", build_id(&kernel)),
        ("names", names(&kernel)),
        ("modules", modules(&kernel)),
        ("vmlinux", vmlinux(&kernel, args)),
    ];
    let mut text = format!("Linux {} {}\n", kernel.release, kernel.machine);
    let mut status = 0;
    for (name, state) in checks {
        let (mark, told, weight) = match state {
            There(told) => ("ok", told, 0),
            Less(told) => ("missing", told, 1),
            Nothing(told) => ("FAILED", told, 2),
        };
        status = status.max(weight);
        writeln!(text, "{name:<9} {mark:<8} {told}")?;
    }
    Target::Stdout.write(|out| Ok(out.write_all(text.as_bytes())?))?;
    Ok(status)
}

fn device() -> State {
    match Device::open() {
        Ok(_) => There("the device can be opened".into()),
        Err(error) => Nothing(error.to_string()),
    }
}

fn build_id(kernel: &Kernel) -> State {
    if kernel.build_id.is_empty() {
        Less("/sys/kernel/notes has none, so files cannot be checked: mount -t sysfs sysfs /sys".into())
    } else {
        There(search::hexadecimal(&kernel.build_id))
    }
}

fn names(kernel: &Kernel) -> State {
    match (kernel.text, kernel.offset) {
        (0, _) => Less(
            "/proc/kallsyms hides addresses, so functions have names only with vmlinux: run as root, with sysctl kernel.kptr_restrict=1"
                .into(),
        ),
        (_, None) => Less(
            "the offset of the address space is not known, so functions have names only with vmlinux: run as root, on a kernel with CONFIG_PROC_KCORE and CONFIG_VMCORE_INFO"
                .into(),
        ),
        (_, Some(offset)) => There(format!("from /proc/kallsyms, with the offset {offset:#x} of the address space")),
    }
}

fn modules(kernel: &Kernel) -> State {
    let count = kernel.modules.len();
    let unknown = kernel
        .modules
        .iter()
        .filter(|module| module.sections.is_empty())
        .count();
    if unknown > 0 {
        Less(format!(
            "the sections of {unknown} of {count} modules are hidden, so their PCs may have no names: run as root, with sysctl kernel.kptr_restrict=1"
        ))
    } else {
        There(format!("{count} are loaded"))
    }
}

fn vmlinux(kernel: &Kernel, args: &DoctorArgs) -> State {
    let Some(path) = args
        .vmlinux
        .clone()
        .or_else(|| search::vmlinux(kernel, &args.symfs))
    else {
        return Less(format!(
            "none of this build is in {}: name it with --vmlinux, or install the debug symbols of the kernel's package, or set DEBUGINFOD_URLS",
            search::places(kernel, &args.symfs)
                .iter()
                .map(|place| place.display().to_string())
                .collect::<Vec<_>>()
                .join(", ")
        ));
    };
    let file = match ImageFile::open(&path) {
        Ok(file) => file,
        Err(error) => return Less(format!("{error:#}")),
    };
    let image = match file.image() {
        Ok(image) => image,
        Err(error) => return Less(format!("{error:#}")),
    };
    if !kernel.build_id.is_empty() && image.build_id() != Some(&kernel.build_id[..]) {
        return Less(format!(
            "{} is not the kernel that runs (its build id differs): name the right one with --vmlinux",
            path.display()
        ));
    }
    match (sites(&image, Hook::Pc), image.has_dwarf()) {
        (Err(error), _) => Less(error.to_string()),
        (Ok(_), false) => Less(format!(
            "{} has no debug information, so lines are not known: build with CONFIG_DEBUG_INFO_DWARF5",
            path.display()
        )),
        (Ok(found), true) if found.is_empty() => Less(format!(
            "{} has no code that calls the hook: build with CONFIG_KCOV_INSTRUMENT_ALL",
            path.display()
        )),
        (Ok(found), true) => There(format!(
            "{}, with {} call sites and lines",
            path.display(),
            found.len()
        )),
    }
}
