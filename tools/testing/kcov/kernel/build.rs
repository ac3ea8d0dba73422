// SPDX-License-Identifier: GPL-2.0

//! Finds the sources of the kernel crate, as ../build.rs does.

use std::{env, fs, path::PathBuf};

fn main() {
    let top = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../../../..");
    let sources = top.join("rust/kernel/sync").canonicalize().unwrap();
    let mut text = String::new();
    for name in ["rcu_table", "slot"] {
        let path = sources.join(format!("{name}.rs"));
        println!("cargo::rerun-if-changed={}", path.display());
        text += &format!("#[path = {path:?}]\npub mod {name};\n");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap());
    fs::write(out.join("sources.rs"), text).unwrap();
}
