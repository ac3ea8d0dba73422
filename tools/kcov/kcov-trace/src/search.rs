// SPDX-License-Identifier: GPL-2.0
//! Finds `vmlinux` where perf, drgn and crash look for it, by its build id.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::recording::Kernel;
use crate::symbols::ImageFile;

/// Returns the `vmlinux` of a kernel, from the usual places below `root`, or from the debuginfod
/// servers that `DEBUGINFOD_URLS` names. A file with another build id, or without one, is not taken.
#[must_use]
pub fn vmlinux(kernel: &Kernel, root: &Path) -> Option<PathBuf> {
    if kernel.build_id.is_empty() {
        return None;
    }
    places(kernel, root)
        .into_iter()
        .find(|path| is_of(path, kernel))
        .or_else(|| downloaded(kernel).filter(|path| is_of(path, kernel)))
}

/// Returns the places where the `vmlinux` of a kernel may be, the best first.
#[must_use]
pub fn places(kernel: &Kernel, root: &Path) -> Vec<PathBuf> {
    let release = &kernel.release;
    let mut places = Vec::new();
    if !release.is_empty() {
        for place in [
            format!("usr/lib/debug/boot/vmlinux-{release}"),
            format!("usr/lib/debug/lib/modules/{release}/vmlinux"),
            format!("usr/lib/debug/usr/lib/modules/{release}/vmlinux"),
            format!("usr/lib/debug/boot/vmlinux-{release}.debug"),
            format!("boot/vmlinux-{release}"),
            format!("lib/modules/{release}/build/vmlinux"),
            format!("lib/modules/{release}/vmlinux"),
            format!("usr/lib/modules/{release}/vmlinux"),
        ] {
            places.push(root.join(place));
        }
    }
    let id = hexadecimal(&kernel.build_id);
    if let Some((first, rest)) = id.split_at_checked(2) {
        let name = format!("usr/lib/debug/.build-id/{first}/{rest}.debug");
        places.insert(0, root.join(name));
    }
    places
}

fn is_of(path: &Path, kernel: &Kernel) -> bool {
    path.is_file()
        && ImageFile::open(path).is_ok_and(|file| {
            file.image()
                .is_ok_and(|image| image.build_id() == Some(&kernel.build_id[..]))
        })
}

/// Asks the client of debuginfod, which keeps what it has downloaded.
fn downloaded(kernel: &Kernel) -> Option<PathBuf> {
    env::var_os("DEBUGINFOD_URLS").filter(|urls| !urls.is_empty())?;
    let output = Command::new("debuginfod-find")
        .args(["debuginfo", &hexadecimal(&kernel.build_id)])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let name = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(name.trim_end()))
}

/// Returns a build id as people write it.
#[must_use]
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
