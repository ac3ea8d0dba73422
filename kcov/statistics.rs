// SPDX-License-Identifier: GPL-2.0

//! Figures for a person who operates a fuzzer: how much is in use, and what was lost.
//!
//! The directory `kcov_statistics` of debugfs shows them, one figure per file. Three of them are
//! meant for programs: the PC of bit 0 of a set, the address from which PCs of modules count, and
//! the size of a set for all code of the kernel image.

#[cfg(CONFIG_KCOV_SITES)]
use crate::sites;
use crate::{gate, set};
use kernel::{
    debugfs::{Dir, File},
    fmt,
    prelude::*,
    sync::atomic::{ordering::Relaxed, Atomic}, //
};

static DESCRIPTORS: Atomic<i64> = Atomic::new(0);
static HANDLES: Atomic<i64> = Atomic::new(0);
static AREAS: Atomic<i64> = Atomic::new(0);
static AREA_BYTES: Atomic<i64> = Atomic::new(0);
static LOST_SECTIONS: Atomic<i64> = Atomic::new(0);
static DROPPED_RECORDS: Atomic<i64> = Atomic::new(0);
static UNBALANCED: Atomic<i64> = Atomic::new(0);

/// Counts a descriptor while the value lives.
pub(crate) struct CountedDescriptor(());

impl CountedDescriptor {
    pub(crate) fn new() -> Self {
        DESCRIPTORS.add(1, Relaxed);
        Self(())
    }
}

impl Drop for CountedDescriptor {
    fn drop(&mut self) {
        DESCRIPTORS.add(-1, Relaxed);
    }
}

pub(crate) fn handles_added(number: usize) {
    HANDLES.add(number as i64, Relaxed);
}

pub(crate) fn handles_removed(number: usize) {
    HANDLES.add(-(number as i64), Relaxed);
}

/// Returns the number of areas that exist.
pub(crate) fn areas() -> i64 {
    AREAS.load(Relaxed)
}

/// Returns the size of all areas in bytes.
pub(crate) fn area_bytes() -> i64 {
    AREA_BYTES.load(Relaxed)
}

pub(crate) fn area_added(bytes: usize) {
    AREAS.add(1, Relaxed);
    AREA_BYTES.add(bytes as i64, Relaxed);
}

pub(crate) fn area_removed(bytes: usize) {
    AREAS.add(-1, Relaxed);
    AREA_BYTES.add(-(bytes as i64), Relaxed);
}

pub(crate) fn section_lost() {
    LOST_SECTIONS.add(1, Relaxed);
}

/// Counts records that did not fit, when their number is about to be forgotten.
#[inline]
pub(crate) fn records_dropped(number: usize) {
    if number != 0 {
        DROPPED_RECORDS.add(number as i64, Relaxed);
    }
}

pub(crate) fn unbalanced() {
    UNBALANCED.add(1, Relaxed);
}

/// A number that is shown in hexadecimal, as addresses are.
struct Hexadecimal(usize);

impl fmt::Debug for Hexadecimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// The files, which exist while the value lives.
#[pin_data]
pub(crate) struct Files {
    _dir: Dir,
    #[pin]
    descriptors: File<&'static Atomic<i64>>,
    #[pin]
    handles: File<&'static Atomic<i64>>,
    #[pin]
    areas: File<&'static Atomic<i64>>,
    #[pin]
    area_bytes: File<&'static Atomic<i64>>,
    #[pin]
    lost_sections: File<&'static Atomic<i64>>,
    #[pin]
    dropped_records: File<&'static Atomic<i64>>,
    #[pin]
    unbalanced: File<&'static Atomic<i64>>,
    #[pin]
    hooks: File<()>,
    #[pin]
    hook_switches: File<()>,
    #[cfg(CONFIG_KCOV_SITES)]
    #[pin]
    sites: File<&'static Atomic<i64>>,
    #[cfg(CONFIG_KCOV_SITES)]
    #[pin]
    sites_on: File<&'static Atomic<i64>>,
    #[cfg(CONFIG_KCOV_SITES)]
    #[pin]
    sites_selected: File<&'static Atomic<i64>>,
    #[cfg(CONFIG_KCOV_SITES)]
    #[pin]
    sites_jumps: File<&'static Atomic<i64>>,
    #[pin]
    set_start: File<Hexadecimal>,
    #[pin]
    set_modules: File<Hexadecimal>,
    #[pin]
    set_words: File<usize>,
}

impl Files {
    pub(crate) fn new() -> impl PinInit<Self> {
        let dir = Dir::new(c"kcov_statistics");
        pin_init!(Self {
            descriptors <- dir.read_only_file(c"descriptors", &DESCRIPTORS),
            handles <- dir.read_only_file(c"handles", &HANDLES),
            areas <- dir.read_only_file(c"areas", &AREAS),
            area_bytes <- dir.read_only_file(c"area_bytes", &AREA_BYTES),
            lost_sections <- dir.read_only_file(c"lost_sections", &LOST_SECTIONS),
            dropped_records <- dir.read_only_file(c"dropped_records", &DROPPED_RECORDS),
            unbalanced <- dir.read_only_file(c"unbalanced", &UNBALANCED),
            hooks <- dir.read_callback_file(c"hooks", (), &|(), f| {
                writeln!(f, "{}", gate::state())
            }),
            hook_switches <- dir.read_callback_file(c"hook_switches", (), &|(), f| {
                writeln!(f, "{}", gate::switches())
            }),
            #[cfg(CONFIG_KCOV_SITES)]
            sites <- dir.read_only_file(c"sites", sites::sites()),
            #[cfg(CONFIG_KCOV_SITES)]
            sites_on <- dir.read_only_file(c"sites_on", sites::calling()),
            #[cfg(CONFIG_KCOV_SITES)]
            sites_selected <- dir.read_only_file(c"sites_selected", sites::selected()),
            #[cfg(CONFIG_KCOV_SITES)]
            sites_jumps <- dir.read_only_file(c"sites_jumps", sites::jumps()),
            set_start <- dir.read_only_file(c"set_start", Hexadecimal(set::start())),
            set_modules <- dir
                .read_only_file(c"set_modules", Hexadecimal(set::modules())),
            set_words <- dir.read_only_file(c"set_words", set::image_words()),
            _dir: dir,
        })
    }
}
