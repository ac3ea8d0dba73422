// SPDX-License-Identifier: GPL-2.0
//! The buffers of tasks: their division, and the calls that depend on the kind of records.

use std::collections::HashSet;

use kcov::{Cmp, Device, Edge, Kcov, abi};

use super::handover::Enable;
use super::{Mode, Options};

/// The layout of the buffers of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) mode: Mode,
    /// The number of words of a buffer.
    words: usize,
    /// The number of these that a set or a table takes; 0 if there is neither.
    pub(super) front: usize,
}

impl Layout {
    pub(super) fn of(options: &Options) -> Result<Self, kcov::Error> {
        let (front, more) = match options.mode {
            Mode::Pcs | Mode::Comparisons => (0, 0),
            Mode::UniquePcs => {
                let set = Device::open()?.set_words()?;
                (set, set)
            }
            Mode::Edges => (kcov::edge_table(options.words), 0),
        };
        Ok(Self {
            mode: options.mode,
            words: options.words + more,
            front,
        })
    }

    /// Returns a descriptor with its buffer.
    pub(super) fn buffer(self) -> Result<Kcov, kcov::Error> {
        Device::open()?.with_buffer(self.words)
    }

    /// Does the same, if the kernel can collect the requested records.
    pub(super) fn usable(self) -> Result<Kcov, kcov::Error> {
        let mut kcov = self.buffer()?;
        let tried = match self.mode {
            Mode::Pcs => Ok(()),
            Mode::UniquePcs => kcov.collect_unique(self.front).map(drop),
            Mode::Comparisons => kcov.collect::<Cmp>().map(drop),
            Mode::Edges => kcov.collect_edges(self.front).map(drop),
        };
        match tried {
            // Another collection of this program does not affect the command.
            Ok(()) | Err(kcov::Error::Busy) => Ok(kcov),
            Err(error) => Err(error),
        }
    }

    /// Returns the call that starts the collection of a task.
    pub(super) fn enable(self) -> Enable {
        let (command, argument) = match self.mode {
            Mode::Pcs => (abi::ENABLE, abi::TRACE_PC),
            Mode::UniquePcs => (abi::UNIQUE_ENABLE, self.front),
            Mode::Comparisons => (abi::ENABLE, abi::TRACE_CMP),
            Mode::Edges => (abi::EDGE_ENABLE, self.front),
        };
        Enable {
            command: command.into(),
            argument: argument as u64,
        }
    }

    /// Returns the number of records in a buffer that is half full.
    pub(super) fn half(self) -> usize {
        let size = match self.mode {
            Mode::Pcs | Mode::UniquePcs => abi::WORDS_PER_PC,
            Mode::Comparisons => abi::WORDS_PER_CMP,
            Mode::Edges => abi::WORDS_PER_EDGE,
        };
        (self.words - self.front) / size / 2
    }

    /// Discards the records in the buffer, and clears the set. The kernel clears a table.
    pub(super) fn reset(self, kcov: &mut Kcov) {
        kcov.reset();
        if self.mode == Mode::UniquePcs {
            if let Ok(mut buffer) = kcov.unique_buffer(self.front) {
                buffer.reset();
            }
        }
    }
}

/// Moves the records out of the buffer if it has at least `from`; returns whether it was full.
pub(super) fn take<M: kcov::Mode>(kcov: &mut Kcov, from: usize, to: &mut Vec<M::Record>) -> bool {
    let records = kcov.records::<M>();
    if records.len() < from {
        return false;
    }
    let overflowed = records.overflowed();
    to.extend(records.iter());
    kcov.reset();
    overflowed
}

/// Does the same as [`take`] for a buffer with a set, which keeps the PCs.
pub(super) fn take_unique(
    kcov: &mut Kcov,
    set: usize,
    from: usize,
    seen: &mut HashSet<u64>,
    to: &mut Vec<u64>,
) -> bool {
    // The buffer was divided at the same word when it was made.
    let Ok(mut buffer) = kcov.unique_buffer(set) else {
        return false;
    };
    let records = buffer.records();
    if records.len() < from {
        return false;
    }
    let overflowed = records.overflowed();
    to.extend(records.iter().filter(|pc| seen.insert(*pc)));
    buffer.discard();
    overflowed
}

/// Does the same as [`take`] for a buffer with a table, which keeps the newest edges. There is no
/// reset: the edge after it would not have the PC before.
pub(super) fn take_edges(
    kcov: &mut Kcov,
    table: usize,
    from: usize,
    seen: &mut HashSet<Edge>,
    to: &mut Vec<Edge>,
) -> bool {
    // The buffer has a table of the same size since it was made.
    let Ok(mut buffer) = kcov.edge_buffer(table) else {
        return false;
    };
    let edges = buffer.edges();
    if edges.len() < from {
        return false;
    }
    let overflowed = edges.overflowed();
    to.extend(edges.iter().filter(|edge| seen.insert(*edge)));
    buffer.discard();
    overflowed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(mode: Mode, words: usize) -> Layout {
        Layout::of(&Options {
            mode,
            words,
            each_system_call: false,
        })
        .unwrap()
    }

    #[test]
    fn a_quarter_of_a_buffer_is_a_table() {
        let edges = layout(Mode::Edges, 512);
        assert_eq!((edges.words, edges.front, edges.half()), (512, 128, 96));
        assert_eq!(edges.enable().command, u64::from(abi::EDGE_ENABLE));
        assert_eq!(edges.enable().argument, 128);
        assert_eq!(layout(Mode::Edges, 256 << 10).front, 64 << 10);
    }

    #[test]
    fn half_a_buffer_is_counted_in_records() {
        assert_eq!(layout(Mode::Pcs, 512).half(), 256);
        assert_eq!(layout(Mode::Comparisons, 512).half(), 64);
    }
}
