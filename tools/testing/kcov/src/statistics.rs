// SPDX-License-Identifier: GPL-2.0

//! The statistics, without the files that show them.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

static DESCRIPTORS: AtomicI64 = AtomicI64::new(0);
static HANDLES: AtomicI64 = AtomicI64::new(0);
static AREAS: AtomicI64 = AtomicI64::new(0);
static AREA_BYTES: AtomicI64 = AtomicI64::new(0);
static LOST_SECTIONS: AtomicI64 = AtomicI64::new(0);
static DROPPED_RECORDS: AtomicI64 = AtomicI64::new(0);
static UNBALANCED: AtomicI64 = AtomicI64::new(0);

pub(crate) struct CountedDescriptor(());

impl CountedDescriptor {
    pub(crate) fn new() -> Self {
        DESCRIPTORS.fetch_add(1, Relaxed);
        Self(())
    }
}

impl Drop for CountedDescriptor {
    fn drop(&mut self) {
        DESCRIPTORS.fetch_sub(1, Relaxed);
    }
}

pub(crate) fn descriptors() -> i64 {
    DESCRIPTORS.load(Relaxed)
}

pub(crate) fn handles_added(number: usize) {
    HANDLES.fetch_add(number as i64, Relaxed);
}

pub(crate) fn handles_removed(number: usize) {
    HANDLES.fetch_sub(number as i64, Relaxed);
}

pub(crate) fn handles() -> i64 {
    HANDLES.load(Relaxed)
}

/// Forgets the areas of an execution that has ended early.
pub(crate) fn forget_areas() {
    AREAS.store(0, Relaxed);
    AREA_BYTES.store(0, Relaxed);
}

pub(crate) fn areas() -> i64 {
    AREAS.load(Relaxed)
}

pub(crate) fn area_bytes() -> i64 {
    AREA_BYTES.load(Relaxed)
}

pub(crate) fn area_added(bytes: usize) {
    AREAS.fetch_add(1, Relaxed);
    AREA_BYTES.fetch_add(bytes as i64, Relaxed);
}

pub(crate) fn area_removed(bytes: usize) {
    AREAS.fetch_sub(1, Relaxed);
    AREA_BYTES.fetch_sub(bytes as i64, Relaxed);
}

pub(crate) fn section_lost() {
    LOST_SECTIONS.fetch_add(1, Relaxed);
}

pub(crate) fn lost_sections() -> i64 {
    LOST_SECTIONS.load(Relaxed)
}

pub(crate) fn records_dropped(number: usize) {
    DROPPED_RECORDS.fetch_add(number as i64, Relaxed);
}

pub(crate) fn unbalanced() {
    UNBALANCED.fetch_add(1, Relaxed);
}
