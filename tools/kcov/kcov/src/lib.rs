// SPDX-License-Identifier: GPL-2.0
//! KCOV for Rust programs: collects the code of the Linux kernel that a task runs, and the values
//! that it compares.
//!
//! The kernel offers KCOV as a file in debugfs if it was built with `CONFIG_KCOV`. A program opens
//! the file, gives the descriptor a buffer, and collects: on its own thread ([`Kcov::collect`]), in
//! a child ([`Kcov::child_start`]), or in sections of code that other tasks run on its behalf
//! ([`Kcov::collect_remote`]).
//!
//! ```no_run
//! use kcov::Device;
//!
//! # fn main() -> Result<(), kcov::Error> {
//! let mut kcov = Device::open()?.with_buffer(64 << 10)?;
//! for _ in 0..1000 {
//!     let collection = kcov.collect_pcs()?;
//!     let _ = std::fs::metadata("/"); // The system calls to look at.
//!     let pcs = collection.stop()?;
//!     if pcs.overflowed() {
//!         eprintln!("the buffer was too small");
//!     }
//!     for pc in &pcs {
//!         println!("{pc:#x}");
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The guard borrows the buffer, so the buffer can be neither read nor freed while the kernel
//! writes to it.
//!
//! ```compile_fail,E0499
//! # fn main() -> Result<(), kcov::Error> {
//! # let mut kcov = kcov::Device::open()?.with_buffer(4096)?;
//! let collection = kcov.collect_pcs()?;
//! let pcs = kcov.records::<kcov::Pc>(); // The buffer belongs to the collection.
//! collection.stop()?;
//! # Ok(())
//! # }
//! ```
//!
//! ```compile_fail,E0505
//! # fn main() -> Result<(), kcov::Error> {
//! # let mut kcov = kcov::Device::open()?.with_buffer(4096)?;
//! let pcs = kcov.collect_pcs()?.stop()?;
//! drop(kcov); // The records are in the buffer.
//! println!("{}", pcs.len());
//! # Ok(())
//! # }
//! ```
//!
//! The guard stays on its thread, as the kernel demands:
//!
//! ```compile_fail,E0277
//! # fn main() -> Result<(), kcov::Error> {
//! # let mut kcov = kcov::Device::open()?.with_buffer(4096)?;
//! let collection = kcov.collect_pcs()?;
//! std::thread::scope(|s| s.spawn(|| collection.stop().map(|r| r.len())).join());
//! # Ok(())
//! # }
//! ```
//!
//! Kernels with CONFIG_KCOV_RUST can record each PC once, so that long calls do not fill the buffer
//! ([`Kcov::collect_unique`]), each pair of consecutive PCs once ([`Kcov::collect_edges`]), and PCs
//! and comparisons in one run ([`Kcov::collect_both`]). All are available for the sections of other
//! tasks, too ([`Kcov::collect_remote_unique`], [`Kcov::collect_remote_edges`],
//! [`Kcov::collect_remote_both`]).
//!
//! # Supported kernels
//!
//! 64-bit kernels, with upstream's KCOV or with KCOV in Rust: the interface is the same. The words
//! of the buffer are the kernel's `unsigned long`, whose size a 32-bit program would have to find
//! out.

#[cfg(not(target_pointer_width = "64"))]
compile_error!("the crate kcov is for 64-bit targets: the buffer's words are those of a 64-bit kernel");

pub mod abi;
mod area;
mod collect;
mod device;
mod divided;
mod edges;
mod error;
mod records;
mod remote;
mod sys;

pub use collect::{ChildStart, Collection, Kcov};
pub use device::Device;
pub use divided::{Both, DividedCollection, Unique, UniqueBuffer};
pub use edges::{Edge, EdgeBuffer, EdgeCollection, Edges, edge_table};
pub use error::Error;
pub use records::{Cmp, Comparison, Iter, Mode, OperandSize, Pc, Records, capacity};
pub use remote::{CommonHandle, RemoteHandles, UsbBus};

/// Returns the number of words in a page; the kernel maps only whole pages of a buffer.
#[must_use]
pub fn words_per_page() -> usize {
    rustix::param::page_size() / size_of::<u64>()
}
