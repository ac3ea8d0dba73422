// SPDX-License-Identifier: GPL-2.0
//! Writes recordings.

use std::io::{self, Write};

use super::encoding::{
    MAGIC, TAG_END, TAG_KERNEL, TAG_NAMES, VERSION, WITHOUT_EDGES, put, put_difference, put_text,
};
use super::{Recording, Records, Task, tasks};

/// Writes the recording.
///
/// # Errors
///
/// The errors of the writer.
pub fn write(recording: &Recording, out: &mut dyn Write) -> io::Result<()> {
    let mut out = Summed {
        out,
        sum: crc32fast::Hasher::new(),
    };
    out.put(&MAGIC)?;
    out.put(&version(recording).to_le_bytes())?;
    let mut contents = Vec::new();
    recording.kernel.encode(&mut contents);
    put(&mut contents, recording.command.len() as u64);
    for word in &recording.command {
        put_text(&mut contents, word);
    }
    out.section(TAG_KERNEL, &contents)?;
    if recording.kernel.offset.is_some() || !recording.names.is_empty() {
        contents.clear();
        encode_names(recording, &mut contents);
        out.section(TAG_NAMES, &contents)?;
    }
    for task in &recording.tasks {
        for (tag, contents) in tasks::sections(task) {
            out.section(tag, &contents)?;
        }
    }
    let sum = out.sum.clone().finalize();
    out.section(TAG_END, &sum.to_le_bytes())
}

/// Returns the oldest version that has all that is in the recording.
fn version(recording: &Recording) -> u32 {
    let edges = |task: &Task| matches!(task.records, Records::Edges(_));
    match recording.tasks.iter().any(edges) {
        true => VERSION,
        false => WITHOUT_EDGES,
    }
}

/// A writer that computes the checksum of its output.
struct Summed<'a> {
    out: &'a mut dyn Write,
    sum: crc32fast::Hasher,
}

impl Summed<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.update(bytes);
        self.out.write_all(bytes)
    }

    fn section(&mut self, tag: [u8; 4], contents: &[u8]) -> io::Result<()> {
        self.put(&tag)?;
        self.put(&(contents.len() as u64).to_le_bytes())?;
        self.put(contents)
    }
}

fn encode_names(recording: &Recording, out: &mut Vec<u8>) {
    put(out, recording.kernel.offset.is_some().into());
    put(out, recording.kernel.offset.unwrap_or(0));
    put(out, recording.names.len() as u64);
    let mut before = 0;
    for name in &recording.names {
        put_difference(out, before, name.address);
        before = name.address;
        put_text(out, &name.name);
        put_text(out, &name.module);
    }
}
