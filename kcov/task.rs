// SPDX-License-Identifier: GPL-2.0

//! Recording on one task: start, stop, suspend, resume. The only owner of the KCOV fields of
//! `task_struct`.
//!
//! # Who may access the fields
//!
//! The task itself, and softirqs that run on top of it; while it is blocked, whoever keeps it
//! blocked ([`elsewhere`]). The fields need no lock: a softirq that starts a section stops it
//! before it returns, and restores every field exactly. Therefore a softirq may come at any moment,
//! even in the middle of a start or a stop. If the mode is not [`mode::DISABLED`], the other fields
//! are valid. Therefore the mode is written last when recording starts and first when it stops.
//!
//! While the scheduler switches tasks, it shifts the mode to higher bits, which the hooks do not
//! test. A softirq may find it there, and leaves it there until the switch is done.

#![expect(unsafe_code)]

// With a path, as in `descriptor.rs`.
#[path = "task/elsewhere.rs"]
pub(crate) mod elsewhere;

use crate::{
    arch,
    area::{Area, EndedArea, LentArea},
    context::{self, Context},
    descriptor::Descriptor,
    layout::Layout,
    memory::Volatile,
    mode::{self, Mode},
    offsets,
    recorder::Recorder,
    recording::{Parts, Recording, Target},
};
use core::{
    arch::asm,
    ffi::c_void,
    intrinsics,
    mem::{offset_of, size_of},
    ops::Deref,
    ptr, //
};
use kernel::{
    bindings,
    sync::Arc,
    types::ForeignOwnable, //
};

/// A field for a descriptor that the task has enabled.
///
/// # Invariants
///
/// The field is null, or owns a reference that `Arc::into_foreign` gave away.
#[repr(transparent)]
struct Attached(Volatile<*mut c_void>);

impl Attached {
    /// Returns whether the field holds `descriptor`, or any descriptor if `descriptor` is `None`.
    fn is(&self, descriptor: Option<&Descriptor>) -> bool {
        let attached = self.0.get();
        if attached.is_null() {
            return false;
        }
        // SAFETY: By the type invariant. The reference stays in the field.
        let attached = unsafe { <Arc<Descriptor> as ForeignOwnable>::borrow(attached) };
        descriptor.is_none_or(|descriptor| ptr::eq(&*attached, descriptor))
    }

    /// Puts a descriptor into the field, which must be empty.
    fn put(&self, descriptor: Arc<Descriptor>) {
        // INVARIANT: The field owns the reference from here on.
        self.0.set(descriptor.into_foreign());
    }

    /// Takes the descriptor out of the field.
    fn take(&self) -> Option<Arc<Descriptor>> {
        let attached = self.0.get();
        self.forget();
        // SAFETY: By the type invariant. The field has just lost the reference.
        unsafe { Arc::try_from_foreign(attached) }
    }

    /// Empties the field without dropping its reference, which belongs to another task.
    fn forget(&self) {
        self.0.set(ptr::null_mut());
    }
}

/// The fields of a task: `struct kcov_ctx`. Softirqs of the same CPU access them too.
///
/// In the fast path, the hooks read only the first four fields. If a record does not fit there,
/// which is always so in modes that are not plain, they also read `layout`. The other fields are
/// for start and stop.
#[repr(C)]
struct Fields {
    mode: Volatile<u32>,
    softirq: Volatile<u32>,
    capacity: Volatile<u32>,
    area: Volatile<*mut u8>,
    layout: Volatile<*const Layout>,
    /// The innermost remote section that runs on the task. Its header holds the recording that it
    /// has suspended, which may belong to another section, and so on. The outermost suspended
    /// recording is the task's own, if it records itself.
    section: Volatile<*mut c_void>,
    local: Attached,
    remote: Attached,
    /// The task's common handle.
    handle: Volatile<u64>,
}

/// Stops the build if the offset of a field differs from that of `struct kcov_ctx`, which
/// `offsets.rs` compares with C.
macro_rules! same {
    ($($field:ident)+) => {
        $(const _: () = assert!(
            offset_of!(Fields, $field) == offset_of!(bindings::kcov_ctx, $field)
        );)+
        const _: () = assert!(size_of::<Fields>() == size_of::<bindings::kcov_ctx>());
    };
}
same!(mode softirq capacity area layout section local remote handle);

/// A task whose fields the holder may access.
///
/// # Invariants
///
/// Points to the fields of the current task, of a task that does not run yet, or of one that is
/// kept blocked.
struct Task(*mut Fields);

impl Deref for Task {
    type Target = Fields;

    #[inline(always)]
    fn deref(&self) -> &Fields {
        // SAFETY: By the type invariant.
        unsafe { &*self.0 }
    }
}

impl Task {
    /// Returns the current task.
    #[inline(always)]
    fn current() -> Self {
        // INVARIANT: The value stays on the current task, because a pointer is not `Send`.
        Self::at(arch::current_task())
    }

    #[inline(always)]
    fn at(task: *mut bindings::task_struct) -> Self {
        // The offset comes from C: the bindings of a task may be wrong.
        Self(task.wrapping_byte_add(offsets::TASK_KCOV_CTX).cast())
    }

    /// Returns the area of the innermost section; `None` if no section runs on the task.
    #[inline(always)]
    fn innermost(&self) -> Option<LentArea<'_>> {
        // ORDERING: The section's header is read through the pointer. Pairs with the barrier in
        // `Paused::begin`, against interrupts of this CPU.
        //
        // SAFETY: The field is null, or was stored by `Paused::begin`. `Paused::unwind` removes a
        // section from the field; after that, the area is accessed only through the result of
        // `unwind`.
        unsafe { LentArea::from_ptr(self.section.get()) }
    }

    /// Returns the recording, with `mode` in place of the task's mode. `mode` must be the mode that
    /// [`pause`] has found.
    #[inline(always)]
    fn recording(&self, mode: u32) -> Recording {
        let parts = Parts {
            mode,
            softirq: self.softirq.get(),
            capacity: self.capacity.get(),
            area: self.area.get(),
            layout: self.layout.get(),
            section: self.section.get(),
        };
        // SAFETY: The fields are those of the recording that `set_recording` wrote last, or zeroed
        // as in `Recording::NOTHING`.
        unsafe { Recording::new(parts) }
    }

    /// Stops recording on the task.
    #[inline(always)]
    fn pause(self) -> Paused {
        let mode = self.mode.get();
        self.mode.set(mode::DISABLED);
        // ORDERING: The mode before the other fields, against interrupts of this CPU; pairs with
        // `recorder`.
        barrier();
        Paused { task: self, mode }
    }

    /// Writes a recording except for its mode: the mode of the task stays [`mode::DISABLED`].
    #[inline(always)]
    fn set_recording(&self, recording: &Recording) {
        let parts = recording.parts();
        self.softirq.set(parts.softirq);
        self.capacity.set(parts.capacity);
        self.area.set(parts.area);
        self.layout.set(parts.layout);
        self.section.set(parts.section);
    }
}

/// Keeps the compiler from moving accesses across, as `barrier()` in C does. Enough against code
/// that runs on the same CPU.
#[inline(always)]
fn barrier() {
    // SAFETY: An empty block. The compiler has to assume that it accesses all memory.
    unsafe { asm!("", options(nostack, preserves_flags)) };
}

/// Returns the recorder for a hook if the current context is recorded and the mode word has the bit
/// `wanted`.
///
/// The mode is checked first: it decides almost every call.
#[inline(always)]
pub(crate) fn recorder(wanted: u32) -> Option<Recorder<impl Fn() -> &'static Layout>> {
    let task = Task::current();
    if intrinsics::unlikely(task.mode.get() & wanted == 0) {
        return None;
    }
    if !context::recordable(|| task.softirq.get() != 0) {
        return None;
    }
    // ORDERING: Orders against interrupts of this CPU. These loads come after the load of the mode,
    // because volatile accesses keep their order. Pairs with the barriers in `pause` and
    // `Paused::drop`.
    let (start, capacity) = (task.area.get(), task.capacity.get());
    // SAFETY: Because of the mode, the layout is valid. It stays valid until the task pauses, or
    // until a softirq on top of the task has returned.
    let layout = move || unsafe { &*task.layout.get() };
    // SAFETY: As above, for the area and the capacity.
    Some(unsafe { Recorder::new(start, capacity as usize, layout) })
}

/// A pause: while the value lives, nothing is recorded on the current task.
///
/// Its methods change the recording that resumes afterwards.
pub(crate) struct Paused {
    task: Task,
    /// The mode that the task resumes with.
    mode: u32,
}

/// Stops recording on the current task, in the current context.
pub(crate) fn pause() -> Paused {
    Task::current().pause()
}

impl Drop for Paused {
    fn drop(&mut self) {
        // ORDERING: The other fields before the mode, against interrupts of this CPU; pairs with
        // `recorder`.
        barrier();
        self.task.mode.set(self.mode);
    }
}

impl Paused {
    /// Changes the recording that starts at the end of the pause.
    #[inline(always)]
    fn set(&mut self, recording: &Recording) {
        self.task.set_recording(recording);
        self.mode = recording.parts().mode;
    }

    /// Starts a section that records into `area` and suspends the current recording.
    #[inline(always)]
    pub(crate) fn begin(mut self, area: Area, target: Target, context: Context) {
        let recording = area.lend(target, context, || self.task.recording(self.mode));
        // ORDERING: The header before the pointer to it, which a softirq may follow as soon as it
        // is stored. Against interrupts of this CPU; pairs with the load in `Task::innermost`.
        barrier();
        // `unwind` gives the area back, after it has replaced the recording.
        self.set(&recording);
    }

    /// Returns whether the task has enabled `descriptor` for itself, or any descriptor if
    /// `descriptor` is `None`.
    pub(crate) fn has_local(&self, descriptor: Option<&Descriptor>) -> bool {
        self.task.local.is(descriptor)
    }

    /// Returns whether the task has enabled `descriptor` for remote sections, or any descriptor if
    /// `descriptor` is `None`.
    pub(crate) fn has_remote(&self, descriptor: Option<&Descriptor>) -> bool {
        self.task.remote.is(descriptor)
    }

    /// Makes the task record into memory with the given layout from the end of the pause.
    ///
    /// # Safety
    ///
    /// The layout is a layout for `mode`, and stays valid until [`Paused::detach_local`] has been
    /// called for `descriptor`.
    pub(crate) unsafe fn attach_local(
        &mut self,
        descriptor: Arc<Descriptor>,
        layout: &Layout,
        mode: Mode,
    ) {
        // SAFETY: By this function's requirement: `detach_local` ends the recording.
        self.set_bottom(unsafe { Recording::into_layout(mode, layout) });
        self.task.local.put(descriptor);
    }

    /// Undoes [`Paused::attach_local`] if it was called for `descriptor`, or for any descriptor if
    /// `descriptor` is `None`. Returns the reference to the descriptor.
    pub(crate) fn detach_local(
        &mut self,
        descriptor: Option<&Descriptor>,
    ) -> Option<Arc<Descriptor>> {
        if !self.has_local(descriptor) {
            return None;
        }
        self.set_bottom(Recording::NOTHING);
        self.task.local.take()
    }

    /// Marks `descriptor` as enabled by the task for remote sections, and sets the task's common
    /// handle if `common_handle` is not 0.
    pub(crate) fn attach_remote(&mut self, descriptor: Arc<Descriptor>, common_handle: u64) {
        self.task.remote.put(descriptor);
        if common_handle != 0 {
            self.task.handle.set(common_handle);
        }
    }

    /// Undoes [`Paused::attach_remote`] if it was called for `descriptor`, or for any descriptor if
    /// `descriptor` is `None`. Returns the reference to the descriptor.
    pub(crate) fn detach_remote(
        &mut self,
        descriptor: Option<&Descriptor>,
    ) -> Option<Arc<Descriptor>> {
        if !self.has_remote(descriptor) {
            return None;
        }
        self.task.handle.set(0);
        self.task.remote.take()
    }

    /// Ends the innermost section in any context, and returns its area.
    #[inline(always)]
    pub(crate) fn unwind(&mut self) -> Option<EndedArea> {
        let lent = self.task.innermost()?;
        let outer = lent.section().outer();
        self.task.set_recording(&outer);
        self.mode = outer.parts().mode;
        // SAFETY: The task is paused, its fields no longer refer to the section, and softirqs that
        // found the section there have returned.
        Some(unsafe { lent.give_back() })
    }

    /// Changes the recording that is outside all sections.
    fn set_bottom(&mut self, recording: Recording) {
        let Some(mut lent) = self.task.innermost() else {
            return self.set(&recording);
        };
        while let Some(outer) = lent.outer() {
            lent = outer;
        }
        lent.section().set_outer(recording);
    }
}

/// The result of a stop.
pub(crate) enum Stopped {
    /// No section runs on the task.
    Nothing,
    /// The start was not recorded; the enclosing section goes on.
    Missed,
    /// The innermost section was started in another context.
    Foreign,
    /// A section has stopped. The recording that it suspended resumes at the end of the pause.
    Section(EndedArea, Paused),
}

/// Counts a start that is not recorded, so that its stop does not end the enclosing section.
#[inline(always)]
pub(crate) fn miss(context: Context) {
    if let Some(lent) = Task::current().innermost() {
        lent.section().add_miss(context);
    }
}

/// Stops the section that was started last in the current context.
#[inline(always)]
pub(crate) fn stop(context: Context) -> Stopped {
    let task = Task::current();
    let Some(lent) = task.innermost() else {
        return Stopped::Nothing;
    };
    let section = lent.section();
    if section.take_miss(context) {
        return Stopped::Missed;
    }
    if section.context() != context {
        return Stopped::Foreign;
    }
    let mut paused = pause();
    match paused.unwind() {
        Some(area) => Stopped::Section(area, paused),
        None => Stopped::Nothing,
    }
}

/// Returns the common handle of the current task.
pub(crate) fn common_handle() -> u64 {
    Task::current().handle.get()
}

/// Prepares the fields of a new task, which inherits only the common handle.
///
/// # Safety
///
/// `task` is a copy of the current task and does not run yet.
pub(crate) unsafe fn init_task(task: *mut bindings::task_struct) {
    // INVARIANT: By this function's requirement.
    let task = Task::at(task);
    task.mode.set(mode::DISABLED);
    task.set_recording(&Recording::NOTHING);
    task.local.forget();
    task.remote.forget();
    task.handle.set(common_handle());
}

/// Records the current task into the first `words` words of `area` while `body` runs, in place of
/// any other recording.
///
/// For the self test at boot, and for tests of the hooks.
#[cfg(any(CONFIG_KCOV_SELFTEST, CONFIG_KCOV_KUNIT_TEST))]
pub(crate) fn probe(area: &mut Area, mode: Mode, words: usize, body: impl FnOnce()) {
    let mut paused = pause();
    area.lay_out(mode, words);
    let outer = paused.task.recording(paused.mode);
    // SAFETY: The area was laid out for the mode, and outlives the recording.
    paused.set(&unsafe { Recording::into_layout(mode, area.layout()) });
    drop(paused);
    body();
    pause().set(&outer);
}
