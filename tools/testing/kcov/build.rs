// SPDX-License-Identifier: GPL-2.0

//! Finds the kernel's sources. They are included by their path, so that rustfmt formats them with
//! the kernel's settings only.

use std::{env, fs, path::PathBuf};

const FILES: [&str; 14] = [
    "area",
    "buffer",
    "context",
    "descriptor",
    "edges",
    "filter",
    "layout",
    "memory",
    "mode",
    "recorder",
    "recording",
    "records",
    "set",
    "task",
];
const REMOTE: [&str; 4] = ["handle", "pool", "registry", "section"];
const SITES: [&str; 4] = ["branches", "glob", "line", "selection"];

fn module(path: PathBuf) -> String {
    println!("cargo::rerun-if-changed={}", path.display());
    let name = path.file_stem().unwrap().to_str().unwrap();
    format!("#[path = {path:?}]\npub(crate) mod {name};\n")
}

fn main() {
    let top = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../../..");
    // In a kernel tree the directory is below kernel/.
    let sources = ["kernel/kcov", "kcov"]
        .map(|name| top.join(name))
        .into_iter()
        .find(|path| path.join("kcov.rs").exists())
        .expect("the sources of KCOV are not where they are in the repository or in a kernel tree");
    let sources = sources.canonicalize().unwrap();
    for (name, place) in [
        ("KCOV_SOURCES", &sources),
        ("SYNC_SOURCES", &top.join("rust/kernel/sync")),
    ] {
        println!("cargo::rustc-env={name}={}", place.display());
    }
    let mut text: String = FILES
        .iter()
        .map(|name| module(sources.join(format!("{name}.rs"))))
        .collect();
    for (folder, names) in [("remote", REMOTE), ("sites", SITES)] {
        text += &format!("pub(crate) mod {folder} {{\n");
        for name in names {
            text += &module(sources.join(format!("{folder}/{name}.rs")));
        }
        text += "}\n";
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap());
    fs::write(out.join("sources.rs"), text).unwrap();

    // The configuration with all code, except the code that only one architecture has.
    for name in ["ENABLE_COMPARISONS", "UNIQUE"] {
        println!("cargo::rustc-cfg=CONFIG_KCOV_{name}");
    }
    println!("cargo::rustc-cfg=CONFIG_RANDOMIZE_BASE");
}
