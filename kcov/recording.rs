// SPDX-License-Identifier: GPL-2.0

//! The state of recording as values: a recording, a section, and the destination of its records.

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

/// The fields of a task that say what is recorded, as plain data.
#[derive(Clone, Copy)]
pub(crate) struct Parts {
    pub(crate) mode: u32,
    pub(crate) softirq: u32,
    pub(crate) capacity: u32,
    pub(crate) area: *mut u8,
    pub(crate) layout: *const Layout,
    pub(crate) section: *mut c_void,
}

/// What is recorded on a task, and where to.
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
    // INVARIANT: The mode is `DISABLED`, and there is no section.
    pub(crate) const NOTHING: Self = Self(Parts {
        mode: mode::DISABLED,
        softirq: 0,
        capacity: 0,
        area: ptr::null_mut(),
        layout: ptr::null(),
        section: ptr::null_mut(),
    });

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
    /// `layout` is one for `mode`, and stays valid until the recording has ended.
    #[inline(always)]
    pub(crate) unsafe fn into_layout(mode: Mode, layout: &Layout) -> Self {
        let (area, capacity) = layout.fast_path(mode);
        // INVARIANT: By this function's requirement.
        Self(Parts {
            mode: mode.word(),
            // At most `INT_MAX` bytes are ever used, see `Buffer::new`.
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

    /// Returns the recording as that of a section.
    ///
    /// # Safety
    ///
    /// `section` points to the area that the recording goes to. The caller lends that area until
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

/// Every start and stop of a section copies one.
const _: () = assert!(mem::size_of::<Recording>() <= 40);

/// The destination of a section's records.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// Leads to the descriptor, if it still collects when the section stops.
    pub(crate) key: Key,
    /// Tells whether the handle still leads to the registration that the section started with.
    pub(crate) registration: u64,
    pub(crate) mode: Mode,
    /// The number of words of the area that are used, the count included.
    pub(crate) words: usize,
}

/// A section that runs on a task. Lives in the header of its area.
///
/// Softirqs that run on top of the task find the section through the task, at any moment after it
/// was published. So there are only shared references to it, and what changes are cells.
pub(crate) struct Section {
    target: Target,
    /// The context that started the section, and has to stop it.
    context: Context,
    /// Sections that were started inside this one, are not recorded, and are still to be stopped:
    /// one count for each context, in the order of [`Context`].
    missed: [Volatile<u32>; 2],
    outer: Cell<Recording>,
}

impl Section {
    /// A section that suspends the recording `outer`.
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

    /// Returns where the records of the section go.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Returns the recording that the section has suspended.
    #[inline(always)]
    pub(crate) fn outer(&self) -> Recording {
        self.outer.get()
    }

    /// Changes the recording that goes on after the section.
    pub(crate) fn set_outer(&self, outer: Recording) {
        self.outer.set(outer);
    }

    /// Counts a start in `context` that is not recorded.
    #[inline(always)]
    pub(crate) fn add_miss(&self, context: Context) {
        // Each count has one writer: the code of its context, which softirqs on top of it leave
        // alone.
        let missed = &self.missed[context as usize];
        missed.set(missed.get().wrapping_add(1));
    }

    /// Takes one start of `context` off its count; returns whether there was one.
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
