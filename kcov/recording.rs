// SPDX-License-Identifier: GPL-2.0

//! The state of recording as plain data: a recording, a section, and the target of its records.

#![expect(unsafe_code)]

use crate::{
    context::Context,
    layout::Layout,
    memory::Volatile,
    mode::{self, Mode},
    remote::handle::Key,
};
use core::{
    cell::Cell,
    ffi::c_void,
    mem,
    ptr, //
};

/// The fields of a task that describe its recording, as plain data.
#[derive(Clone, Copy)]
pub(crate) struct Parts {
    pub(crate) mode: u32,
    pub(crate) softirq: u32,
    pub(crate) capacity: u32,
    pub(crate) area: *mut u8,
    pub(crate) layout: *const Layout,
    pub(crate) section: *mut c_void,
}

/// A recording: the records that are made on a task, and the memory that they go to.
///
/// # Invariants
///
/// Until the recording has ended:
///
/// - `section` is null, or came from [`Area::lend`](crate::area::Area::lend), and the area has not
///   been given back.
/// - Unless the mode is [`mode::DISABLED`], `layout` points to a layout for the mode, and `area`
///   and `capacity` are its fast path.
#[derive(Clone, Copy)]
pub(crate) struct Recording(Parts);

impl Recording {
    // INVARIANT: The mode is `DISABLED`, and `section` is null.
    pub(crate) const NOTHING: Self = Self(Parts {
        mode: mode::DISABLED,
        softirq: 0,
        capacity: 0,
        area: ptr::null_mut(),
        layout: ptr::null(),
        section: ptr::null_mut(),
    });

    /// Makes a recording from its parts.
    ///
    /// # Safety
    ///
    /// The parts fulfil the type's invariants.
    #[inline(always)]
    pub(crate) unsafe fn new(parts: Parts) -> Self {
        // INVARIANT: By this function's requirement.
        Self(parts)
    }

    /// Returns a recording into memory with the given layout, outside all sections.
    ///
    /// # Safety
    ///
    /// `layout` is a layout for `mode`, and stays valid until the recording has ended.
    #[inline(always)]
    pub(crate) unsafe fn into_layout(mode: Mode, layout: &Layout) -> Self {
        let (area, capacity) = layout.fast_path();
        // INVARIANT: By this function's requirement.
        Self(Parts {
            mode: mode.word(),
            // A buffer has at most `INT_MAX` bytes, see `Buffer::new`.
            capacity: capacity as u32,
            area,
            layout,
            ..Self::NOTHING.0
        })
    }

    #[inline(always)]
    pub(crate) fn parts(&self) -> Parts {
        self.0
    }

    /// Returns the recording as the recording of a section that runs in `context`.
    ///
    /// # Safety
    ///
    /// `section` points to the area that the recording writes to. The caller lends that area until
    /// the recording has ended.
    #[inline(always)]
    pub(crate) unsafe fn of_section(self, context: Context, section: *mut c_void) -> Self {
        // INVARIANT: By this function's requirement.
        Self(Parts {
            softirq: u32::from(context == Context::Softirq),
            section,
            ..self.0
        })
    }
}

/// Every start and every stop of a section copies a recording.
const _: () = assert!(mem::size_of::<Recording>() <= 40);

/// The target of a section's records.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// The key of the descriptor that collects the section; it may have been disabled when the
    /// section stops.
    pub(crate) key: Key,
    /// The registration that the key led to when the section started. The key may lead to another
    /// one when it stops.
    pub(crate) registration: u64,
    pub(crate) mode: Mode,
    /// The number of words of the area that are used, the count included.
    pub(crate) words: usize,
}

/// A section that runs on a task. It is stored in the header of its area.
///
/// Softirqs on top of the task can find the section through the task at any moment after it was
/// published. Therefore all references to it are shared, and the fields that change are cells.
pub(crate) struct Section {
    target: Target,
    /// The context that started the section and must stop it.
    context: Context,
    /// Sections that were started inside this one, are not recorded, and are still to be stopped:
    /// one count for each context, in the order of [`Context`].
    missed: [Volatile<u32>; 2],
    outer: Cell<Recording>,
}

impl Section {
    /// Returns a section that suspends the recording `outer`.
    #[inline(always)]
    pub(crate) fn new(target: Target, context: Context, outer: Recording) -> Self {
        Self {
            target,
            context,
            missed: [const { Volatile::new(0) }; 2],
            outer: Cell::new(outer),
        }
    }

    /// Returns the context that started the section.
    pub(crate) fn context(&self) -> Context {
        self.context
    }

    /// Returns the target of the section's records.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Returns the recording that the section has suspended.
    #[inline(always)]
    pub(crate) fn outer(&self) -> Recording {
        self.outer.get()
    }

    /// Changes the recording that resumes after the section.
    pub(crate) fn set_outer(&self, outer: Recording) {
        self.outer.set(outer);
    }

    /// Counts a start in `context` that is not recorded.
    #[inline(always)]
    pub(crate) fn add_miss(&self, context: Context) {
        // Each count is written by one context only, and softirqs on top of a task leave the task's
        // count alone.
        let missed = &self.missed[context as usize];
        missed.set(missed.get().wrapping_add(1));
    }

    /// Subtracts one start in `context` from its count; returns whether the count was not 0.
    #[inline(always)]
    pub(crate) fn take_miss(&self, context: Context) -> bool {
        let missed = &self.missed[context as usize];
        let number = missed.get();
        if number > 0 {
            missed.set(number.wrapping_sub(1));
        }
        number > 0
    }
}
